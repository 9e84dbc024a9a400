// What a run's wire says, looked up and joined: trials, candidates, texts. Plain values, no DOM.
// The columns of the wire are named once, here.

import { cut, words } from "./format.js";

export const KINDS = ["baseline", "minibatch", "full", "partial"];
const LONGEST = 120; // characters of a text in a chart's tooltip

/** A wire row as a record. */
export function trialOf(row) {
  const [number, kind, score, low, high, examples, bestSoFar, instructions, demos, done, planned, failed] = row;
  return {
    number, kind: KINDS[kind] ?? "minibatch", score: score ?? null, low: low ?? null, high: high ?? null,
    examples: examples ?? 0, bestSoFar: bestSoFar ?? null, instructions: instructions ?? [], demos: demos ?? [],
    done: done ?? 0, planned: planned ?? 0, failed: failed ?? 0,
  };
}

/**
 * All trials by number, folded from the long `_base` (rare, inflated late) and the short `_tail`.
 * A row that was seen stays until a newer one of its number comes: while a base is being inflated,
 * rows that moved from the tail into it must not vanish from the chart.
 */
export class Trials {
  constructor() {
    this.byNumber = new Map();
    this.sources = new Map();
    this.version = 0;
  }

  /** Take rows in; returns whether anything differs. */
  take(rows) {
    let changed = false;
    for (const row of Array.isArray(rows) ? rows : []) {
      if (!Array.isArray(row) || typeof row[0] !== "number") continue;
      const source = JSON.stringify(row);
      if (this.sources.get(row[0]) === source) continue;
      this.sources.set(row[0], source);
      this.byNumber.set(row[0], trialOf(row));
      changed = true;
    }
    if (changed) {
      this.version += 1;
      this.cached = null;
    }
    return changed;
  }

  get list() {
    this.cached ??= [...this.byNumber.values()].sort((a, b) => a.number - b.number);
    return this.cached;
  }
}

/** Texts by predictor and index. */
export class Texts {
  constructor(texts) {
    this.instructions = Array.isArray(texts?.instructions) ? texts.instructions : [];
    this.demos = Array.isArray(texts?.demos) ? texts.demos : [];
    this.map = new Map();
    for (const one of this.instructions) this.map.set(`i ${one.index} ${one.predictor}`, one);
    for (const one of this.demos) this.map.set(`d ${one.index} ${one.predictor}`, one);
  }

  instruction(predictor, index) {
    return this.map.get(`i ${index} ${predictor}`) ?? null;
  }

  demoSet(predictor, index) {
    return this.map.get(`d ${index} ${predictor}`) ?? null;
  }
}

/** "instruction 1, demos 2"; with the predictor's name when there are several. */
export function choiceText(trial, predictors) {
  return trial.instructions
    .map((instruction, place) => {
      const name = trial.instructions.length > 1 ? `${predictors[place] ?? place}: ` : "";
      const demos = trial.demos.length ? `, demos ${trial.demos[place]}` : "";
      return `${name}instruction ${instruction}${demos}`;
    })
    .join("; ");
}

export function demoLine(demo) {
  return Object.entries(demo ?? {}).map(([field, value]) => `${field}: ${words(value)}`).join(" · ");
}

export function demoSummary(set) {
  if (!set) return "";
  const demos = set.demos ?? [];
  if (!demos.length) return "no demos";
  return `${demos.length} ${demos.length === 1 ? "demo" : "demos"}: ${cut(demoLine(demos[0]), LONGEST)}`;
}

function joined(trial, indexes, predictors, textOf) {
  const each = Math.floor(LONGEST / Math.max(1, indexes.length)) - (indexes.length > 1 ? 3 : 0);
  return indexes.map((index, place) => cut(textOf(predictors[place] ?? "", index), each)).join(" | ");
}

/** Does a trial use what is chosen {place, instruction, demos}? Null stands for any. */
export function uses(trial, { place, instruction, demos }) {
  return (instruction == null || trial.instructions[place] === instruction) && (demos == null || trial.demos[place] === demos);
}

/** A row of the dataset "trials". */
export function pointRow(trial, { predictors, texts, baseline, selected, candidate }) {
  return {
    trial: trial.number, kind: trial.kind, score: trial.score, low: trial.low, high: trial.high,
    examples: trial.examples, best_so_far: trial.bestSoFar, baseline,
    choice: cut(choiceText(trial, predictors), LONGEST),
    instruction: joined(trial, trial.instructions, predictors, (name, index) => texts.instruction(name, index)?.text),
    demos: joined(trial, trial.demos, predictors, (name, index) => demoSummary(texts.demoSet(name, index))),
    selected: trial.number === selected,
    dim: candidate != null && !uses(trial, candidate),
  };
}

/** Rows of the dataset "cells" for one predictor. */
export function cellRow(trial, place, predictor, winner) {
  return {
    predictor, position: place, instruction: trial.instructions[place], demos: trial.demos.length ? trial.demos[place] : null,
    score: trial.score, examples: trial.examples,
    winner: winner?.instructions?.[place] === trial.instructions[place]
      && (winner?.demos?.[place] ?? null) === (trial.demos[place] ?? null),
  };
}

/** Candidates of all predictors, texts joined with their scores. */
export function candidateRows(texts, stats, predictors) {
  const scores = new Map();
  for (const [place, kind, index, mean, low, high, examples, trials, gain, error, banned] of stats?.rows ?? []) {
    scores.set(`${place} ${kind} ${index}`, { mean, low, high, examples, trials, gain: gain ?? null, error: error ?? null, banned: Boolean(banned) });
  }
  const nothing = { mean: null, low: null, high: null, examples: 0, trials: 0, gain: null, error: null, banned: false };
  const winner = stats?.winner;
  const row = (kind, one) => {
    const place = Math.max(0, predictors.indexOf(one.predictor));
    const key = `${place} ${kind} ${one.index}`;
    const won = (kind === 0 ? winner?.instructions : winner?.demos)?.[place] === one.index;
    const choice = { place, instruction: kind === 0 ? one.index : null, demos: kind === 1 ? one.index : null };
    return { key, place, kind, index: one.index, choice, predictor: one.predictor, source: one, won, ...(scores.get(key) ?? nothing) };
  };
  return [...texts.instructions.map((one) => row(0, one)), ...texts.demos.map((one) => row(1, one))]
    .sort((a, b) => a.place - b.place || a.kind - b.kind || a.index - b.index);
}
