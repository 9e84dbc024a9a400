"""The handle of a run in its thread: what a person gets who watches, pauses, stops, extends, waits."""

import asyncio
import contextlib
import io
import signal
import threading
import time
import warnings

import pytest
from programs import TwoSteps, fake, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LMRefused, LMUnavailable, MetricError
from mipro_nb.testing import EventRecorder

PATIENCE = 60  # seconds, for what should come at once


def start(lm=None, program=None, **options):
    lm = lm or fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1)
    data = {"trainset": rows(20), "valset": rows(30, 20), "minibatch_size": 10, "num_trials": 4, **options}
    return optimizer.start(program or mn.Predict("q -> a"), **data)


class Gate:
    """A fake LM's replies that wait at a door, once ``after`` calls were made."""

    def __init__(self, after, replies=reply):
        self.open, self.reached, self.replies, self.after = threading.Event(), threading.Event(), replies, after
        self.calls = 0

    def __call__(self, messages):
        self.calls += 1
        if self.calls > self.after:
            self.reached.set()
            assert self.open.wait(PATIENCE)
        return self.replies(messages)


def until(check):
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_returns_at_once_and_gives_the_program_that_compile_gives():
    gate = Gate(0)
    run = start(fake(replies=gate))
    assert run.status == "running"
    gate.open.set()
    lm = fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1)
    same = optimizer.compile(
        mn.Predict("q -> a"), trainset=rows(20), valset=rows(30, 20), minibatch_size=10, num_trials=4
    )
    assert run.result(PATIENCE).to_json() == same.to_json()
    assert run.status == "finished"
    assert run.history.reason == "finished"


def test_the_program_is_there_at_any_time():
    gate = Gate(0)
    run = start(fake(replies=gate))
    assert run.program.signature.instructions == mn.Predict("q -> a").signature.instructions
    gate.open.set()
    best = run.result(PATIENCE)
    assert run.program.to_json() == best.to_json()
    assert run.program is not run.program, "each is the caller's own"


def test_stop_keeps_the_best_so_far():
    gate = Gate(120)
    run = start(fake(replies=gate), num_trials=40)
    assert gate.reached.wait(PATIENCE)
    run.stop()
    assert run.status == "stopping"
    gate.open.set()
    best = run.result(PATIENCE)
    assert run.status == "stopped"
    assert run.history.reason == "stopped: as asked"
    assert run.history.best is not None
    assert best.to_json() == run.program.to_json()


@pytest.mark.parametrize("after", [0, 5, 45, 70])
def test_stop_at_any_stage_ends_without_further_calls(after):
    gate = Gate(after)
    lm = fake(replies=gate)
    run = start(lm)
    assert gate.reached.wait(PATIENCE)
    run.stop()
    until(lambda: run.status == "stopping")
    time.sleep(0.5)  # the run looks for wishes every 0.2 s
    gate.open.set()
    run.result(PATIENCE)
    assert lm.calls <= after + 2 * 16 + 1, "only what was in flight"


def test_pause_makes_no_new_calls_and_unpause_goes_on():
    gate = Gate(60)
    lm = fake(replies=gate)
    recorder = EventRecorder()
    run = start(lm, listeners=[recorder])
    assert gate.reached.wait(PATIENCE)
    run.pause()
    assert run.status == "paused"
    gate.open.set()
    until(lambda: run.history.paused)
    time.sleep(0.3)
    before = lm.calls
    time.sleep(0.5)
    assert lm.calls == before, "nothing new while paused"
    run.unpause()
    run.result(PATIENCE)
    assert run.status == "finished"
    assert [event.paused for event in recorder.of(ev.RunPaused)] == [True, False]


def test_a_paused_run_can_be_stopped():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    run.pause()
    gate.open.set()
    run.stop()
    run.result(PATIENCE)
    assert run.status == "stopped"


def test_the_same_run_with_pauses_gives_the_same_result():
    plain = start().result(PATIENCE)
    run = start()
    while run.status in ("running", "paused"):
        run.pause()
        time.sleep(0.05)
        run.unpause()
        time.sleep(0.05)
    assert run.result(PATIENCE).to_json() == plain.to_json()


def test_extending_an_ended_run_goes_on_with_what_it_knows():
    lm = fake()
    run = start(lm)
    run.result(PATIENCE)
    before, calls = len(run.history.trials), lm.calls
    run.extend(5)
    run.result(PATIENCE)
    assert run.status == "finished"
    assert len(run.history.trials) > before
    assert calls < lm.calls < 2 * calls, "no example is run twice for the same combination"
    assert run.history.stages["search"].total == run.plan.trials_shown + 5


def test_extending_while_it_goes_on_adds_trials():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    run.extend(6)
    gate.open.set()
    run.result(PATIENCE)
    tried = [trial for trial in run.history.trials if trial.kind == "minibatch"]
    assert len(tried) == 10


def test_extending_after_the_verdict_says_that_the_test_set_was_open():
    run = start(testset=rows(20, 60))
    run.result(PATIENCE)
    assert run.history.verdict is not None
    run.extend(2)
    run.result(PATIENCE)
    assert any("opened for the 2. time" in note.message for note in run.history.notes)
    numbers = [event.trial for event in run.history.events if isinstance(event, ev.TrialStarted)]
    assert len(numbers) == len(set(numbers)), "every trial has a number of its own"


def test_a_stopped_run_can_be_extended():
    gate = Gate(100)
    run = start(fake(replies=gate), num_trials=40)
    assert gate.reached.wait(PATIENCE)
    run.stop()
    gate.open.set()
    run.result(PATIENCE)
    run.extend(2)
    run.result(PATIENCE)
    assert run.status == "finished"


def test_a_run_that_ended_before_its_search_cant_be_extended():
    gate = Gate(0)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    run.stop()
    gate.open.set()
    run.result(PATIENCE)
    with pytest.raises(ConfigError, match="before its search"):
        run.extend(1)


def test_permission_is_asked_before_the_first_call():
    lm = fake()
    run = start(lm, requires_permission_to_run=True)
    assert (run.status, lm.calls) == ("waiting", 0)
    with pytest.raises(ConfigError, match="permission"):
        run.wait()
    run.start()
    run.start()
    run.result(PATIENCE)
    assert run.status == "finished"


def test_a_run_that_isnt_permitted_gives_the_program_back():
    lm = fake()
    run = start(lm, requires_permission_to_run=True)
    run.stop()
    assert run.result(PATIENCE).demos == []
    assert (run.status, lm.calls) == ("stopped", 0)
    run.start()
    assert lm.calls == 0


def test_a_bug_in_the_metric_comes_out_of_result():
    def broken(example, prediction):
        raise KeyError("no such field")

    lm = fake()
    optimizer = mn.MIPROv2(metric=broken, task_model=lm, prompt_model=lm, num_candidates=2)
    run = optimizer.start(mn.Predict("q -> a"), trainset=rows(10))
    with pytest.raises(MetricError, match="no such field"):
        run.result(PATIENCE)
    assert run.status == "failed"
    assert "no such field" in run.history.reason
    assert isinstance(run.error, MetricError)


def test_a_refused_key_comes_out_of_result():
    def refused(messages):
        raise LMRefused("wrong key")

    run = start(fake(replies=refused))
    with pytest.raises(LMRefused, match="wrong key"):
        run.result(PATIENCE)
    assert run.status == "failed"


def test_an_outage_late_in_the_run_keeps_the_best_without_a_warning_from_a_thread():
    gate = Gate(10**9)

    def dies(messages):
        if gate.calls > 70:
            raise LMUnavailable("down")
        return gate(messages)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = start(fake(replies=dies, num_retries=0), num_trials=30)
        assert run.result(PATIENCE) is not None
    assert run.status == "failed"
    assert run.history.best is not None


def test_wrong_arguments_are_told_before_a_thread_starts():
    with pytest.raises(ConfigError, match="num_trials"):
        start(num_trials=0)


def test_result_has_a_timeout():
    gate = Gate(0)
    run = start(fake(replies=gate))
    with pytest.raises(TimeoutError, match="goes on"):
        run.result(0.01)
    gate.open.set()
    run.result(PATIENCE)


def test_await_gives_the_program():
    async def cell():
        return await start()

    assert asyncio.run(cell()).to_json() == start().result(PATIENCE).to_json()


def test_cancelling_an_await_stops_the_run_and_gives_the_best():
    gate = Gate(60)
    run = start(fake(replies=gate))

    async def cell():
        task = asyncio.ensure_future(run._awaited())
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        task.cancel()
        asyncio.get_running_loop().call_later(0.5, gate.open.set)
        return await task

    assert asyncio.run(cell()) is not None
    assert run.history.reason == "stopped: interrupted"


def test_an_interrupt_while_waiting_stops_and_the_second_is_raised():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    for delay in (0.5, 1.5):
        threading.Timer(delay, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        run.wait(PATIENCE)
    assert run.status == "stopping"
    gate.open.set()
    assert run.wait(PATIENCE)
    assert run.history.reason == "stopped: interrupted"


def test_the_settings_of_the_caller_hold_in_the_run():
    lm = fake()
    with mn.context(lm=lm):
        run = mn.MIPROv2(metric=metric, num_candidates=2).start(mn.Predict("q -> a"), trainset=rows(10))
    run.result(PATIENCE)
    assert lm.calls > 0


def test_two_runs_at_once_dont_mix():
    one, two = start(), start(fake(replies=two_step_reply), TwoSteps())
    assert one.result(PATIENCE).to_json() == start().result(PATIENCE).to_json()
    assert [name for name, _ in two.result(PATIENCE).named_predictors()] == ["hint", "answer"]
    assert one.history.started.predictors == ("self",)


def test_tables_are_dataframes():
    run = start()
    run.result(PATIENCE)
    assert len(run.trials) == len(run.history.trials)
    assert set(run.candidates["kind"]) == {"instruction", "demos"}
    assert len(run.examples) == 30


def test_its_repr_is_text_for_people():
    run = start()
    run.result(PATIENCE)
    assert "Run of Predict, finished" in repr(run)
    assert "best" in repr(run)


def test_waiting_on_a_terminal_shows_the_progress():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    shown = io.StringIO()
    with mn.context(progress=True), contextlib.redirect_stdout(shown):
        threading.Timer(0.3, gate.open.set).start()
        run.wait(PATIENCE)
    assert "1/3 bootstrap" in shown.getvalue(), "what was before is told too"
    assert "finished" in shown.getvalue()


def test_every_thread_ends():
    before = set(threading.enumerate())
    start().result(PATIENCE)
    until(lambda: not [t for t in set(threading.enumerate()) - before if t.name.startswith("mipro_nb")])


def test_the_log_of_an_extended_run_is_one(tmp_path):
    run = start(run_dir=tmp_path)
    run.result(PATIENCE)
    run.extend(3)
    run.result(PATIENCE)
    read = mn.History.read(tmp_path)
    assert len(read.trials) == len(run.history.trials)
    assert [type(event) for event in read.events] == [type(event) for event in run.history.events]
    assert (tmp_path / "program.json").exists()


def test_max_cost_ends_the_run_with_the_best_so_far():
    lm = fake(price=0.01)
    lm.prices = lambda: (0.001, 0.001)
    run = start(lm, num_trials=100, max_cost=2.0)
    run.result(PATIENCE)
    assert run.history.reason == "stopped: max_cost=$2 is reached"
    assert 2.0 <= run.history.usage.cost < 2.5


def test_max_cost_needs_a_price():
    with pytest.raises(ConfigError, match="price of 'fake/lm' is unknown"):
        start(fake(price=None), max_cost=1.0)


@pytest.mark.parametrize("wrong", [0, -1, "5", True])
def test_max_cost_is_a_positive_number(wrong):
    with pytest.raises(ConfigError, match="max_cost"):
        start(max_cost=wrong)
