"""An executor of threads that nobody waits for when Python ends, whatever the call that hangs in one of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent import futures
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Task = tuple[futures.Future[Any], Callable[[], Any]]


class DaemonExecutor(futures.Executor):
    """Like ``ThreadPoolExecutor``, which Python joins at its end; a thread of this one ends with its work or Python.

    Args:
        max_workers: threads at most, 1 or more; each begins when there is work that no other is free for.
        thread_name_prefix: of their names.
    """

    def __init__(self, max_workers: int, thread_name_prefix: str) -> None:
        self._most, self._prefix = max_workers, thread_name_prefix
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._unfinished, self._over = 0, False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[R]:
        """Let a thread call a function; RuntimeError after ``shutdown``."""
        future: futures.Future[R] = futures.Future()
        with self._lock:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._tasks.put((future, partial(fn, *args, **kwargs)))
            self._unfinished += 1
            if len(self._threads) < min(self._most, self._unfinished):
                name = f"{self._prefix}_{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; threads end when none is left.

        Args:
            wait: until they have.
            cancel_futures: leave out what hasn't begun.
        """
        with self._lock:
            self._over = True
            while cancel_futures and not self._tasks.empty():
                if (task := self._tasks.get()) is not None:
                    task[0].cancel()
            self._tasks.put(None)
        if wait:
            self.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the threads have ended, after ``shutdown``; ``timeout`` in seconds, for all of them together."""
        until = None if timeout is None else time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            if (task := self._tasks.get()) is None:
                self._tasks.put(None)  # for the next thread
                return
            _carry_out(*task)
            del task  # nothing that came of it is kept alive by a thread that waits
            with self._lock:
                self._unfinished -= 1


def _carry_out(future: futures.Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 (whoever waits gets it)
        future.set_exception(error)
        del future  # else the error's traceback would hold it, and it the error
    else:
        future.set_result(result)
