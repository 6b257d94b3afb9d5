"use strict";

/* How sources are coloured: by a class, with a legend that shows and hides, or by a number, with a scale. */
function colourings(data) {
  const { sources, visits, objects } = data;
  const text = (name) => (i) => sources.get(name, i) || "not known";
  const options = [];
  const add = (key, label, of, kind = "class", how = "linear") => options.push({ key, label, of, kind, how });
  const filled = (table, name) => table.has(name) && table.categories[name].some((c) => c !== "");
  if (filled(sources, "truth")) add("truth", "Class (truth)", text("truth"));
  if (filled(sources, "state")) add("state", "Label", text("state"));
  if (filled(sources, "cause")) add("cause", "Cause of artefacts (truth)", (i) => sources.get("cause", i) || "no artefact");
  if (objects.has("v_verdict")) add("verdict", "Verdict of the object", (i) => objects.get("v_verdict", sources.col.object[i]) || "not known");
  add("reliability", "Score", (i) => sources.col.reliability[i], "number");
  add("snr", "SNR", (i) => sources.col.snr[i], "number", "log");
  add("band", "Band", (i) => visits.get("band", sources.col.visit[i]));
  add("visit", "Visit, by time", (i) => visits.col.mjd[sources.col.visit[i]], "number");
  add("blend", "On a blend (probability ≥ 0.5)", (i) => {
    const p = sources.col.p_blend[i];
    return Number.isNaN(p) ? "not known" : p >= 0.5 ? "yes" : "no";
  });
  add("ood", "Strangeness (ood)", (i) => sources.col.ood[i], "number");
  add("trained", "Sky that the map's network saw", (i) => (sources.col.trained[i] ? "yes" : "no"));
  add("human", "Labels given here", (i) => Labels.of(sources.get("id", i)) || "none");
  return options;
}

/* Where sources stand. */
function projections(data) {
  const { sources } = data;
  const options = [];
  if (sources.col.umap_x.some((x) => !Number.isNaN(x))) {
    options.push({ key: "map", label: "Map (UMAP of what the network sees)", x: (i) => sources.col.umap_x[i], y: (i) => sources.col.umap_y[i] });
  }
  options.push({ key: "score", label: "Score against SNR", x: (i) => Math.log10(sources.col.snr[i]), y: (i) => sources.col.reliability[i], axes: ["SNR", "score"], log: true });
  options.push({ key: "sky", label: "Sky", x: (i) => -sources.col.ra[i], y: (i) => sources.col.dec[i], axes: ["right ascension, east to the left", "declination"] });
  return options;
}

class Scatter {
  constructor(canvas, data, { onPoint, onOpen }) {
    Object.assign(this, { canvas, data, onPoint, onOpen });
    this.n = data.sources.rows;
    this.x = new Float32Array(this.n);
    this.y = new Float32Array(this.n);
    this.shown = new Uint8Array(this.n).fill(1);
    this.colour = new Uint32Array(this.n);
    this.order = Uint32Array.from({ length: this.n }, (_, i) => i);
    this.current = -1;
    this.pointers = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  project(projection) {
    this.projection = projection;
    for (let i = 0; i < this.n; i++) {
      this.x[i] = projection.x(i);
      this.y[i] = projection.y(i);
    }
    this.reset();
  }

  reset() {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.n; i++) {
      const x = this.x[i];
      const y = this.y[i];
      if (Number.isNaN(x) || Number.isNaN(y)) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
    }
    if (x0 > x1) [x0, x1, y0, y1] = [0, 1, 0, 1];
    const margin = 0.03;
    const [w, h] = [Math.max(x1 - x0, 1e-6), Math.max(y1 - y0, 1e-6)];
    this.view = { x: x0 - margin * w, y: y0 - margin * h, w: w * (1 + 2 * margin), h: h * (1 + 2 * margin) };
    this.draw();
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width) return;
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    this.canvas.width = Math.round(box.width * this.ratio);
    this.canvas.height = Math.round(box.height * this.ratio);
    this.draw();
  }

  place(i) {
    const { x, y, w, h } = this.view;
    return [((this.x[i] - x) / w) * this.canvas.width, (1 - (this.y[i] - y) / h) * this.canvas.height];
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.paint();
    });
  }

  paint() {
    const { width, height } = this.canvas;
    if (!this.view || !width) return;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const zoom = Math.min(width, height) / 700;
    const radius = Math.max(1, Math.round((this.n > 60000 ? 1 : this.n > 15000 ? 1.5 : 2.2) * Math.max(zoom, 0.6)));
    for (const i of this.order) {
      if (!this.shown[i]) continue;
      const [px, py] = this.place(i);
      if (!(px >= 0 && px < width && py >= 0 && py < height)) continue;
      const cx = px | 0;
      const cy = py | 0;
      for (let dy = -radius; dy <= radius; dy++) {
        const y = cy + dy;
        if (y < 0 || y >= height) continue;
        const half = Math.round(Math.sqrt(radius * radius + radius - dy * dy));
        const from = Math.max(cx - half, 0);
        pixels.fill(this.colour[i], y * width + from, y * width + Math.min(cx + half, width - 1) + 1);
      }
    }
    context.putImageData(image, 0, 0);
    this.index();
    this.ring(context, radius);
  }

  ring(context, radius) {
    if (this.current < 0 || Number.isNaN(this.x[this.current])) return;
    const [px, py] = this.place(this.current);
    const css = getComputedStyle(this.canvas);
    for (const [width, colour] of [[5, css.getPropertyValue("--surface")], [2, css.getPropertyValue("--text")]]) {
      context.beginPath();
      context.arc(px, py, radius + 6, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  /* Points by cells of the screen, as linked lists. */
  index() {
    const cell = 16;
    this.columns = Math.ceil(this.canvas.width / cell) + 1;
    const rows = Math.ceil(this.canvas.height / cell) + 1;
    this.head = new Int32Array(this.columns * rows).fill(-1);
    this.next = this.next || new Int32Array(this.n);
    for (let i = 0; i < this.n; i++) {
      if (!this.shown[i]) continue;
      const [px, py] = this.place(i);
      if (!(px >= 0 && px < this.canvas.width && py >= 0 && py < this.canvas.height)) continue;
      const at = ((py / cell) | 0) * this.columns + ((px / cell) | 0);
      this.next[i] = this.head[at];
      this.head[at] = i;
    }
  }

  nearest(px, py, reach = 14) {
    if (!this.head) return -1;
    const cell = 16;
    let best = -1;
    let least = (reach * this.ratio) ** 2;
    const span = Math.ceil((reach * this.ratio) / cell);
    for (let cy = ((py / cell) | 0) - span; cy <= ((py / cell) | 0) + span; cy++) {
      for (let cx = ((px / cell) | 0) - span; cx <= ((px / cell) | 0) + span; cx++) {
        if (cx < 0 || cy < 0 || cx >= this.columns) continue;
        for (let i = this.head[cy * this.columns + cx] ?? -1; i >= 0; i = this.next[i]) {
          const [x, y] = this.place(i);
          const distance = (x - px) ** 2 + (y - py) ** 2;
          if (distance < least) [best, least] = [i, distance];
        }
      }
    }
    return best;
  }

  select(i) {
    this.current = i;
    this.draw();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  pressed(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.dragged = 0;
  }

  moved(event) {
    const [px, py] = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      const found = this.nearest(px, py);
      this.canvas.style.cursor = found >= 0 ? "pointer" : "grab";
      if (found >= 0 && found !== this.current) this.onPoint(found);
      return;
    }
    if (this.pointers.size === 2) this.pinched(event.pointerId, [px, py]);
    else this.pan(px - before[0], py - before[1]);
    this.dragged += Math.abs(px - before[0]) + Math.abs(py - before[1]);
    this.pointers.set(event.pointerId, [px, py]);
  }

  pinched(id, to) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, point]) => point);
    const from = this.pointers.get(id);
    const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    this.zoom(apart(from, other) / Math.max(apart(to, other), 1), other);
  }

  released(event) {
    this.pointers.delete(event.pointerId);
    if (this.dragged > 6 * this.ratio) return;
    const found = this.nearest(...this.at(event));
    if (found >= 0) {
      this.onPoint(found);
      this.onOpen(found);
    }
  }

  pan(dx, dy) {
    this.view.x -= (dx / this.canvas.width) * this.view.w;
    this.view.y += (dy / this.canvas.height) * this.view.h;
    this.draw();
  }

  zoom(factor, [px, py] = [this.canvas.width / 2, this.canvas.height / 2]) {
    const { view } = this;
    const [fx, fy] = [px / this.canvas.width, 1 - py / this.canvas.height];
    view.x += fx * view.w * (1 - factor);
    view.y += fy * view.h * (1 - factor);
    view.w *= factor;
    view.h *= factor;
    this.draw();
  }

  /* The wheel zooms once the map has the focus, or with Ctrl: otherwise it scrolls the page. */
  wheeled(event) {
    if (document.activeElement !== this.canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.zoom(Math.exp(event.deltaY * 0.0015), this.at(event));
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps && event.shiftKey) this.pan(...steps[event.key].map((v) => -40 * v * this.ratio));
    else if (event.key in steps) this.step(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(0.8, this.current >= 0 ? this.place(this.current) : undefined);
    else if (event.key === "-") this.zoom(1.25, this.current >= 0 ? this.place(this.current) : undefined);
    else if (event.key === "0") this.reset();
    else if (event.key === "Enter" && this.current >= 0) this.onOpen(this.current);
    else return;
    event.preventDefault();
  }

  /* Go to the nearest point in a direction; from nowhere, to the one nearest to the middle. */
  step(dx, dy) {
    const known = this.current >= 0 && !Number.isNaN(this.x[this.current]);
    const [fromX, fromY] = known ? this.place(this.current) : [this.canvas.width / 2, this.canvas.height / 2];
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.n; i++) {
      if (!this.shown[i] || i === this.current) continue;
      const [x, y] = this.place(i);
      if (!(x >= 0 && x < this.canvas.width && y >= 0 && y < this.canvas.height)) continue;
      const along = (x - fromX) * dx + (y - fromY) * dy;
      const across = Math.abs((x - fromX) * dy) + Math.abs((y - fromY) * dx);
      if (known && (along <= 3 * this.ratio || across > along)) continue;
      const cost = known ? along + 2 * across : Math.hypot(x - fromX, y - fromY);
      if (cost < least) [best, least] = [i, cost];
    }
    if (best >= 0) this.onPoint(best);
  }
}

/* Colours and legend of the map, and which sources are shown. */
class MapView {
  constructor(data, { canvas, legend, count, onPoint, onOpen }) {
    Object.assign(this, { data, legend, count });
    this.scatter = new Scatter(canvas, data, { onPoint, onOpen });
    this.hidden = new Set();
    this.limits = { score: [0, 1], snr: 0, band: "" };
  }

  colourBy(option) {
    if (this.option !== option) this.hidden.clear();
    this.option = option;
    if (option.kind === "class") this.byClass();
    else this.byNumber();
    this.filter();
  }

  byClass() {
    const counts = new Map();
    const { n } = this.scatter;
    const names = Array.from({ length: n }, (_, i) => this.option.of(i));
    for (const name of names) counts.set(name, (counts.get(name) || 0) + 1);
    this.names = names;
    this.classes = [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
    const packed = new Map(this.classes.map(([name], k) => [name, pack(Colours.rgb(Colours.of(name, k)))]));
    const place = new Map(this.classes.map(([name], k) => [name, k]));
    for (let i = 0; i < n; i++) this.scatter.colour[i] = packed.get(names[i]);
    const bins = this.classes.map(() => []);
    for (let i = 0; i < n; i++) bins[place.get(names[i])].push(i);
    this.scatter.order = Uint32Array.from(bins.flat());
    this.showClasses();
  }

  byNumber() {
    this.names = null;
    const { n } = this.scatter;
    const values = Float64Array.from({ length: n }, (_, i) => this.option.of(i));
    const known = values.filter((v) => !Number.isNaN(v)).sort();
    const at = (f) => known[Math.min(Math.floor(f * known.length), known.length - 1)];
    let [low, high] = this.option.key === "reliability" || this.option.key === "ood" ? [0, 1] : [at(0), at(0.995)];
    const scale = this.option.how === "log" ? Math.log : (v) => v;
    if (!(high > low)) high = low + 1;
    for (let i = 0; i < n; i++) {
      this.scatter.colour[i] = pack(Colours.ramp((scale(values[i]) - scale(low)) / (scale(high) - scale(low))));
    }
    this.scatter.order = Uint32Array.from({ length: n }, (_, i) => (i * 7919) % n);
    if (n % 7919 === 0) this.scatter.order = Uint32Array.from({ length: n }, (_, i) => i);
    const bar = el("div", { class: "ramp", role: "img", "aria-label": `Scale from ${Format.short(low)} to ${Format.short(high)}` });
    bar.style.background = Colours.rampCss();
    this.legend.replaceChildren(bar, el("div", { class: "ramp-ends" }, el("span", {}, Format.short(low)), el("span", {}, `${Format.short(high)}${this.option.how === "log" ? " (log)" : ""}`)));
  }

  showClasses() {
    this.legend.replaceChildren(
      ...this.classes.map(([name, count], k) => {
        const swatch = el("span", { class: "swatch" });
        swatch.style.background = Colours.of(name, k);
        const attributes = { type: "button", class: "chip", "aria-pressed": String(!this.hidden.has(name)), "data-class": name };
        const button = el("button", { ...attributes, onclick: () => this.toggle(name, button) }, swatch, Format.words(name), el("span", { class: "count" }, Format.count(count)));
        return button;
      }),
    );
  }

  toggle(name, button) {
    if (this.hidden.has(name)) this.hidden.delete(name);
    else this.hidden.add(name);
    button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
    this.filter();
  }

  filter() {
    const { sources, visits } = this.data;
    const { score, snr, band } = this.limits;
    const all = score[0] <= 0 && score[1] >= 1;
    let shown = 0;
    for (let i = 0; i < this.scatter.n; i++) {
      const value = sources.col.reliability[i];
      const keep =
        (all || (value >= score[0] && value <= score[1])) &&
        !(sources.col.snr[i] < snr) &&
        (!band || visits.get("band", sources.col.visit[i]) === band) &&
        !(this.names && this.hidden.has(this.names[i]));
      this.scatter.shown[i] = keep ? 1 : 0;
      if (keep && !Number.isNaN(this.scatter.x[i])) shown++;
    }
    this.count.textContent = `${Format.count(shown)} of ${Format.count(this.scatter.n)} sources`;
    this.scatter.draw();
  }

  visible() {
    return Array.from(this.scatter.shown.keys()).filter((i) => this.scatter.shown[i]);
  }
}

function pack([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
