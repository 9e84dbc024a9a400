// The selected trial in full: its score and, for each predictor, its instruction and its demos.

import { button, el, said, setText, show } from "./dom.js";
import { plural, percent, range } from "./format.js";
import { demoList } from "./demos.js";
import { scoreOrState } from "./score.js";

export function trialPanel(session) {
  const title = el("h3");
  const facts = el("p", { class: "mipro-stands" });
  const body = el("div", { class: "mipro-trial-parts" });
  const close = button("Close", () => session.selected != null && session.store.select(session.selected), { name: "close", kind: "mipro-quiet" });
  const node = el("section", { class: "mipro-trial", "aria-label": "Selected trial", hidden: true }, el("div", { class: "mipro-trial-head" }, title, close), facts, body);
  let shown = "";
  session.draw(["selected", "trials", "texts", "status"], node, () => {
    const trial = session.trials.byNumber.get(session.selected);
    show(node, trial != null);
    if (!trial) return;
    setText(title, `Trial ${trial.number}`);
    setText(facts, factsOf(trial, session.over));
    const print = JSON.stringify([trial.number, trial.instructions, trial.demos, session.texts.map.size]);
    if (print === shown) return; // what the user is reading and has scrolled stays
    shown = print;
    body.replaceChildren(...trial.instructions.map((_, place) => choiceOf(session, trial, place)));
  });
  return node;
}

function factsOf(trial, over) {
  const interval = range(trial.low, trial.high);
  return [
    trial.kind === "full" ? "full evaluation" : trial.kind,
    scoreOrState(trial, over) + (interval ? ` (95% interval ${interval})` : ""),
    trial.score == null ? `${trial.done} of ${plural(trial.planned, "example")}` : `on ${plural(trial.examples, "example")}`,
    trial.failed ? `${trial.failed} failed` : "",
    trial.bestSoFar != null ? `best so far ${percent(trial.bestSoFar)}` : "",
  ].filter(Boolean).join(" · ");
}

function choiceOf(session, trial, place) {
  const name = session.predictors[place] ?? String(place);
  const instruction = session.texts.instruction(name, trial.instructions[place]);
  const set = trial.demos.length ? session.texts.demoSet(name, trial.demos[place]) : null;
  const several = session.predictors.length > 1;
  return el("div", { class: "mipro-trial-part" },
    several ? el("h4", { class: "mipro-said", text: name }) : null,
    el("div", {},
      el("h5", { text: `Instruction ${trial.instructions[place]}` }),
      said(instruction?.text ?? "not known yet", { tag: "pre", class: "mipro-text", tabindex: "0", "aria-label": `Instruction ${trial.instructions[place]}` })),
    trial.demos.length
      ? el("div", {}, el("h5", { text: `Demo set ${trial.demos[place]}` }), set ? demoList(set) : el("p", { class: "mipro-nothing", text: "not known yet" }))
      : null);
}
