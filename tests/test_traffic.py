"""What stands between a call and the LM: guards around each try, answers that were paid for before."""

import contextlib

import pytest

import mipro_nb as mn
from mipro_nb.errors import LMUnavailable
from mipro_nb.testing import FakeLM
from mipro_nb.traffic import Traffic, through


class Watch:
    """A guard that notes what it sees."""

    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    @contextlib.contextmanager
    def around(self, attempt):
        self.seen.append(f"{self.name} in")
        try:
            yield
        except LMUnavailable:
            self.seen.append(f"{self.name} failed")
            raise
        self.seen.append(f"{self.name} out: {attempt.answer['text']}")


class Kept:
    """Answers in a dict; each is given once."""

    def __init__(self, known=None):
        self.known, self.told = dict(known or {}), {}

    def take(self, key, shared):
        return (self.known.pop(key), False) if key in self.known else None

    def keep(self, key, answer):
        self.told[key] = dict(answer)


def test_guards_stand_around_every_try_in_their_order():
    seen = []
    lm = FakeLM([LMUnavailable("down"), "yes"], retry_wait=0, num_retries=1)
    with through(Traffic((Watch("a", seen), Watch("b", seen)))):
        assert lm("is it?") == "yes"
    assert seen == ["a in", "b in", "b failed", "a failed", "a in", "b in", "b out: yes", "a out: yes"]


def test_nothing_stands_there_outside():
    seen = []
    with through(Traffic((Watch("a", seen),))):
        pass
    assert FakeLM(["yes"])("is it?") == "yes"
    assert not seen


@pytest.mark.parametrize("cache", [False, True])
def test_what_was_paid_for_is_told_and_given_back_without_asking_again(cache, tmp_path):
    from mipro_nb.cache import Cache

    first = Kept()
    with through(Traffic(answers=first)):
        FakeLM(["yes"], cache=Cache() if cache else False)("is it?")
    again = FakeLM(["no"], cache=Cache() if cache else False)
    with through(Traffic(answers=Kept(first.told))):
        reply = again.complete([{"role": "user", "content": "is it?"}])
        assert (reply.text, reply.cached, reply.usage.calls) == ("yes", False, 1)
        assert again("is it?") == "no"  # each was paid for once


def test_an_answer_from_the_cache_is_not_told():
    from mipro_nb.cache import Cache

    lm, kept = FakeLM(["yes"], cache=Cache()), Kept()
    lm("is it?")
    with through(Traffic(answers=kept)):
        assert lm("is it?") == "yes"
    assert not kept.told


def test_programs_that_a_run_optimizes_go_through_it():
    seen = []
    data = mn.examples([{"q": "1", "a": "yes"}, {"q": "2", "a": "yes"}], inputs=["q"])
    with through(Traffic((Watch("a", seen),))):
        mn.Evaluate(data, mn.exact_match, num_threads=2)(mn.Predict("q -> a", lm=FakeLM(lambda messages: "yes")))
    assert seen.count("a out: yes") == 2
