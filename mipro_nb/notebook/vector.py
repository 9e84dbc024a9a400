"""Figures -> SVG elements of an HTML page: drawn by vl-convert, then bared of all that isn't shape or letter."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from mipro_nb.notebook import charts, marks
from mipro_nb.notebook.document import Figure

WIDE, NARROW = 620, 180  # of the plot; axis and direct labels come to it
SLACK = 1.04  # the letters of a reader's machine may be wider than those that vl-convert measured
SCALE, LEAST = 1.25, 0.8  # of vl-convert's pixels: the size at rest, and the least before a box scrolls
SVG = "{http://www.w3.org/2000/svg}"
TAGS = {"svg", "g", "path", "line", "text", "tspan", "rect"}
SHAPE = {"d", "transform", "x", "y", "x1", "y1", "x2", "y2", "width", "height", "viewBox", "rx", "text-anchor"}
PAINT = {"fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-miterlimit", "font-size", "font-weight"}
FAINT = {"opacity", "fill-opacity", "stroke-opacity"}
_LONG = re.compile(r"-?\d+\.\d\d+")


def drawn(figure: Figure, narrow: bool = False) -> str:
    """Return a figure as an ``svg`` element, of the width of a phone or of a page.

    Letters and neutral lines take the page's own colour (``currentColor``). No ids, classes, links, styles or
    events: nothing of one picture can meet that of another.
    """
    import vl_convert

    chart: Any
    if figure.kind == "scores":
        chart = charts.scores_chart(figure.rows).properties(width=NARROW if narrow else WIDE)
    else:
        chart = charts.heat_chart(figure.rows)
    spec = marks.neutral(chart).to_dict()
    made = vl_convert.vegalite_to_svg(spec, vl_version=charts.schema_version())
    return bared(made)


def bared(made: str) -> str:
    """Return an SVG document with known elements and attributes alone, numbers rounded to what the eye sees."""
    root = ElementTree.fromstring(made)
    _bare(root)
    left, top, width, height = (float(number) for number in root.attrib["viewBox"].split())
    root.set("viewBox", f"{left:g} {top:g} {width * SLACK:g} {height:g}")
    root.set("width", f"{width * SLACK * SCALE:.0f}")
    root.set("height", f"{height * SCALE:.0f}")
    root.set("style", f"min-width:{width * SLACK * LEAST:.0f}px")
    return ElementTree.tostring(root, encoding="unicode").replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)


def _bare(element: ElementTree.Element) -> None:
    element.tag = element.tag.removeprefix(SVG)
    kept = {}
    for name, value in element.attrib.items():
        if name in SHAPE:
            kept[name] = _LONG.sub(lambda found: f"{float(found[0]):.1f}", value)
        elif name in PAINT or (name in FAINT and value != "1"):
            kept[name] = "currentColor" if value.lower() == marks.INK else value
    element.attrib.clear()
    element.attrib.update(kept)
    for child in list(element):
        if child.tag.removeprefix(SVG) not in TAGS or _unseen(child):
            element.remove(child)
        else:
            _bare(child)


def _unseen(element: ElementTree.Element) -> bool:
    """Whether it draws nothing: backgrounds without a colour, frames that only keep the axes wide."""
    given = element.attrib
    ground = given.get("class") in ("background", "foreground") and not {"fill", "stroke"} & set(given)
    return ground or given.get("display") == "none" or given.get("opacity") == "0"
