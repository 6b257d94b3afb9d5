"use strict";

/* Headline figures, curves and confusion. */
const Overview = (() => {
  const DASHES = { injected_vs_unlabelled: "", real_vs_artefact: "6 3", transient_vs_artefact: "8 3 2 3", uninjected_real_vs_artefact: "2 3" };
  const COLOURS = { injected_vs_unlabelled: "injected", real_vs_artefact: "hidden", transient_vs_artefact: "variable", uninjected_real_vs_artefact: "moving" };

  const best = (model) => ["real_vs_artefact", "injected_vs_unlabelled"].find((name) => model.headline[name]);

  function cards(data, threshold) {
    const { meta } = data;
    const model = meta.models[meta.model];
    const parts = [];
    if (model && best(model)) {
      const comparison = best(model);
      const figures = model.headline[comparison];
      const about = model.names[comparison];
      const at = Format.number(model.thresholds[threshold], 2);
      const add = (title, key, text) => figures[key] && parts.push(card(title, figures[key], text));
      add("AUC", "auc", about);
      add("Completeness", `completeness_snr6_${threshold}`, `score ≥ ${at}, SNR ≥ 6; ${about}`);
      add("Purity", `purity_snr6_${threshold}`, `score ≥ ${at}, SNR ≥ 6; of this sample`);
      add(`Purity, if ${Format.number(100 * model.stated_prevalence, 0)} % are real`, `purity_at_prevalence_${model.stated_prevalence}_snr6_${threshold}`, `score ≥ ${at}, SNR ≥ 6`);
    }
    if (meta.injection && meta.injection.all && meta.injection.all.completeness) {
      parts.push(card("Injections recovered", meta.injection.all.completeness, `of ${Format.count(meta.injection.all.n)} on the images`));
    }
    return parts;
  }

  function card(title, figure, about) {
    return el(
      "div",
      { class: "card" },
      el("div", { class: "card-title" }, title),
      el("div", { class: "card-value" }, Format.number(figure.value)),
      el("div", { class: "card-interval" }, Format.interval(figure) ? `95 %: ${Format.interval(figure)}` : "no interval"),
      el("div", { class: "card-about" }, about),
    );
  }

  function counts(data) {
    const { meta, objects } = data;
    const { totals } = meta;
    const lines = [[`${Format.count(totals.sources)}`, "sources"], [`${Format.count(totals.objects)}`, "objects"], [`${data.visits.rows}`, "visits"]];
    if (objects.has("v_verdict")) {
      const found = new Map();
      for (let i = 0; i < objects.rows; i++) {
        const name = objects.get("v_verdict", i) || "without verdict";
        found.set(name, (found.get(name) || 0) + 1);
      }
      for (const [name, n] of [...found].sort((a, b) => b[1] - a[1])) lines.push([Format.count(n), name]);
    }
    return lines.map(([n, name]) => el("div", { class: "stat" }, el("strong", {}, n), el("span", {}, Format.words(name))));
  }

  function table(data, wanted) {
    const rows = [];
    for (const [prefix, model] of Object.entries(data.meta.models)) {
      const threshold = wanted in model.thresholds ? wanted : Object.keys(model.thresholds)[0];
      for (const [name, figures] of Object.entries(model.headline)) {
        const keys = ["auc", `completeness_snr6_${threshold}`, `purity_snr6_${threshold}`, `purity_at_prevalence_${model.stated_prevalence}_snr6_${threshold}`];
        rows.push(
          el(
            "tr",
            {},
            el("th", { scope: "row" }, model.title || prefix),
            el("td", {}, model.names[name]),
            ...keys.map((key) => el("td", { class: "number" }, figures[key] ? Format.number(figures[key].value) : "–", el("span", { class: "interval" }, figures[key] ? Format.interval(figures[key]) : ""))),
          ),
        );
      }
    }
    if (!rows.length) return null;
    const heads = ["Model", "Told apart", "AUC", "Completeness", "Purity", "Purity at stated prevalence"];
    return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures of all models" }, el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...rows)));
  }

  /* Panels of curves: which curve, of which selection, and its axes. */
  const PANELS = [
    { curve: "roc", subset: "all", title: "ROC", x: { low: 1e-4, high: 1, log: true, label: "false-positive rate" }, y: { low: 0, high: 1, label: "true-positive rate" } },
    { curve: "precision_recall", subset: "all", title: "Purity against completeness", x: { low: 0, high: 1, label: "completeness" }, y: { low: 0, high: 1, label: "purity of this sample" } },
    { curve: "completeness_snr", subset: "all", title: "Completeness against SNR", x: { log: true, label: "SNR" }, y: { low: 0, high: 1, label: "completeness" } },
    { curve: "purity_snr", subset: "all", title: "Purity against SNR", x: { log: true, label: "SNR" }, y: { low: 0, high: 1, label: "purity of this sample" } },
    { curve: "completeness_magnitude", subset: "all", title: "Completeness against magnitude", x: { label: "AB magnitude of the difference" }, y: { low: 0, high: 1, label: "completeness" } },
    { curve: "calibration", subset: "all", title: "Calibration", x: { low: 0, high: 1, label: "mean probability" }, y: { low: 0, high: 1, label: "fraction that is real" }, diagonal: true },
  ];

  function curves(data, wanted) {
    const { curves: series, models, model } = data.meta;
    const threshold = models[model] ? models[model].thresholds[wanted] : 0.5;
    return PANELS.map((panel) => {
      const chosen = series.filter((s) => s.curve === panel.curve && s.subset === panel.subset && (s.threshold === null || Math.abs(s.threshold - threshold) < 1e-4 * threshold));
      return chosen.length ? el("figure", {}, el("figcaption", {}, panel.title), chart(panel, chosen)) : null;
    }).filter(Boolean);
  }

  function chart(panel, series) {
    const x = { ...panel.x };
    if (x.low === undefined) {
      const all = series.flatMap((s) => s.x).filter((v) => v !== null);
      [x.low, x.high] = x.log ? [Math.min(...all) * 0.9, Math.max(...all) * 1.1] : [Math.min(...all) - 0.3, Math.max(...all) + 0.3];
    }
    const { root, plot, X, Y } = Charts.frame({ x, y: panel.y, title: panel.title });
    if (panel.diagonal) plot.append(Charts.path([[X(0), Y(0)], [X(1), Y(1)]], { class: "diagonal" }));
    for (const s of series) {
      const colour = Colours.of(COLOURS[s.comparison] || "injected");
      const binned = /snr|magnitude|calibration/.test(s.curve);
      const points = s.x.map((v, i) => [v, s.y[i], s.low[i], s.high[i]]).filter(([v, w]) => v !== null && w !== null).map(([v, ...rest]) => [x.log ? Math.max(v, x.low) : v, ...rest]);
      const banded = points.filter(([, , low, high]) => low !== null && high !== null);
      if (banded.length > 1) plot.append(Charts.area(banded.map(([v, , low, high]) => [X(v), Y(low), Y(high)]), { fill: colour, "fill-opacity": 0.1 }));
      plot.append(Charts.path(points.map(([v, w]) => [X(v), Y(w)]), { stroke: colour, "stroke-width": 2, "stroke-dasharray": DASHES[s.comparison] || "" }));
      if (binned) for (const [v, w] of points) plot.append(Charts.mark("circle", X(v), Y(w), 2.6, { fill: colour }));
    }
    return root;
  }

  function legend(data) {
    const model = data.meta.models[data.meta.model];
    const names = [...new Set(data.meta.curves.map((s) => s.comparison))];
    return names.map((name) => {
      const line = Charts.svg("svg", { width: 34, height: 10, "aria-hidden": "true" }, Charts.svg("line", { x1: 1, x2: 33, y1: 5, y2: 5, stroke: Colours.of(COLOURS[name] || "injected"), "stroke-width": 2.5, "stroke-dasharray": DASHES[name] || "" }));
      return el("span", { class: "legend-item" }, line, model && model.names[name] ? model.names[name] : Format.words(name));
    });
  }

  function confusions(data, threshold) {
    const model = data.meta.models[data.meta.model];
    const parts = [];
    if (model) {
      for (const [name, of] of Object.entries(model.confusion)) if (of[threshold]) parts.push(binary(model.names[name], of[threshold], model.thresholds[threshold]));
    }
    const verdicts = data.meta.verdictConfusion;
    if (verdicts && verdicts.rows.length) parts.push(matrix("Verdicts of objects by their true class", verdicts.rows, verdicts.columns, verdicts.cells));
    return parts;
  }

  function binary(title, cells, threshold) {
    const { tp, fp, fn, tn } = cells;
    const row = (a, b, rate) => {
      const total = Math.max(a + b, 1);
      const ends = rate ? [[rate.low, rate.high], [1 - rate.high, 1 - rate.low]] : [[], []];
      return [a, b].map((count, k) => ({ count, fraction: count / total, low: ends[k][0], high: ends[k][1] }));
    };
    const [positive, negative] = title.replace(/ \(.*/, "").split(" / ");
    return matrix(title, [positive, negative || "other"], [`score ≥ ${Format.number(threshold, 2)}`, "below"], [row(tp, fn, cells.sensitivity), row(fp, tn, cells.false_positive_rate)]);
  }

  function matrix(title, rows, columns, cells) {
    const body = rows.map((row, i) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, Format.words(row)),
        ...cells[i].map((cell) => {
          const shade = Math.round(70 * (cell.fraction || 0));
          const td = el("td", { class: "cell" }, el("span", { class: "cell-count" }, Format.count(cell.count)), el("span", { class: "interval" }, `${Format.number(100 * cell.fraction, 1)} %`, cell.low === undefined || cell.low === null ? "" : ` (${Format.number(100 * cell.low, 1)}–${Format.number(100 * cell.high, 1)})`));
          td.style.setProperty("--shade", `${shade}%`);
          return td;
        }),
      ),
    );
    return el("figure", { class: "matrix", tabindex: 0 }, el("figcaption", {}, title), el("table", {}, el("thead", {}, el("tr", {}, el("td"), ...columns.map((c) => el("th", { scope: "col" }, Format.words(c))))), el("tbody", {}, ...body)));
  }

  function notes(data) {
    return data.meta.notes.map((note) => el("li", { class: note.kind }, note.text));
  }

  return { cards, counts, table, curves, legend, confusions, notes };
})();
