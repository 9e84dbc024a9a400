// Small pieces that tables share: a score with its interval, the sign of a kind of trial.

import { el } from "./dom.js";
import { isNumber, percent, range } from "./format.js";

/** A score, and under it its interval and `more` (what it stands on, for narrow tables). */
export function scoreCell(score, low, high, more = "") {
  const interval = range(low, high);
  return [
    el("span", { class: "mipro-num", text: percent(score) }),
    ...(interval ? [el("span", { class: "mipro-under", text: interval })] : []),
    ...(more ? [el("span", { class: "mipro-under mipro-narrow", text: more })] : []),
  ];
}

/** The mark of the chart beside the word: square, circle, diamond. */
export function kindCell(kind) {
  const word = kind;
  return [el("span", { class: "mipro-kind", "data-kind": kind, "aria-hidden": "true" }), word];
}

/** The score, or why there is none. */
export function scoreOrState(trial, over) {
  if (isNumber(trial.score)) return percent(trial.score);
  if (trial.failed && trial.done >= trial.planned) return "failed";
  return over ? "not finished" : "running";
}
