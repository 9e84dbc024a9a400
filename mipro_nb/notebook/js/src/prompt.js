// The prompt before and after: the exact messages, of every predictor.

import { el, said, setText, show } from "./dom.js";
import { callNode, callText } from "./calls.js";
import { copyButton } from "./copy.js";

export function promptPart(session) {
  const hint = el("p", { class: "mipro-hint" });
  const body = el("div", { class: "mipro-prompts" });
  const node = el("div", { class: "mipro-part" }, hint, body);
  let shown = null;
  session.draw(["prompt"], node, () => {
    const prompt = session.store.get("_prompt");
    const print = JSON.stringify(prompt);
    if (print === shown) return;
    shown = print;
    const before = prompt?.before ?? [];
    const after = prompt?.after ?? [];
    setText(hint, before.length || after.length ? `The exact messages for example ${prompt.example}.` : "The prompts appear here after the first trial.");
    show(body, before.length + after.length > 0);
    const names = [...new Set([...before, ...after].map((call) => call.predictor))];
    body.replaceChildren(...names.map((name) => section(name, names.length > 1, before.filter((call) => call.predictor === name), after.filter((call) => call.predictor === name))));
  });
  return node;
}

function section(name, several, before, after) {
  return el("section", { class: "mipro-prompt-of" }, several ? said(name, { tag: "h3" }) : null,
    el("div", { class: "mipro-pair" }, side("Before", before), side("After", after)));
}

function side(title, calls) {
  const nodes = calls.map((call) => callNode(call, title));
  const body = el("div", {}, ...(nodes.length ? nodes : [el("p", { class: "mipro-nothing", text: title === "After" ? "No better prompt yet." : "Not known yet." })]));
  return el("div", { class: "mipro-side" },
    el("div", { class: "mipro-side-head" }, el("h4", { text: title }), calls.length ? copyButton(`Copy the whole prompt ${title.toLowerCase()}`, () => calls.map(callText).join("\n\n"), () => body) : null),
    body);
}
