"use strict";

/* The parts of the page put together. */
const App = (() => {
  const $ = (id) => document.getElementById(id);
  let data;
  let map;
  let panel;
  let candidates;
  let gallery;
  let current = -1;
  let list = [];
  let objectList = [];
  let silent = false;

  async function start() {
    data = await Data.load();
    Labels.start(data);
    Stamps.start(data);
    header();
    overview();
    mapView();
    candidates = new Candidates(data, $("candidates-body"), { onOpen: (object, rows) => openObject(object, bestSource(data, object), rows) });
    gallery = new Gallery(data, $("galleries-body"), { onPoint: (row) => point(row, gallery.rows()), onOpen: (row) => open(row, gallery.rows()) });
    panel = new Panel(data, $("panel"), { onClose: closed, onSource: (row, follow) => (follow ? open(row) : point(row)), onStep: stepObject });
    labels();
    Theme.onChange(redraw);
    $("theme").addEventListener("click", Theme.toggle);
    document.addEventListener("keydown", keys);
    addEventListener("hashchange", follow);
    follow();
    document.documentElement.dataset.ready = "yes";
  }

  function header() {
    const { meta } = data;
    const { totals } = meta;
    $("subtitle").textContent = `${meta.instrument} · ${meta.collection}`;
    $("model").textContent = `Scores of ${meta.scoreModel[0]}, version ${meta.scoreModel[1]}`;
    $("counts").replaceChildren(...Overview.counts(data));
    $("notes").replaceChildren(...Overview.notes(data));
    $("notes-box").hidden = !meta.notes.length;
    $("notes-count").textContent = `${meta.notes.length} ${meta.notes.length === 1 ? "thing" : "things"} that this page does not show`;
    $("notes-box").open = totals.sources_shown < totals.sources;
  }

  function overview() {
    const model = data.meta.models[data.meta.model];
    const names = model ? Object.keys(model.thresholds) : [];
    $("threshold").replaceChildren(...names.map((name) => el("option", { value: name }, `${Format.number(model.thresholds[name], 3)}, ${thresholdName(name)}`)));
    $("threshold-field").hidden = names.length < 2;
    $("threshold").onchange = figures;
    figures();
  }

  function thresholdName(name) {
    if (name.startsWith("fpr_")) return `where ${100 * Number(name.slice(4))} % of artefacts pass`;
    if (name.startsWith("tpr_")) return `where ${100 * Number(name.slice(4))} % of injections pass`;
    return Format.words(name);
  }

  function figures() {
    const threshold = $("threshold").value;
    $("cards").replaceChildren(...Overview.cards(data, threshold));
    $("figures-table").replaceChildren(Overview.table(data, threshold) || el("p", { class: "note" }, "There are no metrics in the collection."));
    const curves = Overview.curves(data, threshold);
    $("curve-legend").replaceChildren(...Overview.legend(data));
    $("curves-body").replaceChildren(...(curves.length ? curves : [el("p", { class: "note" }, "There are no curves in the collection.")]));
    $("confusion").replaceChildren(...Overview.confusions(data, threshold));
  }

  function mapView() {
    map = new MapView(data, { canvas: $("scatter"), legend: $("legend"), count: $("map-count"), onPoint: (row) => point(row), onOpen: (row) => open(row) });
    const views = projections(data);
    const colours = colourings(data);
    $("projection").replaceChildren(...views.map((view, k) => el("option", { value: k }, view.label)));
    $("colour").replaceChildren(...colours.map((option, k) => el("option", { value: k }, option.label)));
    $("map-band").replaceChildren(el("option", { value: "" }, "all"), ...data.visits.categories.band.map((band) => el("option", { value: band }, band)));
    const view = () => {
      const chosen = views[Number($("projection").value)];
      map.scatter.project(chosen);
      $("axes").textContent = chosen.axes ? `across: ${chosen.axes[0]}${chosen.log ? " (log)" : ""}; up: ${chosen.axes[1]}` : "near on the map: alike to the network; axes have no unit";
    };
    const limit = () => {
      map.limits = { score: [Number($("score-low").value), Number($("score-high").value)], snr: Number($("snr-low").value), band: $("map-band").value };
      map.filter();
    };
    $("projection").onchange = () => {
      view();
      map.filter();
    };
    $("colour").onchange = () => map.colourBy(colours[Number($("colour").value)]);
    for (const id of ["score-low", "score-high", "snr-low", "map-band"]) $(id).oninput = limit;
    $("reset-view").onclick = () => map.scatter.reset();
    $("zoom-in").onclick = () => map.scatter.zoom(0.7);
    $("zoom-out").onclick = () => map.scatter.zoom(1.4);
    view();
    map.colourBy(colours[0]);
    inspector(-1);
  }

  /* Show a source beside the map. */
  function point(row, rows) {
    current = row;
    if (rows) list = rows;
    map.scatter.select(row);
    inspector(row);
  }

  function inspector(row) {
    const { sources, visits } = data;
    $("inspector").dataset.source = row < 0 ? "" : sources.get("id", row);
    $("inspect-hint").hidden = row >= 0;
    $("inspect-body").hidden = row < 0;
    if (row < 0) return;
    Stamps.draw($("inspect-stamp"), row);
    const visit = sources.col.visit[row];
    const facts = [
      ["score", `${Format.number(sources.col.reliability[row])}${Number.isNaN(sources.col.reliability_err[row]) ? "" : ` ± ${Format.number(sources.col.reliability_err[row])}`}`],
      ["SNR", Format.number(sources.col.snr[row], 1)],
      ["strangeness", Format.number(sources.col.ood[row], 2)],
      ["blend", Format.number(sources.col.p_blend[row], 2)],
      ["visit", `${visits.get("visit", visit)} ${visits.get("band", visit)}, detector ${sources.col.detector[row]}`],
      ["class", Format.words([sources.get("truth", row) || sources.get("state", row), sources.get("cause", row)].filter(Boolean).join(", ")) || "–"],
    ];
    if (sources.get("reason", row)) facts.push(["no score", sources.get("reason", row)]);
    if (sources.col.glint[row]) facts.push(["trail", "one of a row of flashes"]);
    $("inspect-facts").replaceChildren(...facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
    $("inspect-id").textContent = sources.get("id", row);
    $("inspect-reach").textContent = Stamps.has(row) ? `science, template, difference to ±${Format.number(Stamps.reach(row), 0)} σ` : "no stamp on this page";
    $("inspect-labels").replaceChildren(Labels.buttons(sources.get("id", row)));
    $("inspect-open").onclick = () => open(row);
    $("inspect-live").textContent = `Source ${sources.get("id", row)}, score ${Format.number(sources.col.reliability[row])}, ${facts[5][1]}`;
  }

  function open(row, rows) {
    point(row, rows);
    openObject(data.sources.col.object[row], row);
  }

  function openObject(object, source, rows) {
    if (rows) objectList = rows;
    point(source);
    panel.show(object, source);
    candidates.mark(object);
    const id = data.objects.col.id[object];
    const hash = id === 0n ? `#source=${data.sources.get("id", source)}` : `#object=${data.objects.get("id", object)}`;
    if (location.hash !== hash) {
      silent = true;
      location.hash = hash;
    }
  }

  function closed() {
    if (/^#(object|source)=/.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);
  }

  /* Open what the address names. */
  function follow() {
    if (silent) {
      silent = false;
      return;
    }
    const [, kind, id] = location.hash.match(/^#(object|source)=(\d+)$/) || [];
    if (!kind) return;
    const row = Data.index(kind === "object" ? data.objects : data.sources).get(id);
    if (row === undefined) return;
    if (kind === "object") openObject(row, bestSource(data, row));
    else open(row);
  }

  function stepObject(direction) {
    const rows = objectList.length ? objectList : candidates.rows;
    const at = rows.indexOf(panel.object);
    const next = rows[at < 0 ? 0 : at + direction];
    if (next !== undefined) openObject(next, bestSource(data, next));
  }

  /* Keys of the whole page: labels, and the next or the previous source. */
  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key in Labels.NAMES && current >= 0) Labels.set(data.sources.get("id", current), Labels.NAMES[event.key]);
    else if (event.key === "x" && current >= 0) Labels.set(data.sources.get("id", current), "");
    else if (event.key === "n") step(1);
    else if (event.key === "p") step(-1);
    else if (event.key === "o" && current >= 0) open(current);
    else if (event.key === "Escape" && panel.open) panel.close();
    else return;
    event.preventDefault();
  }

  function step(direction) {
    const rows = panel.open ? panel.rows() : list.length ? list : (list = map.visible());
    const at = rows.indexOf(current);
    const next = rows[at < 0 ? 0 : at + direction];
    if (next === undefined) return;
    if (panel.open) panel.pick(next);
    else point(next);
  }

  function labels() {
    const show = (kept = true) => {
      const counts = Labels.counts();
      $("label-counts").textContent = `${counts.real} real, ${counts.bogus} bogus, ${counts.unsure} unsure`;
      $("label-warning").hidden = kept;
      $("label-save").disabled = $("label-clear").disabled = Labels.size() === 0;
    };
    Labels.onChange(show);
    Labels.onChange(() => {
      if (map.option && map.option.key === "human") map.colourBy(map.option);
    });
    $("label-save").onclick = Labels.save;
    $("label-clear").onclick = () => {
      if (confirm(`Forget ${Labels.size()} labels?`)) Labels.clear();
    };
    $("label-read").onchange = async (event) => {
      const [file] = event.target.files;
      try {
        $("label-message").textContent = `${Labels.read(await file.text())} labels read from ${file.name}.`;
      } catch (error) {
        $("label-message").textContent = `${file.name}: ${error.message}`;
      }
      event.target.value = "";
    };
    show();
  }

  function redraw() {
    map.colourBy(map.option);
    figures();
    candidates.draw();
    if (panel.open) panel.draw();
  }

  start().catch((error) => {
    $("failure").hidden = false;
    $("failure").textContent = `This page could not be opened: ${error.message}. It needs a browser of 2023 or later.`;
    throw error;
  });
  return { open, openObject, point, state: () => ({ data, map, panel, candidates, current }) };
})();
