"""Replay: a recorded run played again, event by event, without an LM."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

from mipro_nb import events as ev
from mipro_nb.clock import Clock, checked_speed
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.history import History
from mipro_nb.opening import plan_of
from mipro_nb.plan import Plan
from mipro_nb.record import Record

logger = logging.getLogger(__name__)

LONG = 100_000  # events: so many aren't played one by one when the end is wanted at once
STOPPED = "the replay was stopped"


class Replay(Record):
    """A recorded run as it is played. ``mipro_nb.replay`` makes it, and shows it in the live view.

    No LM is called, and the recording isn't changed. Everything that reads a run (tables, chart, report, view) shows
    what was known at the moment that is played. ``wait()`` and ``await`` give the History at the end.

    Args:
        path: a run directory, or the ``events.jsonl`` in it.
        speed: how much faster than it was, above 0; ``math.inf`` shows the end at once.

    Raises:
        LoadError: no recording there, or not one that this version reads.
        ConfigError: ``speed`` is no number above 0.

    Attributes:
        history: what has been played so far.
    """

    def __init__(self, path: str | os.PathLike[str], speed: float = 10.0) -> None:
        recorded = History.read(path)
        if not recorded.events:
            raise LoadError(f"{path} holds no events: there is nothing to replay.")
        self._recorded, self._events = recorded, recorded.events
        self._eager: list[ev.Listener] = []  # those that must be told every event
        self._started = recorded.started
        self._history = History()
        self._clock = Clock(self._events[0].at, checked_speed(speed))
        self._listeners = ev.Emitter([self._history])
        self._last_words: list[Callable[[], None]] = []
        self._ended: Future[History] = Future()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = self._over = False
        self._why = STOPPED

    @property
    def name(self) -> str:
        return self._started.program if self._started is not None else "program"

    @property
    def history(self) -> History:
        return self._history

    @property
    def plan(self) -> Plan | None:
        return plan_of(self._started) if self._started is not None else None

    @property
    def now(self) -> float:
        return self._history.events[-1].at if self._over and self._history.events else self._clock.now()

    @property
    def speed(self) -> float:
        """How much faster than the run was. Can be set while it plays."""
        return self._clock.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._clock.set(speed=checked_speed(speed))

    @property
    def pace(self) -> float:
        return min(self._clock.speed, 1e6)  # a front end knows no infinity

    @property
    def aside(self) -> str:
        when = time.strftime("%d %B %Y", time.gmtime(self._events[0].at)).lstrip("0")
        pace = f", at {self.speed:g} times its speed" if math.isfinite(self.speed) and not self._over else ""
        return f"Replay of a run recorded on {when}{pace}; no LM is called"

    @property
    def status(self) -> str:
        """Where it is: waiting (not started), running, paused, finished, stopped or failed."""
        if self._over:
            if self.error is not None:
                return "failed"
            word = (self._history.reason or "stopped").split(":")[0]
            return word if word in ("finished", "failed") else "stopped"
        return "waiting" if self._thread is None else "paused" if self._clock.held else "running"

    def listen(self, listener: ev.Listener, at_end: Callable[[], None] | None = None) -> None:
        """Hand a listener all events from now on, in the replay's thread; see ``Run.listen``."""
        self._listeners.add(listener)
        if not getattr(listener, "glances", False):
            self._eager.append(listener)
        if at_end is not None:
            self._last_words.append(at_end)

    def forget(self, listener: ev.Listener, at_end: Callable[[], None] | None = None) -> None:
        """Take back what ``listen`` did."""
        self._listeners.remove(listener)
        if listener in self._eager:
            self._eager.remove(listener)
        if at_end in self._last_words:
            self._last_words.remove(at_end)

    def start(self) -> None:
        """Begin to play; a replay that has begun goes on undisturbed."""
        with self._lock:
            if self._thread is None and not self._over:
                inside = contextvars.copy_context().run
                self._thread = threading.Thread(target=inside, args=(self._play,), name="mipro_nb replay", daemon=True)
                self._clock.set(held=False)
                self._thread.start()

    def stop(self, reason: str = STOPPED, evaluate: bool = True) -> None:
        """End here: what has been played stays. (``speed = math.inf`` goes to the end.)

        Args:
            reason: told in ``history.reason``.
            evaluate: as of ``Run.stop``; a record has nothing to evaluate.
        """
        with self._lock:
            self._why = reason
            self._stopped = True
            waited = self._thread is None and not self._over
        self._clock.set()
        if waited:
            self._end()

    def pause(self) -> None:
        """Play nothing more until ``unpause``."""
        self._clock.set(held=True)

    def unpause(self) -> None:
        """Go on after ``pause``."""
        self._clock.set(held=False)

    def extend(self, num_trials: int = 10) -> None:
        """Not for a recording.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a replay can't be extended: it calls no LM. Run the program anew, with mipro_nb.optimize.")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, ``timeout`` seconds at most; return whether it was reached. An interrupt stops it."""
        try:
            self._ended.result(timeout)
        except TimeoutError:
            return False
        except KeyboardInterrupt:
            self.stop()
            self._ended.result()
        return True

    def result(self, timeout: float | None = None) -> History:
        """Wait, then return the History.

        Raises:
            TimeoutError: it plays on.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"the replay goes on after {timeout:g} s.")
        return self._played()

    def _played(self) -> History:
        if self.error is not None:
            raise self.error
        return self._history

    def __await__(self) -> Generator[Any, None, History]:
        return self._awaited().__await__()

    async def _awaited(self) -> History:
        await asyncio.shield(asyncio.wrap_future(self._ended))
        return self._played()

    def _play(self) -> None:
        try:
            self._tell_all()
        except BaseException as error:  # noqa: BLE001 (kept: views show it, and nobody must wait for ever)
            self.error = error
        self._end()

    def _tell_all(self) -> None:
        for event in self._events:
            while not self._stopped and not self._clock.reach(event.at):
                pass
            if self._stopped:
                if self._history.events and self._history.reason is None:
                    self._listeners(ev.RunFinished(f"stopped: {self._why}", at=self._clock.now()))
                break
            if self._can_jump():
                self._history.become(self._recorded)
                self._glance(self._events[-1])
                break
            self._listeners(event)

    def _can_jump(self) -> bool:
        """Whether the end of a long recording, which has been read already, can be shown without playing all of it."""
        return self._clock.speed == math.inf and not self._eager and len(self._events) > LONG

    def _glance(self, event: ev.Event) -> None:
        """Tell those who only look at the history that it has changed."""
        self._listeners.remove(self._history)
        self._listeners(event)

    def _end(self) -> None:
        self._over = True
        for last_words in list(self._last_words):
            try:
                last_words()
            except Exception:
                logger.exception("the end of the replay could not be shown")
        self._ended.set_result(self._history)
