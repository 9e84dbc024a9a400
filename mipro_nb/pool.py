"""The only thread pool."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, TypeVar

from mipro_nb.errors import check_range
from mipro_nb.lm import cancelled

StopCheck = Callable[[], str | None]
T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """Work was ended on purpose; ``str()`` gives the reason."""


class Pool:
    """Threads for examples, demo sets and proposals. Use as a context manager.

    Args:
        num_threads: how many work at the same time, 1 or more.
        stop: asked again and again; a text ends the work with ``Stopped``.
    """

    def __init__(self, num_threads: int, stop: StopCheck = lambda: None) -> None:
        check_range("num_threads", num_threads, 1)
        self._executor = futures.ThreadPoolExecutor(num_threads, thread_name_prefix="mipro_nb")
        self._stop = stop
        self._cancelled = threading.Event()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None:
            self._cancelled.set()
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def map(self, work: Callable[[T], R], items: Iterable[T], done: Callable[[R], None] = lambda _: None) -> list[R]:
        """Run ``work`` on each item, in a copy of the caller's context.

        Args:
            done: called in this thread with each result as it arrives, in any order.

        Returns:
            The results, in the order of the items.

        Raises:
            Stopped: the stop check gave a reason. What had arrived was given to ``done``.
        """
        token = cancelled.set(self._cancelled)
        try:
            tasks = [self._executor.submit(contextvars.copy_context().run, work, item) for item in items]
        finally:
            cancelled.reset(token)
        waiting = set(tasks)
        try:
            while waiting:
                ready, waiting = futures.wait(waiting, timeout=0.2, return_when=futures.FIRST_COMPLETED)
                for task in ready:
                    done(task.result())
                    self._check()
                self._check()
        finally:
            for task in waiting:
                task.cancel()
        return [task.result() for task in tasks]

    def _check(self) -> None:
        if (reason := self._stop()) is not None:
            raise Stopped(reason)
