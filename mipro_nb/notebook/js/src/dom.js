// The only place that makes DOM nodes. Text goes in as text nodes, never as markup:
// instructions, demos, messages and errors are written by language models and by data.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. `props`: `class`, `text`, `on` ({event: handler}), any other key is an
 * attribute; null, undefined and false leave it out, true gives an empty one.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") for (const [type, handler] of Object.entries(value)) node.addEventListener(type, handler);
    else if (name === "text") node.textContent = value;
    else attr(node, name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Set, change or remove an attribute, touching the DOM only when it differs. */
export function attr(node, name, value) {
  if (value == null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

/** Set a node's text, touching the DOM only when it differs: updates come five times a second. */
export function setText(node, text) {
  const value = String(text ?? "");
  if (node.textContent !== value) node.textContent = value;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Text that somebody else wrote: isolated, so that direction overrides stay inside it. */
export function said(text, props = {}) {
  return el(props.tag ?? "span", { ...props, tag: null, class: `mipro-said ${props.class ?? ""}`.trim(), text });
}

/** Words for screen readers only. */
export function spoken(text) {
  return el("span", { class: "mipro-spoken", text });
}

/** Bring the children of a node into the given order, moving only those that are out of place. */
export function arrange(parent, nodes) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let next = parent.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
  // a node that was moved has lost the focus
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

const ICONS = {
  run: "M5 3v10l8-5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  stop: "M4 4h8v8H4z",
  done: "M6.4 12.6 2 8.2l1.6-1.6 2.8 2.8L12.4 3.4 14 5z",
  fail: "M7 2h2v8H7zM7 12h2v2H7z",
  wait: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zm0 1.6a4.9 4.9 0 1 1 0 9.8 4.9 4.9 0 0 1 0-9.8zM7.2 4.5h1.6v3.2l2.1 2.1-1.1 1.1-2.6-2.6z",
  star: "m8 1.3 2 4.4 4.8.5-3.6 3.2 1 4.7L8 11.7l-4.2 2.4 1-4.7L1.2 6.2l4.8-.5z",
  up: "M8 2.5 14 9H10.2v4.5H5.8V9H2z",
  down: "M8 13.5 2 7h3.8V2.5h4.4V7H14z",
  same: "M2.5 5h11v2h-11zM2.5 9h11v2h-11z",
  open: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zm0 1.7a3.8 3.8 0 1 1 0 7.6 3.8 3.8 0 0 1 0-7.6z",
  fold: "M6 3.5 10.5 8 6 12.5 4.9 11.4 8.3 8 4.9 4.6z",
  close: "m4.2 3.1 3.8 3.8 3.8-3.8 1.1 1.1L9.1 8l3.8 3.8-1.1 1.1L8 9.1l-3.8 3.8-1.1-1.1L6.9 8 3.1 4.2z",
  add: "M7 3h2v4h4v2H9v4H7V9H3V7h4z",
};

/** A small drawing beside a word; it never stands alone, so screen readers skip it. */
export function icon(name) {
  const node = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    class: "mipro-icon", viewBox: "0 0 16 16", width: "12", height: "12", "aria-hidden": "true", focusable: "false",
  })) node.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.open);
  node.append(path);
  return node;
}

export function setIcon(node, name) {
  const d = ICONS[name] ?? ICONS.open;
  const path = node.firstChild;
  if (path.getAttribute("d") !== d) path.setAttribute("d", d);
}

/** A button with a word and, if given, an icon before it. */
export function button(label, onClick, { name = null, kind = "", ...props } = {}) {
  const node = el("button", { type: "button", class: `mipro-button ${kind}`.trim(), on: { click: onClick }, ...props });
  if (name) node.append(icon(name));
  node.append(el("span", { text: label }));
  return node;
}
