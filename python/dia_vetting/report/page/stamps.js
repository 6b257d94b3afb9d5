"use strict";

/* Triplets out of the sheets: a sheet is decoded when one of its stamps is first drawn, and a few are kept. */
const Stamps = (() => {
  const KEPT = 10;
  const GAP = 2;
  const sheets = new Map();
  const grey = Array.from({ length: 256 }, (_, v) => [v, v, v]);
  const signed = Array.from({ length: 256 }, (_, v) => diverging((v - 128) / 127));
  let data;
  let layout;
  let ofSource;

  /* Blue for negative, near black at zero, orange for positive: told apart by brightness as well. */
  function diverging(t) {
    const [dark, hue, pale] = t < 0 ? [[20, 22, 26], [42, 120, 214], [214, 240, 255]] : [[20, 22, 26], [222, 120, 30], [255, 244, 214]];
    const s = Math.min(Math.abs(t), 1) ** 1.5;
    const mix = (a, b, f) => a.map((value, k) => Math.round(value + f * (b[k] - value)));
    return s < 0.6 ? mix(dark, hue, s / 0.6) : mix(hue, pale, (s - 0.6) / 0.4);
  }

  function start(loaded) {
    data = loaded;
    layout = data.meta.layout;
    ofSource = new Int32Array(data.sources.rows).fill(-1);
    if (!layout) return;
    const rows = Data.index(data.sources);
    for (let k = 0; k < data.stamps.rows; k++) {
      const row = rows.get(data.stamps.get("id", k));
      if (row !== undefined) ofSource[row] = k;
    }
  }

  const has = (source) => ofSource[source] >= 0;
  const reach = (source) => (has(source) ? data.stamps.col.reach[ofSource[source]] : NaN);

  async function decode(number) {
    const bitmap = await createImageBitmap(new Blob([Data.bytesOf(`sheet-${number}`)], { type: "image/webp" }));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  }

  function sheet(number) {
    const found = sheets.get(number) || decode(number);
    sheets.delete(number);
    sheets.set(number, found);
    if (sheets.size > KEPT) sheets.delete(sheets.keys().next().value);
    return found;
  }

  function knownPixels(stamp) {
    const row = data.stamps.col.mask_row[stamp];
    if (row < 0) return null;
    const bytes = data.masks.width.bits;
    return data.masks.col.bits.subarray(row * bytes, (row + 1) * bytes);
  }

  function paint(image, pixels, stamp) {
    const { size, tile, columns, rows } = layout;
    const place = stamp % (columns * rows);
    const left = (place % columns) * 3 * tile;
    const top = Math.floor(place / columns) * tile;
    const unknown = knownPixels(stamp);
    for (let k = 0; k < 3; k++) {
      const scale = k === 2 ? signed : grey;
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const value = pixels.data[4 * ((top + y) * pixels.width + left + k * tile + x)];
          const bit = (size - 1 - y) * size + x;
          const lost = unknown && (unknown[bit >> 3] >> (7 - (bit & 7))) & 1;
          const colour = lost ? ((x + y) % 4 < 2 ? [120, 104, 24] : [240, 228, 66]) : scale[value];
          const at = 4 * (y * image.width + k * (size + GAP) + x);
          image.data.set(colour, at);
          image.data[at + 3] = 255;
        }
      }
    }
  }

  /* Draw a triplet; the canvas says in its attributes what it shows, once it does. */
  async function draw(canvas, source) {
    const stamp = ofSource[source];
    canvas.dataset.wanted = source;
    delete canvas.dataset.source;
    const text = stamp < 0 ? "No stamp on this page" : "Science, template and difference";
    canvas.setAttribute("aria-label", `${text} of source ${data.sources.get("id", source)}`);
    if (!layout || stamp < 0) {
      canvas.width = canvas.width;
      canvas.classList.add("empty");
      return;
    }
    const pixels = await sheet(Math.floor(stamp / (layout.columns * layout.rows)));
    if (canvas.dataset.wanted !== String(source)) return;
    canvas.classList.remove("empty");
    canvas.width = 3 * layout.size + 2 * GAP;
    canvas.height = layout.size;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    paint(image, pixels, stamp);
    context.putImageData(image, 0, 0);
    canvas.dataset.source = data.sources.get("id", source);
  }

  function canvas(source, className = "triplet") {
    const size = layout ? layout.size : 30;
    const node = el("canvas", { class: className, role: "img", width: 3 * size + 2 * GAP, height: size });
    draw(node, source);
    return node;
  }

  return { start, has, reach, draw, canvas };
})();
