"""The handle of a run in its thread: what a person gets who watches, pauses, stops, extends, waits."""

import asyncio
import contextlib
import io
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from programs import TwoSteps, fake, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LMRefused, LMUnavailable, MetricError
from mipro_nb.progress import steps_done
from mipro_nb.testing import EventRecorder

PATIENCE = 60  # seconds, for what should come at once


def start(lm=None, program=None, search="paired", num_threads=None, **options):
    lm = lm or fake()
    settings = {"num_candidates": 4, "seed": 1, "search": search, "num_threads": num_threads}
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, **settings)
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


def pressed(after, press=mn.Run.stop, lm=None, **options):
    """Start a run and do something with it after so many evaluations; return it, ended, with its LM."""
    seen, lm = [], lm or fake()

    def look(event):
        seen.append(event) if isinstance(event, ev.ExampleScored) else None
        if len(seen) == after:
            seen.append(None)
            press(run)

    run = start(lm, **{"num_trials": 20, **options}, listeners=[look], requires_permission_to_run=True)
    run.start()
    run.result(PATIENCE)
    return run, lm


def proven(run):
    """On how many examples the best stands, and what was noted of the search."""
    history = run.history
    return len(history.scores_of(history.best)), [
        note.message for note in history.notes if note.stage in ("search", ev.SETTLING)
    ]


def settled(run):
    """How many evaluations came after the search was stopped, to evaluate its best."""
    events = list(run.history.events)
    noted = [n for n, event in enumerate(events) if isinstance(event, ev.Noted) and event.stage == ev.SETTLING]
    return sum(isinstance(event, ev.ExampleScored) for event in events[noted[0] :]) if noted else 0


@pytest.mark.parametrize("search", ["paired", "mipro", "thompson"])
@pytest.mark.parametrize("after", [45, 75, 110])
def test_a_stopped_search_evaluates_its_best_fully(search, after):
    run, lm = pressed(after, search=search)
    assert run.history.reason == "stopped: as asked"
    examples, notes = proven(run)
    assert examples == 30 or notes[-1].startswith("the best so far isn't fully evaluated: it came to lead only while")
    assert examples == 30 or settled(run) == 2 * 30
    assert settled(run) <= 2 * 30
    assert run.history.usage.calls == lm.calls


def test_a_stopped_search_says_that_it_evaluates_its_best_and_how_to_end_it():
    run, _ = pressed(60, search="mipro")
    (note,) = proven(run)[1]
    assert re.fullmatch(r"the best .* on \d+ examples more; stop again to end at once.", note)


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_stop_without_evaluation_ends_at_once(search):
    run, _ = pressed(60, lambda run: run.stop(evaluate=False), search=search)
    assert run.history.reason == "stopped: as asked"
    assert proven(run)[1] == []


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_the_second_stop_ends_the_evaluation_of_the_best(search):
    states = []

    def again(event):
        if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
            states.append((run.status, run.aside))
            run.stop()

    def press(one):
        nonlocal run
        run = one
        run.listen(again)
        run.stop()

    run = None
    ended, _ = pressed(60, press, search=search)
    assert states == [("stopping", "evaluating the best so far; stop again to end at once")]
    assert (ended.status, ended.aside) == ("stopped", "")
    assert settled(ended) == 0
    assert proven(ended)[1][-1] == "the best so far isn't fully evaluated: it was stopped again."


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_stop_of_a_persons_own_function_evaluates_the_best_too(search):
    def enough(history):
        return "enough" if sum(len(trial.scored) for trial in history.trials) >= 60 else None

    run = start(search=search, num_trials=20, stop=enough)
    run.result(PATIENCE)
    assert run.history.reason == "stopped: enough"
    assert proven(run)[0] == 30


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_limit_that_is_nearly_reached_leaves_no_evaluation_of_the_best(search):
    calls = pressed(60, search=search, num_threads=1)[0].history.usage_by_stage
    before = sum(calls[stage].calls for stage in ("bootstrap", "propose")) + 60
    run, lm = pressed(60, search=search, num_threads=1, max_calls=before + 8)
    if run.history.reason == "stopped: as asked":
        assert "max_calls=" in proven(run)[1][-1], "for the stop, or for the search that it came too late for"
    assert lm.calls <= before + 8


def test_a_stop_with_the_baseline_alone_evaluated_ends_at_once():
    run, _ = pressed(5, search="mipro")
    assert settled(run) == 0
    assert run.history.reason == "stopped: as asked"


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_stopped_search_goes_on_when_extended_as_if_its_best_had_not_been_evaluated(search):
    run, _ = pressed(60, search=search, num_trials=10)
    stopped, plan = len(met(run)), run.plan
    run.extend(3)
    run.result(PATIENCE)
    assert run.status == "finished"
    assert all(trial.finished for trial in run.history.trials)
    assert len(met(run)) == len(set(met(run))) > stopped, "no combination is run twice on the same example"
    if search == "paired":
        assert len(met(run)) <= plan.evaluations + 3 * 10
    else:
        assert len([trial for trial in run.history.trials if trial.kind == "minibatch"]) == 13


@pytest.mark.slow
def test_a_run_that_is_extended_while_its_best_is_evaluated_goes_on():
    def extend(event):
        if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
            run.extend(3)

    def press(one):
        nonlocal run
        run = one
        run.listen(extend)
        run.stop()

    run = None
    ended, _ = pressed(60, press)
    ended.wait(PATIENCE)
    assert ended.status == "finished"


def test_a_best_that_cant_be_evaluated_for_an_outage_is_said_and_the_run_ends():
    def press(one):
        nonlocal down
        down = True
        one.stop()

    def dies(messages):
        if down:
            raise LMUnavailable("down")
        return reply(messages)

    down = False
    run, _ = pressed(60, press, lm=fake(replies=dies, num_retries=0), num_threads=4)
    assert run.history.reason == "stopped: as asked"
    assert "isn't fully evaluated" in proven(run)[1][-1]


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 5, 45, 70])
def test_stop_at_any_stage_ends_without_further_calls(after):
    gate = Gate(after)
    lm = fake(replies=gate)
    run = start(lm)
    assert gate.reached.wait(PATIENCE)
    run.stop(evaluate=False)
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


@pytest.mark.slow
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
    assert run.history.stages["search"].total >= run.plan.trials_shown + 5


@pytest.mark.slow
def test_extending_while_it_goes_on_adds_trials():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    run.extend(6)
    gate.open.set()
    run.result(PATIENCE)
    shorter = start()
    shorter.result(PATIENCE)
    made = [sum(len(trial.scored) for trial in one.history.trials) for one in (run, shorter)]
    assert made[0] > made[1]
    assert made[0] <= run.plan.evaluations + 6 * 10
    assert [event.num_trials for event in run.history.events if isinstance(event, ev.RunExtended)] == [6]


@pytest.mark.slow
def test_extending_mipros_search_while_it_goes_on_adds_trials():
    gate = Gate(60)
    run = start(fake(replies=gate), search="mipro")
    assert gate.reached.wait(PATIENCE)
    run.extend(6)
    gate.open.set()
    run.result(PATIENCE)
    tried = [trial for trial in run.history.trials if trial.kind == "minibatch"]
    assert len(tried) == 10


@pytest.mark.slow
def test_extending_after_the_verdict_says_that_the_test_set_was_open():
    run = start(testset=rows(20, 60), num_trials=1)
    run.result(PATIENCE)
    assert run.history.verdict is not None
    best = run.history.best
    run.extend(12)
    run.result(PATIENCE)
    assert run.history.best is not best
    assert any("opened for the 2. time" in note.message for note in run.history.notes)
    begun = [event for event in run.history.events if isinstance(event, ev.TrialStarted)]
    tests = [event.trial for event in begun if event.kind.startswith("test")]
    assert len(tests) == len(set(tests)) == 4
    tried = {(event.trial, event.instructions, event.demos) for event in begun if event.trial not in tests}
    assert len({trial for trial, *_ in tried}) == len(tried), "every combination has a number of its own"


@pytest.mark.slow
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


def test_a_failure_late_in_the_run_keeps_the_best_without_a_warning_from_a_thread():
    lm = fake()

    class Looking(mn.Module):
        def __init__(self):
            self.answer = mn.Predict("q -> a")

        def forward(self, q):
            if lm.calls > 70:
                raise ConnectionError("the database is down")
            return self.answer(q=q)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = start(lm, Looking(), num_trials=30)
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


@pytest.mark.slow
def test_an_interrupt_of_an_await_stops_the_run_and_gives_the_best():
    gate = Gate(60)
    run = start(fake(replies=gate))

    async def cell():
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        asyncio.get_running_loop().call_later(0.2, signal.raise_signal, signal.SIGINT)
        asyncio.get_running_loop().call_later(1.0, gate.open.set)
        return await run

    before = signal.getsignal(signal.SIGINT)
    assert asyncio.run(cell()) is not None
    assert run.history.reason == "stopped: interrupted"
    assert signal.getsignal(signal.SIGINT) is before


async def within(run):
    async with asyncio.timeout(0.1):
        await run


@pytest.mark.parametrize("limited", [lambda run: asyncio.wait_for(run, 0.1), within])
def test_a_timeout_of_an_await_leaves_the_run_going_on(limited):
    gate = Gate(60)
    run = start(fake(replies=gate))

    async def cell():
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        with pytest.raises(TimeoutError):
            await limited(run)
        assert run.status == "running"
        gate.open.set()
        return await asyncio.gather(run, run)

    one, two = asyncio.run(cell())
    assert one is two
    assert run.status == "finished"


@pytest.mark.slow
def test_an_interrupt_while_waiting_stops_and_the_second_is_raised():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    for delay in (0.5, 1.5):
        threading.Timer(delay, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        run.wait(PATIENCE)
    assert run.wait(PATIENCE), "without its calls in flight"
    assert not gate.open.is_set()
    assert run.history.reason == "stopped: interrupted"
    gate.open.set()


@pytest.fixture
def usual_interrupts():
    """asyncio's own handler stays when a second interrupt tears its loop down."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("usual_interrupts")
def test_a_second_interrupt_of_an_await_is_raised_and_leaves_the_calls_in_flight():
    gate = Gate(60)
    run = start(fake(replies=gate))

    async def cell():
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        for delay in (0.3, 0.9):
            asyncio.get_running_loop().call_later(delay, signal.raise_signal, signal.SIGINT)
        return await run

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cell())
    assert run.wait(PATIENCE)
    assert not gate.open.is_set()
    gate.open.set()


def test_the_settings_of_the_caller_hold_in_the_run():
    lm = fake()
    with mn.context(lm=lm):
        run = mn.MIPROv2(metric=metric, num_candidates=2).start(mn.Predict("q -> a"), trainset=rows(10))
    run.result(PATIENCE)
    assert lm.calls > 0


@pytest.mark.slow
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


@pytest.mark.slow
def test_waiting_on_a_terminal_shows_the_progress():
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    shown = io.StringIO()
    with mn.context(progress=True), contextlib.redirect_stdout(shown):
        threading.Timer(0.3, gate.open.set).start()
        run.wait(PATIENCE)
    assert "evaluations: best (instructions" in shown.getvalue()
    assert "finished" in shown.getvalue()
    assert "instruction 1:" not in shown.getvalue(), "what was before isn't told again"


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
    run = start(lm, num_trials=100, max_cost=2.0)
    run.result(PATIENCE)
    assert run.status == "stopped"
    assert run.history.reason.startswith("stopped: max_cost=$2 is reached: $")
    assert run.history.best is not None
    assert run.history.usage.cost == pytest.approx(lm.calls * 0.01)
    assert 1.6 < lm.calls * 0.01 <= 2.0


def test_max_cost_needs_a_price():
    with pytest.raises(ConfigError, match="price of 'fake/lm' is unknown"):
        start(fake(price=None), max_cost=1.0)


@pytest.mark.parametrize("wrong", [0, -1, "5", True])
def test_max_cost_is_a_positive_number(wrong):
    with pytest.raises(ConfigError, match="max_cost"):
        start(max_cost=wrong)


@pytest.mark.slow
def test_stop_in_an_outage_is_a_stop():
    """Calls that are being retried come back as not asked: that must not count as errors."""
    down = threading.Event()

    def dies(messages):
        if down.is_set():
            raise LMUnavailable("down")
        return reply(messages)

    def breaks(event):
        if isinstance(event, ev.TrialStarted):
            down.set()

    lm = fake(replies=dies, retry_wait=30.0)
    run = start(lm, listeners=[breaks])
    until(lambda: run.status == "paused" and run.history.paused)
    assert run.history.pause_reason.startswith("the LM doesn't answer; next try in ")
    assert f"paused: {run.history.pause_reason}" in repr(run)
    run.stop()
    run.result(PATIENCE)
    assert run.status == "stopped"
    assert run.history.reason == "stopped: as asked"


@pytest.mark.slow
def test_a_run_that_waits_for_its_lm_tries_it_at_once_when_a_person_says_so(monkeypatch):
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 1000.0)
    back, recorder = threading.Event(), EventRecorder()

    def dies(messages):
        if recorder.of(ev.TrialStarted) and not back.is_set():
            raise LMUnavailable("down")
        return reply(messages)

    run = start(fake(replies=dies), listeners=[recorder])
    until(lambda: run.history.paused)
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 0.01)
    run.pause()
    until(lambda: recorder.of(ev.RunPaused)[-1] == ev.RunPaused(True))
    back.set()
    run.unpause()
    run.result(PATIENCE)
    assert run.status == "finished"
    assert recorder.of(ev.RunPaused)[-1] == ev.RunPaused(False)


def test_a_verdict_is_shown_only_beside_the_program_that_it_is_about():
    run = start(testset=rows(20, 60), num_trials=1)
    run.result(PATIENCE)
    first = run.history.best
    assert run.history.verdict is not None
    run.extend(40)
    until(lambda: run.history.best is not first or run.status == "finished")
    run.stop()
    run.result(PATIENCE)
    assert run.history.best is not first
    judged = [event for event in run.history.events if isinstance(event, ev.VerdictReached)]
    assert (run.history.verdict is None) == (len(judged) == 1)


def test_extending_without_anything_better_doesnt_open_the_test_set_again():
    lm = fake(replies=lambda m: "a: no idea")
    optimizer = mn.MIPROv2(
        metric, task_model=lm, prompt_model=lm, num_candidates=2, max_bootstrapped_demos=0, max_labeled_demos=0
    )
    data = {"trainset": rows(10), "valset": rows(5, 10), "testset": rows(5, 20)}
    run = optimizer.start(mn.Predict("q -> a"), num_trials=9, **data)
    run.result(PATIENCE)
    calls = lm.calls
    run.extend(5)
    run.result(PATIENCE)
    assert lm.calls == calls
    assert any("every combination has been tried" in note.message for note in run.history.notes)
    assert run.history.verdict is not None


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.6])
def test_extending_a_run_that_stops_before_its_search_is_refused(wait):
    gate = Gate(0)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    run.stop()
    time.sleep(wait)
    with pytest.raises(ConfigError, match="before its search"):
        run.extend(5)
    gate.open.set()
    run.result(PATIENCE)
    assert run.status == "stopped"


def met(run):
    return [
        (trial.instructions, trial.demos, event.example)
        for event in run.history.events
        if isinstance(event, ev.ExampleScored)
        for trial in [run.history.trials_by_number[event.trial]]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scored", [0, 3, 17, 40])
def test_a_search_that_is_stopped_at_any_time_goes_on_when_extended(scored):
    def enough(history):
        if sum(len(trial.scored) for trial in history.trials) >= scored and history.trials and not stopped:
            stopped.append(True)
            return True
        return None

    stopped = []
    run = start(num_trials=10, stop=enough)
    run.result(PATIENCE)
    assert run.status == "stopped"
    run.extend(3)
    run.result(PATIENCE)
    assert run.status == "finished"
    assert all(trial.finished for trial in run.history.trials)
    assert run.history.baseline is not None
    assert len(met(run)) == len(set(met(run))) <= run.plan.evaluations + 3 * 10


@pytest.mark.slow
def test_a_trial_that_a_stop_cut_off_goes_on_when_extended():
    gate = Gate(75)
    run = start(fake(replies=gate), num_trials=10, search="mipro")
    assert gate.reached.wait(PATIENCE)
    run.stop()
    until(lambda: run.status == "stopping")
    time.sleep(0.5)
    gate.open.set()
    run.result(PATIENCE)
    cut_off = [trial for trial in run.history.trials if not trial.finished]
    assert len(cut_off) == 1
    run.extend(3)
    run.result(PATIENCE)
    assert all(trial.finished for trial in run.history.trials)
    assert len(met(run)) == len(set(met(run))), "no combination is run twice on the same example"


@pytest.mark.slow
def test_progress_never_exceeds_its_total():
    run = start(testset=rows(10, 60))
    run.result(PATIENCE)
    for _ in range(2):
        run.extend(7)
        run.result(PATIENCE)
        assert steps_done(run.history) <= run.history.stages[run.history.stage].total
        assert len(run.history.trials) <= run.history.stages["search"].total


class Agent(mn.Module):
    """Goes on to change a list that it gave to a predictor, and one of the data's."""

    def __init__(self):
        self.step = mn.Predict("q, history: list[str] -> a")

    def forward(self, q, notes):
        history = []
        for _ in range(2):
            out = self.step(q=q, history=history)
            history.append(out.a)
        notes.append("changed")
        return out


def test_inputs_are_kept_as_they_were_and_the_data_stays_unchanged():
    lm = fake(replies=lambda m: "reply alone" if "instruction alone" in m[0]["content"] else "a: x")
    data = mn.examples([{"q": str(i), "notes": [], "a": "x"} for i in range(20)], inputs=["q", "notes"])
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=3)
    run = optimizer.start(Agent(), trainset=data[:8], valset=data[8:], num_trials=2)
    run.result(PATIENCE)
    assert all(example.notes == [] for example in data)
    made = [demo for one in run.history.demo_sets for demo in one.demos if "history" in demo]
    assert made
    assert {len(demo["history"]) for demo in made} <= {0, 1}
    first = run.history.trials[0].scored[0]
    assert [call["inputs"]["history"] for call in first.calls] == [[], ["x"]]


class Long(mn.Module):
    def __init__(self):
        self.step = mn.Predict("q -> a")

    def forward(self, q):
        for _ in range(500):
            out = self.step(q=q)
            time.sleep(0.01)
        return out


@pytest.mark.slow
def test_a_program_of_many_steps_pauses_between_them():
    lm = fake()
    run = start(lm, Long(), num_trials=1)
    until(lambda: lm.calls > 20)
    run.pause()
    time.sleep(0.5)
    calls = lm.calls
    time.sleep(0.5)
    assert lm.calls == calls
    run.stop()
    run.result(PATIENCE)


def test_a_run_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ConfigError, match="run_dir"):
        start(run_dir=tmp_path / "taken")


def test_a_log_that_was_deleted_is_written_anew_when_extended(tmp_path):
    run = start(run_dir=tmp_path)
    run.result(PATIENCE)
    (tmp_path / "events.jsonl").unlink()
    run.extend(2)
    run.result(PATIENCE)
    assert len(mn.History.read(tmp_path).trials) == len(run.history.trials)


def test_a_program_that_cant_be_saved_is_noted(tmp_path):
    (tmp_path / "program.json").mkdir()
    run = start(run_dir=tmp_path)
    assert run.result(PATIENCE) is not None
    assert any("could not be saved" in note.message for note in run.history.notes)


@pytest.mark.slow
@pytest.mark.parametrize("left", ["run.pause()", "pass"])
def test_a_process_ends_though_a_run_goes_on(left):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "import mipro_nb as mn\nfrom programs import *\n"
        "def slow(messages):\n    time.sleep(0.2)\n    return reply(messages)\n"
        "lm = fake(replies=slow)\n"
        "optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm)\n"
        "run = optimizer.start(mn.Predict('q -> a'), trainset=rows(200), num_trials=500)\n"
        "time.sleep(1)\n"
        f"{left}\n"
    )
    here = str(pathlib.Path(__file__).parent)
    command = [sys.executable, "-c", code, here]
    ended = subprocess.run(command, timeout=PATIENCE, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_run_writes_its_report_at_any_time(tmp_path):
    gate = Gate(60)
    run = start(fake(replies=gate))
    assert gate.reached.wait(PATIENCE)
    assert "not finished" in run.report(tmp_path / "report.md").read_text()
    gate.open.set()
    run.result()
    assert "finished" in run.report(tmp_path / "report.html").read_text()
    with pytest.raises(ConfigError, match=r"'report\.pdf'"):
        run.report("report.pdf")
