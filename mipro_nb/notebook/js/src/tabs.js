// Tabs after the ARIA pattern: arrow keys, Home and End move, one tab is in the tab order.
// A panel is made when it is first shown, and kept, with whatever the user did in it.

import { el, setText, show } from "./dom.js";
import { count } from "./format.js";

let made = 0;

export class Tabs {
  constructor(label, entries) {
    const id = `mipro-tabs-${(made += 1)}`;
    this.list = el("div", { class: "mipro-tablist", role: "tablist", "aria-label": label, on: { keydown: (event) => this.key(event) } });
    this.node = el("section", { class: "mipro-tabs" }, this.list);
    this.entries = entries.map((entry, place) => {
      const number = el("span", { class: "mipro-count" });
      const tab = el("button", {
        type: "button", role: "tab", id: `${id}-tab-${place}`, "aria-controls": `${id}-panel-${place}`, class: "mipro-tab",
        on: { click: () => this.open(place) },
      }, el("span", { text: entry.name }), number);
      const panel = el("div", { role: "tabpanel", id: `${id}-panel-${place}`, "aria-labelledby": `${id}-tab-${place}`, class: "mipro-panel", hidden: true });
      this.list.append(tab);
      this.node.append(panel);
      return { ...entry, tab, panel, number, filled: false };
    });
    this.open(0);
  }

  open(place) {
    this.current = place;
    this.entries.forEach((entry, index) => {
      const chosen = index === place;
      entry.tab.setAttribute("aria-selected", String(chosen));
      entry.tab.tabIndex = chosen ? 0 : -1;
      if (chosen && !entry.filled) {
        entry.filled = true;
        entry.panel.append(entry.make());
      }
      show(entry.panel, chosen);
    });
  }

  key(event) {
    const last = this.entries.length - 1;
    const steps = { ArrowRight: this.current + 1, ArrowLeft: this.current - 1, Home: 0, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.open((steps[event.key] + last + 1) % (last + 1));
    this.entries[this.current].tab.focus();
  }

  counts() {
    for (const entry of this.entries) {
      const number = entry.count?.() ?? 0;
      setText(entry.number, number ? count(number) : "");
      show(entry.number, number > 0);
    }
  }
}
