"""A recorded run plays in JupyterLab: no LM, no key."""

from pathlib import Path

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

RECORDED = Path(__file__).parent.parent / "notebooks" / "runs" / "find_product"
REPLAY = f"import mipro_nb as mn\nview = mn.replay({str(RECORDED)!r}, speed=%s)\nview"


def test_it_plays_pauses_goes_on_and_freezes_at_the_end(page):
    page.start(REPLAY % "20", "print(view.status)", "view")
    view = page.view(0)
    page.state(view, "Running")
    page.shows(view, "Replay of a run recorded on", "at 20 times its speed", "no LM is called")
    page.until(lambda: page.number(view, "LM calls") > 20, "calls of the recording")
    page.press(view, "Pause")
    page.state(view, "Paused")
    paused = page.still(lambda: page.number(view, "LM calls"), "the number of calls")
    page.press(view, "Go on")
    page.until(lambda: page.number(view, "LM calls") > paused, "more calls after the pause")
    page.ask(1, "view.speed = float('inf')")
    page.shows(page.output(0), "MIPROv2 · Predict · finished", "Replay of a run recorded on", "test examples")
    assert page.view(0).count() == 0
    page.run_cell(2)
    page.state(page.view(2), "Finished")
    assert not page.view(2).get_by_role("button", name="Extend").is_visible()


def test_stop_leaves_what_was_played(page):
    page.start(REPLAY % "5", "1 + 1", "print(view.status)")
    view = page.view(0)
    page.until(lambda: page.number(view, "LM calls") > 5, "calls of the recording")
    page.press(view, "Stop and keep the best")
    page.shows(page.output(0), "MIPROv2 · Predict · stopped", "the replay was stopped")
