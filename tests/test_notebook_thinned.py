"""Of thousands of trials some hundred are shown: those that a person looks for, and always the same others."""

import itertools
import math

import pytest

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.notebook import charts, feed, thinned


def history(count, pairs=50):
    """So many trials; as many combinations as ``pairs`` squared, at most."""
    events = [ev.StageStarted("search", count)]
    for number in range(count):
        chosen = (number // pairs % pairs,), (number % pairs,)
        events.append(ev.TrialStarted(number, "partial" if number else "baseline", *chosen, 10, 10))
        events.append(ev.TrialFinished(number, 0.5 + 0.4 * math.sin(number), 10, 0))
    return mn.History(events)


def numbers(found):
    return [trial.number for trial in found]


def test_of_some_all_are_shown():
    found = history(thinned.MANY)
    assert thinned.trials(found) == found.trials
    assert thinned.text(found) == ""


@pytest.mark.parametrize("count", [thinned.MANY + 1, 4_000, 20_000])
def test_of_many_the_best_the_newest_and_some_others_are_shown(count):
    found = history(count)
    shown = numbers(thinned.trials(found))
    assert len(shown) <= thinned.MOST
    assert shown == sorted(set(shown))
    assert shown[0] == 0
    assert shown[-thinned.LEADING :] == list(range(count - thinned.LEADING, count))
    best = max(found.trials, key=lambda one: one.score)
    assert best.number in shown
    assert max(b - a for a, b in itertools.pairwise(shown)) <= count / 100
    assert thinned.text(found).startswith(f"{len(shown):,} of {count:,} trials are shown: the best")


def test_the_same_ones_stay_while_the_run_goes_on():
    before, after = (set(numbers(thinned.trials(history(count)))) for count in (4_000, 4_100))
    assert len(before & after) > 0.6 * len(before)


def test_combinations_are_summed_up_when_their_trials_are_many():
    rows = charts.cell_rows(history(5_000, pairs=10))
    assert len(rows) == 100
    assert sum(row["examples"] for row in rows) == 50_000
    assert len(charts.cell_rows(history(2_000))) <= thinned.MOST
    assert len(charts.cell_rows(history(2_000, pairs=10))) == 2_000


@pytest.mark.slow
def test_a_chart_of_many_says_that_it_does_not_show_all():
    assert "5,000 trials are shown" in str(charts.run_chart(history(5_000, pairs=10)).to_dict())
    assert "Score of every trial" in str(charts.run_chart(history(20)).to_dict())


class Told:
    status, name, plan, max_cost, extendable, error, pace, aside = "running", "P", None, None, False, None, 1.0, ""

    def __init__(self, told):
        self.history = told


@pytest.mark.slow
def test_what_a_view_is_sent_does_not_grow_with_the_trials(monkeypatch):
    monkeypatch.setattr(thinned, "MANY", 240)
    monkeypatch.setattr(thinned, "MOST", 60)
    monkeypatch.setattr(thinned, "LEADING", 10)
    source = Told(mn.History())
    snapshot, seen, sent = feed.Snapshot(source), set(), []
    for event in history(800, pairs=10).events:
        source.history(event)
        if isinstance(event, ev.TrialFinished) and event.trial > 200:
            values = snapshot.take(1.0)
            seen |= {row[0] for row in values["_tail"]}
            sent.append((len(values["_base"]), len(values["_tail"])))
    assert max(size for size, _ in sent[-500:]) < max(size for size, _ in sent[:40])
    assert max(rows for _, rows in sent) <= 3 * feed.TAIL
    assert set(range(200, 800)) <= seen
