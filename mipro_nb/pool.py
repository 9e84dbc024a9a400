"""The only thread pool."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from concurrent.futures import thread  # noqa: F401 (loaded now: what it registers for the end must be older)
from typing import Any, TypeVar

from mipro_nb.elsewhere import Elsewhere, outside
from mipro_nb.errors import check_range
from mipro_nb.events import Event, Listener
from mipro_nb.flow import ENDED, Stopped, cancelled, checkpoint, go_ahead
from mipro_nb.threads import DaemonExecutor

StopCheck = Callable[[], str | None]
T = TypeVar("T")
R = TypeVar("R")

LAST_WAIT, LAST_WORDS = 5.0, 1.0  # seconds that Python's end leaves to calls in flight of runs that go on, and to a log


class Pool:
    """Threads for examples, demo sets and proposals. Use as a context manager.

    Attributes:
        emit: for events of the thread that waits in ``map``; workers ``tell``.

    Args:
        num_threads: how many work at the same time, 1 or more.
        stop: asked again and again; a text ends the work with ``Stopped``.
        emit: gets the events that workers ``tell``, in the thread that waits.
        go: workers start nothing while it is cleared; None: there is no pause.
        executor: of the user's: what a worker evaluates then goes there, and the worker waits; None: there is none.
    """

    def __init__(
        self,
        num_threads: int,
        stop: StopCheck = lambda: None,
        emit: Listener = lambda event: None,
        go: threading.Event | None = None,
        executor: futures.Executor | None = None,
    ) -> None:
        check_range("num_threads", num_threads, 1)
        self._executor = DaemonExecutor(num_threads, thread_name_prefix="mipro_nb")
        self._stop, self.emit, self._go = stop, emit, go
        self._cancelled, self._left = threading.Event(), threading.Event()
        self._abandoned, self._over = threading.Event(), threading.Event()
        self._outside = Elsewhere(executor, self._left) if executor is not None else None
        self._told: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __enter__(self) -> Pool:
        self._owner = threading.current_thread()
        _live.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None:
            self.end()
        self._executor.shutdown(wait=kind is None, cancel_futures=True)
        self._pass_on()
        self._over.set()

    def end(self) -> None:
        """Let workers begin nothing more, nor wait for an executor; from any thread."""
        self._left.set()
        self._cancelled.set()

    def abandon(self) -> None:
        """End, and let nobody wait for the calls in flight: their threads end when they do, or with Python."""
        self._abandoned.set()
        self.end()

    def again(self) -> None:
        """Let work begin anew, after an end that was that of one stage only, not ``end``; nothing may be under way."""
        self._cancelled = threading.Event()

    def wait(self, timeout: float) -> None:
        """Wait at Python's end, seconds at most, until it is left, and a little until its run has said so."""
        if self._owner.daemon and self._owner is not threading.current_thread():
            self._over.wait(max(0.0, timeout))
            self._owner.join(LAST_WORDS)

    def tell(self, event: Event) -> None:
        """Hand an event from a worker to the thread that waits in ``map``; it emits the event soon."""
        self._told.put(event)

    def map(self, work: Callable[[T], R], items: Iterable[T], done: Callable[[R], None] = lambda _: None) -> list[R]:
        """Run ``work`` on each item, in a copy of the caller's context.

        Args:
            done: called in this thread with each result as it arrives, in any order.

        Returns:
            The results, in the order of the items.

        Raises:
            Stopped: the stop check gave a reason. What was running has ended and was given to ``done``.
        """
        results: dict[int, R] = {}

        def arrived(pair: tuple[int, T], result: R) -> tuple[()]:
            results[pair[0]] = result
            done(result)
            return ()

        self.feed(lambda pair: work(pair[1]), list(enumerate(items)), arrived)
        return [results[place] for place in sorted(results)]

    def feed(self, work: Callable[[T], R], items: Iterable[T], arrived: Callable[[T, R], Iterable[T]]) -> None:
        """Run ``work`` on items until there are none left, each in a copy of the caller's context.

        Args:
            arrived: called in this thread with each item and its result, in any order; returns further items.

        Raises:
            Stopped: the stop check gave a reason. What was running has ended and was given to ``arrived``.
        """
        self.check()

        def start(item: T) -> R:
            cancelled.set(self._cancelled)
            go_ahead.set(self._go)
            outside.set(self._outside)
            checkpoint()
            return work(item)

        came: queue.SimpleQueue[futures.Future[R]] = queue.SimpleQueue()
        waiting: dict[futures.Future[R], T] = {}

        def begin(more: Iterable[T]) -> None:
            for item in more:
                task = self._executor.submit(contextvars.copy_context().run, start, item)
                waiting[task] = item
                task.add_done_callback(came.put)

        begin(items)
        try:
            while waiting:
                ready = _next(came)
                self._pass_on()
                if ready is not None:
                    item = waiting.pop(ready)
                    begin(arrived(item, ready.result()))
                self.check()
        except Exception:
            self._finish(waiting, arrived)
            raise
        finally:
            for task in waiting:
                task.cancel()

    def each(self, work: Callable[[T], R], items: Iterable[T], take: Callable[[R], None]) -> None:
        """Like ``map``, with each result given to ``take`` in the order of the items, as soon as it can be."""
        arrived: dict[int, R] = {}
        taken = 0

        def done(pair: tuple[int, R]) -> None:
            nonlocal taken
            arrived[pair[0]] = pair[1]
            while taken in arrived:
                take(arrived.pop(taken))
                taken += 1

        self.map(lambda pair: (pair[0], work(pair[1])), enumerate(items), done)

    def _finish(self, waiting: Mapping[futures.Future[R], T], arrived: Callable[[T, R], Iterable[T]]) -> None:
        """Let the calls in flight end, without further tries, and keep what they bring: it is paid for.

        After ``abandon`` nobody waits for them any more.
        """
        self._cancelled.set()
        flying = [task for task in waiting if not task.cancel()]
        while not self._abandoned.is_set() and futures.wait(flying, timeout=0.2).not_done:
            pass
        for task in [task for task in flying if task.done()]:
            with contextlib.suppress(Exception):  # what ended the work is raised, and not what came of it
                arrived(waiting[task], task.result())
        self._pass_on()

    def _pass_on(self) -> None:
        while not self._told.empty():
            self.emit(self._told.get())

    def check(self) -> None:
        """Raise Stopped if there is a reason to end."""
        if (reason := self._stop()) is not None:
            raise Stopped(reason)
        if self._left.is_set():
            raise Stopped(ENDED)


def _next(arrived: queue.SimpleQueue[futures.Future[R]]) -> futures.Future[R] | None:
    with contextlib.suppress(queue.Empty):
        return arrived.get(timeout=0.2)
    return None


_live: weakref.WeakSet[Pool] = weakref.WeakSet()


def _end_all() -> None:
    going_on, until = list(_live), time.monotonic() + LAST_WAIT
    for pool in going_on:
        pool.end()
    for pool in going_on:
        pool.wait(until - time.monotonic())


# A run that nobody waits for ends with Python, after what its calls in flight bring soon. Python waits at its end for
# all that was handed to executors of the user's: what atexit registers comes too late for that.
getattr(threading, "_register_atexit", atexit.register)(_end_all)
