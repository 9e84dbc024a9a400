// Every instruction and demo set: text, where it came from, score, and the difference to the original.

import { attr, el, icon, said, setText, show } from "./dom.js";
import { demoList } from "./demos.js";
import { count, cut, isNumber, plural, signed } from "./format.js";
import { gainRows } from "./outcome.js";
import { candidateRows, demoLine, uses } from "./run.js";
import { scoreCell } from "./score.js";
import { Table } from "./table.js";

const PREVIEW = 260; // characters in the cell; the whole text unfolds
const KIND = ["instruction", "demo set"];

export function candidatesPart(session) {
  const filter = filters(() => draw());
  const table = new Table({
    session, label: "Candidates", key: (row) => row.key, columns: columns(session), empty: () => (session.texts.map.size ? "No candidate fits the filter." : "No candidate yet: they appear here as they are made."),
    choose: (row) => session.choose(row.choice),
    chosen: (row) => chosen(session.candidate, row),
    mark: (row) => `${row.won ? "mipro-won" : ""} ${row.used ? "mipro-used" : ""}`,
    detail: (row) => detail(row), detailPrint: (row) => JSON.stringify(row.source),
  });
  const hint = el("p", { class: "mipro-hint" });
  const worked = approaches();
  const node = el("div", { class: "mipro-part" }, el("div", { class: "mipro-filters" }, ...filter.nodes, filter.found), worked.node, hint, table.node);
  const draw = session.draw(["texts", "stats", "status", "selected", "candidate", "trials"], node, () => {
    const trial = session.trials.byNumber.get(session.selected);
    const rows = candidateRows(session.texts, session.stats, session.predictors);
    for (const row of rows) row.used = trial ? uses(trial, row.choice) : false;
    filter.predictors(session.predictors);
    const fitting = rows.filter(filter.fits);
    setText(filter.found, fitting.length < rows.length ? `${count(fitting.length)} of ${count(rows.length)}` : "");
    const estimated = session.stats.estimated ? " Scores are estimates for the best program with the candidate put in; gains are over the part as it was given." : "";
    setText(hint, trial ? `The candidates of trial ${trial.number} are marked.` : "Choose a candidate to see its trials in the chart; unfold it for the whole text and what differs from the original." + estimated);
    attr(node, "data-estimated", Boolean(session.stats.estimated));
    worked.update(session.stats.approaches);
    table.update(fitting);
  });
  return node;
}

function chosen(candidate, row) {
  return candidate?.place === row.place && (row.kind === 0 ? candidate.instruction : candidate.demos) === row.index;
}

function filters(changed) {
  const search = el("input", { type: "search", class: "mipro-input mipro-search", placeholder: "Search text", "aria-label": "Search candidates", on: { input: changed } });
  const option = (value, text) => el("option", { value, text });
  const kind = el("select", { class: "mipro-input", "aria-label": "Kind", on: { change: changed } }, option("", "All kinds"), option("0", "Instructions"), option("1", "Demo sets"));
  const predictor = el("select", { class: "mipro-input", "aria-label": "Predictor", hidden: true, on: { change: changed } });
  let names = null;
  return {
    nodes: [search, kind, predictor], found: el("span", { class: "mipro-under", role: "status" }),
    predictors(all) {
      if (names === all.join("\n")) return;
      names = all.join("\n");
      const before = predictor.value;
      predictor.replaceChildren(option("", "All predictors"), ...all.map((name, place) => option(String(place), name)));
      predictor.value = before;
      predictor.hidden = all.length < 2;
    },
    fits(row) {
      if (kind.value && row.kind !== Number(kind.value)) return false;
      if (predictor.value && row.place !== Number(predictor.value)) return false;
      const query = search.value.trim().toLowerCase();
      return !query || `${textOf(row, Infinity)} ${row.source.origin} ${row.source.tip ?? ""} ${KIND[row.kind]} ${row.index}`.toLowerCase().includes(query);
    },
  };
}

/** An instruction's text, or the demos of a set in a row. */
function textOf(row, length) {
  if (row.kind === 0) return length === Infinity ? String(row.source.text ?? "") : cut(row.source.text, length);
  const text = (row.source.demos ?? []).map(demoLine).join(" ▪ ");
  return length === Infinity ? text : cut(text, length) || "no demos";
}

function originOf(row) {
  const { origin, tip, demos, bootstrapped } = row.source;
  if (row.kind === 0) return tip && tip !== "none" ? `${origin}, tip “${tip}”` : origin ?? "";
  const size = plural(demos?.length ?? 0, "demo");
  return origin === "none" ? "none" : `${origin}, ${size}${bootstrapped ? `, ${bootstrapped} bootstrapped` : ""}`;
}

/** What stands below the text where there is no room for columns of its own. */
function underText(row) {
  return [originOf(row), row.trials ? plural(row.trials, "trial") : ""].filter(Boolean).join(" · ");
}

function columns(session) {
  const several = () => session.predictors.length > 1;
  return [
    {
      title: "Candidate", class: "mipro-c-name", sort: (row) => row.place * 1e6 + row.kind * 1e5 + row.index,
      print: (row) => `${several()} ${row.predictor} ${row.won} ${row.used} ${row.banned}`,
      draw: (row) => [
        el("span", { class: "mipro-name-line", text: `${row.kind === 0 ? "Instruction" : "Demo set"} ${row.index}` }),
        ...(several() ? [said(row.predictor, { class: "mipro-under" })] : []),
        ...(row.won ? [el("span", { class: "mipro-chip mipro-chip-won" }, icon("star"), "winner")] : []),
        ...(row.banned ? [el("span", { class: "mipro-chip", text: "banned" })] : []),
        ...(row.used ? [el("span", { class: "mipro-chip", text: "in the trial" })] : []),
      ],
    },
    {
      title: "Text", class: "mipro-c-text", sort: (row) => textOf(row, 80).toLowerCase(), print: (row) => `${underText(row)}\n${textOf(row, PREVIEW)}`,
      draw: (row) => [said(textOf(row, PREVIEW), { class: "mipro-preview" }), said(underText(row), { class: "mipro-under mipro-narrow" })],
    },
    { title: "Origin", class: "mipro-c-origin mipro-wide", sort: originOf, print: originOf, draw: (row) => [said(originOf(row))] },
    {
      title: "Score", class: "mipro-c-score", sort: (row) => row.mean, high: true, print: (row) => JSON.stringify([row.mean, row.low, row.high, row.examples, row.trials]),
      draw: (row) => scoreCell(row.mean, row.low, row.high, scoreNote(row)),
    },
    {
      title: "Gain", class: "mipro-c-score mipro-c-gain mipro-wide", sort: (row) => row.gain, high: true, print: (row) => `${row.gain} ${row.error}`,
      draw: (row) => (isNumber(row.gain) && row.error ? [el("span", { class: "mipro-num", text: signed(row.gain) }), el("span", { class: "mipro-under", text: `± ${(1.96 * row.error * 100).toFixed(1)}` })] : []),
    },
    { title: "Examples", class: "mipro-c-count mipro-wide", sort: (row) => row.examples, high: true, print: (row) => `${row.examples}`, draw: (row) => [count(row.examples ?? 0)] },
    { title: "Trials", class: "mipro-c-count mipro-wide", sort: (row) => row.trials, high: true, print: (row) => `${row.trials}`, draw: (row) => [count(row.trials ?? 0)] },
  ];
}

/** What a score stands on, and what the part gains: where there is no room for columns. */
function scoreNote(row) {
  const gain = isNumber(row.gain) && row.error ? `gain\u00a0${signed(row.gain)} ` : "";
  return `${gain}${row.trials ? `n\u00a0${count(row.examples)}` : "not\u00a0tried"}`;
}

/** What worked in proposing: the expected gain of each way of asking. */
function approaches() {
  const rows = el("div", { class: "mipro-sources" });
  const words = el("p", { class: "mipro-under", text: "Gain that is expected of an instruction made this way, in points, with its 95% interval; in brackets how many were tried." });
  const node = el("details", { class: "mipro-block mipro-worked", hidden: true }, el("summary", { text: "What worked in proposing" }), words, rows);
  let drawn = "";
  return {
    node,
    update(told) {
      const all = Array.isArray(told) ? told : [];
      show(node, all.length > 0);
      const print = JSON.stringify(all);
      if (print === drawn) return;
      drawn = print;
      rows.replaceChildren(...gainRows(all.map(([factor, level, tried, ...gain]) => [`${factor}: ${level} (${count(tried)})`, ...gain])));
    },
  };
}

function detail(row) {
  if (row.kind === 1) return demoList(row.source);
  const { text, diff } = row.source;
  const changed = Array.isArray(diff) && diff.some(([what]) => what !== "same");
  const whole = said(text, { tag: "pre", class: "mipro-text", tabindex: "0", "aria-label": `Text of instruction ${row.index}` });
  if (!changed) return el("div", { class: "mipro-pair" }, el("div", {}, el("h5", { text: row.source.origin === "original" ? "The original instruction" : "Text" }), whole));
  return el("div", { class: "mipro-pair" },
    el("div", {}, el("h5", { text: "Text" }), whole),
    el("div", {}, el("h5", { text: "Against the original" }), el("div", { class: "mipro-text mipro-diff mipro-said", tabindex: "0", role: "group", "aria-label": "Difference to the original" },
      ...diff.map(([what, words]) => el({ del: "del", add: "ins" }[what] ?? "span", { text: words })))));
}
