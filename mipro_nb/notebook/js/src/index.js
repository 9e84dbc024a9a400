// Entry of the bundle. The loader calls mount({model, el, specs}) for every Part; the trait `_part`
// says what to show. Returned is the function that takes everything down again.

import css from "../style.css";
import { candidatesPart } from "./candidates.js";
import { chartPart } from "./chart.js";
import { el, show } from "./dom.js";
import { examplesPart } from "./examples.js";
import { count } from "./format.js";
import { progressPart } from "./progress.js";
import { promptPart } from "./prompt.js";
import { Session } from "./session.js";
import { Tabs } from "./tabs.js";
import { watchTheme } from "./theme.js";
import { trialsTable } from "./trials.js";

const STYLE_ID = "mipro-style-" + __SOURCES__;

function injectStyle() {
  if (document.getElementById(STYLE_ID)) return;
  document.head.append(el("style", { id: STYLE_ID, text: css }));
}

/** Everything: progress on top, the chart, and the rest in tabs. */
function everything(session, root) {
  const tabs = new Tabs("Details of the run", [
    { name: "Candidates", count: () => session.texts.map.size, make: () => candidatesPart(session) },
    { name: "Trials", count: () => session.trials.byNumber.size, make: () => trialsTable(session) },
    { name: "Examples", count: () => session.store.get("_examples")?.total ?? 0, make: () => examplesPart(session) },
    { name: "Prompt", make: () => promptPart(session) },
  ]);
  const chart = chartPart(session);
  root.append(progressPart(session), chart, tabs.node);
  session.draw(["texts", "trials", "examples"], tabs.node, () => tabs.counts());
  // before the first trial and the first candidate there is nothing to look at below the progress
  session.draw(["texts", "trials"], root, () => {
    show(tabs.node, session.trials.byNumber.size > 0 || session.texts.map.size > 0);
    show(chart, session.trials.byNumber.size > 0);
  });
}

function chartAlone(session, root) {
  const number = el("span", { class: "mipro-count" });
  const trials = el("details", { class: "mipro-block" }, el("summary", {}, "Trials ", number), trialsTable(session));
  root.append(chartPart(session), trials);
  session.draw(["trials"], trials, () => (number.textContent = count(session.trials.byNumber.size)));
}

const PARTS = {
  all: everything,
  progress: (session, root) => root.append(progressPart(session)),
  chart: chartAlone,
  candidates: (session, root) => root.append(candidatesPart(session)),
  examples: (session, root) => root.append(examplesPart(session)),
  prompt: (session, root) => root.append(promptPart(session)),
};

export function mount({ model, el: host, specs }) {
  injectStyle();
  const part = PARTS[model.get("_part")] ? model.get("_part") : "all";
  // JupyterLab leaves keys alone inside an element with this attribute
  const root = el("div", { class: `mipro mipro-is-${part}`, "data-lm-suppress-shortcuts": "true" });
  const inner = el("div", { class: "mipro-inner" });
  root.append(inner);
  host.append(root);
  const session = new Session(model, specs, root);
  session.onClose(watchTheme((dark) => {
    root.dataset.miproTheme = dark ? "dark" : "light";
    for (const handler of session.onTheme) handler();
  }));
  // and still hears keys on buttons and rows, where "d d" would delete the cell
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  const escape = (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    if (session.candidate) session.choose(null);
    else if (session.selected != null) session.store.select(session.selected);
    else return;
    event.preventDefault();
  };
  root.addEventListener("keydown", escape);
  PARTS[part](session, inner);
  session.asks.tell({ do: "hello" });
  return () => {
    session.close();
    root.remove();
  };
}
