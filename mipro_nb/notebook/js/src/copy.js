// A button that copies text; where the page may not use the clipboard, the text is marked instead.

import { button } from "./dom.js";

export function copyButton(label, text, target) {
  const node = button("Copy", async () => {
    const word = node.lastChild;
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      const range = document.createRange();
      range.selectNodeContents(target());
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done = "Marked: press Ctrl+C";
    }
    word.textContent = done;
    node.setAttribute("aria-label", `${label}: ${done}`);
    setTimeout(() => {
      word.textContent = "Copy";
      node.setAttribute("aria-label", label);
    }, 2500);
  }, { kind: "mipro-quiet mipro-copy", "aria-label": label, "aria-live": "polite" });
  return node;
}
