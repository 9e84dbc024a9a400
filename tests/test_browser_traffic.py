"""How much a fast run sends, and that its chart is drawn without flicker. Facts, not times."""

import lab
import pytest
from traffic import Traffic, watch, watched

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

RUN = "view = optimize(held(0), valset=rows(100, 20), num_trials=200, minibatch=False, num_candidates=10)"


def test_a_fast_run_of_200_trials_sends_little_and_its_chart_stays(page):
    traffic = Traffic(page.page)
    page.start("from scene import *", RUN, "view", "view.chart")
    page.state(page.view(2), "Running")
    page.open_door()
    chart = page.view(3)
    page.expect(chart.locator(".mipro-figure-scores canvas")).to_be_visible()
    watch(chart)
    page.shows(page.output(2), "MIPROv2 · Predict · finished")
    page.expect(chart.locator("summary")).to_contain_text("201")
    assert watched(page.page)["replaced"] == 0
    assert len(traffic.sizes) > 20
    assert max(traffic.sizes) < 5_000
    assert len(traffic.sizes) / 2 / traffic.seconds < 5.5  # two views


def test_much_text_and_many_trials_arrive_while_the_run_goes_on(page):
    page.start(
        "from scene import *",
        "view = optimize(held(2600, wordy), num_trials=1000, num_candidates=10)\nview",
        "",
    )
    view = page.view(1)
    page.shows(view, "Instruction 9", "Demo set 9")
    trials = view.get_by_role("tab", name="Trials")
    known = page.still(lambda: int(page.ask(2, "print(len(view.run.history.trials))")), "the number of trials")
    assert known > 100
    page.expect(trials).to_have_text(f"Trials{known}")
    page.open_door()
    page.press(view, "Stop and keep the best")
    page.shows(page.output(1), "MIPROv2 · Predict · stopped")
