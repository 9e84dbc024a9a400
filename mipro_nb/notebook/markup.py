"""Blocks -> the few HTML elements of a frozen output, chosen so that it reads well where styles are stripped.

nbconvert's sanitizer knows no ``thead``, ``th``, ``img``, ``ins``, ``del``, ``details`` and no ``style``: tables are
bare rows, and new words are bold besides being green. A text from outside stands in a ``pre``: nothing in it is
HTML, its line breaks stay, and the notebook doesn't take its dollar signs for mathematics.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence

from mipro_nb.notebook.document import Block, Callout, Diff, Heading, Long, Paragraph, Table
from mipro_nb.notebook.worddiff import word_diff
from mipro_nb.text import visible

LINE = "1px solid rgba(128,128,128,.4)"
EDGES = {"improved": "#009E73", "not shown": "#808080", "worse": "#D55E00"}
HINT = ", new words in bold"
_WRAP = "white-space:pre-wrap;overflow-wrap:break-word;word-break:normal"  # JupyterLab's own is break-all
_PRE = f"{_WRAP};font-family:inherit;margin:0;padding:0;background:none"
_CELL = f"text-align:left;vertical-align:top;padding:3px 8px 3px 0;border-bottom:{LINE}"
# Fixed, for a word without an end would widen the table: in a notebook that isn't trusted JupyterLab takes out
# overflow-wrap:anywhere, and break-word breaks only what has a width already.
_TABLE = "table-layout:fixed;width:100%;min-width:36em;border-collapse:collapse;border:none;margin:4px 0 8px 0"
_TABLE += ";font-size:inherit"
_LETTER, _PADDING, _WIDEST = 0.56, 0.8, 16.0  # em
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
    return _pre(escape(outside))


def _pre(markup: str) -> str:
    return f'<pre style="{_PRE}">{markup}</pre>'


def _box(markup: str, style: str = "") -> str:
    return f'<div style="{style}">{markup}</div>' if style else f"<div>{markup}</div>"


def _bold(words: str) -> str:
    return f"<b>{escape(words)}</b>"


def _callout(block: Callout) -> str:
    head = _box(_bold(block.head), "font-size:115%") if block.head else ""
    style = f"border-left:4px solid {EDGES.get(block.tone, EDGES['not shown'])};padding:4px 0 4px 12px;margin:8px 0"
    return _box(head + _text(block.text), style)


def _row(cells: Iterable[str], styles: Sequence[str] = ()) -> str:
    pairs = itertools.zip_longest(cells, styles, fillvalue="")
    return "<tr>" + "".join(f'<td style="{_CELL}{style}">{cell}</td>' for cell, style in pairs) + "</tr>"


def _table(block: Table) -> str:
    rows = []
    for place, cells in enumerate(block.rows):
        first, *others = cells
        name = _bold(first) if place in block.marked and isinstance(first, str) else _cell(first)
        rows.append(_row([name, *map(_cell, others)]))
    return _rows(block.head, "".join(rows), _widths(block))


def _widths(block: Table) -> list[str]:
    """Return the style of each column's first cell: what its numbers and words need; long texts share the rest."""
    found = []
    for place, name in enumerate(block.head):
        cells = [row[place] for row in block.rows]
        most = max([*map(len, name.split()), *(len(cell) for cell in cells if isinstance(cell, str))], default=0)
        texts = any(isinstance(cell, Long) for cell in cells)
        found.append("" if texts else f";width:{min(_WIDEST, most * _LETTER + _PADDING):.1f}em")
    return found


def _cell(cell: str | Long) -> str:
    if isinstance(cell, Long):
        return _text(cell.text)
    return _text(cell) if "$" in cell else escape(cell)


def _rows(head: Sequence[str], body: str, widths: Sequence[str]) -> str:
    return f'<table style="{_TABLE}">{_row(map(_bold, head), widths)}{body}</table>'


def _compared(block: Diff) -> str:
    """Put two texts beside each other: words only in the first struck out, words only in the second bold."""
    texts = marked(block.old, block.new, (_GONE, "</i>"), (_NEW, "</b>"))
    cells = _row(map(_pre, texts), 2 * [";padding-right:20px;line-height:1.45"])
    return _rows((block.names[0], block.names[1] + HINT), cells, 2 * [";width:50%"])
