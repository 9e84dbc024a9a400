"""What travels to a worker, and what comes back."""

import pickle
import threading
import warnings

import pytest
from programs import TwoSteps, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb.errand import Task, work
from mipro_nb.testing import FakeLM


def test_no_key_is_in_what_travels():
    key = "sk-secret-of-mine"
    lm = mn.LM("openai/some-model", api_key=key, extra_headers={"Authorization": f"Bearer {key}"}, cache=False)
    program = mn.Predict("q -> a", lm=lm)
    task = Task(program, 0, rows(1)[0], metric, False, {}, lm, (lm,))
    assert key.encode() not in pickle.dumps(task)


def test_a_worker_needs_nothing_but_the_task():
    lm = FakeLM(reply)
    task = Task(mn.Predict("q -> a"), 3, rows(1, 100)[0], metric, False, {}, lm, (lm,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(task)))))
    assert outcome.result.example == 3
    assert outcome.result.score is not None
    assert (len(outcome.asked), len(outcome.paid), outcome.learned) == (1, 1, ((True, ()),))


def test_the_steps_tell_which_predictor_made_them():
    program = TwoSteps()
    outcome = work(Task(program, 0, rows(1)[0], metric, False, {}, FakeLM(two_step_reply), ()))
    assert outcome.places == (0, 1)
    assert [step.predictor for step in outcome.result.steps] == [None, None]


def test_what_was_asked_before_is_not_asked_again_and_counts_as_it_did():
    task = Task(TwoSteps(), 0, rows(1)[0], metric, False, {}, FakeLM(two_step_reply, price=0.5), ())
    first = work(task)
    (hint, told), (answer, said) = first.paid
    given = ((hint, told, False), (answer, said, False))
    again = work(Task(TwoSteps(), 0, rows(1)[0], metric, False, {}, FakeLM([]), (), given))
    assert (again.result.usage, again.paid) == (first.result.usage, ())
    free = ((hint, told, True), (answer, said, True))
    lm = FakeLM([], cache=True)
    usage = work(Task(TwoSteps(), 0, rows(1)[0], metric, False, {}, lm, (), free)).result.usage
    assert (usage.calls, usage.cached_calls) == (0, 2)


class Locked(mn.Module):
    """Returns what no pickle holds."""

    def forward(self, q):
        return mn.Prediction(a=q, lock=threading.Lock())


@pytest.mark.parametrize("plain", [False, True])
def test_outputs_come_back_as_plain_values_where_that_is_asked(plain):
    task = Task(Locked(), 0, rows(1)[0], lambda example, prediction: True, False, {}, None, (), plain=plain)
    assert isinstance(work(task).result.prediction.lock, str) == plain
