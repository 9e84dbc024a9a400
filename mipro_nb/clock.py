"""The clock of a recording: it runs at a speed, waits, goes on."""

from __future__ import annotations

import math
import numbers
import sys
import threading
import time

from mipro_nb.errors import ConfigError

LONGEST_WAIT = 3.0  # seconds between two events, whatever the recording's: nobody watches a night go by


class Clock:
    """The time of a recording: it runs at a speed, waits, goes on. Held at first.

    Args:
        at: where it begins, in seconds since the epoch.
        speed: seconds of it in a second.
    """

    def __init__(self, at: float, speed: float) -> None:
        self._at, self._since = at, time.monotonic()
        self._speed, self._held = speed, True
        self._changed = threading.Condition()

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def held(self) -> bool:
        return self._held

    def now(self) -> float:
        """Return the recording's time."""
        with self._changed:
            return self._now()

    def _now(self) -> float:
        still = self._held or math.isinf(self._speed)  # at once: it jumps from event to event
        return self._at if still else self._at + (time.monotonic() - self._since) * self._speed

    def set(self, *, held: bool | None = None, speed: float | None = None) -> None:
        """Hold it, let it go on, or change its speed; who waits looks again."""
        with self._changed:
            self._at, self._since = self._now(), time.monotonic()
            self._held = self._held if held is None else held
            self._speed = self._speed if speed is None else speed
            self._changed.notify_all()

    def reach(self, at: float) -> bool:
        """Wait until a moment has come; return whether it has: not where something was set meanwhile."""
        with self._changed:
            if self._held:
                self._changed.wait()
                return False
            if math.isinf(self._speed):
                self._at = max(self._at, at)
            left = (at - self._now()) / self._speed if math.isfinite(self._speed) else 0.0
            if left > LONGEST_WAIT:
                left = LONGEST_WAIT
                self._at, self._since = at - left * self._speed, time.monotonic()
            return left <= 0 or not self._changed.wait(left)


def checked_speed(speed: float) -> float:
    """Return a speed above 0, ConfigError for anything else."""
    number = isinstance(speed, numbers.Real) and not isinstance(speed, bool)
    if not number or not speed > 0:
        raise ConfigError(f"speed={speed!r}: a number above 0 is needed, math.inf to see the end at once.")
    return math.inf if speed == math.inf else float(min(speed, sys.float_info.max))
