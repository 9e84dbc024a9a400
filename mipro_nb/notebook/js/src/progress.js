// The top of the view: where the run is, what it has found, what it spends, what to do.

import { head } from "./head.js";
import { el, setText, show } from "./dom.js";
import { found } from "./found.js";
import { outcome } from "./outcome.js";
import { percent, plural } from "./format.js";
import { spent } from "./spent.js";
import { stages } from "./stages.js";
import { verdict, WORDS } from "./verdict.js";

export function progressPart(session) {
  const node = el("section", { class: "mipro-progress", "aria-label": "Progress of the optimization" });
  const pieces = [head(session), stages(), verdict(), found(), spent(), outcome()];
  const [top, steps, banner, best, usage, brought] = pieces;
  const plan = el("pre", { class: "mipro-plan", tabindex: "0", "aria-label": "Plan" });
  const error = el("div", { class: "mipro-error" }, el("strong", { text: "The run failed" }), el("pre", { class: "mipro-said", tabindex: "0", "aria-label": "Error" }));
  const notes = noteList();
  const waiting = el("p", { class: "mipro-nothing", text: "Waiting for the kernel…" });
  const facts = el("div", { class: "mipro-facts" }, best.node, usage.node);
  const voice = el("div", { class: "mipro-spoken", "aria-live": "polite", role: "status" });
  node.append(top.node, waiting, plan, error, banner.node, steps.node, facts, brought.node, notes.node, voice);
  const announce = announcer(voice);
  session.draw(["status"], node, () => {
    const status = session.status;
    const known = Boolean(status.state);
    show(waiting, !known);
    show(top.node, known);
    show(steps.node, known && Boolean(status.stages?.length));
    show(facts, known && status.state !== "waiting");
    show(plan, Boolean(status.plan));
    setText(plan, status.plan ?? "");
    show(error, Boolean(status.error));
    setText(error.lastChild, status.error ?? "");
    for (const piece of [...pieces, notes]) piece.update(status);
    announce(status);
  });
  return node;
}

function noteList() {
  const summary = el("summary");
  const list = el("ul");
  const node = el("details", { class: "mipro-notes" }, summary, list);
  let shown = "";
  return {
    node,
    update(status) {
      const notes = Array.isArray(status.notes) ? status.notes : [];
      show(node, notes.length > 0);
      const key = JSON.stringify(notes);
      if (key === shown) return;
      shown = key;
      setText(summary, plural(notes.length, "note"));
      list.replaceChildren(...notes.map((note) => el("li", { class: "mipro-said", text: note })).reverse());
    },
  };
}

/** Says stage changes, a new best and the verdict, in one polite region; never each trial. */
function announcer(voice) {
  let last = null;
  return (status) => {
    if (!status.state) return;
    const now = { state: status.state, stage: status.stage, trial: status.best?.trial ?? null, word: status.verdict?.word ?? "" };
    const before = last;
    last = now;
    if (!before) return; // what stands there at first is read as any other text
    const said = [];
    if (now.stage !== before.stage && now.stage) said.push(`Stage: ${status.stages?.find((one) => one.name === now.stage)?.title ?? now.stage}.`);
    if (now.state !== before.state) said.push(`The run is ${now.state}.`);
    if (now.trial !== before.trial && now.trial != null) said.push(`New best: ${percent(status.estimate?.score?.mean ?? status.best.score)} in trial ${now.trial}.`);
    if (now.word && now.word !== before.word) said.push(`Verdict: ${WORDS[now.word]?.title ?? now.word}.`);
    if (said.length) voice.textContent = said.join(" ");
  };
}

