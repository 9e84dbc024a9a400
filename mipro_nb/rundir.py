"""The run directory: the log of a run, its answers, its job and its best program, held by one process at a time."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.eventlog import EVENTS, EventLog
from mipro_nb.history import History
from mipro_nb.jobrecord import FORMAT, FORMAT_VERSION, differences
from mipro_nb.journal import ANSWERS, Journal
from mipro_nb.past import Past

logger = logging.getLogger(__name__)

JOB, PROGRAM, SUMMARY, LOCK = "job.json", "program.json", "summary.json", "lock"
OTHER = (
    "run_dir={path!r} holds a run that stands on something else: it isn't gone on with, and stays as it is. "
    "Take another run_dir, or give what it was given:\n- {found}"
)
STRANGE = "run_dir={path!r} holds a log and no {job}: a run can't be told from it. Take another run_dir."
HELD = "run_dir={path!r} is held by a run that goes on{where}. Stop it, or take another run_dir."
GONE_ON = "run_dir={path!r} was gone on with by another process: mipro_nb.Run.resume takes it from there."
SOON = 1.0  # seconds between two summaries


def data_directory() -> Path:
    """Return the user's data directory of this package; the variable MIPRO_NB_DATA names another."""
    import platformdirs

    return Path(os.environ.get("MIPRO_NB_DATA") or platformdirs.user_data_path("mipro_nb"))


def runs_directory() -> Path:
    """Return where runs go that aren't given a directory."""
    return data_directory() / "runs"


def new_directory(program: str) -> Path:
    """Return a directory for a new run, named by time and program; it isn't made."""
    name = re.sub(r"\W+", "", program)[:40] or "program"
    return runs_directory() / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{secrets.token_hex(2)}"


class RunDirectory:
    """A run's directory, from ``claim`` to ``release`` this process's own.

    Attributes:
        path: where it is.
        past: what its log tells.
        journal: the answers that were paid for.
        placed: told where in the log an event lies, or None, see ``EventList.placed``.
    """

    def __init__(self, path: Path, past: Past, lock: Any) -> None:
        self.path, self.past = path, past
        self.placed: Callable[[Path, int, int], None] | None = None
        self._lock = lock
        self._summed, self._left = 0.0, 0
        self._complaints: list[str] = []
        self._log, self.journal = _opened(path)

    @classmethod
    def claim(cls, path: Path, record: Mapping[str, Any]) -> RunDirectory:
        """Take hold of a directory, for a new run or for one to go on with.

        Args:
            path: it is made if it doesn't exist.
            record: what the run stands on, see ``jobrecord``.

        Raises:
            ConfigError: it can't be made or written, another process holds it, or its run stands on something else.
            LoadError: its log or job can't be read.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path)
        except OSError as error:
            raise ConfigError(f"run_dir={str(path)!r} can't be used: {error}") from error
        try:
            past = _past(path, record)
            return cls(path, past, lock)
        except OSError as error:
            lock.release()
            raise ConfigError(f"run_dir={str(path)!r} can't be written: {error}") from error
        except BaseException:
            lock.release()
            raise

    def __call__(self, event: ev.Event) -> None:
        """Log an event, unless it is the log's own."""
        if self.past.holds(event):
            return
        place = self._log.write(event)
        if place is not None and self.placed is not None:
            self.placed(self.path / EVENTS, *place)

    def complaints(self) -> list[str]:
        """Return what can't be written any more, each once."""
        gone = "" if (self.path / EVENTS).exists() else "it is gone"
        files = {EVENTS: self._log.broken or gone, ANSWERS: self.journal.broken}
        found = [f"{self.path / name} can't be written ({why})." for name, why in files.items() if why]
        new = [told for told in found if told not in self._complaints]
        self._complaints += new
        return new

    def summarize(self, history: History, *, now: bool = False) -> None:
        """Write in short how the run stands, for ``mipro_nb.runs``; seldom, unless it is to be ``now``."""
        if not now and time.monotonic() - self._summed < SOON:
            return
        self._summed = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk: the log says so
            write_json(self.path / SUMMARY, summary_of(history))

    def release(self) -> None:
        """Let go of it."""
        self._log.__exit__()
        self.journal.close()
        self._left = _size(self.path / EVENTS)
        self._lock.release()

    def reclaim(self, events: Iterable[ev.Event]) -> None:
        """Take hold of it again, to extend the run.

        Args:
            events: all so far; a log that is gone is written anew.

        Raises:
            ConfigError: another process holds it, or has gone on with the run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = _locked(self.path)
            if (size := _size(self.path / EVENTS)) and size != self._left:
                lock.release()
                raise ConfigError(GONE_ON.format(path=str(self.path)))
            before = self.journal
            self._log, self.journal = _opened(self.path, lock)
            self.journal.go_on_from(before)
            self._lock = lock
        except OSError as error:
            raise ConfigError(f"run_dir={str(self.path)!r} can't be used: {error}") from error
        for event in events if not size else ():
            self._log(event)


def summary_of(history: History) -> dict[str, Any]:
    """Return how a run stands, in short."""
    started, best = history.started, history.best
    return {
        "when": started.at if started is not None else None,
        "program": started.program if started is not None else None,
        "reason": history.reason,
        "best": best.score if best is not None else None,
        "trials": len(history.trials),
        "cost": history.usage.cost,
        "calls": history.usage.calls,
        "at": history.events[-1].at if history.events else None,
    }


def write_json(path: Path, value: Any) -> None:
    """Write a file that is there whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
    os.replace(scratch, path)


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of a run's job.

    Raises:
        LoadError: there is none, or this version can't read it.
    """
    target = path / JOB
    try:
        saved = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{target} can't be read: {error}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise LoadError(f"{target} was not written by mipro_nb (its 'format' isn't {FORMAT!r}).")
    if saved.get("format_version") != FORMAT_VERSION:
        raise LoadError(
            f"{target} has format version {saved.get('format_version')!r}; this mipro_nb reads {FORMAT_VERSION}."
        )
    return saved


def _past(path: Path, record: Mapping[str, Any]) -> Past:
    """Return what is known of the run in a directory; of none: note down the new one's job."""
    log = path / EVENTS
    events = History.read(log).events if log.is_file() and log.stat().st_size else []
    if not events:
        write_json(path / JOB, record)
        return Past()
    if not (path / JOB).is_file():
        raise ConfigError(STRANGE.format(path=str(path), job=JOB))
    now = json.loads(json.dumps(record, ensure_ascii=False))  # as it comes back: no tuples
    if found := differences(read_record(path), now):
        raise ConfigError(OTHER.format(path=str(path), found="\n- ".join(found)))
    return Past(events)


def is_held(path: Path) -> bool:
    """Whether a live process holds a run directory."""
    import filelock

    if not (path / LOCK).exists():
        return False
    try:
        with filelock.FileLock(path / LOCK, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # read-only: nobody can hold it
        return False


def _opened(path: Path, lock: Any = None) -> tuple[EventLog, Journal]:
    """Open what is written all the time, both or neither; without them the lock is let go of."""
    with contextlib.ExitStack() as stack:
        if lock is not None:
            stack.callback(lock.release)
        log = stack.enter_context(EventLog(path))
        journal = Journal(path / ANSWERS)
        stack.pop_all()
        return log, journal


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _locked(path: Path) -> Any:
    """Lock a directory; the system lets go of it when the process ends, however it does."""
    import filelock

    lock = filelock.FileLock(path / LOCK, blocking=False, thread_local=False)
    holder = path / "holder.json"
    try:
        lock.acquire()
    except filelock.Timeout:
        where = ""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(holder.read_text(encoding="utf-8"))
            where = f": process {told['pid']} on {told['host']}"
        raise ConfigError(HELD.format(path=str(path), where=where)) from None
    with contextlib.suppress(OSError):
        write_json(holder, {"pid": os.getpid(), "host": socket.gethostname()})
    return lock
