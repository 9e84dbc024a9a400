"""A run is kept in its directory while it goes on: its log, how it stands, the best program so far."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.history import History
from mipro_nb.jobrecord import record_of
from mipro_nb.module import Module
from mipro_nb.past import Past, Retelling
from mipro_nb.plan import Job
from mipro_nb.rundir import PROGRAM, RunDirectory, new_directory
from mipro_nb.search import Choice
from mipro_nb.settings import context

NOT_KEPT = "the run is not kept, and can't be resumed: {why}"


class Keeping:
    """Takes care of a run's directory, where it has one.

    Attributes:
        home: the directory, once it is held; None: there is none.
        remarks: what can't be kept, and why.
    """

    def __init__(self, job: Job, history: History, emit: Retelling) -> None:
        self._job, self._history, self._emit = job, history, emit
        self.home: RunDirectory | None = None
        self.remarks: list[str] = []
        self._saved: Choice | None = None

    @property
    def _past(self) -> Past:
        return self._emit.past

    def claim(self) -> None:
        """Take hold of the directory, and of what is there of the run already.

        Raises:
            ConfigError, LoadError: the one that was named can't be had, see ``rundir.RunDirectory.claim``.
        """
        where = self._job.options.run_dir
        if where is False:
            return
        record = record_of(self._job)
        if where is not None:
            self.home = RunDirectory.claim(Path(where).expanduser().absolute(), record)  # chdir may come
        else:
            try:
                self.home = RunDirectory.claim(new_directory(type(self._job.student).__name__), record)
            except ConfigError as error:  # nobody asked for it: the run goes on without
                self.remarks.append(NOT_KEPT.format(why=error))
                return
        self._emit.past = self.home.past
        self.home.journal.pass_over(self._past.answers)
        self.home.placed = self._placed

    def _placed(self, path: Path, start: int, end: int) -> None:
        self._history.events.placed(path, start, end)  # so that those of a long run needn't stay in memory

    def reclaim(self) -> None:
        """Take hold of it again, to extend the run; errors as of ``RunDirectory.reclaim``."""
        if self.home is not None:
            self.home.reclaim(self._history.events)

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        """Log every event, and let go of the directory in the end."""
        home = self.home
        if home is None:
            yield
            return
        try:
            self._emit.add(home)
            yield
        finally:
            if not self._past.ahead:
                home.summarize(self._history, now=True)
            self._emit.remove(home)
            home.release()

    def keep_up(self, best: Callable[[], Module]) -> None:
        """Keep how the run stands, and the best program if it is another one; say what can't be kept."""
        if self.home is None:
            return
        trial = self._history.best
        if not self._past.ahead:
            self.home.summarize(self._history)
            found = Choice(trial.instructions, trial.demos) if trial is not None else None
            if found is not None and found != self._saved:
                self._saved = found
                self.save(best())
        for complaint in self.home.complaints():
            self._say(f"{complaint} What came since then can't be resumed.")

    def save(self, program: Module) -> None:
        """Save the best program; one that can't be is told of, and still returned: it was paid for."""
        if self.home is None or self._past.ahead:
            return
        path = self.home.path / PROGRAM
        try:
            with context(lm=self._job.task_model):
                program.save(path)
        except (OSError, TypeError, ValueError) as error:
            self._say(f"the program could not be saved to {path}: {error}")

    def saved(self) -> Module | None:
        """Return the best program of before, while a resumed run hasn't come as far."""
        if self.home is not None and self._past.ahead:
            with contextlib.suppress(LoadError):
                return self._job.student.deepcopy().load(self.home.path / PROGRAM)
        return None

    def _say(self, told: str) -> None:
        if told not in self.remarks:
            self.remarks.append(told)
            self._emit(ev.Noted("run", told))
