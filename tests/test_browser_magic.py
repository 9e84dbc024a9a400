"""``%%mipro`` in JupyterLab: from start to end, stopped from another cell, used wrongly."""

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

LOAD = "%load_ext mipro_nb\nfrom scene import *\nitems = rows(60)\nmn.configure(lm={lm})"
CELL = "%%mipro items --trials 3 --candidates 3 --search mipro --seed 1{more}\nq -> a"


def test_a_magic_cell_from_start_to_end(page):
    page.start(
        LOAD.format(lm="held(60, delay=0.01)"),
        CELL.format(more=" --into mine"),
        "print(type(mine).__name__, mine_run.status)",
    )
    page.state(page.view(1), "Running")
    page.shows(page.output(1), "mine is the best program so far")
    page.shows(page.output(2), "Predict running")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · finished", "best on validation")
    assert "answer 5" in page.ask(2, "print(mine(q='item 5').a, mine_run.status)")
    page.ask(2, "mine_run")
    page.state(page.view(2), "Finished")


def test_the_line_magic_stops_a_run_from_another_cell(page):
    page.start(LOAD.format(lm="held(60)"), CELL.format(more=""), "%mipro", "%mipro stop")
    page.shows(page.output(2), "best", "Predict", "running")
    page.shows(page.output(3), "best: stopping; the best so far is kept.")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · stopped")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("%%mipro items --trails 3\nq -> a", "Did you mean '--trials'"),
        ("%%mipro itmes\nq -> a", "itmes"),
        ("%%mipro items --trials many\nq -> a", "--trials"),
        ("%%mipro items\nq ->", "line 2"),
    ],
)
def test_wrong_arguments_are_one_line_and_run_all_stops_there(page, line, told):
    page.start(LOAD.format(lm="fake()"), line, "print('came here')")
    error = page.output(1).locator("[data-mime-type='application/vnd.jupyter.stderr'], .jp-RenderedText")
    page.shows(error.first, told)
    lines = page.output(1).text_content().strip().splitlines()
    assert len(lines) == 1, lines
    page.idle()
    assert page.ask(0, "print('ready')") == "ready\n"
    assert page.output(2).count() == 0 or "came here" not in page.output(2).text_content()
