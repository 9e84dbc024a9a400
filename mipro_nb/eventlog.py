"""The event log: a run's events as JSON lines in its run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipro_nb import events as ev

logger = logging.getLogger(__name__)

EVENTS = "events.jsonl"  # in a run directory
SURROGATES = "backslashreplace"  # half a character in a text is written as its JSON escape


class EventLog:
    """A listener that appends each event to ``events.jsonl`` of a run directory, and flushes it.

    Args:
        directory: made if it doesn't exist.

    Attributes:
        broken: why nothing is written any more, such as a full disk; empty: it is.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory).expanduser()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.broken = ""
        path = self.directory / EVENTS
        half = path.exists() and _ends_in_mid_line(path)
        self._file = path.open("ab")
        if half:
            self._file.write(b"\n")  # what a crash left stays, and is told apart: see ``reading.cut_off``

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def __call__(self, event: ev.Event) -> None:
        """Write an event. A file that can't be written is logged once, and let alone from then on."""
        self.write(event)

    def write(self, event: ev.Event) -> tuple[int, int] | None:
        """Do so, and return from which byte to which the event lies in the file; None if it doesn't."""
        if self.broken:
            return None
        try:
            line = to_line(event).encode("utf-8", SURROGATES)
            start = self._file.tell()
            self._file.write(line)
            self._file.flush()
            return start, start + len(line)
        except OSError as error:
            self.broken = str(error)
            logger.warning("%s can't be written (%s): what comes from here on isn't logged", self._file.name, error)
            return None


def _ends_in_mid_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def to_line(event: ev.Event) -> str:
    """Return one JSON line; what JSON doesn't know is written as text."""
    told = {"event": type(event).__name__, **{one.name: getattr(event, one.name) for one in dataclasses.fields(event)}}
    return json.dumps(told, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
