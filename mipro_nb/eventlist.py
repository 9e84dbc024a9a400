"""All events of a run as a list, of which a long run's older ones lie in its log alone."""

from __future__ import annotations

import os
import threading
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from mipro_nb import events as ev
from mipro_nb import reading
from mipro_nb.errors import LoadError

HELD = 16_000_000  # bytes of log: the latest events, that many, stay in memory, at most twice as many
BLOCK = 256  # events that are read at once
LOOKED_AT = 512  # events that were read one by one and are kept at hand


class EventList(Sequence[ev.Event]):
    """All events, in order. One thread adds to it; any thread may read.

    An event whose place in a log is known may be dropped from memory: it is read again when somebody asks for it.

    Raises:
        LoadError: the log was changed or cut since.
    """

    def __init__(self) -> None:
        self._held: tuple[int, list[ev.Event]] = (0, [])  # the number of the first event in memory, and all from it on
        self._starts = array("Q")  # where in the log the events lie, as far as that is known
        self._end = 0  # of the last of them
        self._path: Path | None = None
        self._log: _Log | None = None
        self._looked_at: dict[int, ev.Event] = {}

    def append(self, event: ev.Event) -> None:
        """Add an event."""
        self._held[1].append(event)

    def placed(self, path: Path, start: int, end: int) -> None:
        """Note that the latest event lies in a log, from one byte to another.

        Places are of no use once an event wasn't written: memory holds the rest.
        """
        if len(self._starts) + 1 != len(self) or (self._starts and (path != self._path or start < self._end)):
            return
        self._path, self._end = path, end
        self._starts.append(start)
        first, held = self._held
        if end - self._starts[first] > 2 * HELD:
            try:
                self._opened()
            except OSError:  # it was moved, or may not be read: the events stay in memory
                return
            while end - self._starts[first] > HELD and first + 1 < len(self._starts):
                first += 1
            self._held = first, held[first - len(self) :]

    def skip(self, path: Path, start: int, end: int) -> None:
        """Add an event that is left in its log. All events before it must be left there too."""
        starts = self._starts
        starts.append(start)
        self._path, self._end, self._held = path, end, (len(starts), [])

    def lie_in(self, path: Path) -> bool:
        """Whether some events must be read from this file."""
        return bool(self._held[0]) and self._path is not None and path.exists() and path.samefile(self._path)

    def __len__(self) -> int:
        first, held = self._held
        return first + len(held)

    @overload
    def __getitem__(self, place: int) -> ev.Event: ...
    @overload
    def __getitem__(self, place: slice) -> list[ev.Event]: ...
    def __getitem__(self, place: int | slice) -> ev.Event | list[ev.Event]:
        if isinstance(place, slice):
            numbers = range(*place.indices(len(self)))
            return [self[number] for number in numbers]
        first, held = self._held
        number = place + first + len(held) if place < 0 else place
        if number >= first:
            return held[number - first]
        if number < 0:
            raise IndexError(f"event {place} of {len(self)}")
        return self._at_hand(number)

    def __iter__(self) -> Iterator[ev.Event]:
        number = 0
        while number < self._held[0]:
            block = range(number, min(number + BLOCK, self._held[0]))
            yield from self._read(block)
            number = block.stop
        first, held = self._held
        yield from (held[number - first :] if first <= number else self[number:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        first, held = self._held
        return repr(held) if not first else f"<{len(self):,} events, the first of them in {self._path}>"

    def _at_hand(self, number: int) -> ev.Event:
        known = self._looked_at.get(number)
        if known is None:
            known = self._read(range(number, number + 1))[0]
            if len(self._looked_at) >= LOOKED_AT:
                self._looked_at.clear()
            self._looked_at[number] = known
        return known

    def _read(self, numbers: range) -> list[ev.Event]:
        """Return events that follow each other from the log."""
        start = self._starts[numbers.start]
        end = self._starts[numbers.stop] if numbers.stop < len(self._starts) else self._end
        try:
            parse = reading.parser()
            found = self._opened().read(start, end)
            lines = [_line_at(found, self._starts[number] - start) for number in numbers]
            return [ev.from_json(parse(line.removeprefix(reading.BOM))) for line in lines]
        except (OSError, LoadError, ValueError, TypeError) as error:
            raise LoadError(f"{self._path} was changed since it was read, at byte {start:,}: {error}") from error

    def _opened(self) -> _Log:
        if self._log is None:
            assert self._path is not None
            self._log = _Log(self._path)
        return self._log


def _line_at(found: bytes, start: int) -> bytes:
    end = found.find(b"\n", start)
    return found[start:] if end < 0 else found[start:end]


class _Log:
    """A file that is read here and there, by any thread; it is closed when nobody needs it any more."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, self._file)

    def read(self, start: int, end: int) -> bytes:
        with self._lock:
            os.lseek(self._file, start, os.SEEK_SET)
            found = b""
            while len(found) < end - start and (more := os.read(self._file, end - start - len(found))):
                found += more
            return found


@dataclass(slots=True, eq=False, repr=False)
class ExampleRecord:
    """One example of a trial: what an ``events.ExampleScored`` told. Its texts are looked up when asked for.

    Attributes:
        example, score: as there; so are the properties.
    """

    example: int
    score: float | None
    _events: EventList
    _number: int

    @property
    def event(self) -> ev.ExampleScored:
        """The event itself.

        Raises:
            LoadError: it lies in a log that was changed since.
        """
        found = self._events[self._number]
        if not isinstance(found, ev.ExampleScored):
            raise LoadError("the run's log was changed since it was read.")
        return found

    @property
    def trial(self) -> int:
        """The trial's number."""
        return self.event.trial

    @property
    def error(self) -> str:
        """What went wrong, or empty."""
        return self.event.error

    @property
    def feedback(self) -> str:
        """What the metric said."""
        return self.event.feedback

    @property
    def output(self) -> str:
        """What the program returned, as text."""
        return self.event.output

    @property
    def calls(self) -> tuple[Mapping[str, Any], ...]:
        """The program's LM calls."""
        return self.event.calls

    def __repr__(self) -> str:
        return f"ExampleRecord(example={self.example}, score={self.score})"
