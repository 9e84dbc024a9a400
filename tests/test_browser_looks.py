"""Pictures of the view, at two widths and in two themes; with MIPRO_NB_SHOTS=FOLDER they are kept for a look."""

from itertools import combinations
from pathlib import Path

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

BOXES = """([root, selector]) => [...root.querySelectorAll(selector)].map(one => one.getBoundingClientRect())
    .filter(box => box.width && box.height).map(box => [box.left, box.top, box.right, box.bottom])"""
GROUPS = (
    ".mipro-inner > *",
    ".mipro-progress > :not(.mipro-spoken)",
    ".mipro-step",
    ".mipro-facts > *",
    ".mipro-actions > *",
    ".mipro-figure",
    ".mipro-tab",
    ".mipro-filters > *",
)
WIDE = """root => [root, ...root.querySelectorAll("*")].filter(
    one => one.scrollWidth > one.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(one).overflowX)
).map(one => `${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)"""


def overlap(one, other):
    """Pixels that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return min(width, height)


def faults(node):
    """Say what is wider than its place, and which parts lie on one another."""
    found = node.evaluate(WIDE)
    for selector in GROUPS:
        boxes = node.evaluate("(root, selector) => (" + BOXES + ")([root, selector])", selector)
        found += [f"{selector} overlap" for one, other in combinations(boxes, 2) if overlap(one, other) > 1]
    return found


def test_the_view_at_two_widths_and_in_two_themes(page, tmp_path):
    folder = Path(lab.SHOTS or tmp_path)
    page.start(
        "from scene import *",
        "beginning = optimize(held(8))\nbeginning",
        "middle = optimize(held(250), num_trials=100)\nmiddle",
        "end = optimize(slow(0.001))\nend",
        "end.run.history.reason",
    )
    page.state(page.view(1), "Running")
    page.shows(page.view(2), "over the baseline")
    page.shows(page.output(3), "MIPROv2 · Predict · finished")
    page.ask(4, "end")
    page.state(page.view(4), "Finished")
    page.still(lambda: [page.number(page.view(n), "LM calls") for n in (1, 2)], "the number of calls")
    shown = {"1-start": page.view(1), "2-middle": page.view(2), "3-end": page.output(3), "4-again": page.view(4)}
    page.command("application:toggle-left-area")  # where there is so little room nobody leaves the files open
    found = {}
    for theme in ("Light", "Dark"):
        page.theme(f"JupyterLab {theme}")
        for width in (1280, 800):
            page.page.set_viewport_size({"width": width, "height": 2600})
            page.page.wait_for_timeout(500)  # for the pictures: charts are drawn anew
            for name, node in shown.items():
                node.scroll_into_view_if_needed()
                picture = f"{name}-{width}-{theme.lower()}"
                node.screenshot(path=folder / f"{picture}.png")
                found[picture] = faults(node)
    page.open_door()
    assert not {picture: told for picture, told in found.items() if told}
