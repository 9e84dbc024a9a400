"""The account of a run over all its sittings: limits go on, what was paid is told, doubts are told once."""

import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError
from mipro_nb.journal import Journal
from mipro_nb.options import Options
from mipro_nb.past import Past, Retelling
from mipro_nb.plan import make_job
from mipro_nb.spending import Spending
from mipro_nb.testing import EventRecorder
from mipro_nb.traffic import Traffic, through


@pytest.fixture
def spend(tmp_path):
    """spend(**limits) is a Spending with its LM, emitter and recorder."""

    def make(**limits):
        lm, history, told = fake(price=0.01, max_tokens=50), mn.History(), EventRecorder()
        emit = Retelling([history, told])
        optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, num_candidates=2)
        given = {"trainset": rows(10), "valset": rows(10, 20), "num_trials": 1, **limits}
        spending = Spending(make_job(optimizer._params, mn.Predict("q -> a"), Options.read(given)), history, emit)
        spending.lm, spending.told, spending.emit = lm, told, emit
        return spending

    return make


@pytest.fixture
def journal(tmp_path):
    """journal(answers, begun) is what a process that was killed has left."""
    opened = []

    def make(answers=0, begun=0, cost=0.02):
        left = Journal(tmp_path / "answers.jsonl")
        for number in range(answers):
            left.keep(str(number), {"text": "x", "finish": "stop", "prompt": 3, "completion": 2, "cost": cost})
        for _ in range(begun):
            left.begin(100, 0.5)
        left.close()
        opened.append(Journal(tmp_path / "answers.jsonl"))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def ask(spending, times):
    with mn.context(lm=spending.lm), through(Traffic((spending.budget,), None)):
        for number in range(times):
            mn.Predict("q -> a")(q=f"item {number}")


def test_a_resumed_run_has_spent_what_its_answers_cost_and_perhaps_what_was_in_flight(spend, journal):
    spending = spend(max_cost=5.0, max_seconds=100)
    spending.resume(journal(answers=4, begun=2), 40.0)
    assert spending.budget.paid == ev.Usage(4, 0, 12, 8, 0.08)
    assert spending.budget.spent.cost == pytest.approx(4 * 0.02 + 2 * 0.5)
    assert spending.budget.seconds == 40.0


def test_the_price_of_what_was_spent_must_be_known_for_a_limit_in_dollars(spend, journal):
    with pytest.raises(ConfigError, match="what the run has spent before isn't known; drop max_cost"):
        spend(max_cost=5.0).resume(journal(answers=1, cost=None), 0.0)


def test_the_doubt_is_told_once_when_the_run_is_further_than_before(spend, journal):
    spending = spend(max_calls=50)
    spending.resume(journal(answers=1, begun=2), 0.0)
    spending.tell_doubt()
    assert not spending.told.of(ev.Noted)
    spending.emit.past.left_behind = True
    spending.tell_doubt()
    spending.tell_doubt()
    (note,) = spending.told.of(ev.Noted)
    assert note.message.startswith("2 calls were in flight when the run was cut off")


def test_calls_of_examples_that_the_end_cut_off_are_told_at_the_end(spend):
    spending = spend()
    ask(spending, 3)
    spending.emit(ev.LMUsed("search", ev.Usage(2, 0, 6, 4, 0.02)))
    paid = spending.budget.paid
    spending.close("stopped: by hand", None)
    *_, last = spending.told.of(ev.LMUsed)
    assert last.stage == ev.CUT_OFF
    assert last.usage.calls == 1
    assert spending.told.of(ev.LMUsed)[0].usage + last.usage == paid


def test_where_all_was_told_nothing_is_added(spend):
    spending = spend()
    ask(spending, 2)
    spending.emit(ev.LMUsed("search", spending.budget.paid))
    spending.close("finished", None)
    assert len(spending.told.of(ev.LMUsed)) == 1


def test_of_a_run_that_has_not_come_as_far_as_before_only_its_log_is_told(spend, journal):
    class Home:
        logged = ()

        def __call__(self, event):
            self.logged += (event,)

    spending, home = spend(), Home()
    trial = ev.TrialStarted(0, "full", (0,), (), 4, 4)
    spending.emit.past = Past([trial, ev.ExampleScored(0, 0, 1.0)])
    assert spending.emit.past.ahead
    spending.resume(journal(answers=3), 0.0)
    spending.close("stopped: by hand", home)
    assert [event.usage.calls for event in home.logged] == [3]
    assert not spending.told.of(ev.LMUsed)


def test_of_what_the_log_alone_tells_no_more_is_told_than_was_paid(spend, journal):
    spending = spend()
    logged = [ev.LMUsed("bootstrap", ev.Usage(1, 0, 3, 2, 0.02)) for _ in range(2)]
    spending.emit.past = Past([ev.RunStarted("id", "P", ("self",), {}, {}, {}, {}), *logged])
    spending.resume(journal(answers=3), 0.0)
    spending.emit(ev.LMUsed("search", ev.Usage(2, 0, 6, 4, 0.04)))  # of three that were paid
    spending.close("finished", None)
    assert sum(used.usage.calls for used in spending.told.of(ev.LMUsed)) == 3
