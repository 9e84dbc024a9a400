"""Demo sets from what stage 1 has at hand: new ones, and no call for them."""

import random

import pytest
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb.bootstrap import Bootstrapping, demo_sets, recipes
from mipro_nb.example import fields_of
from mipro_nb.pool import Pool
from mipro_nb.recombine import recombine
from mipro_nb.testing import EventRecorder


def made(student=None, count=6, size=20, bootstrapped=3, labeled=4, frozen=(), seed=0):
    """(all sets, those that were recombined, the LM, what was told)"""
    student, lm, recorder = student or mn.Predict("q -> a"), fake(replies=two_step_reply), EventRecorder()
    job = Bootstrapping(student, student, rows(size), metric, labeled, frozen=frozen)
    with mn.context(lm=lm), Pool(2, emit=recorder) as pool:
        first = demo_sets(job, recipes(5, size, bootstrapped, labeled, random.Random(1)), pool)
    calls = lm.calls
    more = recombine(job, first, count, random.Random(seed), recorder)
    assert lm.calls == calls, "at no cost"
    return first, more, recorder


def texts(sets, name="self"):
    return [tuple(str(fields_of(demo)) for demo in one.demos[name]) for one in sets]


def test_they_differ_from_all_others_and_are_as_large_as_the_largest():
    first, more, _ = made()
    assert len(more) == 6
    assert {one.origin for one in more} == {"recombined"}
    everything = texts(first + more)
    assert len(set(texts(more))) == 6
    assert not set(texts(more)) & set(texts(first))
    largest = max(map(len, texts(first)))
    assert all(0 < len(one) <= largest for one in texts(more))
    questions = [[demo["q"] for demo in one.demos["self"]] for one in more]
    assert all(len(set(asked)) == len(asked) for asked in questions), "no question twice in a set"
    assert everything


def test_traces_are_those_of_stage_1():
    first, more, _ = made(bootstrapped=3, labeled=0)
    known = {text for one in texts(first) for text in one}
    assert {text for one in texts(more) for text in one} <= known
    assert all(len(one.demos["self"]) == one.bootstrapped["self"] for one in more)


def test_labels_alone_do():
    _, more, _ = made(bootstrapped=0)
    assert len(more) == 6
    assert {one.bootstrapped["self"] for one in more} == {0}


def test_with_nothing_to_put_together_there_are_none():
    assert made(bootstrapped=0, labeled=0)[1] == []
    assert len(made(size=1)[1]) <= 1


def test_traces_of_an_example_stay_together_over_predictors():
    _, more, _ = made(TwoSteps())
    for one in more:
        count = one.bootstrapped["hint"]
        asked = [[demo["q"] for demo in one.demos[name][:count]] for name in ("hint", "answer")]
        assert asked[0] == asked[1]


@pytest.mark.parametrize("frozen", [(), ("hint",)])
def test_they_are_told_in_order(frozen):
    first, more, recorder = made(TwoSteps(), frozen=frozen)
    from mipro_nb.events import DemosBootstrapped

    told = [event for event in recorder.of(DemosBootstrapped) if event.origin == "recombined"]
    names = [name for name in ("hint", "answer") if name not in frozen]
    wanted = [(name, number) for number in range(len(first), len(first) + len(more)) for name in names]
    assert [(event.predictor, event.index) for event in told] == wanted


def test_the_same_draws_give_the_same_sets():
    assert texts(made(seed=3)[1]) == texts(made(seed=3)[1]) != texts(made(seed=4)[1])
