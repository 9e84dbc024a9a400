"""Examples that are evaluated on an executor's workers: the same results, nothing lost, no key sent."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from concurrent import futures

import pytest
from programs import TwoSteps, is_description, is_proposal, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.budget import Budget
from mipro_nb.cache import Cache
from mipro_nb.errors import ConfigError, LMRefused, LMUnavailable, MetricError, WorkersLost
from mipro_nb.journal import INDEX
from mipro_nb.journal import Journal as OnDisk
from mipro_nb.testing import EventRecorder, FakeLM
from mipro_nb.traffic import Anew, Traffic, through
from mipro_nb.usage import track_usage

DATA = {"trainset": rows(20), "valset": rows(40, 100), "testset": rows(10, 300)}


def told(executor, replies=reply, program=mn.Predict, **options):
    """What a run gives: the best program, its trials with every score, what it used."""
    history = mn.History()
    student = TwoSteps() if program is TwoSteps else program("q -> a")
    with mn.context(lm=FakeLM(replies), progress=False):
        optimizer = mn.MIPROv2(metric, seed=2, num_candidates=4)
        best = optimizer.compile(student, num_trials=6, listeners=[history], executor=executor, **DATA, **options)
    trials = [
        (trial.kind, trial.instructions, trial.demos, trial.score, {n: one.score for n, one in trial.scored.items()})
        for _, trial in sorted(history.trials_by_number.items())
    ]
    return [predictor.to_json() for predictor in best.predictors], trials, history.usage, history.verdict


def processes():
    return futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def client():
    with dask_cluster(threads_per_worker=2) as made:
        yield made


@contextlib.contextmanager
def dask_cluster(**options):
    """A client of a real cluster of two processes, on loopback alone and on any free ports."""
    distributed = pytest.importorskip("distributed")
    where = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(processes=True, n_workers=2, **where, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


# --- the same as in threads ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_on_another_executor_is_the_same_run():
    with futures.ThreadPoolExecutor(4) as executor:
        assert told(executor) == told(None)


@pytest.mark.slow
def test_a_run_on_a_process_pool_is_the_same_run():
    with processes() as executor:
        assert told(executor) == told(None)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "replies"), [(mn.Predict, reply), (TwoSteps, two_step_reply)])
def test_a_run_on_a_dask_cluster_is_the_same_run(client, program, replies):
    assert told(client.get_executor(), replies, program) == told(None, replies, program)


def evaluated(lm, executor, data=None, rule=metric, program=None, **options):
    with mn.context(lm=lm, progress=False):
        evaluate = mn.Evaluate(data or rows(6, 100), rule, executor=executor, **options)
        return evaluate(program or mn.Predict("q -> a"))


def test_an_evaluation_is_the_same_with_its_steps():
    program = TwoSteps()
    here = evaluated(FakeLM(two_step_reply), None, program=program)
    with futures.ThreadPoolExecutor(2) as executor:
        there = evaluated(FakeLM(two_step_reply), executor, program=program)
    assert there == here
    assert {id(step.predictor) for one in there.results for step in one.steps} == set(map(id, program.predictors))


@pytest.mark.slow
def test_the_steps_that_come_back_are_those_of_the_programs_own_predictors():
    program = TwoSteps()
    with processes() as executor:
        there = evaluated(FakeLM(two_step_reply), executor, program=program)
    assert there == evaluated(FakeLM(two_step_reply), None, program=program)
    assert {id(step.predictor) for one in there.results for step in one.steps} == set(map(id, program.predictors))


NOTEBOOK = """
from typing import Literal
import pydantic
import mipro_nb as mn

class Found(pydantic.BaseModel):
    number: int

class Look(mn.Signature):
    '''Find the number.'''
    q: str = mn.InputField()
    found: Found = mn.OutputField()

class Finder(mn.Module):
    def __init__(self):
        self.find = mn.Predict(Look)
    def forward(self, q):
        return self.find(q=q)

def rule(example, prediction):
    return mn.Score(isinstance(prediction.found, Found) and number_in(example) == prediction.found.number, "said")

def number_in(example):
    return int(example.q.split()[-1])

def answer(messages):
    return '{"number": %s}' % messages[-1]["content"].split()[-1]
"""


@pytest.mark.slow
def test_what_a_notebook_defines_travels_to_a_dask_cluster(client):
    cell = {"__name__": "__main__"}
    exec(NOTEBOOK, cell)
    result = evaluated(FakeLM(cell["answer"]), client.get_executor(), rule=cell["rule"], program=cell["Finder"]())
    assert (result.score, result.failed) == (1.0, 0)
    assert [one.prediction.found for one in result.results] == [cell["Found"](number=100 + n) for n in range(6)]
    assert result.results[0].feedback == "said"


# --- workers die --------------------------------------------------------------------------------


def dies_once(marker, messages):
    """As ``reply``; the first worker that is asked for one certain item dies."""
    task = not is_proposal(messages) and not is_description(messages)
    if task and "item 120" in messages[-1]["content"]:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
    return reply(messages)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(client, tmp_path):
    marker = str(tmp_path / "killed")
    assert told(client.get_executor(), functools.partial(dies_once, marker)) == told(None)
    assert os.path.exists(marker)


def always_dies(messages):
    if "item 102" in messages[-1]["content"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "a: answer " + messages[-1]["content"].split()[-1]


@pytest.mark.slow
def test_an_example_that_kills_every_worker_is_missing_and_no_zero():
    dask = pytest.importorskip("dask")
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), dask_cluster(threads_per_worker=1) as client:
        result = evaluated(FakeLM(always_dies), client.get_executor(), num_threads=1)
    assert (result.score, result.examples, result.failed) == (1.0, 5, 1)
    assert "KilledWorker" in result.results[2].error


@pytest.mark.slow
def test_a_process_pool_that_breaks_ends_an_evaluation_with_a_clear_error():
    with processes() as executor, pytest.raises(WorkersLost, match="ProcessPoolExecutor takes no more work"):
        evaluated(FakeLM(always_dies), executor)


@pytest.mark.slow
def test_a_process_pool_that_breaks_ends_a_run_with_the_best_so_far(tmp_path):
    recorder = EventRecorder()
    options = {"seed": 2, "num_candidates": 4, "search": "mipro"}
    replies = functools.partial(dies_once_late, str(tmp_path / "asked"))
    with (
        processes() as executor,
        mn.context(lm=FakeLM(replies), progress=False),
        pytest.warns(UserWarning, match=r"ended early.*takes no more work"),
    ):
        mn.MIPROv2(metric, **options).compile(
            mn.Predict("q -> a"), num_trials=6, listeners=[recorder], executor=executor, **DATA
        )
    assert recorder.of(ev.RunFinished)
    assert any(event.score is not None for event in recorder.of(ev.TrialFinished))


def dies_once_late(marker, messages):
    """As ``dies_once``, but the second time: the baseline gets through."""
    if "item 120" in messages[-1]["content"] and not is_proposal(messages) and not is_description(messages):
        with open(marker, "a+") as file:
            file.write("asked\n")
            file.seek(0)
            if len(file.readlines()) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
    return reply(messages)


class Losing(futures.Executor):
    """Works in the caller's thread; the first tries of each example are lost."""

    def __init__(self, times, error=None):
        self.times, self.error, self.tries = times, error or futures.BrokenExecutor("died"), {}

    def submit(self, job, task):
        tried = self.tries[task.number] = self.tries.get(task.number, 0) + 1
        future = futures.Future()
        if tried <= self.times:
            future.set_exception(self.error)
        else:
            future.set_result(job(task))
        return future


def test_a_lost_example_gets_one_more_try():
    executor, program = Losing(1), mn.Predict("q -> a")
    there = evaluated(FakeLM(reply), executor, program=program)
    assert there == evaluated(FakeLM(reply), None, program=program)
    assert set(executor.tries.values()) == {2}


def test_an_example_that_is_lost_twice_is_missing():
    result = evaluated(FakeLM(reply), Losing(100))
    assert (result.score, result.failed) == (None, 6)
    assert "the worker died" in result.results[0].error


def test_what_is_missing_is_tried_again_at_the_end():
    executor = Losing(2)
    executor.tries = dict.fromkeys(range(1, 6), 2)  # the first example alone is lost, twice
    result = evaluated(FakeLM(reply), executor, num_threads=1)
    assert result.failed == 0
    assert executor.tries[0] == 3


# --- what can't travel --------------------------------------------------------------------------


def with_a_lock(messages):
    return "a: answer"


class Odd(mn.Module):
    """Returns what no pickle holds."""

    def __init__(self):
        self.answer = mn.Predict("q -> a")

    def forward(self, q):
        return mn.Prediction(a=self.answer(q=q).a, lock=threading.Lock())


def always(example, prediction):
    return True


@pytest.mark.slow
def test_a_result_that_cant_be_pickled_comes_back_as_plain_values():
    with processes() as executor:
        result = evaluated(FakeLM(with_a_lock), executor, rule=always, program=Odd())
    assert (result.score, result.failed) == (1.0, 0)
    assert result.results[0].prediction.a == "answer"
    assert "lock" in result.results[0].prediction.lock


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_program_that_cant_be_pickled_ends_it_with_what_is_needed(kind, request):
    program = mn.Predict("q -> a")
    program.tool = threading.Lock()
    own = processes() if kind == "processes" else None
    executor = own or request.getfixturevalue("client").get_executor()
    with own or contextlib.nullcontext(), pytest.raises(ConfigError, match=r"^executor=.*cannot pickle .*lock"):
        evaluated(FakeLM(reply), executor, program=program)


# --- errors -------------------------------------------------------------------------------------


def wrong_metric(example, prediction):
    return example.nothing


def refuses(messages):
    raise LMRefused("no key")


def is_down(messages):
    raise LMUnavailable("down")


@pytest.mark.parametrize("kind", [futures.ThreadPoolExecutor, pytest.param(processes, marks=pytest.mark.slow)])
def test_errors_come_back_as_they_are(kind):
    with kind() as executor:
        with pytest.raises(MetricError, match="metric wrong_metric raised AttributeError") as raised:
            evaluated(FakeLM(reply), executor, rule=wrong_metric)
        assert "example.nothing" in raised.value.__notes__[0]  # the worker's traceback
        with pytest.raises(LMRefused, match=r"no key.*worker.*environment"):
            evaluated(FakeLM(refuses), executor)
        result = evaluated(FakeLM(is_down, num_retries=0), executor)
    assert (result.score, result.failed) == (None, 6)
    assert result.results[0].error == "LMUnavailable: down"


# --- what a worker brings along -----------------------------------------------------------------


@pytest.mark.slow
def test_usage_notes_and_answers_come_back(tmp_path):
    cache = Cache(tmp_path)
    lm = FakeLM(reply, cache=cache)
    with processes() as executor, track_usage() as account:
        evaluated(lm, executor)
        assert (account.usage.calls, account.usage.cached_calls, lm.answered) == (6, 0, True)
        evaluated(lm, executor)  # another run, other workers maybe
        assert (account.usage.calls, account.usage.cached_calls) == (6, 6)
    with track_usage() as account:
        evaluated(lm, None)  # here
    assert (account.usage.calls, account.usage.cached_calls) == (0, 6)
    with processes() as executor, track_usage() as account:  # workers that know nothing, a session later
        evaluated(FakeLM(is_down, cache=Cache(tmp_path)), executor)
    assert (account.usage.calls, account.usage.cached_calls) == (0, 6)


@pytest.mark.slow
def test_a_cache_that_was_emptied_is_empty_for_the_workers_too():
    lm = FakeLM(reply, cache=Cache())
    with processes() as executor, track_usage() as account:
        evaluated(lm, executor)
        lm.cache.clear()
        evaluated(lm, executor)
    assert account.usage.calls == 12


class Journal:
    """Answers in lists by key; each is given once."""

    def __init__(self, rows=()):
        self.rows, self.left = [], list(rows)

    def take(self, key, shared):
        found = next((row for row in self.left if row[0] == key), None)
        if found is not None:
            self.left.remove(found)
        return None if found is None else (found[1], False)

    def keep(self, key, answer):
        self.rows.append((key, dict(answer)))


@pytest.mark.parametrize("kind", [futures.ThreadPoolExecutor, pytest.param(processes, marks=pytest.mark.slow)])
def test_what_was_paid_for_is_in_the_journal_and_not_paid_again(kind):
    journal = Journal()
    with kind() as executor:
        with through(Traffic(answers=journal)):
            first = evaluated(FakeLM(two_step_reply, price=0.5), executor, program=TwoSteps())
        assert sum(answer["cost"] for _, answer in journal.rows) == 6.0
        with through(Traffic(answers=Journal(journal.rows))):
            again = evaluated(FakeLM(is_down, num_retries=0), executor, program=TwoSteps())
    assert [one.prediction for one in again.results] == [one.prediction for one in first.results]
    assert [one.usage for one in again.results] == [one.usage for one in first.results]


class Watch:
    """A guard that notes what it sees."""

    def __init__(self):
        self.seen = []

    @contextlib.contextmanager
    def around(self, attempt):
        try:
            yield
        except LMUnavailable as error:
            self.seen.append(str(error))
            raise
        self.seen.append((len(attempt.messages), attempt.answer["calls"], attempt.answer["cost"]))


def test_guards_stand_around_whole_examples():
    watch = Watch()
    with futures.ThreadPoolExecutor(2) as executor, through(Traffic((watch,))):
        evaluated(FakeLM(two_step_reply, price=0.5), executor, program=TwoSteps(), data=rows(1))
        evaluated(FakeLM(is_down, num_retries=0), executor, data=rows(1))
    assert watch.seen == [(4, 2, 1.0), "LMUnavailable: down"]  # two prompts, each of a system and a user message


def test_guards_are_told_nothing_of_an_example_whose_answers_the_journal_holds(tmp_path):
    journal, watch = OnDisk(tmp_path / "answers.jsonl"), Watch()
    with futures.ThreadPoolExecutor(2) as executor:
        with through(Traffic(answers=journal)):
            evaluated(FakeLM(two_step_reply, price=0.5, max_tokens=50), executor, program=TwoSteps(), data=rows(1))
        journal.close()
        again, budget = OnDisk(tmp_path / "answers.jsonl"), Budget(max_tokens=100_000)
        with through(Traffic((budget, watch), again)):
            evaluated(FakeLM(is_down, num_retries=0, max_tokens=50), executor, program=TwoSteps(), data=rows(1))
        again.close()
    assert watch.seen == []
    assert (budget.spent.calls, budget.spent.tokens) == (0, 0)


def test_an_example_whose_answers_were_cut_off_half_written_uses_those_that_are_there(tmp_path):
    journal, path = OnDisk(tmp_path / "answers.jsonl"), tmp_path / "answers.jsonl"
    with futures.ThreadPoolExecutor(2) as executor:
        with through(Traffic(answers=journal)):
            evaluated(FakeLM(two_step_reply), executor, program=TwoSteps(), data=rows(1))
        journal.close()
        rest, left = FakeLM(two_step_reply), path.read_text().splitlines(keepends=True)
        path.write_text("".join(left[:-1]))  # killed before the last row
        again = OnDisk(path)
        with through(Traffic(answers=again)):
            evaluated(rest, executor, program=TwoSteps(), data=rows(1))
        again.close()
    assert rest.calls == 1


class Waits:
    """A guard that lets failures not count."""

    @contextlib.contextmanager
    def around(self, attempt):
        try:
            yield
        except LMUnavailable as error:
            raise Anew from error


def test_an_example_that_a_guard_lets_begin_anew_is_sent_again():
    failures = [LMUnavailable("down")] * 3

    def hiccups(messages):
        if failures:
            raise failures.pop()
        return "a: answer 0"

    with futures.ThreadPoolExecutor(1) as executor, through(Traffic((Waits(),))):
        result = evaluated(FakeLM(hiccups, num_retries=0), executor, data=rows(1))
    assert (result.score, failures) == (1.0, [])


def test_what_the_journal_holds_of_workers_counts_as_what_was_spent_and_no_more(tmp_path):
    journal = OnDisk(tmp_path / "answers.jsonl")
    with futures.ThreadPoolExecutor(2) as executor, through(Traffic(answers=journal)):
        evaluated(FakeLM(two_step_reply, price=0.5), executor, program=TwoSteps())
        journal.close()
        again = OnDisk(tmp_path / "answers.jsonl")
        with through(Traffic(answers=again)):
            evaluated(FakeLM(is_down, num_retries=0), executor, program=TwoSteps())
        again.close()
    assert (again.spent.calls, again.spent.cost) == (12, 6.0)


@pytest.mark.slow
def test_a_run_that_ended_within_its_limit_is_resumed_as_it_was(tmp_path):
    with futures.ThreadPoolExecutor(4) as executor:
        options = {"max_calls": 2 * told(executor)[2].calls, "run_dir": tmp_path}
        first = told(executor, **options)
        assert told(executor, replies=is_down, **options) == first


def test_what_is_asked_beyond_the_journal_is_told_to_the_guards(tmp_path):
    journal, watch = OnDisk(tmp_path / "answers.jsonl"), Watch()
    with futures.ThreadPoolExecutor(2) as executor:
        with through(Traffic(answers=journal)):
            evaluated(FakeLM(lambda messages: "a: answer 0", price=0.5), executor, data=rows(1))
        journal.close()
        again = OnDisk(tmp_path / "answers.jsonl")
        again._known = {key: left for key, left in again._known.items() if left[0]["finish"] == INDEX}
        with through(Traffic((watch,), again)):
            evaluated(FakeLM(lambda messages: "a: answer 0", price=0.5), executor, data=rows(1))
        again.close()
    assert watch.seen == [(2, 1, 0.5)]


def test_no_more_examples_are_in_flight_than_the_executor_works_on():
    running, most, lock = [], [], threading.Lock()

    class Counting(futures.ThreadPoolExecutor):
        def submit(self, job, task):
            with lock:
                running.append(task)
                most.append(len(running))
            future = super().submit(job, task)
            future.add_done_callback(lambda _: running.remove(task))
            return future

    with Counting(3) as executor:
        evaluated(FakeLM(reply), executor, data=rows(30))
    assert max(most) <= 3


def test_a_stop_keeps_what_is_in_flight_and_sends_no_more():
    sent = []

    class Sent(futures.ThreadPoolExecutor):
        def submit(self, job, task):
            sent.extend([task.number] * (not task.trace))  # of the search alone
            return super().submit(job, task)

    def enough(history):
        return "enough" if any(trial.scored for trial in history.trials) else None

    history = mn.History()
    with Sent(2) as executor, mn.context(lm=FakeLM(reply), progress=False):
        best = mn.MIPROv2(metric, seed=2, max_bootstrapped_demos=0, max_labeled_demos=0).compile(
            mn.Predict("q -> a"), stop=enough, listeners=[history], executor=executor, **DATA
        )
    assert best is not None
    assert sum(len(trial.scored) for trial in history.trials) == len(sent)
    assert history.reason == "stopped: enough"
