"""Opened: a run as its directory holds it, ended, cut off, or going on elsewhere; no LM is called."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from mipro_nb.playback import Replay
from mipro_nb.rundir import is_held

ELSEWHERE = ". It is going on: this is how far it was when it was opened"
CUT_OFF = ". Its process ended before it did"
RESUME = "; mipro_nb.Run.resume goes on with it"


class Opened(Replay):
    """A saved run, all of it at once. ``Run.open`` makes it.

    Args:
        path: a run directory, or the ``events.jsonl`` in it.

    Raises:
        LoadError: there is none, or this version can't read it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, math.inf)
        where = Path(path).expanduser()
        self.directory = where if where.is_dir() else where.parent
        self._history.become(self._recorded)
        self._over = True
        self._ended.set_result(self._history)

    @property
    def aside(self) -> str:
        when = time.strftime("%d %B %Y", time.gmtime(self._events[0].at)).lstrip("0")
        return f"Saved run of {when}{self._state()}"

    def _state(self) -> str:
        """Say whether it can go on, or does."""
        if self.status == "finished":
            return "; no LM is called"
        if self._history.reason is not None:
            return RESUME
        return ELSEWHERE if is_held(self.directory) else CUT_OFF + RESUME
