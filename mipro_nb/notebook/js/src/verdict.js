// The verdict on the sealed test set, in one plain word with the numbers it stands on.

import { attr, el, icon, setIcon, setText, show } from "./dom.js";
import { count, isNumber, percent, plural, signed } from "./format.js";

export const WORDS = {
  improved: { title: "Improved", icon: "up" },
  "not shown": { title: "Not shown", icon: "same" },
  worse: { title: "Worse", icon: "down" },
};

const MEANING = {
  improved: "On the sealed test set the new prompt is better than the old one.",
  "not shown": "The sealed test set doesn't tell the new prompt from the old one.",
  worse: "On the sealed test set the new prompt is worse than the old one.",
};

export function verdict() {
  const sign = icon("same");
  const word = el("strong", { class: "mipro-verdict-word" });
  const meaning = el("p", { class: "mipro-verdict-meaning" });
  const scores = el("p", { class: "mipro-verdict-scores" });
  const details = el("p", { class: "mipro-stands" });
  const remarks = el("div", { class: "mipro-remarks" });
  const node = el("section", { class: "mipro-verdict", "aria-label": "Verdict", hidden: true },
    el("div", { class: "mipro-verdict-head" }, sign, word), el("div", {}, meaning, scores, details, remarks));
  return {
    node,
    update({ verdict: found, remarks: told }) {
      show(node, Boolean(found?.word));
      if (!found?.word) return;
      attr(node, "data-word", found.word);
      setIcon(sign, WORDS[found.word]?.icon ?? "same");
      setText(word, WORDS[found.word]?.title ?? found.word);
      setText(meaning, MEANING[found.word] ?? "");
      setText(scores, `${percent(found.baseline)} → ${percent(found.best)} on ${plural(found.examples ?? 0, "example")}`);
      const interval = isNumber(found.low) && isNumber(found.high) ? ` (95% interval ${signed(found.low)} to ${signed(found.high)})` : "";
      const chance = isNumber(found.p_value) ? ` · p ${found.p_value < 0.001 ? "< 0.001" : `= ${found.p_value.toFixed(3)}`}` : "";
      setText(details, `${signed(found.difference)} points${interval} · ${count(found.fixed)} fixed, ${count(found.broken)} broken${chance}`);
      const lines = Array.isArray(told) ? told : [];
      if (remarks.textContent !== lines.join("")) remarks.replaceChildren(...lines.map(remark));
    },
  };
}

function remark(text) {
  return el("p", { class: text.startsWith("Overfit warning") ? "mipro-stands mipro-warned" : "mipro-stands", text });
}
