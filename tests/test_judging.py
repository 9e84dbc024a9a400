"""The verdict: the test set is opened for the baseline and the winner alone, and no more often than it must."""

from types import SimpleNamespace

import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.budget import OutOfBudget
from mipro_nb.errors import LMUnavailable
from mipro_nb.judging import Judging
from mipro_nb.options import Options
from mipro_nb.past import Retelling
from mipro_nb.plan import make_job
from mipro_nb.pool import Pool
from mipro_nb.search import Choice
from mipro_nb.spending import Spending
from mipro_nb.testing import EventRecorder

BASELINE, FIRST, SECOND = Choice((0,)), Choice((1,)), Choice((2,))
GOOD = "Answer well."
TESTSET = rows(8, 50)


class Stage:
    """A search that has ended: the baseline never finds an answer, others do."""

    candidates = SimpleNamespace(baseline=BASELINE)

    def __init__(self, winner):
        self.found, self.ran = winner, []

    def winner(self):
        return self.found

    def with_(self, choice):
        self.ran.append(choice)
        return mn.Predict(mn.Signature("q -> a").with_instructions("Fail." if choice == BASELINE else GOOD))


def answer(messages):
    number = messages[-1]["content"].split()[-1]
    return f"a: answer {number}" if GOOD in messages[0]["content"] else "a: no idea"


@pytest.fixture
def judge():
    """judge(winner, ...) reaches a verdict and returns the stage; ``judge.told`` records the events."""

    def run(winner, testset=TESTSET, replies=answer, **limits):
        if not hasattr(run, "judging"):
            lm = fake(replies=replies, price=0.01, max_tokens=50)
            history, told = mn.History(), EventRecorder()
            emit = Retelling([history, told])
            optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, num_candidates=2)
            given = {"trainset": rows(10), "valset": rows(10, 20), "testset": list(testset), "num_trials": 1, **limits}
            job = make_job(optimizer._params, mn.Predict("q -> a"), Options.read(given))
            run.told, run.lm = told, lm
            run.judging = Judging(job, history, emit, Spending(job, history, emit))
        stage = Stage(winner)
        with mn.context(lm=run.lm), Pool(2) as pool:
            run.judging.run(stage, pool)
        return stage

    return run


def notes(told):
    return [note.message for note in told.of(ev.Noted)]


def test_the_baseline_and_the_winner_are_run_and_compared(judge):
    assert judge(FIRST).ran == [BASELINE, FIRST]
    (reached,) = judge.told.of(ev.VerdictReached)
    assert (reached.verdict.baseline, reached.verdict.best, reached.verdict.word) == (0.0, 1.0, "improved")
    assert [trial.kind for trial in judge.told.of(ev.TrialStarted)] == ["test_baseline", "test_best"]
    assert not notes(judge.told)


def test_a_winner_that_is_the_baseline_is_run_once(judge):
    assert judge(BASELINE).ran == [BASELINE]
    (reached,) = judge.told.of(ev.VerdictReached)
    assert reached.verdict.difference == 0


def test_without_a_test_set_nothing_is_run(judge):
    assert judge(FIRST, testset=[]).ran == []
    assert not judge.told.events


def test_the_same_winner_is_not_judged_twice_and_another_one_with_a_warning(judge):
    judge(FIRST)
    assert judge(FIRST).ran == []
    assert judge(SECOND).ran == [BASELINE, SECOND]
    assert [note for note in notes(judge.told) if "opened for the 2. time" in note]
    assert len(judge.told.of(ev.VerdictReached)) == 2


def test_what_can_not_be_afforded_is_said_before_the_test_set_is_opened(judge):
    with pytest.raises(OutOfBudget):
        judge(FIRST, max_calls=9)
    assert judge.lm.calls == 0
    assert [note for note in notes(judge.told) if note.startswith("there is no verdict: max_calls=9 is reached")]


def test_a_test_set_on_which_nothing_could_be_scored_gives_no_verdict(judge):
    def gone(messages):
        raise LMUnavailable("gone")

    judge(FIRST, testset=rows(2, 50), replies=gone)
    assert notes(judge.told)[-1] == "no test example could be scored: there is no verdict."
    assert not judge.told.of(ev.VerdictReached)
