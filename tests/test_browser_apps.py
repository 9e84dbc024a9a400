"""Notebook 7 and Voila: a run is shown there, and stopped."""

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

CELLS = ("from scene import *", "view = optimize(held(250), num_trials=100)\nview")


def opened(page, app, sign):
    """Open a notebook without us first, to know the noise that the front end makes by itself."""
    page.write("1 + 1", name="noise")
    page.write(*CELLS)
    for name in ("noise", "nb"):
        page.page.goto(f"{page.server.url}/{app}/{page.folder.name}/{name}.ipynb")
        page.page.locator(sign).first.wait_for()
        page.page.wait_for_load_state("networkidle")
        if name == "noise":
            page.listen_to_noise()
    return page.page


def stop(page, view):
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.expect(view.locator(".mipro-figure-scores canvas")).to_be_visible()
    page.press(view, "Stop and keep the best")
    page.open_door()


def test_notebook_7(page):
    pytest.importorskip("notebook")
    tab = opened(page, "notebooks", ".jp-Notebook .jp-Cell")
    page.idle()
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    stop(page, page.view(1))
    page.shows(page.output(1), "MIPROv2 · Predict · stopped", "best on validation")


def test_voila(page):
    pytest.importorskip("voila")
    opened(page, "voila/render", "body")
    view = page.page.locator(lab.VIEW)
    stop(page, view)
    page.until(lambda: not view.count() or view.locator(".mipro-badge").text_content() == "Stopped", "the end")
    page.shows(page.page.locator("body"), "best")
