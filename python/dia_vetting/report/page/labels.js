"use strict";

/* What somebody says who looks: kept in the browser, by id of the source, until it is saved to a file. */
const Labels = (() => {
  const NAMES = { r: "real", b: "bogus", u: "unsure" };
  const listeners = [];
  let labels = new Map();
  let meta;

  const key = () => `dia_vetting.labels.${meta.instrument}.${meta.collection}`;

  function start(loaded) {
    meta = loaded.meta;
    try {
      labels = new Map(JSON.parse(localStorage.getItem(key()) || "[]"));
    } catch {
      labels = new Map();
    }
  }

  /* True if the browser keeps them over a reload. */
  function store() {
    try {
      localStorage.setItem(key(), JSON.stringify([...labels]));
      return true;
    } catch {
      return false;
    }
  }

  function changed() {
    const kept = store();
    for (const listener of listeners) listener(kept);
  }

  function set(id, label) {
    if (label) labels.set(id, { label, time: new Date().toISOString(), page: meta.id });
    else labels.delete(id);
    changed();
  }

  const of = (id) => labels.get(id)?.label || "";

  function file() {
    const rows = [...labels].map(([diaSourceId, { label, time, page }]) => ({ diaSourceId, label, time, page }));
    const head = { format: "dia_vetting labels", version: meta.version, instrument: meta.instrument, collection: meta.collection };
    return JSON.stringify({ ...head, labels: rows }, null, 1);
  }

  function save() {
    const url = URL.createObjectURL(new Blob([file()], { type: "application/json" }));
    const link = el("a", { href: url, download: `labels_${meta.instrument}_${meta.id}.json` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  /* Read a file that was saved before; a label given here since then stays. Returns how many were taken. */
  function read(text) {
    const found = JSON.parse(text);
    if (found.format !== "dia_vetting labels" || !Array.isArray(found.labels)) throw new Error("This is no file of labels.");
    let taken = 0;
    for (const { diaSourceId, label, time, page } of found.labels) {
      if (!/^\d+$/.test(diaSourceId) || !Object.values(NAMES).includes(label)) throw new Error(`Not a label: ${diaSourceId} ${label}`);
      const known = labels.get(diaSourceId);
      if (known && known.time >= time) continue;
      labels.set(diaSourceId, { label, time: String(time), page: String(page) });
      taken++;
    }
    changed();
    return taken;
  }

  function clear() {
    labels.clear();
    changed();
  }

  function counts() {
    const found = { real: 0, bogus: 0, unsure: 0 };
    for (const { label } of labels.values()) found[label]++;
    return found;
  }

  /* Three buttons for one source, which follow what is set elsewhere. */
  function buttons(id, small = false) {
    const group = el("div", { class: small ? "label-buttons small" : "label-buttons", role: "group", "aria-label": `Label of source ${id}`, "data-labels": id });
    for (const [letter, name] of Object.entries(NAMES)) {
      group.append(el("button", { type: "button", "data-label": name, title: `${name} (key ${letter})`, onclick: () => set(id, of(id) === name ? "" : name) }, small ? name[0].toUpperCase() : name));
    }
    update(group);
    return group;
  }

  function update(group) {
    const label = of(group.dataset.labels);
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.label === label));
  }

  listeners.push(() => document.querySelectorAll("[data-labels]").forEach(update));

  return { NAMES, start, set, of, file, save, read, clear, counts, buttons, size: () => labels.size, onChange: (listener) => listeners.push(listener) };
})();
