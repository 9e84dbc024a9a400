"""The view of ``search="paired"``, at two widths and in two themes: estimates, gains and what brought them."""

from pathlib import Path

import lab
import pytest
from test_browser_looks import faults

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page


def test_a_paired_run_shows_estimate_gain_and_what_brought_it(page, tmp_path):
    folder = Path(lab.SHOTS or tmp_path)
    page.start(
        "from scene import *\nfrom mipro_nb import frames\nframes.approaches = approaches",
        "beginning = standing('paired_beginning')\nbeginning",
        "middle = standing('paired_middle')\nmiddle",
        "end = mn.replay(written('paired'), speed=float('inf'))\nend",
        "1",
    )
    page.state(page.view(1), "Running")
    page.shows(page.view(2), "over the baseline", "estimated", "What brought the gain", "A shorter program")
    page.shows(page.view(2), "evaluations of 14 programs, 2 under way")
    page.shows(page.output(3), "MIPROv2 · Predict · finished")
    page.ask(4, "end")
    page.state(page.view(4), "Finished")
    page.shows(page.view(4), "Validation against test", "per point gained")
    shown = {"1-start": page.view(1), "2-middle": page.view(2), "3-end": page.output(3), "4-again": page.view(4)}
    page.command("application:toggle-left-area")
    found = {}
    for view in (page.view(2), page.view(4)):
        view.get_by_text("What worked in proposing").click()
        page.shows(view, "kind: rewrite (3)")
    for theme in ("Light", "Dark"):
        page.theme(f"JupyterLab {theme}")
        for width in (1280, 800):
            page.page.set_viewport_size({"width": width, "height": 2600})
            page.page.wait_for_timeout(500)
            for name, node in shown.items():
                node.scroll_into_view_if_needed()
                picture = f"paired-{name}-{width}-{theme.lower()}"
                node.screenshot(path=folder / f"{picture}.png")
                found[picture] = faults(node)
    view = page.view(4)
    view.get_by_role("tab", name="Candidates").click()
    page.shows(view.get_by_role("tabpanel"), "banned", "rewritten")
    assert not {picture: told for picture, told in found.items() if told}
