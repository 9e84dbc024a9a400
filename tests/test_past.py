"""What a log tells is given out again: to each question its answer, in the order of then."""

import pytest

from mipro_nb import events as ev
from mipro_nb.past import LATE, Past, Retelling
from mipro_nb.search import Choice
from mipro_nb.testing import EventRecorder

CHOICE = Choice((1,), (0,))
USED = ev.LMUsed("search", ev.Usage(1), at=3.0)


def scored(score, example=5, trial=1, at=4.0):
    return ev.ExampleScored(trial, example, score, at=at)


def log(*events, kind="partial"):
    return Past([ev.TrialStarted(1, kind, (1,), (0,), 8, 8, at=2.0), *events])


def test_a_result_is_given_with_all_that_was_told_of_it():
    note, found = ev.Noted("search", "cut", at=3.5), scored(0.5)
    result = log(USED, note, found).result(False, CHOICE, 5)
    assert result.score == 0.5
    assert result.told == (USED, note, found)


SETTLING = ev.Noted(ev.SETTLING, "the best is evaluated", at=5.0)
BEST = (ev.TrialStarted(2, "full", (2,), (0,), 8, 8, at=5.5), ev.LMUsed("search", ev.Usage(1), at=6.0))


def test_what_a_stopped_run_told_of_its_best_is_an_answer_and_told_anew():
    past = log(
        USED, scored(1.0), SETTLING, *BEST, scored(0.5, trial=2, at=7.0), ev.RunFinished("stopped: enough", at=8.0)
    )
    best = Choice((2,), (0,))
    assert past.has(False, best, 5)
    result = past.result(False, best, 5)
    assert result.score == 0.5
    assert [type(event) for event in result.told] == [ev.LMUsed, ev.ExampleScored]
    assert not any(past.holds(event) for event in result.told)
    assert past.retold(BEST[0]) is BEST[0]
    assert past.retold(ev.TrialStarted(2, "full", (2,), (0,), 8, 8, at=99.0)).at == 99.0
    assert past.retold(ev.RunFinished("stopped: enough", at=99.0)).at == 8.0
    assert past.result(False, best, 5) is None


def test_what_was_told_of_the_best_is_the_runs_own_if_it_was_extended_then():
    more = (ev.RunFinished("stopped: enough", at=8.0), ev.RunExtended(3, 30, at=9.0))
    past = log(USED, scored(1.0), SETTLING, *BEST, scored(0.5, trial=2, at=7.0), *more)
    assert all(past.holds(event) for event in past.result(False, Choice((2,), (0,)), 5).told)
    assert past.retold(ev.TrialStarted(2, "full", (2,), (0,), 8, 8, at=99.0)).at == 5.5


@pytest.mark.parametrize("settled", [False, True])
def test_a_search_that_was_stopped_and_extended_is_stopped_again_where_it_was(settled):
    more = ev.Wished(4, {"kind": "extend", "num_trials": 3}, ended=True, at=8.5)
    proof = (SETTLING, *BEST, scored(0.5, trial=2, at=7.0)) if settled else ()
    end = (ev.RunFinished("stopped: enough", at=8.0), more, ev.RunExtended(3, 30, at=9.0), scored(0.25, 6, at=10.0))
    past = log(USED, scored(1.0), *proof, *end)
    assert past.stopped
    assert past.stopped_at(4)
    assert not past.stopped_at(3)
    assert past.result(False, CHOICE, 5).score == 1.0
    for example in (6, 7):
        assert past.result(False, CHOICE, example) is LATE, "it came later, or never"
    past.pass_stop()
    assert past.stopped == settled
    if settled:
        assert past.result(False, Choice((2,), (0,)), 5).score == 0.5
        past.pass_stop()
    assert [wishes[-1].wish["num_trials"] for wishes in past.extensions()] == [3]
    assert past.result(False, CHOICE, 6).score == 0.25
    assert past.result(False, CHOICE, 7) is None


@pytest.mark.parametrize("reason", ["finished", "stopped: max_calls=9: the limit", "failed: no"])
def test_a_run_that_ended_by_itself_is_not_stopped_again(reason):
    more = ev.Wished(4, {"kind": "extend", "num_trials": 3}, ended=True, at=8.5)
    assert not log(scored(1.0), ev.RunFinished(reason, at=8.0), more, ev.RunExtended(3, 30, at=9.0)).stopped


def test_what_was_told_anew_counts_and_not_what_was_told_at_the_stop():
    found = scored(0.5, trial=2, at=7.0)
    anew = (ev.RunResumed(at=9.0), *BEST, scored(0.25, trial=2, at=10.0))
    past = log(USED, scored(1.0), SETTLING, *BEST, found, *anew)
    assert past.result(False, Choice((2,), (0,)), 5).score == 0.25
    assert past.result(False, Choice((2,), (0,)), 5) is None


def test_what_a_kill_left_of_an_evaluation_of_the_best_is_not_the_runs_own():
    past = log(USED, scored(1.0), SETTLING, *BEST)
    again = ev.LMUsed("search", ev.Usage(1), at=99.0)
    assert past.retold(again) is again


def told_by(past, *events):
    """Give out events; return those that the log takes."""
    recorder = EventRecorder()
    emit = Retelling([recorder])
    emit.past = past
    for event in events:
        emit(event)
    return [event for event in recorder.events if not past.holds(event)]


RUN = ev.RunStarted("id", "P", ("self",), {}, {}, {}, {}, at=1.0)
END = ev.RunFinished("stopped: as asked", at=5.0)


def test_the_second_end_is_told_even_if_it_is_like_the_first():
    new, again = ev.Noted("x", "new"), ev.RunFinished("stopped: as asked", at=9.0)
    assert told_by(Past([RUN, END]), RUN, new, again)[1:] == [new, again]


@pytest.mark.parametrize("reason", ["stopped: as asked", "interrupted"])
def test_an_ended_run_that_came_no_further_leaves_its_log_as_it_is(reason):
    assert told_by(Past([RUN, END]), RUN, ev.RunFinished(reason, at=9.0)) == []


def test_a_run_that_had_nothing_left_to_do_is_told_to_have_finished():
    _, end = told_by(Past([RUN, END]), RUN, ev.RunFinished("finished", at=9.0))
    assert end.reason == "finished"


def test_each_result_is_given_once():
    past = log(USED, scored(1.0))
    assert past.has(False, CHOICE, 5)
    assert past.result(False, CHOICE, 5) is not None
    assert not past.has(False, CHOICE, 5)
    assert past.result(False, CHOICE, 5) is None


@pytest.mark.parametrize(
    ("tested", "choice", "example"), [(True, CHOICE, 5), (False, Choice((0,), (0,)), 5), (False, CHOICE, 6)]
)
def test_what_the_log_does_not_hold_is_to_be_run(tested, choice, example):
    assert log(USED, scored(1.0)).result(tested, choice, example) is None


def test_the_test_set_is_another():
    past = log(USED, scored(1.0), kind="test_best")
    assert past.result(False, CHOICE, 5) is None
    assert past.result(True, CHOICE, 5).score == 1.0


def test_the_log_is_ahead_until_something_new_is_asked_for():
    past = log(USED, scored(1.0))
    assert past.ahead
    past.result(False, CHOICE, 5)
    assert past.ahead
    past.result(False, CHOICE, 6)
    assert not past.ahead
    assert not log(USED).ahead


def test_a_failure_that_the_search_was_told_of_stays_one():
    past = log(scored(None), scored(None), ev.TrialFinished(1, 0.5, 7, 1))
    assert [past.result(False, CHOICE, 5).score for _ in range(2)] == [None, None]


def test_a_failure_that_nothing_was_decided_by_is_tried_again():
    assert log(scored(None)).result(False, CHOICE, 5) is None
    assert log(scored(None), scored(0.5)).result(False, CHOICE, 5).score == 0.5


def test_an_event_is_told_as_the_log_has_it_each_once():
    started = ev.StageStarted("search", 10, at=1.0)
    past = Past([started])
    new = ev.StageStarted("search", 10, at=99.0)
    assert past.retold(new) is started
    assert past.retold(new) is new
    assert past.holds(started)
    assert not past.holds(new)


def test_wishes_come_at_their_turn():
    first, *late = (
        ev.Wished(3, {"kind": "extend", "num_trials": 2}),
        ev.Wished(9, {"kind": "ban", "predictor": "a", "what": "demos", "index": 1}, True),
        ev.Wished(9, {"kind": "extend", "num_trials": 4}, True),
    )
    past = Past([first, *late])
    assert list(past.wishes(2)) == []
    assert list(past.wishes(4)) == [first.wish]
    assert list(past.wishes(100)) == [], "those came after the end"
    assert list(past.extensions()) == [late]


def test_that_the_run_goes_on_is_told_when_something_new_happens_and_once():
    recorder = EventRecorder()
    emit = Retelling([recorder])
    run = ev.RunStarted("id", "P", ("self",), {}, {}, {}, {}, at=1.0)
    emit.past = Past([run])
    emit(run)
    emit(ev.Noted("x", "new"))
    emit(ev.Noted("x", "newer"))
    assert [type(event).__name__ for event in recorder.events] == ["RunStarted", "RunResumed", "Noted", "Noted"]


def test_a_new_run_is_not_resumed():
    recorder = EventRecorder()
    Retelling([recorder])(ev.Noted("x", "new"))
    assert len(recorder.events) == 1


def test_the_time_between_an_end_and_an_extension_is_not_the_runs():
    start, end = ev.StageStarted("search", 3, at=10.0), ev.RunFinished("finished", at=30.0)
    wished = ev.Wished(9, {"kind": "extend", "num_trials": 4}, True, at=9000.0)
    past = Past([start, end, wished, ev.RunExtended(4, 4, at=9001.0), ev.RunFinished("finished", at=9005.0)])
    assert 24.0 <= past.seconds <= 25.0


def test_the_answers_that_known_results_stand_on_are_known():
    found = (ev.ExampleScored(1, 5, 0.5, answers=("one", "two")), ev.ExampleScored(1, 6, None, answers=("three",)))
    assert list(log(*found).answers) == ["one", "two"], "the other is tried again, with the answer that came"
    best = (SETTLING, *BEST, ev.ExampleScored(2, 5, 0.5, answers=("four",)))
    assert list(log(*found, ev.TrialFinished(1, 0.5, 1, 1), *best).answers) == ["one", "two", "three", "four"]


def test_what_was_paid_for_an_example_belongs_to_it_though_the_run_was_killed_in_between():
    found = scored(0.5)
    assert log(USED, ev.RunResumed(), found).result(False, CHOICE, 5).told == (USED, found)


def billed(*usages):
    """Tell a resumed run of calls; return what it tells, and what of that is new to its log."""
    told, new = EventRecorder(), EventRecorder()
    emit = Retelling([told])
    emit.past = Past(
        [ev.RunStarted("id", "P", ("a",), {}, {}, {}, {}, at=1.0)]
        + [ev.LMUsed("bootstrap", usage, at=2.0) for usage in (ev.Usage(2, 1, 20), ev.Usage(1, 2, 10))]
    )
    emit.add(lambda event: emit.past.holds(event) or new(event))
    for usage in usages:
        emit(ev.LMUsed("bootstrap", usage))
    return [
        [(event.usage.calls, event.usage.cached_calls) for event in one.events if isinstance(event, ev.LMUsed)]
        for one in (told, new)
    ]


@pytest.mark.parametrize(
    ("usages", "told", "new"),
    [
        ([ev.Usage(2, 1, 20), ev.Usage(1, 2, 10)], [(2, 1), (1, 2)], []),
        ([ev.Usage(3, 0, 30), ev.Usage(0, 3)], [(3, 0), (0, 3)], []),
        ([ev.Usage(3, 0, 30), ev.Usage(2, 1, 20)], [(3, 0), (0, 1), (2, 0)], [(2, 0)]),
        ([ev.Usage(5, 0, 50), ev.Usage(1, 0, 10)], [(3, 0), (2, 0), (1, 0)], [(2, 0), (1, 0)]),
        ([ev.Usage(3, 3, 30), ev.Usage(0, 1), ev.Usage()], [(3, 3), (0, 1), (0, 0)], [(0, 1), (0, 0)]),
        ([ev.Usage(2, 1, 21), ev.Usage(1, 2, 12)], [(2, 1), (1, 2), (0, 0)], [(0, 0)]),
    ],
)
def test_which_of_those_that_asked_the_same_at_once_has_paid_may_be_another_one_this_time(usages, told, new):
    assert billed(*usages) == [told, new]
