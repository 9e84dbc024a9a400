"""The mirror of a run as it goes on: a thread of its own brings a study to what the history says.

The run never waits for it: what is new is noted, and written when the storage is ready for it. So a slow storage gets
fewer steps of each trial, and one that fails gets everything as soon as it can be reached again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from mipro_nb import events as ev
from mipro_nb.history import History
from mipro_nb.mirror import Study, reason_of
from mipro_nb.reflection import Shown, about, shown, study_name

logger = logging.getLogger(__name__)

PERIOD = 0.5  # seconds between two looks at what is new, at least
PATIENCE = 30.0  # seconds that the end of a run waits for the storage
RETRY = (1.0, 60.0)  # seconds until a storage that failed is tried again: at first, at most
BROKEN = "storage= can't be written, and is tried again now and then; the run goes on without it: {reason}"
SLOW = "storage= is too slow: its study lacks the end of the run, which lacks nothing."


class Mirror:
    """A listener that keeps a study in a storage as the history is. To be entered before the run's events.

    Leaving it waits until all is written, ``PATIENCE`` at most. What is wrong with the storage is told once.

    Args:
        storage: a database's URL, or an Optuna storage.
        history: is read; it must get each event first.
        emit: tells what is wrong; from the threads that emit anyway.
    """

    def __init__(self, storage: Any, history: History, emit: ev.Emitter) -> None:
        self._storage, self._history, self._emit = storage, history, emit
        self._changed = set(history.trials_by_number)  # trials that the study may lack something of; under emit.lock
        self._study: Study | None = None
        self._news, self._closing = threading.Event(), threading.Event()
        self._given_up = self._told = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="mipro_nb mirror", daemon=True)

    def __enter__(self) -> Mirror:
        self._emit.add(self)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._emit.remove(self)
        self._closing.set()
        self._news.set()
        with contextlib.suppress(KeyboardInterrupt):  # who interrupts wants the program now: it is there
            self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._given_up, self._trouble = True, self._trouble or SLOW
        self._tell()

    def __call__(self, event: ev.Event) -> None:
        if isinstance(event, ev.TrialStarted | ev.ExampleScored | ev.TrialFinished):
            self._changed.add(event.trial)
        elif isinstance(event, ev.RunFinished):
            self._changed.update(self._history.trials_by_number)
        self._news.set()
        self._tell()

    def _tell(self) -> None:
        if self._trouble is not None and not self._told:
            self._told = True
            logger.warning(self._trouble)
            self._emit(ev.Noted("run", self._trouble))

    def _work(self) -> None:
        (retry, most), failed = RETRY, 0
        while not self._given_up:
            self._news.wait()
            self._news.clear()
            last = self._closing.is_set()
            try:
                self._write()
                pause, retry, failed = PERIOD, RETRY[0], 0
            except Exception as error:  # noqa: BLE001 (whatever a storage raises, the run goes on)
                failed += 1
                if failed > 1:  # a database that is locked, or just made by another, is none to speak of
                    self._trouble = self._trouble or BROKEN.format(reason=reason_of(error, self._storage))
                self._close()
                pause, retry = retry, min(2 * retry, most)
                self._news.set()
            if last and failed != 1:
                break
            self._closing.wait(pause)
        self._close()

    def _write(self) -> None:
        """Bring the study to what the history says now."""
        started = self._history.started
        if started is None:
            return
        if self._study is None:
            self._study = Study(self._storage, study_name(started))
            self._all_changed()
        study, (wanted, told) = self._study, self._news_of_trials()
        if any(study.outdated(one) for one in wanted):
            study.renew()
            self._all_changed()
            wanted, told = self._news_of_trials()
        for one in wanted:
            if self._given_up:
                return
            study.show(one)
        study.tell(told)

    def _news_of_trials(self) -> tuple[list[Shown], dict[str, Any]]:
        with self._emit.lock:  # nothing is folded in meanwhile
            changed = [trial for trial in self._history.trials if trial.number in self._changed]
            self._changed.clear()
            return [shown(self._history, trial) for trial in changed], about(self._history)

    def _all_changed(self) -> None:
        with self._emit.lock:
            self._changed.update(self._history.trials_by_number)

    def _close(self) -> None:
        study, self._study = self._study, None
        if study is not None:
            with contextlib.suppress(Exception):  # it is broken, or done with
                study.close()


@contextlib.contextmanager
def mirrored(storage: Any, history: History, emit: ev.Emitter) -> Iterator[None]:
    """Mirror what is told inside into a storage; None: there is none."""
    if storage is None:
        yield
        return
    with Mirror(storage, history, emit):
        yield
