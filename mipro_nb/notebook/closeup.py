"""The examples, one by one, as the front end draws them: scores, labels, the exact messages and replies. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from mipro_nb.eventlist import ExampleRecord
from mipro_nb.frames import change, compared, inputs_text, results_of
from mipro_nb.history import History, TrialRecord
from mipro_nb.text import cut
from mipro_nb.transcript import calls

ORDER = ("fixed", "broken", "open", "same")  # of the examples, the telling ones first
LABEL = 100  # characters that name an example in a table
ROWS = 100  # examples of a page


def examples(history: History, wanted: str = "all", query: str = "", start: int = 0) -> dict[str, Any]:
    """Return a page of the validation examples, fixed and broken ones first, and how many of each kind there are.

    Args:
        wanted: ``fixed``, ``broken``, ``same``, ``open`` (not compared yet) or ``all``.
        query: a text that inputs, output or error must hold; letter case doesn't matter.
        start: rows to skip.
    """
    found = [(number, was, now, change(was, now) or "open") for number, was, now in compared(history)]
    counts = Counter(row[3] for row in found)
    held = [
        row for row in found if wanted in ("all", row[3]) and (not query or _holds(row[1], row[2], query.casefold()))
    ]
    held.sort(key=lambda row: (ORDER.index(row[3]), row[0]))
    return {
        "counts": {name: counts.get(name, 0) for name in ORDER},
        "total": len(held),
        "rows": [_example_row(*row) for row in held[start : start + ROWS]],
    }


def _example_row(number: int, was: ExampleRecord, now: ExampleRecord | None, word: str) -> list[Any]:
    shown = now if now is not None and word != "open" else None
    error = (shown or was).error
    return [number, rounded(was.score), rounded(shown.score) if shown else None, word, label(was), cut(error, LABEL)]


def _holds(was: ExampleRecord, now: ExampleRecord | None, query: str) -> bool:
    told = [was.output, was.error, inputs_text(was), *([now.output, now.error] if now is not None else [])]
    return any(query in text.casefold() for text in told)


def label(result: ExampleRecord) -> str:
    """Return one line that tells an example by its inputs."""
    return cut(inputs_text(result), LABEL)


def example(history: History, number: int) -> dict[str, Any]:
    """Return all about one validation example: under the baseline and under the best program so far."""
    before, after = baseline_of(history), history.best
    was = results_of(history, before).get(number)
    now = results_of(history, after).get(number) if after is not before else None
    return {
        "example": number,
        "label": label(was) if was else "",
        "before": _side(history, before, was),
        "after": _side(history, after, now),
    }


def baseline_of(history: History) -> TrialRecord | None:
    """Return the trial of the program as it was given, finished or not."""
    return next((trial for trial in history.trials if trial.kind == "baseline"), None)


def _side(history: History, trial: TrialRecord | None, result: ExampleRecord | None) -> dict[str, Any] | None:
    if trial is None or result is None:
        return None
    return {
        "score": rounded(result.score),
        "error": result.error,
        "feedback": result.feedback,
        "output": result.output,
        "calls": [asdict(call) for call in calls(history, trial, result)],
    }


def prompt(history: History) -> dict[str, Any]:
    """Return the exact messages of the program as given and of the best one so far, on the first example of both."""
    before, after = baseline_of(history), history.best
    was, now = results_of(history, before), results_of(history, after)
    both = (number for number in sorted(was) if (after is None or number in now) and was[number].calls)
    first = next(both, None)
    if first is None or before is None:
        return {}
    return {
        "example": first,
        "before": [asdict(call) for call in calls(history, before, was[first])],
        "after": [asdict(call) for call in calls(history, after, now[first])] if after is not None else [],
    }


def rounded(number: float | None, digits: int = 4) -> float | None:
    """Return a number with few digits, as it is shown; None stays None."""
    return None if number is None else round(number, digits)
