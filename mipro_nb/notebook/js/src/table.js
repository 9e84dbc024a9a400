// A table that is updated in place: rows are keyed, cells are changed only when what they show
// differs, so that unfolded rows, focus, sort order and scroll position survive five updates a second.
// Keyboard: one row is in the tab order; arrows, Home and End move, Enter or Space choose.

import { arrange, attr, button, el, icon, show, spoken } from "./dom.js";
import { count } from "./format.js";

const PAGE = 200; // rows in the document at once, until the user asks for more

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {string} [class] of the cells
 * @property {(row) => *} [sort] what to sort by; without it the column has no sort button
 * @property {boolean} [high] start with the highest when sorted
 * @property {(row) => string} print changes whenever the cell must be drawn again
 * @property {(row) => Node[]} draw the nodes of a cell
 */
export class Table {
  /**
   * @param {object} options `session`, `label`, `columns`, `key(row)`, `choose(row)` on click or Enter, `chosen(row)`,
   *   `mark(row)` (class names), `detail(row)` (the node of an unfolded row; its presence adds a fold button),
   *   `empty` (the line shown without rows), `unfoldOnChoose`.
   */
  constructor(options) {
    Object.assign(this, options);
    this.lines = new Map();
    this.rows = [];
    this.limit = PAGE;
    this.order = null; // {column, down}
    this.active = null; // key of the row in the tab order
    this.body = el("tbody", { on: { click: (event) => this.click(event), keydown: (event) => this.keydown(event), focusin: (event) => this.focusin(event) } });
    this.heads = this.columns.map((column) => this.head(column));
    const heads = el("tr", {}, this.detail ? el("th", { scope: "col", class: "mipro-c-fold" }, spoken("Unfold")) : null, ...this.heads.map((head) => head.node));
    this.grid = el("table", { class: "mipro-table", role: "grid", "aria-label": this.label }, el("thead", {}, heads), this.body);
    this.more = button("Show more", () => {
      this.limit += PAGE;
      this.draw();
    }, { kind: "mipro-quiet" });
    this.nothing = el("p", { class: "mipro-nothing" });
    this.scroller = el("div", { class: "mipro-scroll" }, this.grid, this.nothing, this.more);
    this.node = this.scroller;
    const observer = new ResizeObserver(() => this.span());
    observer.observe(this.scroller);
    this.session.onClose(() => observer.disconnect());
  }

  head(column) {
    const node = el("th", { scope: "col", class: column.class });
    if (column.sort) {
      const arrow = icon("down");
      arrow.classList.add("mipro-arrow");
      node.append(el("button", { type: "button", class: "mipro-sort", on: { click: () => this.sortBy(column) } }, el("span", { text: column.title }), arrow));
    } else node.append(column.title);
    return { node, column };
  }

  sortBy(column) {
    const first = Boolean(column.high);
    if (this.order?.column !== column) this.order = { column, down: first };
    else if (this.order.down === first) this.order = { column, down: !first };
    else this.order = null;
    for (const { node, column: one } of this.heads) {
      const mine = this.order?.column === one;
      attr(node, "aria-sort", mine ? (this.order.down ? "descending" : "ascending") : null);
    }
    this.draw();
  }

  /** Show these rows (already filtered). */
  update(rows) {
    this.rows = rows;
    this.draw();
  }

  sorted() {
    if (!this.order) return this.rows;
    const { column, down } = this.order;
    const missing = (value) => value == null || value === "";
    return [...this.rows].sort((one, other) => {
      const [a, b] = [column.sort(one), column.sort(other)];
      if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b)); // what has no value comes last either way
      const less = typeof a === "string" ? a.localeCompare(b) : a - b;
      return down ? -less : less;
    });
  }

  draw() {
    const all = this.sorted();
    const shown = all.slice(0, this.limit);
    const nodes = [];
    const keys = new Set();
    for (const row of shown) {
      const line = this.line(row);
      keys.add(line.key);
      nodes.push(line.node);
      if (line.unfolded) nodes.push(line.below);
    }
    if (!keys.has(this.active)) this.active = shown.length ? this.key(shown[0]) : null;
    arrange(this.body, nodes);
    for (const row of shown) this.inOrder(this.lines.get(this.key(row)), this.key(row) === this.active);
    show(this.more, all.length > shown.length);
    this.more.lastChild.textContent = `Show more (${count(all.length - shown.length)} left)`;
    show(this.grid, shown.length > 0);
    show(this.nothing, shown.length === 0);
    this.nothing.textContent = typeof this.empty === "function" ? this.empty() : this.empty;
  }

  line(row) {
    const key = this.key(row);
    let line = this.lines.get(key);
    if (!line) this.lines.set(key, (line = this.makeLine(key)));
    line.row = row;
    this.columns.forEach((column, place) => {
      const print = column.print(row);
      if (line.prints[place] === print) return;
      line.prints[place] = print;
      line.cells[place].replaceChildren(...column.draw(row));
    });
    attr(line.node, "aria-selected", this.chosen ? String(Boolean(this.chosen(row))) : null);
    attr(line.node, "class", `mipro-row ${this.mark?.(row) ?? ""}`.trim());
    if (line.unfolded) this.fill(line);
    return line;
  }

  makeLine(key) {
    const cells = this.columns.map((column) => el("td", { class: column.class }));
    const line = { key, cells, prints: [], unfolded: false, below: null, fold: null, filled: null };
    line.node = el("tr", { tabindex: "-1" });
    line.node.dataset.key = key;
    if (this.detail) {
      line.fold = el("button", { type: "button", class: "mipro-fold", "aria-expanded": "false", "aria-label": "Details", tabindex: "-1" }, icon("fold"));
      line.node.append(el("td", { class: "mipro-c-fold" }, line.fold));
    }
    line.node.append(...cells);
    return line;
  }

  /** Unfold or fold a row. */
  toggle(line) {
    line.unfolded = !line.unfolded;
    line.fold.setAttribute("aria-expanded", String(line.unfolded));
    if (!line.below) {
      line.holder = el("td");
      line.below = el("tr", { class: "mipro-below" }, line.holder);
      this.span();
    }
    this.draw();
  }

  /** An unfolded detail spans the columns that are seen: narrow tables have fewer. */
  span() {
    const seen = this.heads.filter(({ node }) => getComputedStyle(node).display !== "none").length + 1;
    for (const line of this.lines.values()) if (line.holder) attr(line.holder, "colspan", seen);
  }

  /** The detail is made again only when the row says something else. */
  fill(line) {
    const print = this.detailPrint ? this.detailPrint(line.row) : "";
    if (line.filled === print) return;
    line.filled = print;
    line.holder.replaceChildren(this.detail(line.row));
  }

  lineOf(event) {
    const node = event.target.closest?.("tr.mipro-row");
    return node && this.body.contains(node) ? this.lines.get(this.keyType(node.dataset.key)) : null;
  }

  keyType(text) {
    return this.lines.has(text) ? text : Number(text);
  }

  click(event) {
    const line = this.lineOf(event);
    if (!line) return;
    if (line.fold && (event.target.closest(".mipro-fold") || this.unfoldOnChoose)) this.toggle(line);
    else if (String(getSelection() ?? "") === "") this.choose?.(line.row); // not while text is being marked
  }

  focusin(event) {
    const line = this.lineOf(event);
    if (!line || line.key === this.active) return;
    const before = this.lines.get(this.active);
    for (const one of [before, line]) if (one) this.inOrder(one, one === line);
    this.active = line.key;
  }

  /** Put a row (and its fold button) into the tab order, or take it out. */
  inOrder(line, inside) {
    for (const node of [line.node, line.fold]) attr(node ?? line.node, "tabindex", inside ? "0" : "-1");
  }

  keydown(event) {
    const line = this.lineOf(event);
    if (!line) return;
    const act = {
      ArrowDown: () => this.move(line, 1), ArrowUp: () => this.move(line, -1),
      Home: () => this.move(line, -Infinity), End: () => this.move(line, Infinity),
      ArrowRight: () => line.fold && !line.unfolded && this.toggle(line),
      ArrowLeft: () => line.fold && line.unfolded && this.toggle(line),
    }[event.key];
    if (act) act();
    else if ((event.key === "Enter" || event.key === " ") && event.target === line.node) {
      if (this.unfoldOnChoose) this.toggle(line);
      else this.choose?.(line.row);
    } else return;
    event.preventDefault();
  }

  move(line, step) {
    const nodes = [...this.body.querySelectorAll("tr.mipro-row")];
    const place = nodes.indexOf(line.node) + step;
    nodes[Math.max(0, Math.min(nodes.length - 1, place))]?.focus();
  }
}
