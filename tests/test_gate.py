"""The gate of a run: how many calls are in flight, and what becomes of them while an LM doesn't answer."""

import contextlib
import threading

import pytest
from programs import fake, metric, reply, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import RATE_LIMIT, TIMEOUT, ConfigError, LMUnavailable, PromptRefused
from mipro_nb.flow import cancelled, go_ahead
from mipro_nb.gate import Gate
from mipro_nb.pool import Pool
from mipro_nb.testing import EventRecorder, FakeLM
from mipro_nb.traffic import Anew, Attempt, Traffic, through

PATIENCE = 60  # seconds, for what should come at once


# --- the gate


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Call:
    """An LM's tries at a gate, made by hand."""

    def __init__(self, most=4, max_outage=3600.0, answered=True):
        self.lm, self.clock, self.told = FakeLM(lambda messages: "yes"), Clock(), []
        if answered:
            self.lm("are you there?")
        self.gate = Gate(most, max_outage, self.told.append, self.clock)

    def attempt(self, name="a"):
        return Attempt(self.lm, [{"role": "user", "content": name}], {})

    def ends(self, error=None, name="a"):
        """Make a try that ends so; return what came of it."""
        try:
            with self.gate.around(self.attempt(name)):
                if error is not None:
                    raise error
        except (Anew, LMUnavailable, PromptRefused) as raised:
            return type(raised)
        return None

    def falls(self):
        found = [self.ends(LMUnavailable("down"), name) for name in "abcd"]
        assert found == [LMUnavailable] * 3 + [Anew]


def unavailable(kind="", retry_after=0.0):
    error = LMUnavailable("busy")
    error.kind, error.retry_after = kind, retry_after
    return error


@pytest.mark.parametrize("kind", [RATE_LIMIT, TIMEOUT])
def test_fewer_calls_after_a_rate_limit_or_timeout_and_the_limit_is_told(kind):
    call = Call(most=4)
    assert call.ends(unavailable(kind)) is LMUnavailable
    assert call.told == [ev.ConcurrencyChanged(2, "fake/lm")]
    for _ in range(5):
        call.ends()
    assert [event.limit for event in call.told] == [2, 3, 4]


def test_other_failures_leave_the_limit_alone():
    call = Call(most=8)
    for error in (unavailable(), PromptRefused("too long"), unavailable()):
        call.ends(error)
    assert not call.told


def test_no_more_calls_than_the_limit_are_in_flight():
    call, order = Call(most=2), []
    first, second = (call.gate.around(call.attempt()) for _ in range(2))
    first.__enter__()
    second.__enter__()

    def third():
        with call.gate.around(call.attempt()):
            order.append("third")

    thread = threading.Thread(target=third)
    thread.start()
    thread.join(0.3)
    assert not order
    order.append("first is over")
    first.__exit__(None, None, None)
    thread.join(PATIENCE)
    assert order == ["first is over", "third"]
    second.__exit__(None, None, None)


def test_rate_limits_are_an_outage_only_when_fewer_calls_do_not_help():
    call = Call(most=4)
    assert [call.ends(unavailable(RATE_LIMIT), name) for name in "abcde"] == [LMUnavailable] * 5
    assert call.gate.reason == "", "two of them lowered the limit, three came one by one"
    assert call.ends(unavailable(RATE_LIMIT, retry_after=20.0), "f") is Anew
    assert call.gate.reason == "the LM doesn't answer; next try in 20 s"


def test_an_lm_that_never_answered_has_no_outage():
    call = Call(answered=False)
    assert {call.ends(LMUnavailable("down"), str(n)) for n in range(30)} == {LMUnavailable}
    assert call.gate.reason == ""
    call.ends()
    call.falls()


def test_a_failed_probe_does_not_count_and_an_answered_one_ends_the_outage_at_a_low_limit():
    call = Call(most=8)
    found = [call.ends(LMUnavailable("down"), str(n)) for n in range(8)]
    assert found == [LMUnavailable] * 7 + [Anew]
    call.clock.now = 1.0
    assert call.ends(LMUnavailable("down")) is Anew
    assert call.gate.reason == "the LM doesn't answer; next try in 2 s"
    call.clock.now = 3.0
    assert call.ends() is None
    assert call.gate.reason == ""
    assert [event.limit for event in call.told] == [2]
    for _ in range(100):
        call.ends()
    assert [event.limit for event in call.told] == [2, 3, 4, 5, 6, 7, 8]


def test_calls_that_waited_an_outage_out_begin_anew():
    call, found = Call(), []
    call.falls()
    threads = [threading.Thread(target=lambda: found.append(call.ends())) for _ in range(3)]
    for thread in threads:
        thread.start()
    call.clock.now = 1.0
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(map(str, found)) == sorted(map(str, [None, Anew, Anew]))


def test_an_outage_that_lasts_too_long_is_a_reason_to_stop():
    call = Call(max_outage=3600)
    call.falls()
    assert call.gate.stop_reason is None
    call.clock.now = 3600.0
    call.ends(LMUnavailable("down"))
    assert call.gate.stop_reason == "the LM has not answered for 60 min"
    assert call.ends() is LMUnavailable, "outside of a pool nobody would end the wait"


def test_one_lm_that_is_down_does_not_hold_another():
    call = Call()
    call.falls()
    other = Attempt(FakeLM([], model="fake/other"), [], {})
    with call.gate.around(other):
        pass
    assert call.gate.reason


@pytest.mark.parametrize("full", [False, True])
def test_who_waits_sees_the_end_of_the_work(full):
    call, over, found = Call(most=1), threading.Event(), []
    with contextlib.ExitStack() as stack:
        if full:
            stack.enter_context(call.gate.around(call.attempt()))
        else:
            call.falls()

        def wait():
            cancelled.set(over)
            found.append(call.ends())

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.2)
        assert not found
        over.set()
        thread.join(PATIENCE)
    assert found == [LMUnavailable]


def test_a_pause_holds_probes_too():
    call, go, found = Call(), threading.Event(), []
    call.falls()
    call.clock.now = 1.0

    def wait():
        go_ahead.set(go)
        found.append(call.ends())

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.3)
    assert not found
    go.set()
    thread.join(PATIENCE)
    assert found == [None]


# --- calls through it


@pytest.mark.slow
def test_an_outage_uses_up_no_retries(monkeypatch):
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 0.001)
    monkeypatch.setattr("mipro_nb.breaker.LONGEST_WAIT", 0.001)
    asked = []

    def down_for_long(messages):
        if messages[-1]["content"] == "hello" or len(asked) >= 50:
            return "yes"
        asked.append(messages)
        raise LMUnavailable("down")

    lm = FakeLM(down_for_long, num_retries=4, retry_wait=0.2)
    with through(Traffic((Gate(4, 3600, lambda event: None),))), Pool(4) as pool:
        lm("hello")
        assert pool.map(lm, map(str, range(6))) == ["yes"] * 6
    assert len(asked) == 50, "more than 5 tries of each"


@pytest.mark.slow
def test_a_run_goes_on_after_an_outage_as_if_there_had_been_none(monkeypatch):
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 0.01)
    monkeypatch.setattr("mipro_nb.breaker.LONGEST_WAIT", 0.02)
    recorder, left = EventRecorder(), [40]

    def out(messages):
        if len(recorder.of(ev.PosteriorUpdated)) > 2 and left[0]:
            left[0] -= 1
            raise LMUnavailable("down")
        return reply(messages)

    def run(**options):
        history = mn.History()
        given = {"trainset": rows(20), "valset": rows(40, 100), "num_trials": 8, "minibatch_size": 10}
        best = mn.MIPROv2(metric, num_candidates=4, num_threads=6).compile(
            mn.Predict("q -> a", lm=fake(**options)), listeners=[history, recorder], **given
        )
        return best.to_json(), [(t.instructions, t.demos, t.score, t.examples, t.failed) for t in history.trials]

    with mn.context(lm=fake()):
        calm = run()
        recorder.events.clear()
        assert run(replies=out) == calm
    assert left == [0]
    paused = recorder.of(ev.RunPaused)
    assert paused[0].reason.startswith("the LM doesn't answer; next try in ")
    assert paused[-1] == ev.RunPaused(False)
    assert recorder.of(ev.ConcurrencyChanged)


@pytest.mark.parametrize("wrong", [0, -1, "long", True, None, float("nan")])
def test_max_outage_is_a_number_above_0(wrong):
    with mn.context(lm=fake()), pytest.raises(ConfigError, match=r"^max_outage="):
        mn.MIPROv2(metric).plan(mn.Predict("q -> a"), trainset=rows(20), max_outage=wrong)
