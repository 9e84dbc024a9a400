// Vega's tooltips, as text in a box of our own inside the view (so that it has its theme).

import { el } from "./dom.js";
import { words } from "./format.js";

export function tooltip(session) {
  let box = null;
  session.onClose(() => box?.remove());
  return (event, value) => {
    if (value == null || value === "") {
      if (box) box.hidden = true;
      return;
    }
    if (!box) {
      box = el("div", { class: "mipro-tooltip", "aria-hidden": "true" });
      session.root.append(box);
    }
    const entries = typeof value === "object" ? Object.entries(value) : [["", value]];
    const lines = entries.filter(([, said]) => said != null && said !== "" && said !== "null");
    box.replaceChildren(...lines.flatMap(([name, said]) => [el("span", { class: "mipro-tip-name", text: name }), el("span", { class: "mipro-tip-value mipro-said", text: words(said) })]));
    box.hidden = false;
    const frame = session.root.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = box;
    const left = Math.max(4, Math.min(event.clientX - frame.left + 14, frame.width - width - 6));
    // below the pointer, if neither the window nor the view ends there; toolbars are above
    const below = event.clientY + 18;
    const fits = below + height < Math.min(window.innerHeight, frame.bottom) - 6;
    box.style.left = `${left}px`;
    box.style.top = `${(fits ? below : Math.max(frame.top + 4, event.clientY - height - 14)) - frame.top}px`;
  };
}
