"""Rounds in flight: what is told, when, and what a failure or a stop makes of them."""

import pytest
from programs import fake, is_description, is_proposal, metric, reply, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import LMUnavailable, TooManyErrors
from mipro_nb.testing import EventRecorder

DATA = {"trainset": rows(20), "valset": rows(60, 100)}


def run(replies=reply, listeners=(), **settings):
    recorder = EventRecorder()
    with mn.context(lm=fake(replies=replies, num_retries=0), progress=False):
        mn.MIPROv2(metric, seed=2, **settings).compile(mn.Predict("q -> a"), listeners=[recorder, *listeners], **DATA)
    return recorder


def test_what_is_believed_is_told_as_evidence_grows_and_at_the_end():
    told = run().of(ev.PosteriorUpdated)
    counts = [event.evaluations for event in told]
    assert counts == sorted(set(counts))
    assert len(counts) > 3


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


def test_a_program_that_fails_throughout_ends_the_run():
    def dies(messages):
        if is_proposal(messages) or is_description(messages):
            return reply(messages)
        raise LMUnavailable("down")

    with pytest.raises(TooManyErrors, match="down"):
        run(dies, max_bootstrapped_demos=0, max_errors=1000)


def test_a_stop_in_the_middle_of_a_round_keeps_what_came_in():
    history = mn.History()

    def enough(told):
        return "enough" if sum(len(trial.scored) for trial in told.trials) > 100 else None

    with mn.context(lm=fake(), progress=False):
        mn.MIPROv2(metric, seed=2).compile(mn.Predict("q -> a"), stop=enough, listeners=[history], **DATA)
    scored = sum(one.score is not None for trial in history.trials for one in trial.scored.values())
    assert history.posterior.evaluations == scored
    assert history.best is not None
