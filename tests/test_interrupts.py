"""Ctrl-C: the first asks, the second is meant."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from loopback import Loopback
from programs import fake, metric, reply, rows

import mipro_nb as mn
from mipro_nb.interrupts import noted, stopping

PATIENCE = 60


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_the_first_asks_and_the_second_raises():
    asked, first = [], []

    def twice():
        with stopping(lambda: asked.append(1)):
            interrupt()
            first.append(True)
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert (asked, first) == ([1], [True])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_is_raised_though_something_inside_has_caught_it():
    def twice():
        with stopping(lambda: None):
            interrupt()
            with contextlib.suppress(KeyboardInterrupt):
                interrupt()

    with pytest.raises(KeyboardInterrupt):
        twice()


def test_what_is_noted_is_handled_as_before():
    with noted() as seen, pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(seen) == 1


def test_other_threads_have_none():
    done = []

    def work():
        with stopping(lambda: True), noted():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert done == [signal.default_int_handler]


def test_where_interrupts_are_ignored_they_stay_so():
    asked, before = [], signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping(lambda: asked.append(1)), noted() as seen:
            interrupt()
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == seen == []


def test_an_interrupted_compile_keeps_what_was_in_flight(tmp_path):
    waiting, door = [], threading.Event()

    def held(messages):
        if len(lm.prompts) > 100:
            waiting.append(messages)
            if len(waiting) == 4:
                threading.Timer(0.1, door.set).start()
                main.append(signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
            door.wait(PATIENCE)
        return reply(messages)

    lm, history, main = fake(replies=held), mn.History(), []
    with mn.context(lm=lm, progress=False, num_threads=4):
        best = mn.MIPROv2(metric, seed=2).compile(
            mn.Predict("q -> a"), trainset=rows(20), valset=rows(60, 100), listeners=[history], run_dir=tmp_path
        )
    assert isinstance(best, mn.Predict)
    assert history.reason == "stopped: interrupted"
    assert history.usage.calls == lm.calls  # all that was asked came in, and is booked


HANGING = """
import sys
import mipro_nb as mn
from programs import metric, rows

lm = mn.LM("openai/hangs", api_base=sys.argv[1], api_key="none", cache=False, timeout=100)
mn.configure(lm=lm)
optimizer = mn.MIPROv2(metric, seed=2, max_bootstrapped_demos=0, max_labeled_demos=0)
data = {"trainset": rows(20), "valset": rows(60, 100), "num_trials": 3, "run_dir": sys.argv[2]}
print("begun", flush=True)
if sys.argv[3] == "compile":
    optimizer.compile(mn.Predict("q -> a"), **data)
else:
    optimizer.start(mn.Predict("q -> a"), **data).wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process there has no such signal")
@pytest.mark.parametrize("how", ["compile", "start"])
def test_a_process_that_is_interrupted_twice_ends_at_once_though_calls_hang(tmp_path, how):
    release, asked = threading.Event(), []

    def hangs(messages):
        asked.append(messages)
        if len(asked) > 40:
            release.wait(PATIENCE)
        return reply(messages)

    with Loopback(hangs) as server:
        here = str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        command = [sys.executable, "-c", HANGING, server.url, str(tmp_path), how]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            until = time.monotonic() + PATIENCE
            while len(asked) <= 40 and time.monotonic() < until:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            time.sleep(1.0)
            assert process.poll() is None, "the first waits for what is in flight"
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=PATIENCE)[1]
            assert time.monotonic() - begun < PATIENCE / 2
            assert not release.is_set()
        finally:
            process.kill()
            release.set()
        assert told.rstrip().endswith("KeyboardInterrupt")
        assert mn.History.read(tmp_path).reason.split(": ")[-1] == "interrupted"
        before = len(asked)
        subprocess.run(command, env=environment, check=True, timeout=PATIENCE)
    history = mn.History.read(tmp_path)
    assert history.reason == "finished"
    assert len(asked) - before < history.usage.calls, "what came in isn't paid for twice"
