"""The event log: a run's events as JSON lines in its run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mipro_nb import events as ev

EVENTS = "events.jsonl"  # in a run directory
SURROGATES = "backslashreplace"  # half a character in a text is written as its JSON escape


class EventLog:
    """A listener that appends each event to ``events.jsonl`` of a run directory, and flushes it.

    Args:
        directory: made if it doesn't exist; an older log in it is replaced.
        past: the events of the older log, to append to it; where it is gone it is written anew. None: begin anew.
        placed: told where each event lies: in which file, from which byte to which. See ``EventList.placed``.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        past: Sequence[ev.Event] | None = None,
        placed: Callable[[Path, int, int], None] | None = None,
    ) -> None:
        self.directory = Path(directory).expanduser()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._path = path = self.directory / EVENTS
        lost = past is not None and not path.exists()
        self._placed = placed
        self._file = path.open("wb" if past is None else "ab")
        if lost:
            self._file.writelines(to_bytes(event) for event in past or ())
        self._end = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(OSError):  # a full disk; the Emitter has said so
            self._file.close()

    def __call__(self, event: ev.Event) -> None:
        line = to_bytes(event)
        self._file.write(line)
        self._file.flush()
        start, self._end = self._end, self._end + len(line)
        if self._placed is not None:
            self._placed(self._path, start, self._end)


def to_line(event: ev.Event) -> str:
    """Return one JSON line; what JSON doesn't know is written as text."""
    return json.dumps(ev.to_json(event), ensure_ascii=False, default=_plain) + "\n"


def to_bytes(event: ev.Event) -> bytes:
    """Return the same as it stands in a file."""
    return to_line(event).encode("utf-8", SURROGATES)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
