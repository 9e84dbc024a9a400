"""Runs in processes of their own that can be killed, made by forking one that has imported all that takes long."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from programs import fake, metric, reply, rows

import mipro_nb as mn

PATIENCE = 120
LATENCY = 0.02
THREADS = 8


def slow(messages: Any) -> str:
    time.sleep(LATENCY)
    return reply(messages)


def lm_of(url: str = "", paid: str = "") -> mn.LM:
    """The LM at a loopback server; without: a fake that adds a character to a file for each call."""
    if url:
        retries = {"timeout": 60.0, "retry_wait": 0.05, "num_retries": 8}
        return mn.LM("openai/gpt-4o-mini", api_base=url, api_key="sk-x", max_tokens=30, cache=False, **retries)

    def counted(messages: Any) -> str:
        with open(paid, "a") as file:
            file.write("x")
        return slow(messages)

    return fake(replies=counted if paid else reply, max_tokens=30, price=0.01)


def optimizing() -> dict[str, Any]:
    """The arguments of the run of these tests."""
    data = {"trainset": rows(20), "valset": rows(60, 100), "testset": rows(30, 300)}
    return {"student": mn.Predict("q -> a"), **data}


def begin(run_dir: Any, url: str = "", paid: str = "", **options: Any) -> mn.Run:
    """Start the run, or go on with it."""
    with mn.context(lm=lm_of(url, paid), progress=False):
        return mn.MIPROv2(metric, seed=2, num_threads=THREADS).start(run_dir=run_dir, **optimizing(), **options)


def compile_(run_dir: Any, url: str = "", paid: str = "", **options: Any) -> tuple[mn.Module, mn.History]:
    """Do so, and wait for it: an interrupt stops it."""
    optimizer, history = mn.MIPROv2(metric, seed=2, num_threads=THREADS), mn.History()
    with mn.context(lm=lm_of(url, paid), progress=False):
        best = optimizer.compile(run_dir=run_dir, listeners=[history], **optimizing(), **options)
    return best, history


class Child:
    """A run in a process of its own."""

    def __init__(self, forker: subprocess.Popen[bytes]) -> None:
        self._forker, self.status = forker, None
        self.pid = int(self._line())

    def _line(self) -> bytes:
        assert self._forker.stdout is not None
        return self._forker.stdout.readline()

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        if self.status is None and select.select([self._forker.stdout], [], [], 0)[0]:
            self.status = int(self._line())
        return self.status is not None

    def until(self, check: Callable[[], bool]) -> bool:
        """Wait until something holds; return whether that came before its end."""
        deadline = time.monotonic() + PATIENCE
        while not check():
            assert time.monotonic() < deadline
            if self.ended:
                return False
            time.sleep(0.001)
        return not self.ended

    def kill(self, how: int) -> None:
        """Send it a signal, and wait for its end."""
        os.kill(self.pid, how)  # until its status was read the number is no other process's
        self.until(lambda: False)


class Warm:
    """Forks runs, one at a time."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    def __enter__(self) -> Warm:
        command = [sys.executable, "-W", "ignore", __file__, *self._modules]
        self._forker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        return self

    def __exit__(self, *raised: object) -> None:
        self._forker.stdin.close()
        self._forker.wait(PATIENCE)
        self._forker.stdout.close()

    def begin(self, **options: Any) -> Child:
        """Let ``compile_`` run in a new process."""
        self._forker.stdin.write(json.dumps(options, default=str).encode() + b"\n")
        return Child(self._forker)


def serve() -> None:
    """Fork for each line of options; write the process's number, and its status when it has ended."""
    for name in ("optuna", "pandas", "numpy", "filelock", "mipro_nb.engine", "mipro_nb.posterior", *sys.argv[1:]):
        __import__(name)
    for line in iter(sys.stdin.buffer.readline, b""):
        if not (pid := os.fork()):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                compile_(**json.loads(line))
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.write(1, b"%d\n" % pid)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    serve()
