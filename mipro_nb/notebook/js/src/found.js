// What it has found: the best score with what it stands on, the baseline beside it.

import { attr, el, setText, show } from "./dom.js";
import { isNumber, percent, plural, range, signed } from "./format.js";

export function found() {
  const title = el("h3");
  const big = el("span", { class: "mipro-big" });
  const gain = el("span", { class: "mipro-gain" });
  const sure = el("p", { class: "mipro-stands" });
  const stands = el("p", { class: "mipro-stands" });
  const choice = el("p", { class: "mipro-stands mipro-said" });
  const strip = stripPlot();
  const node = el("section", { class: "mipro-found" }, title, el("p", { class: "mipro-score" }, big, gain), sure, stands, choice, strip.node);
  return {
    node,
    update({ best, baseline, estimate, state }) {
      setText(title, ["finished", "stopped", "failed"].includes(state) ? "Best found" : "Best so far");
      const shown = estimated(best, estimate?.score);
      const before = estimated(baseline, estimate?.baseline);
      setText(big, isNumber(shown?.score) ? percent(shown.score) : "");
      const compared = isNumber(shown?.score) && isNumber(before?.score);
      const same = compared && (estimate ? estimate.given : best.trial === baseline.trial);
      const difference = compared ? estimate?.gain?.mean ?? shown.score - before.score : null;
      attr(gain, "data-sign", !compared || same ? null : difference > 0 ? "up" : difference < 0 ? "down" : null);
      setText(gain, !compared ? "" : same ? "the baseline itself" : `${signed(difference)} points over the baseline`);
      setText(sure, compared && !same && estimate ? surely(estimate) : "");
      show(sure, sure.textContent !== "");
      setText(stands, estimate ? estimatedStand(best, estimate.score) : best ? stand(best) : "No trial is finished yet.");
      const chosen = estimate?.choice || best?.choice || "";
      const where = best ? [isNumber(best.trial) ? `trial ${best.trial}` : "", chosen].filter(Boolean).join(" · ") : "";
      setText(choice, where);
      show(choice, Boolean(where));
      strip.update(shown, before);
    },
  };
}

/** A trial with the model's score and interval in place of its own. */
function estimated(one, told) {
  return one && isNumber(told?.mean) ? { ...one, score: told.mean, low: told.low, high: told.high } : one;
}

function surely({ gain, chance }) {
  return `95% interval of the gain ${signed(gain.low)} to ${signed(gain.high)} points${chance ? `; better with a probability of ${chance}` : ""}`;
}

function estimatedStand(best, told) {
  const raw = isNumber(best?.score) ? `; raw mean ${percent(best.score)} on ${plural(best.examples ?? 0, "example")}` : "";
  return `estimated, 95% interval ${range(told.low, told.high)}${raw}`;
}

function stand(one) {
  const interval = range(one.low, one.high);
  return `on ${plural(one.examples ?? 0, "example")}${interval ? `, 95% interval ${interval}` : ""}`;
}

/** Two intervals on one line from 0 to 100%: does the best stand clear of the baseline? */
function stripPlot() {
  const rows = [["Best", "best"], ["Baseline", "baseline"]].map(([label, kind]) => {
    const bar = el("span", { class: "mipro-strip-bar" });
    const dot = el("span", { class: "mipro-strip-dot" });
    const value = el("span", { class: "mipro-strip-value" });
    const node = el("div", { class: "mipro-strip-row", "data-kind": kind },
      el("span", { class: "mipro-strip-label", text: label }), el("span", { class: "mipro-strip-track", "aria-hidden": "true" }, bar, dot), value);
    return { node, bar, dot, value };
  });
  const node = el("div", { class: "mipro-strip" }, ...rows.map((row) => row.node));
  return {
    node,
    update(best, baseline) {
      [best, baseline].forEach((one, place) => {
        const { node: line, bar, dot, value } = rows[place];
        show(line, isNumber(one?.score));
        if (!isNumber(one?.score)) return;
        const at = (x) => Math.min(100, Math.max(0, x * 100));
        const [low, high] = [at(one.low ?? one.score), at(one.high ?? one.score)];
        attr(bar, "style", `left: ${low.toFixed(2)}%; width: ${(high - low).toFixed(2)}%`);
        attr(dot, "style", `left: ${at(one.score).toFixed(2)}%`);
        setText(value, `${percent(one.score)} · n ${one.examples ?? 0}`);
      });
      show(node, isNumber(best?.score) || isNumber(baseline?.score));
    },
  };
}
