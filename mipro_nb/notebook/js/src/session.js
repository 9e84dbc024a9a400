// One mounted view: what the kernel sent (store), what follows from it, and who draws it.
// Parts name what they depend on and are drawn at most once per frame, however often it changes.

import { Asks } from "./asks.js";
import { el } from "./dom.js";
import { Texts, Trials } from "./run.js";
import { Store } from "./store.js";

const NAMES = { _status: "status", _stats: "stats", _texts: "texts", _examples: "examples", _prompt: "prompt", selected: "selected" };

export class Session {
  constructor(model, specs, root) {
    this.specs = specs ?? {};
    this.root = root;
    this.onTheme = new Set(); // called when the theme changes
    this.drawers = new Set();
    this.closers = [];
    this.trials = new Trials();
    this.texts = new Texts(null);
    this.candidate = null; // what is chosen {place, instruction, demos}: trials without it are dimmed
    this.asks = new Asks(model);
    this.store = new Store(model);
    for (const [trait, name] of Object.entries(NAMES)) {
      this.store.on(trait, (value) => {
        if (name === "texts") this.texts = new Texts(value);
        this.changed(name);
      });
    }
    // the tail may hold newer rows of trials in the base, which is inflated late
    this.store.on("_base", (rows) => this.takeTrials([...(rows ?? []), ...(this.store.get("_tail") ?? [])]));
    this.store.on("_tail", (rows) => this.takeTrials(rows));
  }

  takeTrials(rows) {
    if (this.trials.take(rows)) this.changed("trials");
  }

  get status() {
    return this.store.get("_status") ?? {};
  }

  get predictors() {
    return Array.isArray(this.status.predictors) ? this.status.predictors : [];
  }

  /** Has the run ended? */
  get over() {
    return ["finished", "stopped", "failed"].includes(this.status.state);
  }

  get stats() {
    return this.store.get("_stats") ?? {};
  }

  get selected() {
    return this.store.get("selected");
  }

  /** Choose a candidate or a combination; the same again, or null, chooses nothing. */
  choose(candidate) {
    this.candidate = JSON.stringify(candidate) === JSON.stringify(this.candidate) ? null : candidate;
    this.changed("candidate");
  }

  /**
   * Draw now, and again in the next frame after any of the names changed. A part that fails shows
   * a line of text in its place and leaves the others alone.
   */
  draw(names, node, paint) {
    const drawer = { names, frame: 0, failed: null };
    drawer.run = () => {
      drawer.frame = 0;
      try {
        paint();
        drawer.failed?.remove();
        drawer.failed = null;
      } catch (error) {
        drawer.failed ??= el("p", { class: "mipro-failed", role: "note" });
        drawer.failed.textContent = `This part could not be drawn (${error?.message ?? error}).`;
        if (!drawer.failed.isConnected) node.prepend(drawer.failed);
      }
    };
    drawer.schedule = () => {
      if (!drawer.frame) drawer.frame = requestAnimationFrame(drawer.run);
    };
    this.drawers.add(drawer);
    drawer.run();
    return drawer.schedule;
  }

  changed(name) {
    for (const drawer of this.drawers) if (drawer.names.includes(name)) drawer.schedule();
  }

  /** Call a function when the view is closed. */
  onClose(closer) {
    this.closers.push(closer);
  }

  close() {
    for (const drawer of this.drawers) cancelAnimationFrame(drawer.frame);
    this.drawers.clear();
    for (const closer of this.closers.reverse()) closer();
    this.asks.close();
    this.store.close();
  }
}
