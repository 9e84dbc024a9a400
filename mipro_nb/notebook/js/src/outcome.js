// What brought the gain, part by part on one scale, and the shorter program that is as good within the noise.

import { attr, el, setText, show } from "./dom.js";
import { signed } from "./format.js";

export function outcome() {
  const rows = el("div", { class: "mipro-sources" });
  const brought = el("div", {}, el("h3", { text: "What brought the gain" }), rows);
  const words = el("p", { class: "mipro-stands" });
  const shorter = el("div", {}, el("h3", { text: "A shorter program" }), words);
  const node = el("section", { class: "mipro-outcome", "aria-label": "What brought the gain", hidden: true }, brought, shorter);
  let drawn = "";
  return {
    node,
    update({ estimate }) {
      const sources = Array.isArray(estimate?.sources) ? estimate.sources : [];
      const simplest = estimate?.simplest ?? "";
      show(node, sources.length > 0 || simplest !== "");
      show(brought, sources.length > 0);
      show(shorter, simplest !== "");
      setText(words, simplest);
      const print = JSON.stringify(sources);
      if (print === drawn) return;
      drawn = print;
      rows.replaceChildren(...gainRows(sources));
    },
  };
}

/** Rows of [name, mean, low, high] on one scale around nothing gained; each number is told beside its bar. */
export function gainRows(all) {
  const ends = all.flatMap(([, , low, high]) => [low, high]).filter((end) => end != null);
  const [least, most] = [Math.min(-0.01, ...ends), Math.max(0.01, ...ends)];
  const at = (x) => ((x - least) / (most - least)) * 100;
  return all.map(([name, mean, low, high]) => {
    const bar = el("span", { class: "mipro-strip-bar" });
    const dot = el("span", { class: "mipro-strip-dot" });
    const zero = el("span", { class: "mipro-zero" });
    attr(bar, "style", `left: ${at(low).toFixed(2)}%; width: ${(at(high) - at(low)).toFixed(2)}%`);
    attr(dot, "style", `left: ${at(mean).toFixed(2)}%`);
    attr(zero, "style", `left: ${at(0).toFixed(2)}%`);
    return el("div", { class: "mipro-strip-row mipro-source", "data-kind": "best" },
      el("span", { class: "mipro-source-name mipro-said", text: name }),
      el("span", { class: "mipro-strip-track", "aria-hidden": "true" }, zero, bar, dot),
      el("span", { class: "mipro-strip-value", text: `${signed(mean)} points [${signed(low)}, ${signed(high)}]` }));
  });
}
