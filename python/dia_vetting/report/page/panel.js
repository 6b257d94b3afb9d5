"use strict";

/* All that is known of one object. */
class Panel {
  constructor(data, root, { onClose, onSource, onStep }) {
    Object.assign(this, { data, root, onClose, onSource, onStep });
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  get open() {
    return !this.root.hidden;
  }

  show(object, source) {
    this.object = object;
    this.source = source;
    if (this.root.hidden) this.opener = document.activeElement;
    this.root.hidden = false;
    document.body.classList.add("with-panel");
    this.draw();
    this.root.scrollTop = 0;
    this.root.querySelector("h2").focus({ preventScroll: true });
  }

  close() {
    if (this.root.hidden) return;
    this.root.hidden = true;
    document.body.classList.remove("with-panel");
    this.onClose();
    if (this.opener && this.opener.isConnected) this.opener.focus({ preventScroll: true });
  }

  rows() {
    const { first, n } = this.data.objects.col;
    return Array.from({ length: n[this.object] }, (_, k) => first[this.object] + k);
  }

  draw() {
    const { objects } = this.data;
    const id = objects.get("id", this.object);
    const known = objects.col.id[this.object] !== 0n;
    const title = known ? `Object ${id}` : "Source without an object";
    this.root.dataset.object = id;
    this.root.replaceChildren(
      el(
        "header",
        { class: "panel-head" },
        el("h2", { tabindex: -1, id: "panel-title" }, title),
        el("div", { class: "panel-tools" },
          el("button", { type: "button", class: "plain-button", title: "Previous object", "aria-label": "Previous object", onclick: () => this.onStep(-1) }, "↑"),
          el("button", { type: "button", class: "plain-button", title: "Next object", "aria-label": "Next object", onclick: () => this.onStep(1) }, "↓"),
          el("button", { type: "button", class: "plain-button", id: "panel-close", "aria-label": "Close (Escape)", onclick: () => this.close() }, "✕")),
      ),
      this.verdict(),
      this.facts(),
      this.light(),
      el("section", {}, el("h3", {}, "Detections"), this.triplets()),
      this.alike(),
      this.query(),
      this.details(),
    );
  }

  verdict() {
    const { objects, meta } = this.data;
    if (!objects.has("v_verdict") || !objects.get("v_verdict", this.object)) {
      return el("p", { class: "note" }, "There is no verdict of this object in the collection.");
    }
    const flags = objects.col.v_flags[this.object];
    const set = meta.verdictFlags.filter(({ bit }) => (flags >> BigInt(bit)) & 1n);
    const names = (missing) => set.filter((f) => f.missing === missing).map((f) => el("li", { class: missing ? "reason missing" : "reason" }, Format.words(f.name.toLowerCase())));
    return el(
      "section",
      { class: "verdict" },
      el("div", { class: "verdict-line" }, chip(objects.get("v_verdict", this.object)), el("span", { class: "probability" }, `probability ${Format.number(objects.col.v_probability[this.object])}`)),
      el("ul", { class: "reasons", "aria-label": "Reasons" }, ...names(false)),
      set.some((f) => f.missing) ? el("ul", { class: "reasons", "aria-label": "Not known" }, ...names(true)) : null,
    );
  }

  facts() {
    const { objects } = this.data;
    const o = this.object;
    const value = (name) => (objects.has(name) ? objects.get(name, o) : NaN);
    const facts = [
      ["Position", `${Format.number(objects.col.ra[o], 6)}  ${Format.number(objects.col.dec[o], 6)}`],
      ["Detections", `${objects.col.n[o]} in ${objects.col.nights[o]} ${objects.col.nights[o] === 1 ? "night" : "nights"}, ${objects.get("bands", o)}`],
      ["Best score", Format.number(objects.col.best[o])],
    ];
    if (objects.get("truth", o)) facts.push(["True class", Format.words(objects.get("truth", o))]);
    if (objects.has("v_hostObjectId")) facts.push(["Host", this.host(value)]);
    else facts.push(["Host", "not known: no verdicts"]);
    if (objects.has("v_starOffset") && !Number.isNaN(value("v_starOffset"))) facts.push(["Nearest star", `${Format.number(value("v_starOffset"), 2)}″, ${Format.number(value("v_starMag"), 1)} mag`]);
    return el("dl", { class: "facts" }, ...facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
  }

  host(value) {
    if (value("v_hostObjectId") === "0") return value("v_hostless") ? "none within reach" : "not known";
    return `${Format.number(value("v_hostOffset"), 2)}″ (${Format.number(value("v_hostOffsetRadii"), 2)} radii), ${Format.number(value("v_hostMag"), 1)} mag, ${value("v_hostObjectId")}`;
  }

  light() {
    return el("section", { class: "light" }, el("h3", {}, "Light curve and scores"), ...LightCurve.draw(this.data, this.object, this.rows(), this.source, (row) => this.pick(row)));
  }

  pick(row) {
    this.source = row;
    this.onSource(row);
    this.root.querySelectorAll("[data-source-row]").forEach((node) => node.classList.toggle("current", Number(node.dataset.sourceRow) === row));
    const tile = this.root.querySelector(`.tile[data-source-row="${row}"]`);
    if (tile) tile.scrollIntoView({ block: "nearest" });
  }

  triplets() {
    const { sources, visits } = this.data;
    const tiles = this.rows().map((row) => {
      const visit = sources.col.visit[row];
      const reach = Stamps.reach(row);
      const lines = [
        `${visits.get("band", visit)}  ${Format.number(visits.col.mjd[visit], 3)}`,
        `score ${Format.number(sources.col.reliability[row])}   SNR ${Format.number(sources.col.snr[row], 1)}`,
        Number.isNaN(reach) ? "no stamp on this page" : `difference to ±${Format.number(reach, 0)} σ`,
        sources.get("reason", row) || Format.words(sources.get("cause", row) || sources.get("truth", row) || sources.get("state", row)),
      ];
      const id = sources.get("id", row);
      const button = el("button", { type: "button", class: "tile-button", "aria-label": `Source ${id}, ${lines[1]}`, onclick: () => this.pick(row) }, Stamps.canvas(row), ...lines.map((text) => el("span", { class: "tile-line" }, text)));
      return el("div", { class: `tile${row === this.source ? " current" : ""}`, "data-source-row": row, "data-source": id }, button, Labels.buttons(id, true));
    });
    return el("div", { class: "tiles" }, ...tiles);
  }

  alike() {
    const { sources } = this.data;
    const k = sources.width.neighbours || 0;
    if (!k) return el("section", {}, el("h3", {}, "What else looks like this"), el("p", { class: "note" }, "There is no embedding in the collection, so neighbours are not known."));
    const found = Array.from(sources.col.neighbours.subarray(this.source * k, (this.source + 1) * k)).filter((row) => row >= 0);
    const tiles = found.map((row) => el("button", { type: "button", class: "tile tile-button", "data-neighbour": sources.get("id", row), onclick: () => this.onSource(row, true) }, Stamps.canvas(row), el("span", { class: "tile-line" }, `score ${Format.number(sources.col.reliability[row])}`), el("span", { class: "tile-line" }, Format.words(sources.get("cause", row) || sources.get("truth", row) || sources.get("state", row)))));
    const text = found.length ? null : el("p", { class: "note" }, "None of its nearest neighbours is on this page.");
    return el("section", {}, el("h3", {}, "What else looks like this"), el("p", { class: "muted" }, `Nearest to source ${sources.get("id", this.source)} in what the network sees.`), text, el("div", { class: "tiles" }, ...tiles));
  }

  query() {
    const { objects, sources, visits, meta } = this.data;
    const row = this.source;
    const lines = [
      "from lsst.daf.butler import Butler",
      `butler = Butler(${JSON.stringify(meta.repo)}, collections=${JSON.stringify(meta.collection)}, instrument=${JSON.stringify(meta.instrument)})`,
      `data_id = {"visit": ${visits.get("visit", sources.col.visit[row])}, "detector": ${sources.col.detector[row]}}`,
      'cutouts = butler.get("dia_source_cutout", data_id)',
      `cutout = cutouts[cutouts["diaSourceId"] == ${sources.get("id", row)}]`,
    ];
    if (objects.col.id[this.object] !== 0n) {
      lines.push('for ref in butler.query_datasets("dia_source"):', "    sources = butler.get(ref)", `    print(sources[sources["diaObjectId"] == ${objects.get("id", this.object)}])`);
    }
    const text = lines.join("\n");
    const done = el("span", { class: "muted", role: "status" });
    const copy = async (what) => {
      try {
        await navigator.clipboard.writeText(what);
        done.textContent = "copied";
      } catch {
        done.textContent = "select the text to copy it";
      }
    };
    return el(
      "section",
      {},
      el("h3", {}, "Ask the butler"),
      el("pre", { class: "query", tabindex: 0 }, text),
      el("div", { class: "copy" }, el("button", { type: "button", onclick: () => copy(text) }, "Copy query"), el("button", { type: "button", onclick: () => copy(objects.get("id", this.object)) }, "Copy diaObjectId"), el("button", { type: "button", onclick: () => copy(sources.get("id", row)) }, "Copy diaSourceId"), done),
    );
  }

  details() {
    const { objects, meta } = this.data;
    const names = Object.keys(objects.col).filter((name) => name.startsWith("v_"));
    if (!names.length) return null;
    const rows = names.map((name) => {
      const value = objects.get(name, this.object);
      const { unit, about } = meta.verdictColumns[name.slice(2)] || {};
      return el("tr", {}, el("th", { scope: "row", title: about || "" }, name.slice(2)), el("td", { class: "number" }, typeof value === "number" ? Format.short(value) : value), el("td", {}, unit || ""));
    });
    return el("details", {}, el("summary", {}, "All columns of the verdict"), el("table", { class: "plain small" }, el("tbody", {}, ...rows)));
  }
}

/* Fluxes and scores against time. */
const LightCurve = (() => {
  function points(data, object, rows) {
    const { sources, visits, forced } = data;
    const detected = new Set(rows.map((row) => sources.col.visit[row]));
    const detections = rows.map((row) => {
      const visit = sources.col.visit[row];
      return { row, mjd: visits.col.mjd[visit], band: visits.get("band", visit), flux: sources.col.psfFlux[row], err: sources.col.psfFluxErr[row], score: sources.col.reliability[row], scoreErr: sources.col.reliability_err[row] };
    });
    const others = [];
    for (let i = lower(forced.col.object, object); i < forced.rows && forced.col.object[i] === object; i++) {
      if (detected.has(forced.col.visit[i])) continue;
      const point = { mjd: forced.col.mjd[i], band: forced.get("band", i), flux: forced.col.flux[i], err: forced.col.err[i], bad: forced.col.bad[i] };
      if (Number.isFinite(point.flux) && point.err > 0 && !point.bad) others.push(point);
    }
    return { detections, others };
  }

  function lower(array, value) {
    let [low, high] = [0, array.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (array[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const limit = (point) => Math.abs(point.flux) < 3 * point.err;

  function draw(data, object, rows, source, onPick) {
    const { detections, others } = points(data, object, rows);
    const all = [...detections, ...others].filter((p) => Number.isFinite(p.mjd));
    const measured = all.filter((p) => Number.isFinite(p.flux));
    if (!measured.length) return [el("p", { class: "note" }, "There is no time or flux of its detections in the collection.")];
    const times = all.map((p) => p.mjd);
    const [t0, t1] = [Math.min(...times), Math.max(...times)];
    const margin = Math.max(0.04 * (t1 - t0), 0.5);
    const offset = Math.floor(t0);
    const x = { low: t0 - margin - offset, high: t1 + margin - offset, label: `MJD − ${offset}, days (TAI)` };
    const tops = measured.map((p) => (p.row === undefined && limit(p) ? Math.max(p.flux, 0) + 3 * p.err : p.flux + p.err));
    const bottoms = measured.map((p) => (p.row === undefined && limit(p) ? 0 : p.flux - p.err));
    const [low, high] = [Math.min(0, ...bottoms), Math.max(0, ...tops)];
    const y = { low: low - 0.06 * (high - low), high: high + 0.08 * (high - low), label: "flux, nJy" };
    const flux = Charts.frame({ width: 560, height: 290, x, y, title: `Light curve: ${detections.length} detections, ${others.length} forced points` });
    flux.plot.append(Charts.path([[flux.X(x.low), flux.Y(0)], [flux.X(x.high), flux.Y(0)]], { class: "zero" }));
    for (const point of others) drawForced(flux, point, offset);
    for (const point of detections) drawDetection(flux, point, offset, source, onPick);
    const scores = Charts.frame({ width: 560, height: 150, x, y: { low: -0.05, high: 1.05, label: "score" }, title: "Scores by epoch" });
    for (const point of detections) drawScore(scores, point, offset, source, onPick);
    const bands = [...new Set(all.map((p) => p.band))].sort((a, b) => "ugrizy".indexOf(a) - "ugrizy".indexOf(b));
    return [legend(bands, others.length > 0, data), flux.root, scores.root];
  }

  function bar(frame, px, low, high, colour, opacity) {
    return Charts.svg("line", { x1: px, x2: px, y1: frame.Y(low), y2: frame.Y(high), stroke: colour, "stroke-width": 1.4, "stroke-opacity": opacity });
  }

  function drawForced(frame, point, offset) {
    const colour = Colours.of(point.band);
    const px = frame.X(point.mjd - offset);
    if (limit(point)) {
      const top = Math.max(point.flux, 0) + 3 * point.err;
      frame.plot.append(Charts.mark("down", px, frame.Y(top), 3.4, { fill: "none", stroke: colour, "stroke-opacity": 0.75 }));
      return;
    }
    frame.plot.append(bar(frame, px, point.flux - point.err, point.flux + point.err, colour, 0.6));
    frame.plot.append(Charts.mark(Colours.mark(point.band), px, frame.Y(point.flux), 3.6, { class: "hollow", stroke: colour, "stroke-width": 1.5 }));
  }

  function drawDetection(frame, point, offset, source, onPick) {
    if (!Number.isFinite(point.flux)) return;
    const colour = Colours.of(point.band);
    const px = frame.X(point.mjd - offset);
    if (Number.isFinite(point.err)) frame.plot.append(bar(frame, px, point.flux - point.err, point.flux + point.err, colour, 1));
    frame.plot.append(picked(point, source, onPick, Charts.mark(Colours.mark(point.band), px, frame.Y(point.flux), 5, { fill: colour })));
  }

  function drawScore(frame, point, offset, source, onPick) {
    if (!Number.isFinite(point.score)) return;
    const colour = Colours.of(point.band);
    const px = frame.X(point.mjd - offset);
    if (Number.isFinite(point.scoreErr)) frame.plot.append(bar(frame, px, Math.max(point.score - point.scoreErr, 0), Math.min(point.score + point.scoreErr, 1), colour, 0.8));
    frame.plot.append(picked(point, source, onPick, Charts.mark(Colours.mark(point.band), px, frame.Y(point.score), 4.5, { fill: colour })));
  }

  function picked(point, source, onPick, node) {
    node.dataset.sourceRow = point.row;
    node.setAttribute("class", point.row === source ? "epoch current" : "epoch");
    node.addEventListener("click", () => onPick(point.row));
    const title = Charts.svg("title");
    title.textContent = `${point.band}, MJD ${Format.number(point.mjd, 3)}, score ${Format.number(point.score)}`;
    node.append(title);
    return node;
  }

  function legend(bands, forced, data) {
    const items = bands.map((band) => el("span", { class: "legend-item" }, Charts.svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, Charts.mark(Colours.mark(band), 7, 7, 4.6, { fill: Colours.of(band) })), band));
    if (forced) items.push(el("span", { class: "legend-item muted" }, "filled: detected, hollow: forced, ▽: 3 σ limit"));
    else items.push(el("span", { class: "legend-item muted" }, data.meta.missing.includes("dia_object_forced_source") ? "no forced photometry in the collection" : "no forced points on this page"));
    return el("div", { class: "legend-line" }, ...items);
  }

  return { draw };
})();
