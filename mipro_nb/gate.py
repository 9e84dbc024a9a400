"""The gate of a run: fewer calls in flight while an LM asks for it, and a pause while an LM doesn't answer at all.

Each LM has a throttle and a breaker of its own, see ``breaker``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mipro_nb.breaker import Breaker, Throttle, span
from mipro_nb.errors import RATE_LIMIT, TIMEOUT, LMUnavailable, PromptRefused
from mipro_nb.events import ConcurrencyChanged, Listener
from mipro_nb.flow import cancelled, ended, hold
from mipro_nb.traffic import Anew, Attempt

# Failures in a row that are an outage: no more than there are threads, so that it is found before a call has failed
# twice; but not so few that chance makes them. Of tries that fail three times in ten, eight in a row do once in 15,000
# and four once in 120; of nine in ten, nearly at once.
ROW, SHORTEST_ROW = 8, 4
LOOK = 0.1  # seconds between two looks at whether the run was stopped or paused


@dataclass(slots=True)
class _Line:
    """The way to one LM."""

    throttle: Throttle
    breaker: Breaker
    in_flight: int = 0
    answered: bool = False


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a try was let through with."""

    line: _Line
    generation: int
    probe: bool


class Gate:
    """A guard (see ``traffic``) that holds the calls of a run back, for each LM on its own.

    An LM that hasn't answered yet has no outage: that it can't be reached is an error in what was given. While one
    LM is down calls to others go on, until all threads wait for this one.

    Args:
        most: calls in flight at most; 1 or more.
        max_outage: seconds that an outage may last, above 0.
        tell: gets a ``ConcurrencyChanged`` when a limit changes, from the threads that make the calls.
        clock: seconds.
    """

    def __init__(
        self, most: int, max_outage: float, tell: Listener, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._longest, self._tell, self._clock = most, max_outage, tell, clock
        self._changed = threading.Condition()
        self._lines: dict[str, _Line] = {}

    @property
    def reason(self) -> str:
        """Why calls wait, in words; empty while none has to."""
        with self._changed:
            return next((line.breaker.reason for line in self._lines.values() if line.breaker.down), "")

    @property
    def stop_reason(self) -> str | None:
        """Why the run should end: an outage that lasted too long; or None."""
        with self._changed:
            over = any(line.breaker.over for line in self._lines.values())
        return f"the LM has not answered for {span(self._longest)}" if over else None

    def hurry(self) -> None:
        """Probe now, whatever the interval."""
        with self._changed:
            for line in self._lines.values():
                line.breaker.hurry(self._clock())
            self._changed.notify_all()

    @contextlib.contextmanager
    def around(self, attempt: Attempt) -> Iterator[None]:
        """Wait until the try may be sent.

        Raises:
            Anew: the try fell into an outage, or waited one out: it doesn't count.
            LMUnavailable: the work was ended meanwhile.
        """
        held = self._enter(attempt)
        try:
            yield
        except LMUnavailable as error:
            if self._failed(held, attempt, error):
                raise Anew from error
            raise
        except PromptRefused:  # an answer, though not the one hoped for
            self._answered(held, attempt)
            raise
        except BaseException:  # of what stands behind this guard, or an interrupt: it says nothing of the LM
            self._left(held)
            raise
        self._answered(held, attempt)

    def _enter(self, attempt: Attempt) -> _Pass:
        waited = False
        while True:
            hold()
            with self._changed:
                line = self._line(attempt)
                if ended() or (line.breaker.over and cancelled.get() is None):
                    raise LMUnavailable(f"{attempt.lm.model} was not asked: the work was ended.")
                down = line.breaker.down
                waited = waited or down
                free = line.breaker.probe(self._clock()) if down else line.in_flight < line.throttle.limit
                if free and waited and not down:
                    raise Anew
                if free:
                    line.in_flight += 1
                    return _Pass(line, line.throttle.generation, down)
                self._changed.wait(LOOK)

    def _line(self, attempt: Attempt) -> _Line:
        address = attempt.lm.address
        if address not in self._lines:
            row = min(ROW, max(SHORTEST_ROW, self._most))
            self._lines[address] = _Line(Throttle(self._most), Breaker(row, self._longest))
        return self._lines[address]

    def _failed(self, held: _Pass, attempt: Attempt, error: LMUnavailable) -> bool:
        """Take a failure; return whether it is an outage's."""
        line = held.line
        with self._changed, self._telling(held, attempt):
            narrow = line.throttle.limit == 1
            if error.kind in (RATE_LIMIT, TIMEOUT):
                line.throttle.strained(held.generation)
            if held.probe and line.breaker.down:
                line.breaker.probed(self._clock(), error.retry_after)
                return True
            if not (line.answered or attempt.lm.answered):
                return False
            if error.kind == RATE_LIMIT and not narrow and not line.breaker.down:
                return False  # the server is there: fewer calls at a time come first
            return line.breaker.failed(hash(repr(attempt.messages)), self._clock(), error.retry_after)

    def _answered(self, held: _Pass, attempt: Attempt) -> None:
        line = held.line
        with self._changed, self._telling(held, attempt):
            line.answered = True
            if line.breaker.down:
                line.throttle.restart()
            line.throttle.answered()
            line.breaker.answered()

    def _left(self, held: _Pass) -> None:
        with self._changed:
            held.line.in_flight -= 1
            if held.probe:
                held.line.breaker.dropped()
            self._changed.notify_all()

    @contextlib.contextmanager
    def _telling(self, held: _Pass, attempt: Attempt) -> Iterator[None]:
        """Give back a place; tell if there are more or fewer of them afterwards."""
        before = held.line.throttle.limit
        held.line.in_flight -= 1
        yield
        if held.line.throttle.limit != before:
            self._tell(ConcurrencyChanged(held.line.throttle.limit, attempt.lm.model))
        self._changed.notify_all()
