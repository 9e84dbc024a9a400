// One Vega view in one DOM node, both made once. Rows come in by difference; drawing waits for the
// next frame, and never are two runs in flight: a fast run of trials costs one drawing per frame.

import { changeset, parse, View } from "./vega.js";
import { loader } from "./noloader.js";

/** Vega's messages: errors go to the part that draws, nothing to the console. */
function quiet(onError) {
  const logger = {
    level: () => logger, warn: () => logger, info: () => logger, debug: () => logger,
    error: (...all) => {
      onError(all[0] instanceof Error ? all[0] : new Error(all.join(" ")));
      return logger;
    },
  };
  return logger;
}

// what is dark enough for white paper is too dark for black
const FOR_DARK = { "#767676": "#a2a2a2", "#0072B2": "#56b4e9", "#D55E00": "#f2893a", "#009E73": "#2fc39a" };

function recolour(part, dark) {
  if (!dark) return part;
  if (typeof part === "string") return FOR_DARK[part] ?? part;
  if (Array.isArray(part)) return part.map((one) => recolour(one, dark));
  if (part && typeof part === "object") return Object.fromEntries(Object.entries(part).map(([key, one]) => [key, recolour(one, dark)]));
  return part;
}

export class Plot {
  /**
   * @param {object} options `spec` (Vega), `dataset` (the name of its data), `node` (where to draw),
   *   `tooltip(handler, event, item, value)`, `onClick(datum, event)`, `onError(error)`.
   */
  constructor({ spec, dataset, node, tooltip, onClick, onError }) {
    Object.assign(this, { spec, dataset, node, tooltip, onClick, onError });
    this.rows = new Map(); // key -> {source, row}: the tuples that Vega holds
    this.wanted = new Map();
    this.signals = {};
    this.dirty = false;
    this.running = false;
    this.frame = 0;
    this.timer = 0;
    this.restUntil = 0; // no drawing before this time
    this.view = null;
  }

  /** Make the view, or make it anew in another theme: the only times that the canvas is made. */
  theme(inks) {
    this.inks = inks;
    const width = this.view?.width() ?? Math.max(120, this.node.clientWidth || 480);
    this.view?.finalize();
    const { ink, line, font } = inks;
    const axis = {
      labelColor: ink, titleColor: ink, domainColor: line, tickColor: line, gridColor: line, gridOpacity: 0.55,
      labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal",
    };
    const legend = { labelColor: ink, titleColor: ink, labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" };
    const own = this.spec.config ?? {};
    const spec = {
      ...recolour(this.spec, inks.dark),
      autosize: { ...this.spec.autosize, resize: true },
      background: "transparent",
      config: {
        ...own, background: "transparent",
        axis: { ...own.axis, ...axis }, legend: { ...own.legend, ...legend },
        title: { ...own.title, color: ink, font }, style: { ...own.style, cell: { ...own.style?.cell, stroke: "transparent" } },
        text: { ...own.text, fill: ink, font },
      },
    };
    const view = new View(parse(spec), {
      renderer: "canvas", loader: loader(), logger: quiet(this.onError), hover: false,
      tooltip: (handler, event, item, value) => this.tooltip(event, value),
    });
    this.view = view;
    for (const [name, value] of Object.entries({ ...this.signals, ink })) this.signal(name, value);
    view.width(width).initialize(this.node);
    view.addEventListener("click", (event, item) => this.onClick(item?.datum ?? null, event));
    this.rows = new Map(); // the new view holds nothing yet: all rows go in with the next drawing
    this.schedule();
  }

  /** Wish for these rows: a list of [key, row]. */
  set(rows) {
    this.wanted = new Map(rows);
    this.schedule();
  }

  /** Set a signal of the spec, if it has it. */
  signal(name, value) {
    this.signals[name] = value;
    if (!this.spec.signals?.some((one) => one.name === name) || !this.view || this.view.signal(name) === value) return;
    this.view.signal(name, value);
    this.schedule();
  }

  resize(width) {
    const whole = Math.round(width);
    if (whole < 60 || this.view?.width() === whole) return;
    this.view?.width(whole);
    this.schedule();
  }

  schedule() {
    this.dirty = true;
    if (this.running || this.frame || this.timer || !this.view) return;
    const rest = this.restUntil - performance.now();
    if (rest > 0) this.timer = setTimeout(() => this.nextFrame(), rest);
    else this.nextFrame();
  }

  nextFrame() {
    this.timer = 0;
    this.frame = requestAnimationFrame(() => this.draw());
  }

  async draw() {
    this.frame = 0;
    this.running = true;
    this.dirty = false;
    const start = performance.now();
    try {
      this.apply();
      await this.view?.runAsync();
    } catch (error) {
      this.onError(error);
    }
    // thousands of points take their time to draw: three quarters of it stay for the rest of the page
    const end = performance.now();
    this.restUntil = end - start > 30 ? end + 3 * (end - start) : 0;
    this.running = false;
    if (this.dirty) this.schedule();
  }

  /** Tell Vega only what differs from what it holds. */
  apply() {
    if (!this.view) return;
    const gone = [];
    const fresh = [];
    for (const [key, { row }] of this.rows) {
      if (this.wanted.has(key)) continue;
      gone.push(row);
      this.rows.delete(key);
    }
    for (const [key, row] of this.wanted) {
      const held = this.rows.get(key);
      if (held?.wanted === row) continue;
      const source = JSON.stringify(row);
      if (held?.source === source) {
        held.wanted = row;
        continue;
      }
      if (held) gone.push(held.row);
      const tuple = { ...row };
      this.rows.set(key, { wanted: row, source, row: tuple });
      fresh.push(tuple);
    }
    if (!gone.length && !fresh.length) return;
    const changes = changeset().insert(fresh);
    if (gone.length) changes.remove(gone);
    this.view.change(this.dataset, changes);
  }

  close() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.view?.finalize();
    this.view = null;
  }
}
