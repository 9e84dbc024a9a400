// The steps of the run, each with live counts.

import { attr, el, icon, setText } from "./dom.js";
import { count } from "./format.js";

export function stages() {
  const list = el("ol", { class: "mipro-stages", "aria-label": "Stages" });
  const steps = new Map();
  return {
    node: list,
    update(status) {
      const all = Array.isArray(status.stages) ? status.stages : [];
      const now = all.findIndex((one) => one.name === status.stage);
      const over = ["finished", "stopped", "failed"].includes(status.state);
      all.forEach((stage, place) => {
        if (!steps.has(stage.name)) {
          const made = step(place + 1);
          steps.set(stage.name, made);
          list.append(made.node);
        }
        steps.get(stage.name).update(stage, phase(stage, place, now, over));
      });
      attr(list, "style", `--mipro-steps: ${Math.max(1, all.length)}`);
    },
  };
}

function phase(stage, place, now, over) {
  const full = stage.total > 0 && stage.done >= stage.total;
  if (over) return full ? "done" : stage.done > 0 ? "cut" : "todo";
  if (place === now) return "now";
  if (now >= 0 && place < now) return "done";
  return full ? "done" : "todo";
}

function step(number) {
  const mark = el("span", { class: "mipro-mark", "aria-hidden": "true" });
  const title = el("span", { class: "mipro-step-title" });
  const state = el("span", { class: "mipro-spoken" });
  const counts = el("span", { class: "mipro-step-count" });
  const fill = el("span", { class: "mipro-fill" });
  const bar = el("span", { class: "mipro-bar", "aria-hidden": "true" }, fill);
  const detail = el("span", { class: "mipro-step-detail mipro-said" });
  const told = el("span", { class: "mipro-step-told" }, counts, detail);
  const node = el("li", { class: "mipro-step" }, mark, el("span", {}, title, state), bar, told);
  let drawn = "";
  return {
    node,
    update(stage, now) {
      attr(node, "data-phase", now);
      attr(node, "aria-current", now === "now" ? "step" : null);
      setText(title, stage.title ?? stage.name);
      setText(state, { done: ", done: ", now: ", now: ", cut: ", cut short: ", todo: ", to come " }[now]);
      setText(counts, stage.total > 0 ? `${count(stage.done ?? 0)} of ${count(stage.total)}` : stage.done > 0 ? count(stage.done) : "");
      setText(detail, stage.detail ? `${counts.textContent ? " · " : ""}${stage.detail}` : "");
      const part = stage.total > 0 ? Math.min(1, (stage.done ?? 0) / stage.total) : now === "done" ? 1 : 0;
      attr(fill, "style", `width: ${(part * 100).toFixed(1)}%`);
      if (drawn === now) return;
      drawn = now;
      mark.replaceChildren(now === "done" ? icon("done") : now === "cut" ? icon("stop") : String(number));
    },
  };
}
