"""Blocks -> Markdown that reads well as it is and is harmless where it is shown.

A renderer may be GitHub, or a cell of a trusted notebook, which runs HTML, fetches pictures and sets dollar signs as
mathematics. So a text that isn't plain words stands in a code span, and a long one in a fence longer than any in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mipro_nb.notebook.document import (
    Beside,
    Block,
    Callout,
    Details,
    Diff,
    Figure,
    Heading,
    Long,
    Paragraph,
    Table,
    Verbatim,
)
from mipro_nb.notebook.worddiff import word_diff
from mipro_nb.text import cut, visible

CELL = 300  # characters of a text in a table's cell
# words that mean nothing to any Markdown: no address, no list's or heading's beginning, no emphasis
_HARMLESS = re.compile(r"(?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|[ \u00a0,.;:()%/→·…✓★⟨⟩+='\"?-])*")


def rendered(blocks: Iterable[Block]) -> str:
    """Return blocks as Markdown."""
    return "\n\n".join(map(_block, blocks)) + "\n"


def inline(outside: str) -> str:
    """Return a text on one line: words as they are, all else as a code span."""
    line = " ".join(visible(outside).split(" ")).replace("\n", " ").replace("\t", " ").strip()
    if is_plain(line):
        return line
    if not set("`|\\") & set(line):
        return f"`{line}`"
    return f"<code>{entities(line)}</code>"


def is_plain(line: str) -> bool:
    """Whether a line means nothing to any Markdown but its words."""
    begins = re.match(r"[-+=]|\d+[.)](?:\s|$)", line)
    return not begins and not re.search(r"://|www\.", line, re.IGNORECASE) and bool(_HARMLESS.fullmatch(line))


def entities(text: str) -> str:
    """Return a text with every sign that HTML or Markdown could take for its own as a number."""
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};" for sign in text)


def fenced(text: str, language: str = "") -> str:
    """Return a text in a fence that nothing in it can close."""
    shown = visible(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {inline(block.text)}"
        case Paragraph():
            return fenced(block.text) if "\n" in block.text else inline(block.text)
        case Callout():
            told = [f"**{inline(block.head)}**"] if block.head else []
            return "\n>\n".join(f"> {line}" for line in [*told, inline(block.text)])
        case Table():
            return _table(block)
        case Diff():
            return _diff(block)
        case Beside():
            sides = zip(block.names, (block.left, block.right), strict=True)
            return "\n\n".join(f"**{inline(name)}**\n\n" + rendered(side).strip() for name, side in sides)
        case Verbatim():
            return (f"{inline(block.label)}:\n\n" if block.label else "") + fenced(block.text, block.language)
        case Details():
            return _folded(block.summary, rendered(block.blocks).strip())
        case Figure():
            return f"The HTML report draws it. {inline(block.title)}"


def _folded(summary: str, inside: str) -> str:
    line = " ".join(visible(summary).split())
    shown = line if is_plain(line) else f"<code>{entities(line)}</code>"
    return f"<details><summary>{shown}</summary>\n\n{inside}\n\n</details>"


def _diff(block: Diff) -> str:
    words = {"same": "{}", "del": "[-{}-]", "add": "{{+{}+}}"}
    both = "".join(words[op].format(piece) for op, piece in word_diff(block.old, block.new))
    parts = [("word by word, [-left out-] and {+new+}", both), *zip(block.names, (block.old, block.new), strict=True)]
    return "\n\n".join(f"{inline(name)}:\n\n{fenced(text)}" for name, text in parts)


def _table(block: Table) -> str:
    rules = ["--:" if place in block.numbers else "---" for place in range(len(block.head))]
    lines, beneath = [_row(map(inline, block.head)), _row(rules)], []
    for place, cells in enumerate(block.rows):
        shown = [inline(_shown(cell)) for cell in cells]
        if place in block.marked:
            shown[0] = f"**{shown[0]}**"
        lines.append(_row(shown))
        beneath += [(str(cells[0]), cell.text) for cell in cells if isinstance(cell, Long) and _is_cut(cell)]
    whole = "\n\n".join(f"{inline(f'{block.head[0]} {name}')}:\n\n{fenced(text)}" for name, text in beneath)
    return "\n".join(lines) + (f"\n\n{_folded('the texts in full', whole)}" if whole else "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_cut(cell: Long) -> bool:
    return bool(cell.short) or len(cell.text) > CELL


def _shown(cell: str | Long) -> str:
    if isinstance(cell, str):
        return cell
    return cell.short or cut("; ".join(line for line in cell.text.split("\n") if line.strip()), CELL)
