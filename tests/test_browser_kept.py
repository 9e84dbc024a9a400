"""Nothing is lost, in JupyterLab: a run waits an outage out, a saved one is opened and gone on with, limits."""

from pathlib import Path

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

BUTTONS = ("Start", "Pause", "Go on", "Stop and keep the best", "Extend")
NO_ANSWER = "the LM doesn't answer; next try in "
RESUME = """lm = fake()
run = mn.Run.resume(mn.runs().path[0], mn.Predict("q -> a"), metric, task_model=lm, prompt_model=lm)
run"""


def picture(node, name):
    """Take a picture, for those who want to look."""
    if lab.SHOTS:
        node.scroll_into_view_if_needed()
        node.screenshot(path=Path(lab.SHOTS) / f"kept-{name}.png")


def offered(view):
    """The names of the buttons that can be pressed."""
    return [name for name in BUTTONS if view.get_by_role("button", name=name, exact=True).is_visible()]


def test_a_run_waits_an_outage_out_or_is_stopped_in_it(page):
    page.start(
        "from scene import *\nimport mipro_nb.breaker\nmipro_nb.breaker.FIRST_WAIT = 600",  # s: a person is faster
        "patient = optimize(frail(250), num_trials=20)\npatient",
        "hasty = optimize(frail(250), num_trials=20)\nhasty",
    )
    patient, hasty = page.view(1), page.view(2)
    for view in (patient, hasty):
        page.state(view, "Paused")
        page.shows(view, f"{NO_ANSWER}10 min", "over the baseline")
        assert offered(view) == ["Go on", "Stop and keep the best"]
    page.press(patient, "Go on")
    page.shows(patient, f"{NO_ANSWER}60 s")
    page.state(patient, "Paused")
    picture(patient, "outage")
    page.press(hasty, "Stop and keep the best")
    page.shows(page.output(2), "MIPROv2 · Predict · stopped", "as asked", "best on validation", "Instructions (4)")
    page.open_door()
    page.press(patient, "Go on")
    page.shows(page.output(1), "MIPROv2 · Predict · finished", "test examples")


def test_a_stopped_search_evaluates_its_best_and_ends_at_once_when_it_is_stopped_again(page):
    page.start("from scene import *", "view = optimize(held_again(150), search='paired', num_trials=60)\nview")
    view = page.view(1)
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.still(lambda: page.number(view, "LM calls"), "the number of calls")
    page.press(view, "Stop and keep the best")
    page.state(view, "Stopping")
    page.open_door()
    page.shows(view, "evaluating the best so far; stop again to end at once")
    picture(view, "evaluating")
    page.press(view, "End now")
    page.open_gate()
    page.shows(page.output(1), "MIPROv2 · Predict · stopped", "as asked", "best, estimated")


def test_a_stopped_run_is_listed_opened_and_gone_on_with_after_a_restart_of_the_kernel(page):
    page.start("from scene import *", "view = optimize(held(250), num_trials=20)\nview", *"123456")
    view = page.view(1)
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.still(lambda: page.number(view, "LM calls"), "the number of calls")
    page.press(view, "Stop and keep the best")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · stopped")
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()")
    page.idle()

    listed = page.ask(2, "from scene import *\nmn.runs().head(1)")
    assert "stopped" in listed
    assert "Predict" in listed
    picture(page.output(2), "listed")
    page.ask(3, "mn.Run.open(mn.runs().path[0])")
    page.shows(page.output(3), "MIPROv2 · Predict · stopped", "as asked", "Saved run of", "Run.resume goes on with it")
    page.shows(page.output(3), "best on validation", "Instructions (4)", "Run this cell again to see it live")
    picture(page.output(3), "opened")
    page.ask(3, "mn.Run.open(mn.runs().path[0])")
    opened = page.view(3)
    page.state(opened, "Stopped")
    page.shows(opened, "Saved run of", "stopped: as asked", "over the baseline", "Score of each trial", "Instruction 3")
    assert offered(opened) == []
    opened.get_by_role("tab", name="Trials").click()
    page.shows(opened.get_by_role("tabpanel"), "minibatch")
    picture(opened, "opened-live")

    page.ask(4, RESUME)
    page.shows(page.output(4), "Improved")
    page.ask(5, "run")
    page.state(page.view(5), "Finished")
    page.expect(page.view(5).get_by_role("region", name="Verdict")).to_contain_text("Improved")
    page.expect(page.view(5)).not_to_contain_text("Saved run")
    picture(page.view(5), "resumed")

    page.ask(6, "limited = optimize(fake(), num_trials=20, max_calls=250)\nlimited")
    page.shows(page.output(6), "max_calls=250 is reached", "Improved")
    page.ask(7, "limited")
    page.state(page.view(7), "Stopped")
    page.shows(page.view(7), "stopped: max_calls=250 is reached", "kept for the final evaluation and the verdict")
    page.expect(page.view(7).locator(".mipro-step[data-phase=cut]")).to_contain_text("Search combinations")
    picture(page.view(7), "limit-live")
    page.ask(7, "limited.freeze()")
    page.shows(page.output(6), "MIPROv2 · Predict · stopped")
    picture(page.output(6), "limit")
    page.save()
    saved = [page.read().cells[cell].outputs[0]["data"]["text/html"] for cell in (1, 6)]
    assert ["as asked" in text for text in saved] == [True, False]
    assert ["max_calls=250 is reached" in text for text in saved] == [False, True]
