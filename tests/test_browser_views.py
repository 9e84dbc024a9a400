"""Several views: after a reload, in several cells, of several runs, after a restart."""

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

IMPORTS = "from scene import *"


def test_a_reload_in_the_middle_brings_the_view_back_and_it_goes_on(page):
    page.start(IMPORTS, "view = optimize(slow(0.2), num_trials=200)\nview", "", "")
    page.until(lambda: page.number(page.view(1), "LM calls") > 20, "20 calls")
    page.save()
    page.page.reload()
    page.ready()
    view = page.view(1)
    page.state(view, "Running")
    calls = page.number(view, "LM calls")
    page.until(lambda: page.number(view, "LM calls") > calls, "more calls after the reload")
    page.press(view, "Pause")
    page.state(view, "Paused")
    page.press(view, "Go on")
    page.state(view, "Running")
    page.press(view, "Stop and keep the best")
    page.state(view, "Stopped")
    assert "stopped" in page.ask(2, "print(view.status)")
    page.ask(2, "view")
    page.ask(3, "view.run.wait()")  # until the chart of the end is drawn, and the view in its first cell frozen
    page.state(page.view(2), "Stopped")


def test_all_views_of_a_run_are_live_and_share_the_selection(page):
    shown = ("view", "view", "view.chart", "view.candidates", "view.progress", "view.examples", "view.prompt")
    page.start(IMPORTS, "view = optimize(held(250), num_trials=100)", *shown)
    first, second, chart, candidates, progress, examples, prompt = (page.view(n) for n in range(2, 9))
    for view in (first, second, progress):
        page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.shows(candidates, "Instruction 3", "Demo set 3", "winner")
    page.shows(prompt, "The exact messages for example")
    page.expect(examples.get_by_role("grid", name="Examples").get_by_role("row")).to_have_count(31)
    told = [view.locator(".mipro-usage") for view in (first, second, progress)]
    page.still(lambda: [one.text_content() for one in told], "what was spent")
    assert len({one.text_content() for one in told}) == 1
    first.get_by_role("tab", name="Trials").click()
    first.get_by_role("row").filter(has_text="baseline").locator("td").first.click()
    for view in (first, second, chart):
        page.expect(view.get_by_role("region", name="Selected trial")).to_contain_text("Trial 0")
    page.shows(candidates, "The candidates of trial 0 are marked.")
    page.expect(candidates.get_by_role("row").filter(has_text="in the trial")).to_have_count(2)
    chart.get_by_role("button", name="Close").click()
    for view in (first, second, chart):
        page.expect(view.get_by_role("region", name="Selected trial")).to_be_hidden()
    page.press(progress, "Stop and keep the best")
    page.open_door()
    page.shows(page.output(2), "MIPROv2 · Predict · stopped")
    page.shows(page.output(3), "MIPROv2 · Predict · stopped")
    page.state(progress, "Stopped")


def test_a_click_on_a_point_of_the_chart_selects_its_trial(page):
    page.start(IMPORTS, "view = optimize(held(250), num_trials=100)\nview.chart")
    view = page.view(1)
    canvas = view.locator(".mipro-figure-scores canvas")
    page.expect(canvas).to_be_visible()
    page.still(lambda: view.locator("summary").text_content(), "the number of trials")
    box = canvas.bounding_box()
    panel = view.get_by_role("region", name="Selected trial")

    def hit():
        """Try columns and rows of the plot until a mark is met: where it lies is the chart's business."""
        for x in range(30, int(box["width"]), 7):
            for y in range(20, int(box["height"]) - 40, 7):
                canvas.hover(position={"x": x, "y": y})
                if view.locator(".mipro-tooltip:visible").count():
                    canvas.click(position={"x": x, "y": y})
                    return panel.is_visible()
        return False

    page.until(hit, "a point that can be clicked")
    page.shows(panel, "Trial ", "Instruction ", "Demo set ")
    page.open_door()


def test_restart_and_run_all(page):
    page.start(IMPORTS, "view = optimize(held(250), num_trials=100)\nview", "print(view.status, 2 + 2)")
    page.state(page.view(1), "Running")
    page.shows(page.output(2), "running 4")
    page.source(1, "view = optimize(slow(0.01), num_trials=3)\nview")
    page.source(2, "print('sum', 2 + 3)")
    page.restart_and_run_all()
    page.shows(page.output(2), "sum 5")
    page.shows(page.output(1), "MIPROv2 · Predict · finished")
    assert page.view(1).count() == 0
    assert "stopped" not in page.output(1).text_content()


def test_a_run_that_ended_before_it_was_shown_is_live_when_it_is_shown(page):
    page.start(IMPORTS, "view = optimize(fake())\nview.run.wait()", "view", "view")
    page.shows(page.output(2), "MIPROv2 · Predict · finished")  # it may be a front end without widgets
    page.state(page.view(3), "Finished")
    page.view(3).get_by_role("tab", name="Examples").click()
    page.view(3).get_by_role("button", name="Details", exact=True).first.click()
    page.shows(page.view(3), "Messages and reply")


def test_two_runs_at_once_do_not_mix(page):
    page.start(
        IMPORTS,
        "class First(mn.Predict): pass\nclass Second(mn.Predict): pass",
        "one = optimize(held(250), First('q -> a'), num_trials=100, max_cost=5)\none",
        "two = optimize(slow(0.2), Second('q -> a'), num_trials=3)\ntwo",
    )
    one, two = page.view(2), page.view(3)
    page.shows(one, "First")
    page.shows(two, "Second")
    page.press(two, "Pause")
    page.state(two, "Paused")
    page.state(one, "Running")
    page.press(two, "Go on")
    page.shows(page.output(3), "MIPROv2 · Second · finished")
    page.state(one, "Running")
    page.press(one, "Stop and keep the best")
    page.open_door()
    page.shows(page.output(2), "MIPROv2 · First · stopped")
