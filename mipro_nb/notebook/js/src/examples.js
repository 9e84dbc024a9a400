// Example by example: what the best program fixed, broke or left as it was. The first hundred rows
// come with the updates; more of them, searches and the exact messages are asked of the kernel.

import { attr, button, el, icon, said, setText, show } from "./dom.js";
import { exampleDetail } from "./example.js";
import { count, percent } from "./format.js";
import { Table } from "./table.js";

const CHANGES = { fixed: ["Fixed", "up"], broken: ["Broken", "down"], same: ["Same", "same"], open: ["Open", "open"] };

export function examplesPart(session) {
  const state = { change: "all", query: "", asked: null, late: false, rows: null, total: 0, forget: () => {} };
  const search = el("input", { type: "search", class: "mipro-input mipro-search", placeholder: "Search examples", "aria-label": "Search examples" });
  const filters = changeButtons((change) => {
    state.change = change;
    ask(0);
  });
  const table = new Table({
    session, label: "Examples", key: (row) => row[0], columns: columns(), unfoldOnChoose: true,
    detail: (row) => exampleDetail(session, row[0]), detailPrint: (row) => JSON.stringify(row.slice(0, 4)),
    empty: () => (session.store.get("_examples")?.total ? "No example fits." : "Examples appear here when the baseline has been scored."),
  });
  const more = button("More", () => ask(state.rows?.length ?? first().length), { kind: "mipro-quiet" });
  const waiting = el("p", { class: "mipro-under", role: "status" });
  const node = el("div", { class: "mipro-part" }, el("div", { class: "mipro-filters" }, filters.node, search, waiting), table.node, more);

  const first = () => session.store.get("_examples")?.rows ?? [];
  const plain = () => state.change === "all" && !state.query;

  /** Ask the kernel for rows from `start` on; what is here already is shown at once. */
  function ask(start) {
    state.forget();
    state.late = false;
    if (start === 0) state.rows = null;
    if (start === 0 && plain()) return draw();
    const { change, query } = state;
    state.forget = session.asks.ask({ do: "examples", change, query, start }, (reply) => {
      const held = start === 0 ? [] : state.rows ?? first();
      const known = new Set(held.map((row) => row[0]));
      state.rows = [...held, ...(reply.rows ?? []).filter((row) => !known.has(row[0]))];
      state.total = reply.total ?? state.rows.length;
      state.late = false;
      draw();
    }, () => {
      state.late = true;
      draw();
    });
    return draw();
  }

  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      state.query = search.value.trim();
      ask(0);
    }, 250);
  });
  session.onClose(() => clearTimeout(typing));

  const fitting = (row) => (state.change === "all" || row[3] === state.change) && (!state.query || `${row[0]} ${row[4]} ${row[5]}`.toLowerCase().includes(state.query.toLowerCase()));
  const draw = session.draw(["examples"], node, () => {
    const examples = session.store.get("_examples") ?? {};
    filters.update(examples.counts ?? {}, examples.total ?? 0, state.change);
    const fresh = new Map(first().map((row) => [row[0], row]));
    const asked = state.rows?.map((row) => fresh.get(row[0]) ?? row);
    const rows = asked ?? first().filter(fitting);
    const total = asked ? state.total : plain() ? examples.total ?? rows.length : rows.length;
    table.update(rows);
    show(more, rows.length < total);
    setText(more.lastChild, `More (${count(total - rows.length)} left)`);
    setText(waiting, state.late ? "The kernel is busy: its answer comes later." : "");
  });
  return node;
}

function changeButtons(choose) {
  const buttons = new Map();
  const node = el("div", { class: "mipro-changes", role: "group", "aria-label": "Show examples that are" });
  for (const change of ["all", ...Object.keys(CHANGES)]) {
    const [word, sign] = CHANGES[change] ?? ["All", null];
    const number = el("span", { class: "mipro-count" });
    const one = el("button", { type: "button", class: "mipro-toggle", "data-change": change, on: { click: () => choose(change) } }, sign ? icon(sign) : null, el("span", { text: word }), number);
    buttons.set(change, { one, number });
    node.append(one);
  }
  return {
    node,
    update(counts, total, chosen) {
      for (const [change, { one, number }] of buttons) {
        setText(number, count(change === "all" ? total : counts[change] ?? 0));
        attr(one, "aria-pressed", String(change === chosen));
      }
    },
  };
}

function columns() {
  return [
    { title: "Example", class: "mipro-c-number", sort: (row) => row[0], print: (row) => `${row[0]}`, draw: (row) => [String(row[0])] },
    {
      title: "Input", class: "mipro-c-text", sort: (row) => row[4], print: (row) => row.slice(1, 6).join("\n"),
      draw: (row) => [said(String(row[4] ?? "").slice(0, 300), { class: "mipro-preview" }), el("span", { class: "mipro-under mipro-tiny", text: `${percent(row[1], 0)} → ${percent(row[2], 0)}` }), ...(row[5] ? [said(String(row[5]).slice(0, 200), { class: "mipro-under mipro-preview mipro-bad" })] : [])],
    },
    { title: "Baseline", class: "mipro-c-score mipro-roomy", sort: (row) => row[1], high: true, print: (row) => `${row[1]}`, draw: (row) => [percent(row[1], 0)] },
    { title: "Best", class: "mipro-c-score mipro-roomy", sort: (row) => row[2], high: true, print: (row) => `${row[2]}`, draw: (row) => [percent(row[2], 0)] },
    {
      title: "Change", class: "mipro-c-change", sort: (row) => Object.keys(CHANGES).indexOf(row[3]), print: (row) => row[3] ?? "",
      draw: (row) => {
        const [word, sign] = CHANGES[row[3]] ?? [String(row[3] ?? ""), "open"];
        return [el("span", { class: "mipro-change", "data-change": row[3] }, icon(sign), word)];
      },
    },
  ];
}
