"use strict";

/* The tables of the page: columns of numbers, unpacked once. */
const Data = (() => {
  const KINDS = {
    float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
    uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array,
  };

  function bytesOf(id) {
    const text = document.getElementById(id).textContent;
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  }

  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  class Table {
    constructor(header, buffer) {
      this.rows = header.rows;
      this.col = {};
      this.width = {};
      this.categories = {};
      for (const { name, dtype, offset, width, categories } of header.columns) {
        this.col[name] = new KINDS[dtype](buffer, offset, header.rows * width);
        this.width[name] = width;
        if (categories) this.categories[name] = categories;
      }
    }

    has(name) {
      return name in this.col;
    }

    /* A number, or text: ids of 64 bits are text too, since a number of JavaScript has 53. */
    get(name, row) {
      const value = this.col[name][row];
      if (name in this.categories) return this.categories[name][value];
      return typeof value === "bigint" ? value.toString() : value;
    }
  }

  async function load() {
    const meta = JSON.parse(document.getElementById("meta").textContent);
    const tables = {};
    await Promise.all(
      Object.entries(meta.tables).map(async ([name, header]) => {
        const element = `table-${name}`;
        tables[name] = new Table(header, await inflate(bytesOf(element)));
        document.getElementById(element).remove();
      }),
    );
    return { meta, ...tables };
  }

  /* Map from id to row, made when it is first asked for. */
  function index(table) {
    if (!table.byId) {
      table.byId = new Map();
      const ids = table.col.id;
      for (let i = 0; i < table.rows; i++) if (ids[i] !== 0n) table.byId.set(ids[i].toString(), i);
    }
    return table.byId;
  }

  return { load, bytesOf, index };
})();

/* Making elements, and numbers as text. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const Format = {
  number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    return value.toFixed(digits);
  },
  short(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 1e5)) return String(+value.toPrecision(4));
    return value.toExponential(2);
  },
  count(value) {
    return value.toLocaleString("en-US");
  },
  words(text) {
    return text.replaceAll("_", " ");
  },
  interval(figure, digits = 3) {
    if (!figure || figure.low === null || figure.high === null) return "";
    return `${Format.number(figure.low, digits)} – ${Format.number(figure.high, digits)}`;
  },
};
