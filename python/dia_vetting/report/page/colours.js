"use strict";

/* Colours that people with any kind of colour vision tell apart (Okabe & Ito 2008), in a light and a dark page. */
const Colours = (() => {
  const CLASSES = {
    injected: ["#0072b2", "#56b4e9"], hidden: ["#d55e00", "#ff8a3d"], variable: ["#009e73", "#2fd0a0"],
    moving: ["#b0508a", "#e59bc9"], artefact: ["#8f959c", "#7d8590"], unlabelled: ["#8f959c", "#7d8590"],
    ambiguous: ["#b58900", "#e6b73c"], masked: ["#6f6256", "#a8988a"],
    confirmed: ["#0072b2", "#56b4e9"], candidate: ["#d55e00", "#ff8a3d"], unknown: ["#b58900", "#e6b73c"],
    yes: ["#d55e00", "#ff8a3d"], no: ["#8f959c", "#7d8590"], "not known": ["#6f6256", "#a8988a"],
    real: ["#0072b2", "#56b4e9"], bogus: ["#d55e00", "#ff8a3d"], unsure: ["#b58900", "#e6b73c"],
    u: ["#7a4fb5", "#b794f6"], g: ["#0072b2", "#56b4e9"], r: ["#d55e00", "#ff8a3d"], i: ["#009e73", "#2fd0a0"],
    z: ["#b58900", "#e6b73c"], y: ["#b0508a", "#e59bc9"],
  };
  const SPARE = [
    ["#0072b2", "#56b4e9"], ["#d55e00", "#ff8a3d"], ["#009e73", "#2fd0a0"], ["#b0508a", "#e59bc9"],
    ["#b58900", "#e6b73c"], ["#7a4fb5", "#b794f6"],
  ];
  const MARKS = ["circle", "square", "diamond", "up", "down", "cross"];
  /* Stops of viridis, darker at its bright end on a light page. */
  const RAMP = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
  const RAMP_LIGHT = [[68, 1, 84], [64, 67, 135], [41, 120, 142], [30, 152, 120], [94, 166, 50], [196, 160, 0]];
  const MISSING = { light: [150, 140, 128], dark: [104, 96, 88] };

  const dark = () => document.documentElement.dataset.theme === "dark";

  function of(name, index = 0) {
    const pair = CLASSES[name] || SPARE[index % SPARE.length];
    return pair[dark() ? 1 : 0];
  }

  function mark(band) {
    const at = "ugrizy".indexOf(band);
    return MARKS[at < 0 ? 0 : at];
  }

  function rgb(hex) {
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }

  function ramp(fraction) {
    if (Number.isNaN(fraction)) return MISSING[dark() ? "dark" : "light"];
    const stops = dark() ? RAMP.map((c, i) => (i ? c : [98, 40, 130])) : RAMP_LIGHT;
    const at = Math.min(Math.max(fraction, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((value, k) => Math.round(value + (at - low) * (stops[low + 1][k] - value)));
  }

  function rampCss() {
    const parts = Array.from({ length: 11 }, (_, k) => `rgb(${ramp(k / 10).join(" ")})`);
    return `linear-gradient(to right, ${parts.join(", ")})`;
  }

  return { of, mark, rgb, ramp, rampCss, dark };
})();

/* Light or dark: as the system has it, or as was chosen here. */
const Theme = (() => {
  const KEY = "dia_vetting.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function apply() {
    document.documentElement.dataset.theme = stored() || (system.matches ? "dark" : "light");
    for (const listener of listeners) listener();
  }

  function toggle() {
    const next = Colours.dark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      document.documentElement.dataset.theme = next;
    }
    apply();
  }

  system.addEventListener("change", apply);
  apply();
  return { toggle, onChange: (listener) => listeners.push(listener) };
})();
