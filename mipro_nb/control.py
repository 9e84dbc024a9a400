"""What a person asks of a run while it goes on: stop, pause, more trials. Any thread may ask."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mipro_nb.errors import check_range


@dataclass(frozen=True, slots=True)
class Added:
    """A person's own instruction for a predictor."""

    predictor: str
    text: str


@dataclass(frozen=True, slots=True)
class Banned:
    """A candidate that a person wants no more of; ``kind`` is instruction or demos."""

    predictor: str
    kind: str
    index: int


Wish = Added | Banned


def told_wish(wish: Wish) -> dict[str, Any]:
    """Return a wish as ``events.Wished`` tells it."""
    if isinstance(wish, Added):
        return {"kind": "add", "predictor": wish.predictor, "text": wish.text}
    return {"kind": "ban", "predictor": wish.predictor, "what": wish.kind, "index": wish.index}


def read_wish(told: Mapping[str, Any]) -> Wish | int:
    """Return the wish that an event tells; a number is one for so many trials more."""
    match told["kind"]:
        case "add":
            return Added(told["predictor"], told["text"])
        case "ban":
            return Banned(told["predictor"], told["what"], told["index"])
    return int(told["num_trials"])


class Control:
    """Wishes, left here by a button or a method; the run looks for them again and again.

    Attributes:
        go: cleared while the run is paused; workers wait for it before each example.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self._lock = threading.RLock()  # a keyboard interrupt may come, and ask, in the thread that looks
        self._reason: str | None = None
        self._at_once = False
        self._more = 0
        self._wishes: list[Wish] = []

    @property
    def stop_reason(self) -> str | None:
        """Why to stop, or None."""
        return self._reason

    @property
    def at_once(self) -> bool:
        """Whether to stop without an evaluation of the best: somebody has asked for that, or twice."""
        return self._at_once

    @property
    def paused(self) -> bool:
        """Whether new calls wait."""
        return not self.go.is_set()

    def stop(self, reason: str, evaluate: bool = True) -> None:
        """Ask for the end; the first reason counts, and the second time it is to come at once. A paused run ends too.

        Args:
            evaluate: whether the best so far may be evaluated before.
        """
        with self._lock:
            self._at_once = self._reason is not None or not evaluate
            self._reason = self._reason or reason

    def suggest(self, reason: str) -> None:
        """Ask for the end as the run itself: that is never the second time."""
        with self._lock:
            self._reason = self._reason or reason

    def pause(self) -> None:
        """Ask that no new call is made."""
        self.go.clear()

    def unpause(self) -> None:
        """Let work go on."""
        self.go.set()

    def extend(self, num_trials: int) -> None:
        """Ask for more trials, 1 or more; ConfigError for anything else. A stop that was asked for is taken back."""
        check_range("num_trials", num_trials, 1)
        with self._lock:
            self._more += num_trials
            self._reason, self._at_once = None, False

    def wish(self, wish: Wish) -> None:
        """Ask for a change of the candidates."""
        with self._lock:
            self._wishes.append(wish)

    def take_wishes(self) -> list[Wish]:
        """Return the changes that were asked for since the last time."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        return wishes

    def take_more(self) -> int:
        """Return how many trials were asked for since the last time."""
        with self._lock:
            more, self._more = self._more, 0
        return more
