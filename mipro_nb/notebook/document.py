"""What is written about a run, as blocks of plain text: the one layer between a History and its pages.

A block holds no markup and knows no page. Renderers make of blocks the frozen output of a notebook (``markup``), an
HTML page (``page``) or Markdown (``markdown``); whatever stands in a block may come from an LM or a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GAP = "\u00a0"  # a space at which a cell isn't broken


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; ``level`` 1 is the title, ``short`` what a list of contents calls it (none: it isn't listed)."""

    text: str
    level: int = 2
    short: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text, its line breaks kept."""

    text: str


@dataclass(frozen=True, slots=True)
class Callout:
    """What must not be missed; ``tone`` is ``improved``, ``not shown`` or ``worse``, ``head`` may be empty."""

    tone: str
    head: str
    text: str


@dataclass(frozen=True, slots=True)
class Long:
    """A cell's text that may be long: ``short`` stands for it where a page can unfold it."""

    text: str
    short: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under their names.

    Attributes:
        title: what the table is, in a few words, for those who hear the page.
        numbers: places of the columns that hold numbers.
        marked: places of the rows that stand out, such as the winner's.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str | Long, ...], ...]
    title: str = ""
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Diff:
    """Two texts to be compared word by word, under their names."""

    old: str
    new: str
    names: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text exactly as it is; ``label`` says what it is, ``language`` names code's."""

    text: str
    label: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """Rows of ``charts``, to be drawn: ``kind`` is ``scores`` or ``heat``; ``title`` says what is seen."""

    kind: str
    rows: tuple[Mapping[str, Any], ...]
    title: str


@dataclass(frozen=True, slots=True)
class Beside:
    """Two lists of blocks to be compared, under their names."""

    names: tuple[str, str]
    left: tuple[Block, ...]
    right: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are folded away behind a line."""

    summary: str
    blocks: tuple[Block, ...]


Block = Heading | Paragraph | Callout | Table | Diff | Verbatim | Figure | Beside | Details


def shortened(outside: str, length: int) -> str:
    """Return a text of at most ``length`` characters that says what was left out."""
    left = len(outside) - length
    return outside if left <= 0 else f"{outside[:length]} … ({left:,} more of {len(outside):,} characters)"
