"use strict";

/* The table of objects: sorted, filtered, and only the rows in sight are drawn. */
class Candidates {
  static ROW = 44;

  constructor(data, root, { onOpen }) {
    Object.assign(this, { data, root, onOpen });
    this.columns = this.makeColumns();
    this.sort = { key: data.objects.has("v_p_transient") ? "transient" : "best", down: true };
    this.filters = { text: "", verdict: "", truth: "", band: "", score: 0, detections: 1, nights: 1 };
    this.active = 0;
    this.build();
    this.apply();
  }

  makeColumns() {
    const { objects } = this.data;
    const number = (name, digits) => ({ value: (i) => objects.col[name][i], text: (i) => Format.number(objects.col[name][i], digits), number: true });
    const words = (name) => ({ value: (i) => objects.get(name, i), text: (i) => Format.words(objects.get(name, i)) || "–" });
    const columns = [{ key: "id", label: "diaObjectId", value: (i) => objects.col.id[i], text: (i) => (objects.col.id[i] === 0n ? "not associated" : objects.get("id", i)), width: "11.5rem", mono: true }];
    columns.push({ key: "stamp", label: "Best source", width: "7.8rem", stamp: true });
    if (objects.has("v_verdict")) {
      columns.push({ key: "verdict", label: "Verdict", ...words("v_verdict"), width: "6.8rem", chip: true });
      columns.push({ key: "probability", label: "Probability", ...number("v_probability", 3), width: "6.4rem" });
    }
    if (objects.has("v_p_transient")) columns.push({ key: "transient", label: "P(transient)", ...number("v_p_transient", 3), width: "6.8rem" });
    columns.push({ key: "best", label: "Best score", ...number("best", 3), width: "6.2rem" });
    columns.push({ key: "mean", label: "Mean score", ...number("mean", 3), width: "6.6rem" });
    columns.push({ key: "n", label: "Sources", ...number("n", 0), width: "5rem" });
    columns.push({ key: "nights", label: "Nights", ...number("nights", 0), width: "4.5rem" });
    columns.push({ key: "bands", label: "Bands", ...words("bands"), width: "4.5rem" });
    columns.push({ key: "snr", label: "SNR", ...number("snr", 1), width: "4rem" });
    columns.push({ key: "start", label: "First MJD", ...number("start", 2), width: "6rem" });
    columns.push({ key: "days", label: "Days", ...number("days", 1), width: "4rem" });
    if (objects.has("v_hostOffset")) columns.push({ key: "host", label: "Host ″", ...number("v_hostOffset", 2), width: "4.2rem" });
    if (objects.categories.truth.some(Boolean)) columns.push({ key: "truth", label: "True class", ...words("truth"), width: "6.5rem" });
    return columns;
  }

  build() {
    const template = this.columns.map((c) => c.width).join(" ");
    this.root.style.setProperty("--columns", template);
    this.status = el("p", { class: "muted", role: "status", id: "candidate-count" });
    this.head = el("div", { class: "row head", role: "row" });
    for (const [k, column] of this.columns.entries()) {
      const button = column.stamp ? column.label : el("button", { type: "button", "data-sort": column.key, onclick: () => this.sortBy(column) }, column.label, el("span", { class: "arrow", "aria-hidden": "true" }));
      this.head.append(el("div", { role: "columnheader", "aria-colindex": k + 1, class: column.number ? "number" : "" }, button));
    }
    this.body = el("div", { class: "rows", role: "rowgroup" });
    this.space = el("div", { class: "space" }, this.body);
    this.view = el("div", { class: "viewport", role: "table", "aria-label": "Objects", tabindex: 0, onscroll: () => this.draw(), onkeydown: (event) => this.key(event) }, el("div", { role: "rowgroup", class: "sticky" }, this.head), this.space);
    this.root.replaceChildren(this.controls(), this.status, this.view);
    new ResizeObserver(() => this.draw()).observe(this.view);
  }

  controls() {
    const { objects, visits } = this.data;
    const change = (name, convert) => (event) => {
      this.filters[name] = convert(event.target.value);
      this.apply();
    };
    const input = (label, name, attributes, convert = (v) => v) => el("label", { class: "field" }, label, el("input", { name, ...attributes, oninput: change(name, convert) }));
    const select = (label, name, values) => el("label", { class: "field" }, label, el("select", { name, onchange: change(name, (v) => v) }, el("option", { value: "" }, "all"), ...values.map((v) => el("option", { value: v }, Format.words(v)))));
    const parts = [input("Id contains", "text", { type: "search", placeholder: "object or source id" }, (v) => v.trim())];
    if (objects.has("v_verdict")) parts.push(select("Verdict", "verdict", objects.categories.v_verdict.filter(Boolean)));
    if (objects.categories.truth.some(Boolean)) parts.push(select("True class", "truth", objects.categories.truth.filter(Boolean)));
    parts.push(select("Band", "band", [...new Set(visits.categories.band)]));
    parts.push(input("Best score from", "score", { type: "number", min: 0, max: 1, step: 0.05, value: 0 }, Number));
    parts.push(input("Sources from", "detections", { type: "number", min: 1, step: 1, value: 1 }, Number));
    parts.push(input("Nights from", "nights", { type: "number", min: 1, step: 1, value: 1 }, Number));
    return el("form", { class: "filters", onsubmit: (event) => event.preventDefault(), "aria-label": "Filter objects" }, ...parts);
  }

  sortBy(column) {
    const down = this.sort.key === column.key ? !this.sort.down : Boolean(column.number);
    this.sort = { key: column.key, down };
    this.apply();
  }

  apply() {
    const { objects, sources } = this.data;
    const { text, verdict, truth, band, score, detections, nights } = this.filters;
    let bySource = -1;
    if (text) bySource = Data.index(sources).has(text) ? sources.col.object[Data.index(sources).get(text)] : -1;
    const rows = [];
    for (let i = 0; i < objects.rows; i++) {
      if (verdict && objects.get("v_verdict", i) !== verdict) continue;
      if (truth && objects.get("truth", i) !== truth) continue;
      if (band && !objects.get("bands", i).includes(band)) continue;
      if (score > 0 && !(objects.col.best[i] >= score)) continue;
      if (objects.col.n[i] < detections || objects.col.nights[i] < nights) continue;
      if (text && i !== bySource && !objects.get("id", i).includes(text)) continue;
      rows.push(i);
    }
    const column = this.columns.find((c) => c.key === this.sort.key);
    const values = new Map(rows.map((i) => [i, column.value(i)]));
    const sign = this.sort.down ? -1 : 1;
    rows.sort((a, b) => this.compare(values.get(a), values.get(b), sign) || a - b);
    this.rows = rows;
    this.active = 0;
    this.view.scrollTop = 0;
    this.status.textContent = `${Format.count(rows.length)} of ${Format.count(objects.rows)} objects`;
    for (const [k, cell] of [...this.head.children].entries()) {
      const sorted = this.columns[k].key === this.sort.key;
      cell.setAttribute("aria-sort", sorted ? (this.sort.down ? "descending" : "ascending") : "none");
    }
    this.view.setAttribute("aria-rowcount", rows.length + 1);
    this.draw();
  }

  /* What is not known comes last, whichever way. */
  compare(a, b, sign) {
    const lost = (v) => v === "" || Number.isNaN(v);
    if (lost(a) || lost(b)) return lost(a) - lost(b);
    return a < b ? -sign : a > b ? sign : 0;
  }

  draw() {
    const first = Math.max(Math.floor(this.view.scrollTop / Candidates.ROW) - 4, 0);
    const last = Math.min(first + Math.ceil((this.view.clientHeight || 520) / Candidates.ROW) + 8, this.rows.length);
    const drawn = [first, last, this.active, Colours.dark()].join();
    if (this.drawn === drawn && this.drawnRows === this.rows) return;
    this.drawn = drawn;
    this.drawnRows = this.rows;
    this.space.style.height = `${this.rows.length * Candidates.ROW}px`;
    this.body.style.transform = `translateY(${first * Candidates.ROW}px)`;
    this.body.replaceChildren(...this.rows.slice(first, last).map((row, k) => this.row(row, first + k)));
  }

  row(object, place) {
    const cells = this.columns.map((column) => {
      const attributes = { role: "cell", class: [column.number && "number", column.mono && "mono"].filter(Boolean).join(" ") };
      if (column.stamp) return el("div", attributes, Stamps.canvas(bestSource(this.data, object)));
      if (column.chip) return el("div", attributes, chip(column.text(object)));
      return el("div", attributes, column.text(object));
    });
    const current = place === this.active;
    return el("div", { class: `row${current ? " active" : ""}`, role: "row", "aria-rowindex": place + 2, "data-object": this.data.objects.get("id", object), onclick: () => this.open(place) }, ...cells);
  }

  /* Mark an object that was opened elsewhere. */
  mark(object) {
    const place = this.rows.indexOf(object);
    if (place >= 0) this.active = place;
    this.draw();
  }

  open(place) {
    this.active = place;
    if (this.rows[place] !== undefined) this.onOpen(this.rows[place], this.rows);
    this.draw();
  }

  key(event) {
    if (event.target !== this.view) return;
    const page = Math.max(Math.floor(this.view.clientHeight / Candidates.ROW) - 2, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.rows.length, End: this.rows.length };
    if (event.key === "Enter") this.open(this.active);
    else if (event.key in steps) {
      this.active = Math.min(Math.max(this.active + steps[event.key], 0), this.rows.length - 1);
      const top = this.active * Candidates.ROW;
      const room = this.view.clientHeight - 2 * Candidates.ROW;
      if (top < this.view.scrollTop) this.view.scrollTop = top;
      if (top > this.view.scrollTop + room) this.view.scrollTop = top - room;
      this.draw();
    } else return;
    event.preventDefault();
  }
}

/* The source of an object with the highest score that has a stamp, or else the first. */
function bestSource(data, object) {
  const { sources, objects } = data;
  const first = objects.col.first[object];
  let best = first;
  let highest = -1;
  for (let i = first; i < first + objects.col.n[object]; i++) {
    const score = (Number.isNaN(sources.col.reliability[i]) ? 0 : sources.col.reliability[i]) + (Stamps.has(i) ? 1 : 0);
    if (score > highest) [best, highest] = [i, score];
  }
  return best;
}

function chip(text) {
  const swatch = el("span", { class: "swatch" });
  swatch.style.background = Colours.of(text);
  return el("span", { class: "tag" }, swatch, text);
}
