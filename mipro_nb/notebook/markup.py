"""Blocks -> the few HTML elements of a frozen output, chosen so that it reads well where styles are stripped.

nbconvert's sanitizer knows no ``thead``, ``th``, ``img``, ``ins``, ``del``, ``details`` and no ``style``: tables are
bare rows, and new words are bold besides being green. A text from outside stands in a ``pre``: nothing in it is
HTML, its line breaks stay, and the notebook doesn't take its dollar signs for mathematics.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from mipro_nb.notebook.document import Block, Callout, Diff, Heading, Long, Paragraph, Table
from mipro_nb.notebook.worddiff import word_diff
from mipro_nb.text import visible

LINE = "1px solid rgba(128,128,128,.4)"
EDGES = {"improved": "#009E73", "not shown": "#808080", "worse": "#D55E00"}
HINT = ", new words in bold"
_PRE = (
    "white-space:pre-wrap;overflow-wrap:anywhere;min-width:6em;font-family:inherit;margin:0;padding:0;background:none"
)
_ENDLESS = re.compile(r"\S{17}")  # in a notebook that isn't trusted JupyterLab takes out overflow-wrap:anywhere
_CELL = f"text-align:left;vertical-align:top;padding:3px 8px 3px 0;border-bottom:{LINE}"
_TABLE = "border-collapse:collapse;border:none;margin:4px 0 8px 0;font-size:inherit"
_GONE = '<i style="background:rgba(213,94,0,.22);text-decoration:line-through">'
_NEW = '<b style="background:rgba(0,158,115,.25)">'


def rendered(blocks: Iterable[Block]) -> str:
    """Return blocks as one element. Of the blocks only those are known that a frozen output has."""
    return _box("".join(map(_block, blocks)), "line-height:1.4;max-width:1100px")


def _block(block: Block) -> str:
    match block:
        case Heading():
            return _box(_bold(block.text), "margin-top:14px" if block.level > 1 else "")
        case Paragraph():
            return _text(block.text)
        case Callout():
            return _callout(block)
        case Table():
            return _table(block)
        case Diff():
            return _compared(block)
    raise TypeError(f"a frozen output has no {type(block).__name__}")


def escape(outside: str) -> str:
    """Return a text from outside with hidden characters named and HTML's own escaped."""
    return html.escape(visible(outside))


def marked(old: str, new: str, gone: tuple[str, str], added: tuple[str, str]) -> tuple[str, str]:
    """Return two texts as markup, words that only one of them has between the tags of ``gone`` and ``added``."""
    parts = [(op, escape(piece)) for op, piece in word_diff(old, new)]
    left = "".join(piece.join(gone) if op == "del" else piece for op, piece in parts if op != "add")
    right = "".join(piece.join(added) if op == "add" else piece for op, piece in parts if op != "del")
    return left, right


def _text(outside: str) -> str:
    return _pre(escape(outside), outside)


def _pre(markup: str, outside: str) -> str:
    wrap = "break-all" if _ENDLESS.search(outside) else "normal"
    return f'<pre style="{_PRE};word-break:{wrap}">{markup}</pre>'


def _box(markup: str, style: str = "") -> str:
    return f'<div style="{style}">{markup}</div>' if style else f"<div>{markup}</div>"


def _bold(words: str) -> str:
    return f"<b>{escape(words)}</b>"


def _callout(block: Callout) -> str:
    head = _box(_bold(block.head), "font-size:115%") if block.head else ""
    style = f"border-left:4px solid {EDGES.get(block.tone, EDGES['not shown'])};padding:4px 0 4px 12px;margin:8px 0"
    return _box(head + _text(block.text), style)


def _row(cells: Iterable[str], style: str = "") -> str:
    return "<tr>" + "".join(f'<td style="{_CELL}{style}">{cell}</td>' for cell in cells) + "</tr>"


def _table(block: Table) -> str:
    rows = []
    for place, cells in enumerate(block.rows):
        first, *others = cells
        name = _bold(first) if place in block.marked and isinstance(first, str) else _cell(first)
        rows.append(_row([name, *map(_cell, others)]))
    return _rows(block.head, "".join(rows))


def _cell(cell: str | Long) -> str:
    if isinstance(cell, Long):
        return _text(cell.text)
    return _text(cell) if "$" in cell else escape(cell)


def _rows(head: Sequence[str], body: str, style: str = "") -> str:
    return f'<table style="{_TABLE}{style}">{_row(map(_bold, head))}{body}</table>'


def _compared(block: Diff) -> str:
    """Put two texts beside each other: words only in the first struck out, words only in the second bold."""
    texts = marked(block.old, block.new, (_GONE, "</i>"), (_NEW, "</b>"))
    cells = _row(map(_pre, texts, (block.old, block.new)), ";width:50%;padding-right:20px;line-height:1.45")
    return _rows((block.names[0], block.names[1] + HINT), cells, ";width:100%")
