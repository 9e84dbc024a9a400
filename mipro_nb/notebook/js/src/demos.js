// The demos of a set, each as lines "field: value".

import { el, said } from "./dom.js";
import { words } from "./format.js";

export function demoList(set) {
  const demos = set?.demos ?? [];
  if (!demos.length) return el("p", { class: "mipro-nothing", text: "No demos: the instruction stands alone." });
  return el("ol", { class: "mipro-demos" }, ...demos.map((demo) => el("li", {}, el("dl", { class: "mipro-fields" },
    ...Object.entries(demo ?? {}).flatMap(([field, value]) => [said(field, { tag: "dt" }), said(words(value), { tag: "dd" })])))));
}
