"""A run in JupyterLab: watched to its end, stopped, paused."""

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

IMPORTS = "from scene import *"


def steps(page, view):
    """What the four stages say, as numbers done."""
    return [text.split(" of ")[0] for text in view.locator(".mipro-step-count").all_text_contents()]


def test_a_run_is_watched_to_its_end_and_then_freezes(page):
    page.start(IMPORTS, "view = optimize(held(120, delay=0.01))\nview", "view")
    view = page.view(1)
    page.state(view, "Running")
    stages = view.get_by_role("list", name="Stages").get_by_role("listitem")
    assert stages.count() == 4
    page.shows(stages.nth(0), "demos kept")
    page.shows(stages.nth(1), "4 of 4", "4 instructions")
    page.shows(view.get_by_role("region", name="Chart of the trials"), "Score of each trial")
    page.expect(view.locator(".mipro-step[data-phase=now]")).to_contain_text("Search combinations")
    before = page.still(lambda: steps(page, view), "the stages")
    page.open_door()
    page.until(lambda: not view.count() or steps(page, view) != before, "a stage that moves")
    page.shows(page.output(1), "MIPROv2 · Predict · finished", "test examples", "Instructions (4)", "Demo sets (4)")
    page.expect(page.output(1)).to_contain_text("best on validation")
    assert page.view(1).count() == 0
    chart = page.output(1).locator(".jp-RenderedVegaCommon5")
    page.expect(chart.locator("canvas, svg").first).to_be_visible()
    page.run_cell(2)
    view = page.view(2)
    page.state(view, "Finished")
    page.expect(view.get_by_role("region", name="Verdict")).to_contain_text("examples")
    page.expect(view.get_by_role("button", name="Extend")).to_be_visible()


def test_stop_in_the_middle_keeps_the_best_while_other_cells_go_on_working(page):
    page.start(IMPORTS, "view = optimize(held(250), num_trials=100)\nview", "1 + 1")
    view = page.view(1)
    page.shows(page.output(2), "2")
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.still(lambda: page.number(view, "LM calls"), "the number of calls")
    assert "running 4" in page.ask(2, "print(view.status, 2 + 2)")
    best = view.locator(".mipro-big").text_content()
    page.press(view, "Stop and keep the best")
    page.state(view, "Stopping")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · stopped", "best on validation", best)
    told = page.ask(2, "best = view.run.history.best\nprint(view.status, f'{best.score:.1%}', best.number > 0)")
    assert f"stopped {best} True" in told
    same = "view.run.program.predictors[0].signature.instructions in {i.text for i in view.run.history.instructions}"
    assert "True" in page.ask(2, f"print({same})")
    page.save()
    frozen, chart = page.read().cells[1].outputs
    assert "stopped" in frozen["data"]["text/html"]
    assert set(frozen["data"]) == {"text/html", "text/plain"}
    assert set(chart["data"]) == {"application/vnd.vegalite.v5+json", "image/png", "text/plain"}


def test_pause_and_go_on_by_the_buttons(page):
    page.start(IMPORTS, "view = optimize(slow(0.2), num_trials=200)\nview")
    view = page.view(1)

    def calls():
        return page.number(view, "LM calls")

    page.until(lambda: calls() > 20, "20 calls")
    page.press(view, "Pause")
    page.state(view, "Paused")
    paused = page.still(calls, "the number of calls")
    page.press(view, "Go on")
    page.state(view, "Running")
    page.until(lambda: calls() > paused, "more calls after the pause")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · finished", "test examples")
