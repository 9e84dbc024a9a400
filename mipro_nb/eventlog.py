"""The event log: a run's events as JSON lines in its run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
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
        self._file = path.open("a", encoding="utf-8", errors=SURROGATES)
        if half:
            self._file.write("\n")  # what a crash left stays, and is told apart by what follows: see ``cut_off``

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def __call__(self, event: ev.Event) -> None:
        """Write an event. A file that can't be written is logged once, and let alone from then on."""
        if self.broken:
            return
        try:
            self._file.write(to_line(event))
            self._file.flush()
        except OSError as error:
            self.broken = str(error)
            logger.warning("%s can't be written (%s): what comes from here on isn't logged", self._file.name, error)


def _ends_in_mid_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def cut_off(line: str, following: Sequence[str]) -> bool:
    """Whether a line of a log is what a crash left of one, as can be seen from the lines that follow it."""
    if not following or f'"event": "{ev.RunResumed.__name__}"' not in following[0]:
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def to_line(event: ev.Event) -> str:
    """Return one JSON line; what JSON doesn't know is written as text."""
    return json.dumps(ev.to_json(event), ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
