// The exact messages of an LM call and its reply.

import { el, said } from "./dom.js";
import { words } from "./format.js";
import { copyButton } from "./copy.js";

/** The messages of one call as one text. */
export function callText(call) {
  return (call?.messages ?? []).map((message) => `${message.role}:\n${words(message.content)}`).join("\n\n");
}

/** One call: each message with its role, then the reply. `label` says to screen readers which call it is. */
export function callNode(call, label) {
  const messages = (call?.messages ?? []).map((message) => messageNode(message.role, words(message.content), label));
  const node = el("div", { class: "mipro-call" });
  if (!messages.length) messages.push(el("p", { class: "mipro-nothing", text: "No messages were kept." }));
  node.append(...messages);
  node.append(call?.reply == null || call.reply === "" ? el("p", { class: "mipro-nothing", text: "No reply yet." }) : messageNode("reply", words(call.reply), label));
  return node;
}

function messageNode(role, content, label) {
  const text = said(content, { tag: "pre", class: "mipro-text", tabindex: "0", "aria-label": `${label}, ${role}` });
  return el("div", { class: "mipro-message", "data-role": role },
    el("div", { class: "mipro-message-head" }, el("span", { class: "mipro-role mipro-said", text: role }), copyButton(`Copy ${label}, ${role}`, () => content, () => text)),
    text);
}
