"""What a search's model is told as."""

import math
import random

import pytest
from playing import candidates, play, table

from mipro_nb.paired import PairedStrategy
from mipro_nb.search import Choice, Limits, Schedule
from mipro_nb.summary import neighbours, parts, swapped

BOTH = {Choice((2,), (1,)): 0.9, Choice((2,), (0,)): 0.6, Choice((0,), (1,)): 0.5, Choice((0,), (0,)): 0.3}


def told(rates, found=None, examples=80, evaluations=900, limits=None):
    search = PairedStrategy(
        found or candidates([3], [2]),
        Schedule(10, examples, 10, evaluations=evaluations, full=examples),
        random.Random(0),
        limits,
    )
    play(search, table(rates))
    return search.believed()


def test_one_part_is_put_in():
    choice = Choice((1, 2), (3, 4))
    assert swapped(choice, 1, "instruction", 9) == Choice((1, 9), (3, 4))
    assert swapped(choice, 0, "demos", 9) == Choice((1, 2), (9, 4))


def test_neighbours_differ_in_one_part():
    found = candidates([2, 3], [2, 1])
    assert len(list(parts(found))) == 8
    near = set(neighbours(found, Choice((0, 0), (0, 0))))
    assert len(near) == 1 + 8 - 4
    assert Choice((0, 2), (0, 0)) in near
    assert Choice((1, 2), (0, 0)) not in near
    assert set(neighbours(candidates([2]), Choice((0,)))) == {Choice((0,)), Choice((1,))}


def test_the_leader_and_what_it_gains():
    event = told(BOTH)
    assert (event.instructions, event.demos) == ((2,), (1,))
    assert event.score["mean"] == pytest.approx(0.9, abs=0.05)
    assert event.baseline["mean"] == pytest.approx(0.3, abs=0.05)
    assert event.gain["mean"] == pytest.approx(event.score["mean"] - event.baseline["mean"])
    assert event.gain["low"] < event.gain["mean"] < event.gain["high"]
    assert event.gain["better"] > 0.999
    for one in (event.score, event.baseline):
        assert 0 <= one["low"] < one["mean"] < one["high"] <= 1


def test_what_each_part_brings():
    event = told(BOTH)
    assert event.sources["instructions"]["mean"] == pytest.approx(0.3, abs=0.12)
    assert event.sources["demos"]["mean"] == pytest.approx(0.2, abs=0.12)
    assert event.sources["both"] == {name: event.gain[name] for name in ("mean", "low", "high")}


def test_a_part_that_was_left_as_it_was_brings_nothing():
    event = told({Choice((0,)): 0.3, Choice((2,)): 0.8}, candidates([3]))
    assert set(event.sources) == {"instructions", "both"}
    assert event.demos == ()


def test_nothing_better_has_no_sources():
    event = told({Choice((0,), (0,)): 0.8})
    assert (event.instructions, event.demos) == ((0,), (0,))
    assert event.sources == {}
    assert event.gain == {"mean": 0.0, "low": 0.0, "high": 0.0, "better": 0.0}
    assert event.simplest == {}


def test_every_candidate_is_told_of_tried_or_not():
    event = told(BOTH)
    assert [(one["kind"], one["index"]) for one in event.candidates] == [
        *(("instruction", n) for n in range(3)),
        *(("demos", n) for n in range(2)),
    ]
    by_part = {(one["kind"], one["index"]): one for one in event.candidates}
    assert by_part["instruction", 0]["gain"] == by_part["instruction", 0]["error"] == 0
    assert by_part["instruction", 2]["mean"] == pytest.approx(event.score["mean"])
    assert by_part["instruction", 2]["gain"] > 0.2
    assert by_part["instruction", 2]["error"] > 0
    assert 0 <= by_part["instruction", 1]["low"] <= by_part["instruction", 1]["high"] <= 1


def test_the_shortest_that_is_as_good_within_the_noise():
    rates = {Choice((n,)): 0.8 for n in range(6)} | {Choice((5,)): 0.82, Choice((0,)): 0.2}
    found = candidates([6])
    event = told(rates, found, limits=Limits(rest=10))
    simplest = event.simplest
    if event.instructions == (5,):
        assert simplest["tokens"] < simplest["best_tokens"] == round(10 + found.tokens(Choice((5,))))
        assert simplest["instructions"] != (0,)
        assert simplest["loss"]["mean"] < 0.015
        assert simplest["score"]["mean"] == pytest.approx(event.score["mean"] - simplest["loss"]["mean"])
    assert event.instructions != (0,)


def test_no_shorter_program_when_length_pays():
    event = told({Choice((n,)): 0.1 + 0.15 * n for n in range(6)}, candidates([6]))
    assert event.instructions == (5,)
    assert event.simplest == {}


def test_a_banned_program_is_not_the_simplest():
    search = PairedStrategy(candidates([3]), Schedule(10, 120, 10, evaluations=700, full=120), random.Random(0))
    play(search, table({Choice((0,)): 0.1, Choice((1,)): 0.8, Choice((2,)): 0.81}))
    assert search.believed().instructions == (2,)
    assert search.believed().simplest["instructions"] == (1,)
    search.ban(0, "instruction", 1)
    assert search.believed().simplest == {}


def test_everything_is_plain_numbers():
    event = told(BOTH)
    numbers = [*event.score.values(), *event.gain.values(), *(v for one in event.candidates for v in (one["mean"],))]
    assert all(type(number) is float and math.isfinite(number) for number in numbers)
