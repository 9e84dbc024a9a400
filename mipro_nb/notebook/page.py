"""Blocks -> one HTML page that needs nothing else and asks for nothing: no script, no font, no picture from outside.

Every text is escaped. Its policy (CSP) forbids all requests besides, whatever a text might hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mipro_nb.notebook import vector
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
from mipro_nb.notebook.markup import HINT, escape, marked

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = Path(__file__).parent / "report.css"
PAPER = "On paper a part that is folded (▸) stays so, unless it was opened before printing."


def rendered(blocks: Sequence[Block]) -> str:
    """Return blocks as a page; its title is the first heading, its contents the headings that have a short name."""
    titles = [block.text for block in blocks if isinstance(block, Heading)]
    contents = [block for block in blocks if isinstance(block, Heading) and block.short]
    body: list[str] = []
    for block in blocks:
        if contents and block is contents[0]:
            body.append(_contents(contents))
        body.append(_block(block))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{escape(titles[0] if titles else "Report")}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
{chr(10).join(body)}
</main>
</body>
</html>
"""


def _contents(headings: Iterable[Heading]) -> str:
    links = "".join(f'<li><a href="#{_id(block)}">{escape(block.short)}</a></li>' for block in headings)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav><p class="paper">{PAPER}</p>'


def _id(block: Heading) -> str:
    return block.short.lower().replace(" ", "-")


def _blocks(blocks: Iterable[Block]) -> str:
    return "".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Heading():
            name = f' id="{_id(block)}"' if block.short else ""
            return f"<h{block.level}{name}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f'<p class="text">{escape(block.text)}</p>'
        case Callout():
            head = f'<p class="head">{escape(block.head)}</p>' if block.head else ""
            tone = block.tone.replace(" ", "-") if block.tone in ("improved", "worse") else "open"
            return f'<div class="callout {tone}">{head}<p class="text">{escape(block.text)}</p></div>'
        case Table():
            return _table(block)
        case Diff():
            texts = marked(block.old, block.new, ("<del>", "</del>"), ("<ins>", "</ins>"))
            return _beside(
                (block.names[0], block.names[1] + HINT), [f'<div class="text">{text}</div>' for text in texts], "diff"
            )
        case Beside():
            return _beside(block.names, [_blocks(block.left), _blocks(block.right)], "sides")
        case Verbatim():
            label = f'<p class="label">{escape(block.label)}</p>' if block.label else ""
            return f'{label}<pre class="{"code" if block.language else "text"}">{escape(block.text)}</pre>'
        case Details():
            return f"<details><summary>{escape(block.summary)}</summary>{_blocks(block.blocks)}</details>"
        case Figure():
            return _figure(block)


def _beside(names: Sequence[str], sides: Sequence[str], kind: str) -> str:
    parts = [f'<div><p class="label">{escape(name)}</p>{side}</div>' for name, side in zip(names, sides, strict=True)]
    return f'<div class="beside {kind}">{"".join(parts)}</div>'


def _figure(block: Figure) -> str:
    """Put both sizes of a drawing into the page; its style shows the one that fits."""
    both = []
    for kind in ("wide", "narrow") if block.kind == "scores" else ("any",):
        drawing = vector.drawn(block, kind == "narrow").replace(
            "<svg ", f'<svg role="img" aria-label="{escape(block.title)}" ', 1
        )
        both.append(f'<div class="scroll {kind}" tabindex="0">{drawing}</div>')
    return f"<figure>{''.join(both)}<figcaption>{escape(block.title)}</figcaption></figure>"


def _table(block: Table) -> str:
    """Make a table that scrolls in its own box where it is too wide; one that holds long texts is stacked there."""
    stacked = any(isinstance(cell, Long) for row in block.rows for cell in row)
    sides = [' class="n"' if place in block.numbers else "" for place in range(len(block.head))]
    head = "".join(f'<th scope="col"{side}>{escape(name)}</th>' for name, side in zip(block.head, sides, strict=True))
    rows = []
    for place, cells in enumerate(block.rows):
        style = ' class="marked"' if place in block.marked else ""
        name = f' data-name="{escape(block.head[0])}"' if stacked and str(cells[0])[:1].isdigit() else ""
        first = f'<th scope="row"{sides[0]}{name}>{_inside(cells[0])}</th>'
        others = zip(block.head[1:], sides[1:], cells[1:], strict=True)
        rows.append(f"<tr{style}>{first}{''.join(_cell(*other, stacked) for other in others)}</tr>")
    caption = f"<caption>{escape(block.title)}</caption>" if block.title else ""
    kind = ' class="stacked"' if stacked else ""
    table = f"<table{kind}>{caption}<thead><tr>{head}</tr></thead><tbody>{chr(10).join(rows)}</tbody></table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(block.title)}">{table}</div>'


def _cell(name: str, side: str, cell: str | Long, stacked: bool) -> str:
    told = f' data-name="{escape(name)}"' if stacked and isinstance(cell, str) else ""
    return f"<td{side}{told}>{_inside(cell)}</td>"


def _inside(cell: str | Long) -> str:
    if isinstance(cell, str):
        return escape(cell)
    full = f'<div class="text">{escape(cell.text)}</div>'
    if not cell.short:
        return full
    return f'<details class="long"><summary><span>{escape(cell.short)}</span></summary>{full}</details>'
