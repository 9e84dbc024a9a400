"""Feed: the one that sends. A thread folds the run's events into a few small messages a second for every part."""

from __future__ import annotations

import contextvars
import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mipro_nb import events as ev
from mipro_nb.notebook import closeup, thinned, wire
from mipro_nb.notebook.part import SENDING, TOGETHER, Part

logger = logging.getLogger(__name__)

PERIOD = 0.25  # seconds between two messages, at least
SHARE = 5.0  # a message that takes long to make, of a run with thousands of trials, is followed by so long a rest
HEARTBEAT = 20.0  # seconds between two messages, at most: a server takes a silent kernel for an idle one
LOOK = 0.5  # seconds between two looks at what no event tells
TAIL = 20  # trials sent with every change; older ones are packed, and sent again when there are so many more
SLOW = 2.0  # seconds between two looks at the examples while the baseline is being evaluated
LIVE = ("running", "paused", "stopping")


class Snapshot:
    """The wire's values of a source, computed again only where something has changed."""

    def __init__(self, source: wire.Source) -> None:
        self._source = source
        self._keys: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self._packed = 0
        self._base: list[list[Any]] = []  # the rows that are packed
        self.beat = 0

    def take(self, now: float) -> dict[str, Any]:
        """Return all traits' values as of now."""
        history = self._source.history
        trials = history.trials
        done = sum(trial.finished or trial.score is not None for trial in trials)
        found = history.posterior.evaluations if history.posterior is not None else None
        before = closeup.baseline_of(history)
        slot = now // SLOW if before is not None and not before.finished else 0
        best = history.best.number if history.best is not None else None
        told = (len(history.instructions), len(history.demo_sets))
        if not self._packed <= done <= self._packed + TAIL:
            self._packed = done - done % TAIL
        shown = thinned.trials(history)
        newer = {trial.number for trial in trials[self._packed :]}
        base = [wire.trial_row(trial) for trial in shown if trial.number not in newer]
        self._take_trials(base, [wire.trial_row(trial) for trial in shown if trial.number in newer])
        self._keep("_texts", told, lambda: packed(wire.texts(history)))
        self._keep("_stats", (done, found, told, len(history.banned)), lambda: wire.stats(history))
        moment = (slot, best, before is not None, found)
        self._keep("_examples", moment, lambda: packed(closeup.examples(history)))
        self._keep("_prompt", moment, lambda: packed(closeup.prompt(history)))
        self._values["_status"] = wire.sendable(wire.status(self._source, now, self.beat))
        return dict(self._values)

    def _take_trials(self, base: list[list[Any]], newer: list[list[Any]]) -> None:
        """Send the latest trials, and the older ones that went on since they were packed."""
        changed = [row for row, before in zip(base, self._base, strict=False) if row != before]
        if len(base) != len(self._base) or len(changed) > TAIL:
            self._base, changed = base, []
        self._keep("_base", self._base, lambda: packed(self._base))
        self._values["_tail"] = [*changed, *newer]

    def _keep(self, name: str, key: Any, make: Callable[[], Any]) -> None:
        if self._keys.get(name, self) != key:  # at first the key is one that nothing equals
            self._values[name] = make()
            self._keys[name] = key


def packed(value: Any) -> bytes:
    """Return a value as gzip of JSON; the same value gives the same bytes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return gzip.compress(text.encode("utf-8", "backslashreplace"), 6, mtime=0)


class Feed:
    """Sends what happens to the parts of a view, while there is something to tell.

    Args:
        source: what is shown; its events come in by calling this.
        sent: called after each round of messages, in the thread that sent them.
    """

    glances = True  # at the history, whenever something happened: it needn't be told every event

    def __init__(self, source: wire.Source, sent: Callable[[], None] = lambda: None) -> None:
        self._source, self._sent = source, sent
        self._snapshot = Snapshot(source)
        self._parts: list[Part] = []
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._shown_status = ""

    def __call__(self, event: ev.Event) -> None:
        """Note that something happened (a listener: returns at once)."""
        self.poke()

    def poke(self) -> None:
        """Send soon."""
        self._wake.set()
        with self._lock:
            if self._thread is None:
                inside = contextvars.copy_context().run  # ipykernel 7.0 sends nothing for a thread without a cell
                self._thread = threading.Thread(target=inside, args=(self._loop,), name="mipro_nb feed", daemon=True)
                self._thread.start()

    def state(self) -> dict[str, Any]:
        """Return the values of all traits as of now."""
        with SENDING:
            return self._snapshot.take(self._source.now)

    def attach(self, part: Part) -> None:
        """Send to this part too, from now on."""
        with SENDING:
            self._parts.append(part)
        self.poke()

    def end(self) -> None:
        """Send nothing more, until another part is attached."""
        with SENDING:
            self._parts.clear()
        self._wake.set()

    def _loop(self) -> None:
        last, pause = 0.0, PERIOD
        while True:
            self._rest(last, pause)
            live = self._source.status in LIVE and bool(self._parts)
            self._wake.clear()
            began = time.monotonic()
            self._publish()
            last = time.monotonic()
            pause = max(PERIOD, SHARE * (last - began))
            if not live:
                with self._lock:
                    if not self._wake.is_set():
                        self._thread = None
                        return

    def flush(self) -> None:
        """Send everything now."""
        for _ in TOGETHER:
            self._wake.clear()
            self._publish()
            if not self._wake.is_set():
                return

    def _rest(self, last: float, pause: float) -> None:
        """Wait until there is something to send, and not too soon after the last time."""
        while not self._wake.wait(LOOK):
            if time.monotonic() - last >= HEARTBEAT or self._source.status != self._shown_status:
                break
        time.sleep(max(0.0, last + pause - time.monotonic()))

    def _publish(self) -> None:
        self._snapshot.beat += 1
        try:
            with SENDING:
                state = self.state()
                self._shown_status = state["_status"]["state"]
                for part in list(self._parts):
                    self._tell(part, state)
                self._sent()
        except Exception:
            logger.exception("the live view could not be updated")

    def _tell(self, part: Part, state: Mapping[str, Any]) -> None:
        if part.closed:
            self._parts.remove(part)
        elif not part.take(state):
            self._wake.set()  # the rest goes with the next round
