"""Ctrl-C: the first asks, the second is meant."""

import signal
import threading

import pytest
from programs import fake, metric, reply, rows

import mipro_nb as mn
from mipro_nb.interrupts import noted, stopping

PATIENCE = 60


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_the_first_asks_and_the_second_raises():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 1

    with stopping(stop):
        interrupt()
        assert asked == [1]
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
