"use strict";

/* Small charts as SVG. */
const Charts = (() => {
  const NS = "http://www.w3.org/2000/svg";

  function svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function ticks(low, high, wanted = 5) {
    const rough = (high - low) / wanted;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((s) => s >= rough) || rough;
    const found = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-12 * step ? 0 : v);
    return found;
  }

  /* Powers of ten; with 2 and 5 between them where there are few. */
  function decades(low, high) {
    const between = high / low < 300 ? [1, 2, 5] : [1];
    const found = [];
    for (let e = Math.floor(Math.log10(low)); 10 ** e <= high; e++) found.push(...between.map((m) => m * 10 ** e));
    return found.filter((v) => v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9));
  }

  const tickText = (v) => (Math.abs(v) >= 10000 || (v !== 0 && Math.abs(v) < 0.001) ? v.toExponential(0) : String(+v.toPrecision(5)));

  /* Axes with scales; `x` and `y` are {low, high, log, label}. */
  function frame({ width = 380, height = 260, x, y, title }) {
    const margin = { left: 58, right: 14, top: 12, bottom: 44 };
    const inner = { w: width - margin.left - margin.right, h: height - margin.top - margin.bottom };
    const scale = ({ low, high, log }, length) => {
      const f = log ? Math.log : (v) => v;
      const span = f(high) - f(low) || 1;
      return (v) => ((f(v) - f(low)) / span) * length;
    };
    const sx = scale(x, inner.w);
    const sy = scale(y, inner.h);
    const X = (v) => margin.left + sx(v);
    const Y = (v) => margin.top + inner.h - sy(v);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": title });
    for (const v of x.log ? decades(x.low, x.high) : ticks(x.low, x.high, Math.max(inner.w / 90, 2))) {
      root.append(svg("line", { x1: X(v), x2: X(v), y1: margin.top, y2: margin.top + inner.h, class: "grid" }));
      root.append(text(X(v), margin.top + inner.h + 16, tickText(v), "middle"));
    }
    for (const v of y.log ? decades(y.low, y.high) : ticks(y.low, y.high, Math.max(inner.h / 45, 2))) {
      root.append(svg("line", { x1: margin.left, x2: margin.left + inner.w, y1: Y(v), y2: Y(v), class: "grid" }));
      root.append(text(margin.left - 8, Y(v) + 4, tickText(v), "end"));
    }
    root.append(text(margin.left + inner.w / 2, height - 6, x.label, "middle", "axis-label"));
    const label = text(0, 0, y.label, "middle", "axis-label");
    label.setAttribute("transform", `translate(13 ${margin.top + inner.h / 2}) rotate(-90)`);
    root.append(label);
    const id = `clip${++frame.count}`;
    root.append(svg("clipPath", { id }, svg("rect", { x: margin.left, y: margin.top, width: inner.w, height: inner.h })));
    const plot = svg("g", { "clip-path": `url(#${id})` });
    root.append(plot);
    return { root, plot, X, Y, margin, inner };
  }
  frame.count = 0;

  function text(x, y, content, anchor = "start", className = "tick") {
    const node = svg("text", { x, y, "text-anchor": anchor, class: className });
    node.textContent = content;
    return node;
  }

  function path(points, attributes) {
    const d = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    return svg("path", { d, fill: "none", ...attributes });
  }

  function area(points, attributes) {
    const upper = points.map(([x, , high]) => [x, high]);
    const lower = points.map(([x, low]) => [x, low]).reverse();
    const d = [...upper, ...lower].map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    return svg("path", { d: `${d}Z`, stroke: "none", ...attributes });
  }

  function mark(kind, x, y, size, attributes) {
    if (kind === "circle") return svg("circle", { cx: x, cy: y, r: size, ...attributes });
    const s = size * 1.15;
    const shapes = {
      square: [[-s, -s], [s, -s], [s, s], [-s, s]].map(([a, b]) => [0.82 * a, 0.82 * b]),
      diamond: [[0, -s * 1.2], [s * 1.2, 0], [0, s * 1.2], [-s * 1.2, 0]],
      up: [[0, -s * 1.1], [s * 1.1, s * 0.9], [-s * 1.1, s * 0.9]],
      down: [[0, s * 1.1], [s * 1.1, -s * 0.9], [-s * 1.1, -s * 0.9]],
      cross: [[-s, -s / 3], [-s / 3, -s / 3], [-s / 3, -s], [s / 3, -s], [s / 3, -s / 3], [s, -s / 3], [s, s / 3], [s / 3, s / 3], [s / 3, s], [-s / 3, s], [-s / 3, s / 3], [-s, s / 3]],
    };
    return svg("polygon", { points: shapes[kind].map(([dx, dy]) => `${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`).join(" "), ...attributes });
  }

  return { svg, frame, text, path, area, mark };
})();
