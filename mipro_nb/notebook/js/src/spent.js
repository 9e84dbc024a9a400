// What it spends: calls, cached calls, tokens, dollars, and how far along the budget or the plan that is.

import { attr, el, setText, show } from "./dom.js";
import { count, dollars, isNumber, short } from "./format.js";

export function spent() {
  const cells = ["Cost", "LM calls", "Tokens"].map((label) => {
    const [value, more] = [el("dd"), el("dd", { class: "mipro-under" })];
    return { node: el("div", {}, el("dt", { text: label }), value, more), value, more };
  });
  const fill = el("span", { class: "mipro-fill" });
  const likely = el("span", { class: "mipro-likely", "aria-hidden": "true" });
  const bar = el("span", { class: "mipro-bar mipro-budget", role: "progressbar", "aria-valuemin": "0" }, fill, likely);
  const words = el("p", { class: "mipro-stands" });
  const node = el("section", { class: "mipro-spent" }, el("h3", { text: "Spent" }), el("dl", { class: "mipro-usage" }, ...cells.map((cell) => cell.node)), bar, words);
  return {
    node,
    update({ usage, expected, max_cost: limit }) {
      const used = usage ?? {};
      const [into, out] = [used.prompt_tokens ?? 0, used.completion_tokens ?? 0];
      const texts = [
        [dollars(used.cost), ""],
        [count(used.calls ?? 0), used.cached ? `${count(used.cached)} from cache` : ""],
        [short(into + out), into + out ? `${short(into)} in, ${short(out)} out` : ""],
      ];
      cells.forEach((cell, place) => {
        setText(cell.value, texts[place][0]);
        setText(cell.more, texts[place][1]);
      });
      attr(cells[0].value, "data-unknown", !isNumber(used.cost));
      const gauge = gaugeOf(used, expected, limit);
      show(bar, gauge != null);
      show(words, gauge != null);
      if (!gauge) return;
      const part = Math.min(1, gauge.now / gauge.end);
      attr(fill, "style", `width: ${(part * 100).toFixed(1)}%`);
      attr(bar, "data-level", gauge.budget && part > 0.9 ? "high" : null);
      attr(bar, "aria-label", gauge.label);
      attr(bar, "aria-valuemax", gauge.end);
      attr(bar, "aria-valuenow", Math.min(gauge.now, gauge.end));
      attr(bar, "aria-valuetext", gauge.words);
      show(likely, gauge.mark != null);
      if (gauge.mark != null) attr(likely, "style", `left: ${Math.min(100, (gauge.mark / gauge.end) * 100).toFixed(1)}%`);
      setText(words, gauge.words);
    },
  };
}

/** Against the budget if there is one, else against the plan's likely and highest number of calls. */
function gaugeOf(used, expected, limit) {
  if (isNumber(limit) && limit > 0 && isNumber(used.cost)) {
    return { now: used.cost, end: limit, label: "Budget used", words: `${dollars(used.cost)} of the budget of ${dollars(limit)}`, budget: true };
  }
  const [, likely, high] = Array.isArray(expected?.calls) ? expected.calls : [];
  if (!(high > 0)) return null;
  const now = (used.calls ?? 0) + (used.cached ?? 0);
  return { now, end: high, mark: likely, label: "Calls made", words: `${count(now)} of about ${count(likely)} planned calls, at most ${count(high)}` };
}
