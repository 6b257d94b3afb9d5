"use strict";

/* Galleries of triplets. */
class Gallery {
  constructor(data, root, { onOpen, onPoint }) {
    Object.assign(this, { data, root, onOpen, onPoint });
    this.titles = Object.keys(data.meta.galleries);
    this.select = el("select", { id: "gallery-which", onchange: () => this.draw() }, ...this.titles.map((title, k) => el("option", { value: k }, Format.words(title))));
    this.grid = el("div", { class: "tiles", id: "gallery" });
    root.replaceChildren(el("div", { class: "filters" }, el("label", { class: "field" }, "Gallery", this.select)), this.grid);
    this.drawn = false;
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.draw();
    }, { rootMargin: "400px" }).observe(root);
  }

  rows() {
    return this.data.meta.galleries[this.titles[Number(this.select.value)]] || [];
  }

  draw() {
    const { sources } = this.data;
    const tiles = this.rows().map((row) => {
      const id = sources.get("id", row);
      const lines = [`score ${Format.number(sources.col.reliability[row])}   SNR ${Format.number(sources.col.snr[row], 1)}`, Format.words(sources.get("cause", row) || sources.get("truth", row) || sources.get("state", row)) || "–"];
      const button = el("button", { type: "button", class: "tile-button", "aria-label": `Source ${id}, ${lines.join(", ")}`, onfocus: () => this.onPoint(row), onclick: () => this.onOpen(row) }, Stamps.canvas(row), ...lines.map((text) => el("span", { class: "tile-line" }, text)));
      return el("div", { class: "tile", "data-source": id }, button, Labels.buttons(id, true));
    });
    this.grid.replaceChildren(...tiles);
  }
}
