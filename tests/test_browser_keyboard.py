"""The live view without a mouse."""

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

FOCUSED = "() => document.activeElement.textContent.trim() || document.activeElement.getAttribute('aria-label')"


def tab_to(page, name, most=40):
    """Press Tab until this has the focus."""
    for _ in range(most):
        page.page.keyboard.press("Tab")
        if (page.page.evaluate(FOCUSED) or "").startswith(name):
            return
    raise AssertionError(f"{name} was not reached by Tab")


def test_the_keyboard_reaches_everything(page):
    page.start("from scene import *", "view = optimize(held(250), num_trials=100)\nview", "1 + 1")
    view, keys = page.view(1), page.page.keyboard
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.still(lambda: page.number(view, "LM calls"), "the number of calls")
    view.get_by_role("button", name="Pause").focus()
    tab_to(page, "Stop and keep the best")
    tab_to(page, "Candidates")
    for key, name in (
        ("ArrowRight", "Trials"),
        ("End", "Prompt"),
        ("ArrowRight", "Candidates"),
        ("ArrowLeft", "Prompt"),
    ):
        keys.press(key)
        page.expect(view.get_by_role("tab", selected=True)).to_contain_text(name)
        page.expect(view.get_by_role("tabpanel", name=name)).to_be_visible()
    keys.press("Home")
    tab_to(page, "Search candidates")
    keys.type("dd instruction 1")  # dd deletes a cell where JupyterLab hears it
    page.expect(view.get_by_role("searchbox", name="Search candidates")).to_have_value("dd instruction 1")
    keys.press("Control+a")
    keys.press("Delete")
    view.get_by_role("grid", name="Candidates").get_by_role("row").nth(1).focus()
    keys.press("ArrowRight")
    page.shows(view, "The original instruction")
    keys.press("ArrowDown")
    keys.press("Enter")
    page.shows(view, "In full colour: trials with instruction")
    keys.press("Escape")
    page.expect(view.get_by_text("In full colour: trials with")).to_be_hidden()
    view.get_by_role("button", name="Pause").focus()
    tab_to(page, "Stop and keep the best", 1)
    keys.press("Enter")
    page.state(view, "Stopping")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · stopped")


def test_keys_in_the_view_do_nothing_to_the_notebook(page):
    page.start("from scene import *", "view = optimize(held(250), num_trials=100)\nview", "1 + 1", "2 + 2")
    view = page.view(1)
    page.shows(view, "Instruction 1", "over the baseline")
    page.still(lambda: page.number(view, "LM calls"), "the number of calls")
    row = view.get_by_role("grid", name="Candidates").get_by_role("row").nth(1)

    def cells():  # of the notebook itself: JupyterLab draws only those near the eye
        return page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.cells.length")

    for place in (view.get_by_role("tab", name="Candidates"), view.get_by_role("button", name="Pause"), row):
        place.focus()
        page.page.keyboard.press("d")
        page.page.keyboard.press("d")  # JupyterLab deletes the cell
        page.page.keyboard.press("a")  # and this adds one
        page.expect(place).to_be_focused()
        assert cells() == 4
    page.open_door()


def test_tab_leads_from_the_cell_into_the_view(page):
    page.start("from scene import *", "view = optimize(held(250), num_trials=100)\nview")
    page.state(page.view(1), "Running")
    page.still(lambda: page.number(page.view(1), "LM calls"), "the number of calls")  # held: it can't end by itself
    page.page.locator(".jp-Notebook .jp-Cell").nth(1).focus()
    tab_to(page, "Stop and keep the best")
    page.page.keyboard.press("Enter")
    page.open_door()  # on a busy machine no call may be held yet: then it is over at once
    page.shows(page.output(1), "MIPROv2 · Predict · stopped")


def test_the_view_tells_a_screen_reader_its_parts(page):
    page.start("from scene import *", "view = optimize(held(250), num_trials=100)\nview")
    view = page.view(1)
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    for name in ("Progress of the optimization", "Chart of the trials"):
        page.expect(view.get_by_role("region", name=name)).to_have_count(1)
    page.expect(view.get_by_role("group", name="Control of the run")).to_have_count(1)
    page.expect(view.get_by_role("img", name="Score of each trial")).to_have_count(1)
    page.expect(view.get_by_role("progressbar", name="Calls made")).to_have_count(1)
    page.expect(view.get_by_role("grid", name="Candidates")).to_have_count(1)
    unnamed = "nodes => nodes.filter(one => !one.textContent.trim() && !one.ariaLabel && !one.labels?.length).length"
    assert view.locator("button, input, select, [role=button]").evaluate_all(unnamed) == 0
    page.open_door()
