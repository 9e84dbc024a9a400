"""Rounds in flight: what is told, when, and what a failure or a stop makes of them."""

import threading

import pytest
from programs import fake, is_description, is_proposal, metric, reply, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import LMUnavailable, TooManyErrors
from mipro_nb.past import Past
from mipro_nb.pool import Pool
from mipro_nb.search import Choice, Work
from mipro_nb.searching import Searching
from mipro_nb.testing import EventRecorder

DATA = {"trainset": rows(20), "valset": rows(60, 100)}


def run(replies=reply, listeners=(), **settings):
    recorder = EventRecorder()
    with mn.context(lm=fake(replies=replies, num_retries=0), progress=False):
        mn.MIPROv2(metric, seed=2, **settings).compile(mn.Predict("q -> a"), listeners=[recorder, *listeners], **DATA)
    return recorder


@pytest.mark.slow
def test_what_is_believed_is_told_as_evidence_grows_and_at_the_end():
    told = run().of(ev.PosteriorUpdated)
    counts = [event.evaluations for event in told]
    assert counts == sorted(set(counts))
    assert len(counts) > 3


@pytest.mark.slow
def test_a_trial_that_goes_on_keeps_its_number_and_grows():
    recorder = run()
    sizes = {}
    for event in recorder.of(ev.TrialStarted):
        sizes.setdefault(event.trial, []).append(event.examples)
    assert any(len(grown) > 1 for grown in sizes.values())
    assert all(grown == sorted(grown) for grown in sizes.values())


def test_an_example_that_failed_once_is_tried_again():
    failed = []

    def once(messages):
        task = not is_proposal(messages) and not is_description(messages)
        if task and "item 120" in messages[-1]["content"] and not failed:
            failed.append(messages)
            raise LMUnavailable("hiccup")
        return reply(messages)

    recorder = run(once)
    (lost,) = (event for event in recorder.of(ev.ExampleScored) if event.error)
    again = [e for e in recorder.of(ev.ExampleScored) if (e.trial, e.example) == (lost.trial, lost.example)]
    assert lost.score is None
    assert again[-1].score is not None


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_an_example_that_fails_for_long_has_a_last_try_before_the_score_counts(search):
    history, own, failed = mn.History(), mn.Predict("q -> a").signature.instructions, []
    one = next(e.example for e in run(search=search).of(ev.ExampleScored) if e.trial == 0)

    def for_long(messages):
        of_baseline = own in messages[0]["content"] and len(messages) == 2
        asked = f"item {100 + one}" in messages[-1]["content"]
        if of_baseline and asked and len(failed) < 2:
            failed.append(messages)
            raise LMUnavailable("hiccup")
        return reply(messages)

    recorder = run(for_long, [history], search=search)
    baseline = history.baseline
    lost = [e for e in recorder.of(ev.ExampleScored) if e.error]
    assert {(e.trial, e.example) for e in lost} == {(baseline.number, one)}
    assert len(lost) == len(failed) > 1
    assert baseline.scored[one].score is not None
    assert (baseline.examples, baseline.failed) == (len(baseline.scored), 0)
    ends = [event for event in recorder.of(ev.TrialFinished) if event.trial == baseline.number]
    assert ends[0].failed == 1
    assert ends[-1].examples > ends[0].examples, "each end says how many examples the score stands on"


def test_a_program_that_fails_throughout_ends_the_run():
    def dies(messages):
        raise LMUnavailable("down")

    asked = fake(model="fake/prompts")
    with pytest.raises(TooManyErrors, match="down"):
        run(dies, max_bootstrapped_demos=0, max_errors=1000, prompt_model=asked)


def test_a_stop_in_the_middle_of_a_round_keeps_what_came_in():
    history = mn.History()

    def enough(told):
        return "enough" if sum(len(trial.scored) for trial in told.trials) > 100 else None

    with mn.context(lm=fake(), progress=False):
        mn.MIPROv2(metric, seed=2).compile(mn.Predict("q -> a"), stop=enough, listeners=[history], **DATA)
    scored = sum(one.score is not None for trial in history.trials for one in trial.scored.values())
    assert history.posterior.evaluations == scored
    assert history.best is not None


class Recorded:
    """A strategy of four rounds of two examples each, which notes how many were told when each was asked for."""

    depth, wants = 2, False

    def __init__(self):
        self.given, self.told, self.known = 0, 0, []

    @property
    def over(self):
        return self.given == 4

    def ask(self):
        if self.over:
            return ()
        self.known.append(self.told)
        self.given += 1
        new = (2 * self.given - 2, 2 * self.given - 1)
        return (Work(self.given, "partial", Choice((self.given,)), new, new),)

    def tell(self, work, scores):
        self.told += 1
        return 0.0

    def believed(self):
        return None


def test_a_round_is_decided_by_the_same_results_whatever_has_come_in():
    second = threading.Barrier(3, timeout=60)  # both examples of the second round, and the first one of the first

    def late(messages):
        if any(f"item {number}" in messages[-1]["content"] for number in (0, 2, 3)):
            second.wait()
        return reply(messages)

    strategy, history = Recorded(), mn.History()
    emit, program = ev.Emitter([history]), mn.Predict("q -> a", lm=fake(replies=late))
    searching = Searching(strategy, rows(8), metric, 10, history, emit, lambda choice: program, lambda: None, Past())
    with Pool(8) as pool:
        searching.run(pool)
    assert strategy.known == [0, 0, 1, 2]
