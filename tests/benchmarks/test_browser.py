"""How the live view fares in a browser with a fast and with a large run. Prints; asserts no time.

pytest -m benchmark -s tests/benchmarks/test_browser.py
"""

from __future__ import annotations

import lab
import pytest
from traffic import Traffic, watch, watched

pytestmark = pytest.mark.benchmark
server, chromium, page = lab.server, lab.chromium, lab.page

FAST = "view = optimize(fake(), valset=rows(100, 20), num_trials=200, minibatch=False, num_candidates=10)\nview"
LARGE = "from mipro_nb.notebook.view import RunView\nrun = Replayed(2000, 10_000)\nview = RunView(run)\nview"
PAINTED = """patience => new Promise((done, fail) => {
    const began = performance.now();
    setTimeout(() => fail(new Error("no view was ever painted")), patience);
    const look = () => {
        const badge = document.querySelector(".mipro-badge");
        if (badge?.getBoundingClientRect().height) requestAnimationFrame(() => done(performance.now() - began));
        else requestAnimationFrame(look);
    };
    window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
    window.jupyterapp.commands.execute("notebook:run-cell");
    look();
})"""
REACTS = """node => new Promise((done) => {
    const began = performance.now();
    node.click();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})"""


def table(title, rows):
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:<44} {value:>12,.1f}")


def first_paint(page, cell):
    """Run the import, then the cell; return the milliseconds until its view is painted."""
    page.write("from scene import *\nfrom mipro_nb.notebook import view", cell, "")
    page.open()
    page.ask(0, "from scene import *\nfrom mipro_nb.notebook import view")
    return page.page.evaluate(PAINTED, lab.PATIENCE * 1000)


def test_a_run_of_200_trials_on_100_examples_without_latency(page):
    traffic = Traffic(page.page)
    painted = first_paint(page, FAST)
    watch(page.view(1))
    page.shows(page.output(1), "MIPROv2 · Predict · finished")
    seen = watched(page.page)
    rows = {
        "first paint, ms": painted,
        "worst frame gap, ms": seen["worst"],
        "messages": len(traffic.sizes),
        "seconds": traffic.seconds,
        "messages a second": len(traffic.sizes) / traffic.seconds,
        "bytes a second": sum(traffic.sizes) / traffic.seconds,
        "largest message, bytes": max(traffic.sizes),
        "mean message, bytes": sum(traffic.sizes) / len(traffic.sizes),
    }
    table("200 trials x 100 examples, no latency", rows)


def test_2000_trials_and_10000_examples_stay_responsive(page):
    traffic = Traffic(page.page)
    painted = first_paint(page, LARGE)
    view = page.view(1)
    page.expect(view.locator(".mipro-figure-scores canvas")).to_be_visible()
    page.ask(2, "run.go_on()")
    watch(view)
    rows = {"first paint, ms": painted}
    for name in ("Trials", "Examples", "Prompt", "Candidates"):
        tab = view.get_by_role("tab", name=name)
        rows[f"first click on {name}, ms"] = tab.evaluate(REACTS)
        page.page.wait_for_timeout(1000)
        view.get_by_role("tab", name="Prompt").evaluate(REACTS)
        rows[f"second click on {name}, ms"] = tab.evaluate(REACTS)
    view.get_by_role("tab", name="Trials").click()
    row = view.get_by_role("grid", name="Trials").get_by_role("row").nth(5).locator("td").first
    rows["selecting a trial, ms"] = row.evaluate(REACTS)
    page.ask(2, "run.thread.join()")
    page.page.wait_for_timeout(2000)
    told = view.get_by_role("tab", name="Trials").text_content()
    rows["trials shown 2 s after the last of 2,001"] = float(told.removeprefix("Trials").replace(",", ""))
    rows["worst frame gap, ms"] = watched(page.page)["worst"]
    rows["charts replaced"] = watched(page.page)["replaced"]
    rows["messages a second"] = len(traffic.sizes) / traffic.seconds
    rows["largest message, bytes"] = max(traffic.sizes)
    table("2,000 trials, 10,000 examples, the last 200 trials live", rows)
