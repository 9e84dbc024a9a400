"""The few HTML elements of a frozen output, chosen so that it reads well where styles are stripped.

nbconvert's sanitizer knows no ``thead``, ``th``, ``img``, ``ins``, ``del``, ``details`` and no ``style``: tables are
bare rows, and new words are bold besides being green. A long text from outside stands in a ``pre``: nothing in it is
HTML, its line breaks stay, and the notebook doesn't take its dollar signs for mathematics.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from mipro_nb.notebook.worddiff import word_diff
from mipro_nb.text import visible

LINE = "1px solid rgba(128,128,128,.4)"
_WRAP = "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal"
_PRE = f"{_WRAP};min-width:6em;font-family:inherit;margin:0;padding:0;background:none"
_CELL = f"text-align:left;vertical-align:top;padding:3px 8px 3px 0;border-bottom:{LINE}"
_TABLE = "border-collapse:collapse;border:none;margin:4px 0 8px 0;font-size:inherit"
_GONE = '<i style="background:rgba(213,94,0,.22);text-decoration:line-through">'
_NEW = '<b style="background:rgba(0,158,115,.25)">'


def text(outside: str) -> str:
    """Return a text from outside as one harmless element."""
    return pre(escape(outside))


def pre(markup: str) -> str:
    """Put markup, escaped already, into a ``pre`` that wraps."""
    return f'<pre style="{_PRE}">{markup}</pre>'


def escape(outside: str) -> str:
    """Return a text from outside with hidden characters named and HTML's own escaped."""
    return html.escape(visible(outside))


def shortened(outside: str, length: int) -> str:
    """Return a text of at most ``length`` characters that says what was left out."""
    left = len(outside) - length
    return outside if left <= 0 else f"{outside[:length]} … ({left:,} more of {len(outside):,} characters)"


def box(*parts: str, style: str = "") -> str:
    """Stack parts."""
    return f'<div style="{style}">{"".join(parts)}</div>' if style else f"<div>{''.join(parts)}</div>"


def bold(words: str) -> str:
    """Return one line of words in bold."""
    return f"<b>{escape(words)}</b>"


def section(words: str, *parts: str) -> str:
    """Return parts under a heading."""
    return box(bold(words), style="margin-top:14px") + "".join(parts)


def row(cells: Iterable[str], style: str = "") -> str:
    """Return a table row of markup."""
    return "<tr>" + "".join(f'<td style="{_CELL}{style}">{cell}</td>' for cell in cells) + "</tr>"


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of markup under a row of bold names."""
    body = "".join(row(cells) for cells in rows)
    return f'<table style="{_TABLE}">{row(map(bold, head))}{body}</table>'


def compared(old: str, new: str, names: tuple[str, str]) -> str:
    """Return two texts beside each other: words only in the first struck out, words only in the second bold."""
    parts = word_diff(old, new)
    gone = [f"{_GONE}{escape(piece)}</i>" if op == "del" else escape(piece) for op, piece in parts if op != "add"]
    added = [f"{_NEW}{escape(piece)}</b>" if op == "add" else escape(piece) for op, piece in parts if op != "del"]
    cells = row((pre("".join(gone)), pre("".join(added))), ";width:50%;padding-right:20px;line-height:1.45")
    return f'<table style="{_TABLE};width:100%">{row(map(bold, names))}{cells}</table>'
