"""What is said of a run's result: of a paired search its estimates, of a test set how it compares with them."""

import dataclasses
import io

import histories
import pytest
from rich.console import Console
from scene import approaches

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb import frames, outcome
from mipro_nb.notebook import report, static, wire
from mipro_nb.notebook.feed import Snapshot, packed
from mipro_nb.progress import TerminalProgress, seconds_left, summary_lines

PAIRED = histories.paired()


def with_posterior(**changes):
    """The finished paired run, with something else in its last posterior."""
    events = list(PAIRED.events)
    place = max(n for n, event in enumerate(events) if isinstance(event, ev.PosteriorUpdated))
    events[place] = dataclasses.replace(events[place], **changes)
    return mn.History(events)


def test_the_best_is_an_estimate_beside_its_raw_mean():
    assert outcome.best_text(PAIRED) == (
        "estimated 81.0% [72.0, 90.0], shrunken; the raw mean is 75.0% on 100 examples"
    )


def test_the_gain_has_an_interval_and_a_probability():
    assert outcome.gain_text(PAIRED) == (
        "+26.0 points [+19.6, +32.4] over the baseline, better with a probability of more than 99%"
    )
    less_sure = with_posterior(gain={**PAIRED.posterior.gain, "better": 0.874})
    assert "probability of 87%" in outcome.gain_text(less_sure)


def test_what_brought_the_gain_is_told_part_by_part():
    assert [words for words, _ in outcome.sources(PAIRED)] == ["instructions alone", "demos alone", "both together"]
    alone = with_posterior(sources={"instructions": PAIRED.posterior.sources["instructions"]})
    assert [words for words, _ in outcome.sources(alone)] == ["instructions alone"]


def test_the_leader_may_be_the_program_as_it_was_given():
    same = with_posterior(instructions=(0,), demos=(0,), simplest={})
    assert outcome.gain_text(same) == "nothing better than the program as it was given"
    assert outcome.sources(same) == []
    assert outcome.simplest_text(same) == ""


def test_the_shorter_program_within_the_noise_says_what_it_saves():
    assert outcome.simplest_text(PAIRED) == (
        "Within the noise of the best is a shorter program: instruction 4, no demos, estimated 75.0% [66.0, 84.0], "
        "-6.0 points [-11.0, +3.0]. It saves about 312 of 452 prompt tokens per call (69%)."
    )


def test_a_test_score_within_the_noise_is_no_warning():
    first = outcome.after_test(PAIRED)[0]
    assert first.startswith("Validation against test: the test score 78.3% lies 2.7 points below the estimate")
    assert not outcome.gap(PAIRED).overfit


def test_a_test_score_far_below_the_estimate_is_an_overfit_warning():
    history = histories.paired(after=0.5)
    assert outcome.gap(history).overfit
    assert outcome.after_test(history)[0].startswith("Overfit warning: the test score")
    assert "Overfit warning" in static.frozen(history)["text/html"]
    assert "Overfit warning" in wire.status(histories_source(history), 300.0, 1)["remarks"][0]


def test_the_price_of_a_point_is_told_where_the_program_improved():
    assert outcome.price_text(PAIRED) == (
        f"The whole run cost ${PAIRED.usage.cost:,.4f}: ${PAIRED.usage.cost / 20:,.4f} per point gained on the test "
        "set."
    )
    assert outcome.price_text(histories.paired(after=0.5)) == ""


@pytest.mark.parametrize(("cost", "words"), [(0.0, "at no cost"), (None, "at an unknown price")])
def test_without_a_price_calls_are_counted(cost, words):
    events = [
        dataclasses.replace(event, usage=dataclasses.replace(event.usage, cost=cost))
        if isinstance(event, ev.LMUsed)
        else event
        for event in PAIRED.events
    ]
    assert words in outcome.price_text(mn.History(events))
    assert "calls" in outcome.price_text(mn.History(events))


def test_logs_without_a_posterior_are_shown_as_they_were():
    history = histories.finished()
    assert outcome.lines(history) == outcome.after_test(history) == outcome.approaches(history) == []
    assert "stimate" not in static.frozen(history)["text/html"]
    assert wire.status(histories_source(history), 300.0, 1)["estimate"] is None


@pytest.mark.slow
@pytest.mark.parametrize("make", [static.frozen, report.text], ids=["frozen", "report"])
def test_pages_tell_the_estimate_the_gain_and_what_brought_it(make):
    page = make(PAIRED) if make is report.text else make(PAIRED)["text/html"]
    for words in ("best, estimated", "81.0%", "more than 99%", "What brought the gain", "instructions alone"):
        assert words in page
    for words in ("shorter program", "Validation against test", "per point gained", ", banned", "rewritten"):
        assert words in page


def test_without_a_test_set_the_estimate_is_marked_as_one():
    page = static.frozen(histories.paired_untested())["text/html"]
    assert "estimated from the same examples that the search chose by" in page
    assert "best score is that of the program which the search picked" not in page


def test_what_worked_in_proposing_is_a_table(monkeypatch):
    monkeypatch.setattr(frames, "approaches", approaches, raising=False)
    page = report.text(PAIRED, ".md")
    assert "What worked in proposing" in page
    assert "rewrite" in page
    assert wire.stats(PAIRED)["approaches"][0] == ["kind", "rewrite", 3, 0.06, -0.01, 0.13]


def test_candidates_show_the_model_of_the_best_with_them_put_in():
    table = PAIRED.candidates_frame().set_index(["kind", "index"])
    best, out = table.loc[("instruction", 4)], table.loc[("instruction", 3)]
    assert (best["mean"], best["gain"], bool(best["banned"])) == (pytest.approx(0.81), pytest.approx(0.2), False)
    assert best["low"] < best["mean"] < best["high"]
    assert bool(out["banned"])


def test_the_search_counts_evaluations_of_examples():
    history = histories.paired_middle()
    assert history.searched == (sum(len(trial.scored) for trial in history.trials), 600)
    assert summary_lines(history, 90.0)[0].startswith("3/3 search, 301 of 600 evaluations; this stage: ")
    assert seconds_left(history, 90.0) == pytest.approx(70 / 301 * 299)
    assert summary_lines(history, 90.0)[1].startswith("best estimated 81.0%")
    stage = wire.status(histories_source(history), 90.0, 1)["stages"][2]
    assert (stage["done"], stage["total"]) == (301, 600)
    assert stage["detail"] == "evaluations of 14 programs, 2 under way"


def test_a_search_that_stopped_early_is_whole():
    history = histories.paired_untested()
    done, total = history.searched
    assert done == total < 600


def test_other_searches_count_trials():
    assert histories.middle(8).searched == (9, 9)


def test_the_best_line_is_what_was_known_when_a_trial_was_the_newest():
    history = histories.paired_middle()
    line = [trial.best_so_far for trial in history.trials]
    assert line[-1] == history.posterior.score["mean"]
    assert line[0] == 0.7  # the baseline's own first examples: that it went on later is no news of the best


def test_on_a_screen_of_lines_a_round_is_one_line():
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=400, highlight=False))
    for event in PAIRED.events:
        progress(event)
    lines = out.getvalue().splitlines()
    rounds = [line for line in lines if "evaluations: best (instructions [" in line]
    assert len(rounds) == sum(isinstance(event, ev.PosteriorUpdated) for event in PAIRED.events)
    assert not [line for line in lines if "partial" in line]


def test_trials_that_go_on_are_sent_again():
    whole = histories.paired(rounds=14)
    source = histories_source(mn.History())
    snapshot, shown = Snapshot(source), {}
    base = None
    for number, event in enumerate(whole.events):
        source.history(event)
        if number % 7 and number + 1 < len(whole.events):
            continue
        state = snapshot.take(300.0)
        if state["_base"] != base:
            base = state["_base"]
            shown |= {row[0]: row for row in unpacked(base)}
        shown |= {row[0]: row for row in state["_tail"]}
        assert shown == {trial.number: wire.trial_row(trial) for trial in source.history.trials}
    assert unpacked(base)


def unpacked(value):
    import gzip
    import json

    assert value == packed(json.loads(gzip.decompress(value)))
    return json.loads(gzip.decompress(value))


def histories_source(history):
    from types import SimpleNamespace

    told = {"name": "Route", "status": "running", "history": history, "plan": None, "max_cost": None}
    return SimpleNamespace(**told, extendable=False, error=None, pace=1.0, aside="", now=300.0)
