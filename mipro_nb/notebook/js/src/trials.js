// The trials as a table: the equal of the chart's points for keyboard and screen reader.

import { el, said } from "./dom.js";
import { percent } from "./format.js";
import { choiceText } from "./run.js";
import { kindCell, scoreCell, scoreOrState } from "./score.js";
import { Table } from "./table.js";

export function trialsTable(session) {
  const table = new Table({
    session, label: "Trials", key: (trial) => trial.number,
    choose: (trial) => session.store.select(trial.number), chosen: (trial) => trial.number === session.selected,
    mark: (trial) => (trial.number === session.status.best?.trial ? "mipro-won" : ""),
    empty: "No trial has started yet.",
    columns: columns(session),
  });
  const node = el("div", { class: "mipro-part" }, el("p", { class: "mipro-hint", text: "Choose a trial to see its instruction and demos below the chart." }), table.node);
  session.draw(["trials", "selected", "status"], node, () => table.update([...session.trials.list].reverse()));
  return node;
}

function columns(session) {
  const best = (trial) => trial.number === session.status.best?.trial;
  return [
    { title: "Trial", class: "mipro-c-number", sort: (trial) => trial.number, high: true, print: (trial) => `${trial.number}`, draw: (trial) => [String(trial.number)] },
    {
      title: "Kind", class: "mipro-c-kind", sort: (trial) => trial.kind, print: (trial) => `${trial.kind} ${best(trial)} ${choiceText(trial, session.predictors)}`,
      draw: (trial) => [...kindCell(trial.kind), ...(best(trial) ? [el("span", { class: "mipro-chip mipro-chip-won", text: "best" })] : []), said(choiceText(trial, session.predictors), { class: "mipro-under mipro-tiny" })],
    },
    {
      title: "Score", class: "mipro-c-score", sort: (trial) => trial.score, high: true,
      print: (trial) => JSON.stringify([trial.score, trial.low, trial.high, trial.examples, scoreOrState(trial, session.over)]),
      draw: (trial) => (trial.score == null ? [el("span", { class: "mipro-under", text: scoreOrState(trial, session.over) })] : scoreCell(trial.score, trial.low, trial.high, `n ${trial.examples}`)),
    },
    {
      title: "Examples", class: "mipro-c-count mipro-wide", sort: (trial) => trial.examples, high: true,
      print: (trial) => `${trial.done} ${trial.planned} ${trial.failed} ${trial.score == null}`,
      draw: (trial) => [trial.done < trial.planned && (trial.score == null || trial.kind === "partial") ? `${trial.done} of ${trial.planned}` : String(trial.examples), ...(trial.failed ? [el("span", { class: "mipro-under", text: `${trial.failed} failed` })] : [])],
    },
    { title: "Best so far", class: "mipro-c-count mipro-c-best mipro-wide", sort: (trial) => trial.bestSoFar, high: true, print: (trial) => `${trial.bestSoFar}`, draw: (trial) => [percent(trial.bestSoFar)] },
    { title: "Choice", class: "mipro-c-text mipro-roomy", print: (trial) => choiceText(trial, session.predictors), draw: (trial) => [said(choiceText(trial, session.predictors))] },
  ];
}
