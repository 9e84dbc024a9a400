// One example unfolded: feedback, errors, the exact messages and the reply, baseline and best.

import { el, said } from "./dom.js";
import { callNode } from "./calls.js";
import { isNumber, percent } from "./format.js";

export function exampleDetail(session, example) {
  const waiting = el("p", { class: "mipro-nothing", role: "status", text: "Asking the kernel…" });
  const node = el("div", { class: "mipro-example" }, waiting);
  session.asks.ask({ do: "example", id: example }, (reply) => {
    node.replaceChildren(
      el("p", { class: "mipro-label" }, el("span", { class: "mipro-under", text: `Example ${example}: ` }), said(reply.label ?? "")),
      el("div", { class: "mipro-pair" }, sideNode("Baseline", reply.before), sideNode("Best", reply.after)));
  }, () => {
    waiting.textContent = "The kernel is busy: the messages come when it has time.";
  });
  return node;
}

function sideNode(title, side) {
  const head = el("div", { class: "mipro-side-head" }, el("h4", { text: title }), isNumber(side?.score) ? el("span", { class: "mipro-num", text: percent(side.score, 0) }) : null);
  if (!side) return el("div", { class: "mipro-side" }, head, el("p", { class: "mipro-nothing", text: "Not run on this example." }));
  const line = (name, text, extra = "") => (text ? el("div", { class: `mipro-said-line ${extra}` }, el("h5", { text: name }), said(text, { tag: "pre", class: "mipro-text", tabindex: "0", "aria-label": `${title}, ${name}` })) : null);
  const calls = side.calls ?? [];
  return el("div", { class: "mipro-side" }, head,
    line("Error", side.error, "mipro-bad"), line("Feedback of the metric", side.feedback), line("Output", side.output),
    ...calls.map((call) => el("details", { open: true }, el("summary", {}, calls.length > 1 ? said(`Messages of ${call.predictor}`) : "Messages and reply"), callNode(call, `${title}, ${call.predictor}`))));
}
