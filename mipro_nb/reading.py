"""Lines of an event log, read: fast, since a day of a run has millions, and with what is wrong with them told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from mipro_nb import events as ev

BOM = b"\xef\xbb\xbf"
SCORED = {"event", *(field.name for field in fields(ev.ExampleScored))}
USED = {"event", *(field.name for field in fields(ev.LMUsed))}
USAGE = {field.name for field in fields(ev.Usage)}
CHUNK = 1 << 20  # bytes


def parser() -> Callable[[bytes], Any]:
    """Return what parses a line: pydantic's parser, four times as fast as ``json``, which takes what that refuses."""
    from pydantic_core import from_json

    def parse(line: bytes) -> Any:
        try:
            return from_json(line)
        except ValueError:  # half a character, depth, or no JSON at all: json takes it, or says what is wrong
            return json.loads(line.decode("utf-8", "replace"))

    return parse


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    r"""Yield each line of a file and where it begins, in bytes; only ``\n`` ends a line."""
    start = 0
    with path.open("rb", buffering=CHUNK) as file:
        for line in file:
            yield start, line.removeprefix(BOM) if not start else line
            start += len(line)


def cut_off(line: bytes, following: bytes) -> bool:
    """Whether a line of a log is what a crash left of one, as can be seen from the line that follows it.

    A run whose first line was cut off has begun anew.
    """
    if not any(f'"event": "{kind.__name__}"'.encode() in following for kind in (ev.RunResumed, ev.RunStarted)):
        return False
    try:
        json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return True
    return False


def is_scored(told: Any) -> bool:
    """Whether parsed JSON is an ExampleScored, with all its fields, that needn't be looked at any closer."""
    return (
        type(told) is dict
        and told.get("event") == "ExampleScored"
        and told.keys() == SCORED
        and _timed(told)
        and type(told["trial"]) is int
        and type(told["example"]) is int
        and (told["score"] is None or isinstance(told["score"], int | float))
        and type(told["calls"]) is list
    )


def is_used(told: Any) -> bool:
    """Whether parsed JSON is an LMUsed with all its fields, and those of its usage."""
    return (
        type(told) is dict
        and told.get("event") == "LMUsed"
        and told.keys() == USED
        and _timed(told)
        and type(told["usage"]) is dict
        and told["usage"].keys() == USAGE
    )


def _timed(told: dict[str, Any]) -> bool:
    return isinstance(told["at"], int | float) and 0 <= told["at"] < ev.LATEST


def writer_text(started: ev.RunStarted | None) -> str:
    """Say which version wrote a log, if it isn't this one; empty if it is, or isn't known."""
    theirs = started.versions.get("mipro_nb") if started is not None else None
    ours = metadata.version("mipro_nb")
    if theirs is None or theirs == ours:
        return ""
    return f" The log was written by mipro_nb {theirs}, and this is {ours}: read it with that version, or a newer one."
