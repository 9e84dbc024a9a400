// The chart of all trials, the heat map of combinations, and the trial that is selected.

import { attr, button, el, setText, show } from "./dom.js";
import { percent } from "./format.js";
import { Plot } from "./plot.js";
import { cellRow, pointRow } from "./run.js";
import { inks } from "./theme.js";
import { tooltip } from "./tooltip.js";
import { trialPanel } from "./trial.js";

export function chartPart(session) {
  const panel = trialPanel(session);
  const drawings = el("div", { class: "mipro-drawings" }, scoresFigure(session), heatFigure(session));
  const soon = el("p", { class: "mipro-nothing", text: "The chart starts with the first trial." });
  const node = el("section", { class: "mipro-chart", "aria-label": "Chart of the trials" }, chosenLine(session), soon, drawings, panel);
  session.draw(["trials"], node, () => {
    const started = session.trials.byNumber.size > 0;
    show(soon, !started);
    show(drawings, started);
  });
  return node;
}

/** Says which candidate is chosen, and takes the choice back. */
function chosenLine(session) {
  const words = el("span");
  const node = el("p", { class: "mipro-chosen", hidden: true }, words, button("Show all", () => session.choose(null), { name: "close", kind: "mipro-quiet" }));
  session.draw(["candidate"], node, () => {
    const { candidate } = session;
    show(node, candidate != null);
    if (!candidate) return;
    const { place, instruction, demos } = candidate;
    const of = session.predictors.length > 1 ? ` of ${session.predictors[place]}` : "";
    const parts = [instruction != null ? `instruction ${instruction}` : "", demos != null ? `demo set ${demos}` : ""].filter(Boolean);
    setText(words, `In full colour: trials with ${parts.join(" and ")}${of}`);
  });
  return node;
}

/** A titled box with one Vega view in it, sized by its own width. */
function figure(session, { title, name, dataset, onClick, extra, note, adapt = (spec) => spec }) {
  const heading = el("h3", { text: title });
  const canvas = el("div", { class: "mipro-canvas" });
  const image = el("div", { class: "mipro-image", role: "img", "aria-label": title }, canvas);
  const node = el("figure", { class: `mipro-figure mipro-figure-${name}` }, el("figcaption", {}, heading, extra), image, note ? el("p", { class: "mipro-under", text: note }) : null);
  let plot = null;
  let rows = [];
  let signals = {};
  const fail = (error) => {
    plot?.close();
    plot = null;
    canvas.replaceChildren(el("p", { class: "mipro-failed", text: `The chart can't be drawn here (${error?.message ?? error}).` }));
  };
  const fill = () => {
    plot?.set(rows);
    for (const [signal, value] of Object.entries(signals)) plot?.signal(signal, value);
  };
  const open = () => {
    if (!session.specs[name]) return fail("its description is missing");
    try {
      plot ??= new Plot({ spec: adapt(session.specs[name]), dataset, node: canvas, tooltip: tooltip(session), onClick, onError: fail });
      fill();
      plot.theme(inks(session.root));
    } catch (error) {
      fail(error);
    }
  };
  let opened = false;
  // the width is that of the notebook's output; while the box is hidden it has none
  const observer = new ResizeObserver(([entry]) => {
    const { width } = entry.contentRect;
    if (width < 60) return;
    if (!opened) {
      opened = true;
      open();
      session.onTheme.add(() => plot && open());
    }
    plot?.resize(width);
  });
  observer.observe(image);
  session.onClose(() => {
    observer.disconnect();
    plot?.close();
  });
  return {
    node,
    set(next, label, more = {}) {
      rows = next;
      signals = more;
      fill();
      attr(image, "aria-label", label);
    },
  };
}

function scoresFigure(session) {
  const drawn = figure(session, {
    title: "Score of each trial", name: "scores", dataset: "trials",
    onClick: (datum) => typeof datum?.trial === "number" && session.store.select(datum.trial),
  });
  const cache = new Map();
  let basis = null;
  session.draw(["trials", "texts", "status", "selected", "candidate"], drawn.node, () => {
    const { predictors, texts, selected, candidate } = session;
    const { estimate } = session.status;
    const baseline = estimate?.baseline?.mean ?? session.status.baseline?.score ?? null;
    const now = [predictors.join("\n"), texts, baseline, candidate];
    // a row is made anew when its trial or what all rows depend on has changed
    if (!basis || now.some((value, place) => value !== basis[place])) cache.clear();
    basis = now;
    const rows = session.trials.list.map((trial) => {
      const held = cache.get(trial.number);
      const chosen = trial.number === selected;
      if (held?.trial === trial && held.row.selected === chosen) return [trial.number, held.row];
      const row = pointRow(trial, { predictors, texts, baseline, selected, candidate });
      cache.set(trial.number, { trial, row });
      return [trial.number, row];
    });
    const best = session.status.best;
    drawn.set(rows, `Score of each trial: ${rows.length} trials; best ${percent(estimate?.score?.mean ?? best?.score)}${best?.trial != null ? ` in trial ${best.trial}` : ""}; baseline ${percent(baseline)}. The Trials table has the numbers.`, { kinds: legend(session.trials.list) });
  });
  return drawn.node;
}

/** The kinds that the legend names: a search has minibatches or trials that grow. */
function legend(trials) {
  return ["baseline", trials.some((trial) => trial.kind === "partial") ? "partial" : "minibatch", "full"];
}

/** Numbers are written into cells that are wide enough for them. */
function withoutCrowding(spec) {
  const marks = spec.marks?.map((mark) => (mark.type !== "text" ? mark : {
    ...mark,
    encode: { ...mark.encode, update: { ...mark.encode?.update, fillOpacity: { signal: "bandwidth('x') < 30 ? 0 : 1" } } },
  }));
  return { ...spec, marks };
}

/** As high as the chart beside it, as long as the numbers can be read. */
function rowHeight(trials, place) {
  const instructions = new Set(trials.map((trial) => trial.instructions[place])).size;
  return Math.max(16, Math.min(28, Math.floor(250 / Math.max(1, instructions))));
}

function heatFigure(session) {
  const select = el("select", { class: "mipro-input", "aria-label": "Predictor of the heat map", hidden: true });
  const drawn = figure(session, {
    title: "Instruction × demo set", name: "heat", adapt: withoutCrowding, dataset: "cells", extra: select,
    note: "Mean score of the trials with each pair. The outlined pair is the best so far.",
    onClick: (datum) => typeof datum?.instruction === "number" && session.choose({ place: place(), instruction: datum.instruction, demos: datum.column >= 0 ? datum.column : null }),
  });
  const place = () => Math.max(0, Number(select.value) || 0);
  let names = null;
  const draw = session.draw(["trials", "status"], drawn.node, () => {
    const { predictors } = session;
    if (names !== predictors.join("\n")) {
      names = predictors.join("\n");
      const before = select.value;
      select.replaceChildren(...predictors.map((name, index) => el("option", { value: String(index), text: name })));
      if (before) select.value = before;
      show(select, predictors.length > 1);
    }
    const winner = session.trials.byNumber.get(session.status.best?.trial) ?? null;
    const finished = session.trials.list.filter((trial) => trial.score != null && trial.instructions.length > place());
    const rows = finished.map((trial) => [trial.number, cellRow(trial, place(), predictors[place()] ?? "", winner)]);
    // without demo sets there is one column: the table of candidates says the same
    show(drawn.node, finished.some((trial) => trial.demos.length > 0));
    drawn.set(rows, `Mean score of each instruction with each demo set${predictors.length > 1 ? ` of ${predictors[place()]}` : ""}, from ${rows.length} trials. The Candidates table has the numbers.`, { y_step: rowHeight(finished, place()) });
  });
  select.addEventListener("change", draw);
  return drawn.node;
}
