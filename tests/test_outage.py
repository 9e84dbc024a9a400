"""Whole runs against a server that goes down, or fails in every way at once: they find what they find in calm."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import Any

import pytest
from loopback import HANG, TRUNCATED, Loopback, error, seeded
from test_faults import reply, rows, trials

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.testing import EventRecorder, FakeLM

PATIENCE = 60  # seconds, for what should come at once
LITELLMS = "litellm-logging"  # its few threads for the whole process


def optimized(lm: mn.LM, *listeners: ev.Listener, validation: int = 24, threads: int = 8, **options: Any) -> mn.Run:
    program = mn.Predict("message -> team: Literal['billing', 'bug', 'shipping']", lm=lm)
    optimizer = mn.MIPROv2(mn.exact_match, prompt_model=lm, task_model=lm, num_candidates=3, num_threads=threads)
    given = {"trainset": rows(range(12)), "valset": rows(range(12, 12 + validation)), "view_data_batch_size": 6}
    return optimizer.start(program, listeners=listeners, **{**given, "num_trials": 5, "minibatch_size": 12, **options})


def reach(server: Loopback, **options: Any) -> mn.LM:
    given: dict[str, Any] = {"timeout": 20.0, "retry_wait": 0.05, "num_retries": 8, "cache": False, **options}
    return mn.LM("openai/some-model", api_base=server.url, api_key="sk-x", **given)


def found(run: mn.Run, patience: float = PATIENCE) -> tuple[Any, ...]:
    """Wait for a run; return what must be the same whatever befell it."""
    best = run.result(patience)
    assert run.history.reason == "finished"
    assert run.history.best is not None
    assert run.history.best.number != 0, "the world of this test has no winner: it can't tell anything"
    texts = [event.text for event in run.history.instructions]
    scored = Counter(
        (e.trial, e.example, e.score) for e in run.history.events if isinstance(e, ev.ExampleScored) and not e.error
    )
    return trials(run.history), scored, texts, [p.to_json() for p in best.predictors]


def calm(**options: Any) -> tuple[Any, ...]:
    return found(optimized(FakeLM(reply, model="openai/some-model"), **options))


class Downfall:
    """A listener: the server goes down when the third trial begins, and comes back after so many seconds."""

    def __init__(self, server: Loopback, seconds: float) -> None:
        self.server, self.seconds, self.timer = server, seconds, threading.Timer(seconds, server.come_back)

    def __call__(self, event: ev.Event) -> None:
        if isinstance(event, ev.TrialStarted) and event.trial == 2 and not self.timer.ident:
            self.server.go_down()
            self.timer.start()


def through_an_outage(seconds: float, patience: float) -> EventRecorder:
    """Run through an outage of so many seconds; return what was told, if all is as in calm."""
    recorder = EventRecorder()
    with Loopback(reply) as server:
        falls = Downfall(server, seconds)
        began = time.monotonic()
        after = found(optimized(reach(server), recorder, falls), patience)
        falls.timer.join()
    assert time.monotonic() - began > seconds
    assert after == calm()
    return recorder


def assert_in_order(told: list[str], all_of_them: list[str]) -> None:
    """Each is told once and in order; a machine that is slow may be past a short one before it can be told."""
    assert len(told) >= 2
    assert told == [wait for wait in all_of_them if wait in told]


@pytest.mark.slow
def test_a_run_pauses_while_its_server_is_down_and_ends_as_if_nothing_had_been(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 0.1)
    recorder = through_an_outage(1.5, PATIENCE)
    told = recorder.of(ev.RunPaused)
    assert [event.paused for event in told] == [True] * (len(told) - 1) + [False]
    waits = [event.reason.removeprefix("the LM doesn't answer; next try in ") for event in told[:-1]]
    assert_in_order(waits, ["0.1 s", "0.2 s", "0.4 s", "0.8 s", "1.6 s"])
    limits = [event.limit for event in recorder.of(ev.ConcurrencyChanged)]
    assert limits[0] == 2, "of eight"
    assert limits == sorted(limits)


@pytest.mark.slow
def test_an_outage_of_90_seconds() -> None:
    told = through_an_outage(90, 300).of(ev.RunPaused)
    waits = [event.reason.rpartition(" in ")[2] for event in told[:-1]]
    assert_in_order(waits, ["1 s", "2 s", "4 s", "8 s", "16 s", "32 s", "60 s"])
    assert told[-1] == ev.RunPaused(False)


@pytest.mark.slow
def test_a_server_that_stays_down_ends_the_run_with_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 0.1)
    with Loopback(reply) as server:
        run = optimized(reach(server), lambda e: isinstance(e, ev.TrialFinished) and server.go_down(), max_outage=1.0)
        assert run.result(PATIENCE).to_json() == run.program.to_json()
    assert run.history.reason == "stopped: the LM has not answered for 1 s"
    assert run.history.best is not None


def test_a_person_can_stop_a_run_that_waits_for_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mipro_nb.breaker.FIRST_WAIT", 1000.0)
    with Loopback(reply) as server:
        run = optimized(reach(server), lambda e: isinstance(e, ev.TrialFinished) and server.go_down())
        deadline = time.monotonic() + PATIENCE
        while run.status != "paused":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.stop()
        run.result(PATIENCE)
    assert run.history.reason == "stopped: as asked"


@pytest.mark.slow
def test_a_server_that_was_never_there_is_an_error_and_no_pause() -> None:
    with Loopback(reply) as server:
        pass
    recorder = EventRecorder()
    run = optimized(reach(server, num_retries=1, retry_wait=0.0), recorder)
    with pytest.raises(mn.errors.TooManyErrors):
        run.result(PATIENCE)
    assert not recorder.of(ev.RunPaused)


def sockets_to(port: int) -> int:
    """How many sockets of this process have the server's port at their other end."""
    mine = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            mine.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    with open("/proc/net/tcp") as table:
        lines = [line.split() for line in table.readlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and f"socket:[{line[9]}]" in mine for line in lines)


@pytest.mark.slow
def test_every_fault_at_once_changes_nothing_but_the_time() -> None:
    import litellm
    import openai

    sizes = {"validation": 1000, "threads": 64, "num_trials": 3, "minibatch_size": 70}
    kinds = [error(429, retry_after="0.2"), error(429, retry_after="0.2"), error(500), error(500), HANG, TRUNCATED]
    before = set(threading.enumerate())
    with Loopback(reply, seeded(3, 0.05, kinds)) as server:
        run = optimized(reach(server, timeout=0.5, retry_wait=0.02, num_retries=12), **sizes)
        rough = found(run, 600)
        asked, faulted = len(server.requests), Counter(kind for _, kind in server.faulted)
    assert {kind: round(count / asked, 2) for kind, count in faulted.items()} == pytest.approx(
        {"429": 0.1, "500": 0.1, "hang": 0.05, "truncated": 0.05}, abs=0.02
    )
    assert rough == calm(**sizes)
    assert sum(rough[1].values()) >= 1000
    errors = [e.error for e in run.history.events if isinstance(e, ev.ExampleScored) and e.error]
    assert errors == []
    limits = [e.limit for e in run.history.events if isinstance(e, ev.ConcurrencyChanged)]
    assert min(limits) < 16
    deadline = time.monotonic() + PATIENCE
    while left := [t for t in set(threading.enumerate()) - before if not t.name.startswith(LITELLMS)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert sockets_to(server.port) <= sizes["threads"]
    clients = litellm.in_memory_llm_clients_cache  # it keeps idle connections, for all who use it in this process
    for client in list(clients.cache_dict.values()):
        if isinstance(client, openai.OpenAI):
            client.close()
    clients.flush_cache()
    assert sockets_to(server.port) == 0
