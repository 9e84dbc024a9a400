"""What a proposer is told of the search so far: how instructions scored, and what the best of them still fail at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb.errors import ConfigError
from mipro_nb.eventlist import ExampleRecord
from mipro_nb.example import Example, fields_of
from mipro_nb.frames import Standing, results_of, standings
from mipro_nb.grounding import FIELD_CHARACTERS, describe
from mipro_nb.history import History
from mipro_nb.instruction import cut_text

LEADING = 3  # instructions of a predictor whose failures are looked at
MOST_FAILURES = 24  # of each; a prompt shows some of them
FAILED = 1.0  # what scores less has room to gain


@dataclass(frozen=True, slots=True)
class Scored:
    """How an instruction did: ``mean``, a fraction, with its 95% interval, tried on ``examples`` examples."""

    index: int
    mean: float
    low: float
    high: float
    examples: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An example that a program got wrong, as texts.

    Attributes:
        instruction: the index of the predictor's instruction in that program.
        inputs, output, expected: what the program was given, what it returned, and the example's labels.
        error, feedback: what went wrong, and what the metric said.
        step: what the predictor itself was given and replied, in a program of several.
    """

    instruction: int
    inputs: str
    output: str
    expected: str = ""
    error: str = ""
    feedback: str = ""
    step: str = ""

    def __str__(self) -> str:
        """A line for each part that isn't empty."""
        parts = {
            "given": self.inputs,
            "this step": self.step,
            "returned": self.output,
            "expected": self.expected,
            "error": self.error,
            "feedback": self.feedback,
        }
        return "\n".join(f"{name}: {text}" for name, text in parts.items() if text)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is known when a round of proposals begins; mappings by predictor's name.

    Attributes:
        round: its number, from 1.
        known: all instructions so far, in the order of their index.
        scored: those that were tried and that nobody banned, the best first.
        failures: of the best of them, the worst first.
    """

    round: int
    known: Mapping[str, Sequence[str]]
    scored: Mapping[str, Sequence[Scored]]
    failures: Mapping[str, Sequence[Failure]]

    def kinds(self, predictor: str) -> tuple[str, ...]:
        """Return the kinds of ``learning.Approach`` that can be asked for now."""
        scored = self.scored.get(predictor, ())
        possible = {
            "fresh": True,
            "rewrite": bool(scored),
            "combine": len(scored) > 1,
            "fix": bool(self.failures.get(predictor)),
        }
        return tuple(kind for kind, there in possible.items() if there)


def feedback_of(history: History, data: Sequence[Example], number: int) -> Feedback:
    """Return what a run has shown so far.

    Args:
        history: of the run; its trials on the test set are never looked at.
        data: the validation set, which the trials' examples are positions in.
        number: of the round that begins.
    """
    known: dict[str, list[str]] = {}
    for event in history.instructions:
        known.setdefault(event.predictor, []).append(event.text)
    tried = standings(history)
    scored = {name: _scored(history, tried, place, name, len(known[name])) for place, name in enumerate(known)}
    failures = {
        name: [
            failure
            for one in scored[name][:LEADING]
            for failure in _failures(history, place, name if len(known) > 1 else "", one.index, data)
        ]
        for place, name in enumerate(known)
    }
    return Feedback(number, known, scored, failures)


def _scored(
    history: History, tried: Mapping[tuple[int, str, int], Standing], place: int, name: str, count: int
) -> list[Scored]:
    believed = history.posterior.candidates if history.posterior is not None else ()
    told = {one["index"]: one for one in believed if (one["place"], one["kind"]) == (place, "instruction")}
    banned = {ban.index for ban in history.banned if (ban.predictor, ban.kind) == (name, "instruction")}
    found = []
    for index in range(count):
        seen = tried.get((place, "instruction", index))
        if seen is None or seen.mean is None or index in banned:
            continue
        low, high = seen.interval
        own = told.get(index, {"mean": seen.mean, "low": low, "high": high})
        found.append(Scored(index, own["mean"], own["low"], own["high"], seen.examples))
    return sorted(found, key=lambda one: -one.mean)  # stable: of equals the earlier


def _failures(history: History, place: int, name: str, index: int, data: Sequence[Example]) -> list[Failure]:
    """Return what the best program with an instruction got wrong, the worst first; of the others the best known."""
    trials = [trial for trial in history.trials if trial.scored and trial.instructions[place] == index]
    leader = history.best
    if not trials:
        return []
    if leader is not None and leader.instructions[place] == index:
        results = results_of(history, leader)
    else:
        results = max((results_of(history, trial) for trial in trials), key=len)
    wrong = [one for one in results.values() if one.score is not None and one.score < FAILED]
    wrong.sort(key=lambda one: (one.score, one.example))
    return [_failure(one, index, name, data) for one in wrong[:MOST_FAILURES] if one.example < len(data)]


def _failure(result: ExampleRecord, index: int, name: str, data: Sequence[Example]) -> Failure:
    example = data[result.example]
    calls = [call for call in result.calls if name and call["predictor"] == name]
    step = f"{_fields(calls[-1]['inputs'])} -> {_line(calls[-1]['replies'][-1:])}" if calls else ""
    return Failure(
        index,
        _half(example.inputs),
        _line([result.output]),
        _half(example.labels),
        _line([result.error]),
        _line([result.feedback]),
        step,
    )


def _half(part: Callable[[], Example]) -> str:
    """Write an example's inputs, or labels; nothing when it doesn't say which are which."""
    with contextlib.suppress(ConfigError):
        return describe(fields_of(part()))
    return ""


def _fields(values: Any) -> str:
    return describe(values) if isinstance(values, Mapping) else ""


def _line(texts: Sequence[str]) -> str:
    return cut_text(" ".join(" ".join(texts).split()), FIELD_CHARACTERS)
