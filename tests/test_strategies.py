"""The searches by name: each finds what is best, and says what it is asked for."""

import random

import pytest

from mipro_nb.search import Candidates, Choice, Limits, Schedule
from mipro_nb.strategies import SEARCHES, strategy

CANDIDATES = Candidates(("self",), (("own", "good", "bad", "worse"),), (((), ()),), Choice((0,), (0,)))


def play(name, seed=0, evaluations=200, limits=None):
    """Run a search on a world where instruction 1 is right on 9 of 10 examples, the others on 3; return it."""
    schedule = Schedule(6, 40, 10, evaluations=evaluations, full=40)
    search = strategy(name, CANDIDATES, schedule, seed, random.Random(seed), limits or Limits())
    scored = {}
    while works := search.ask():
        for work in works:
            right = 9 if work.choice.instructions == (1,) else 3
            scores = {example: float(example % 10 < right) for example in work.new}
            scored.update({(work.choice, example): score for example, score in scores.items()})
            search.tell(work, scores)
    return search, scored


@pytest.mark.parametrize("name", SEARCHES)
def test_each_ends_and_tries_the_best(name):
    search, scored = play(name)
    assert search.over
    assert not search.wants
    best = [example for choice, example in scored if choice.instructions == (1,)]
    assert len(best) >= 10


@pytest.mark.parametrize("name", ["paired", "thompson"])
def test_those_with_a_model_lead_with_the_best_within_their_evaluations(name):
    for seed in range(3):
        search, scored = play(name, seed)
        assert search.believed().instructions == (1,)
        assert len(scored) <= 200


def test_mipros_has_no_model():
    assert play("mipro")[0].believed() is None


@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_seed_decides_the_same(name):
    assert list(play(name, 3)[1]) == list(play(name, 3)[1])
