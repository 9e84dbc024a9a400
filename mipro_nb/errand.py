"""An example as it travels to a worker of the user's executor, what the worker does, and what comes back.

Pickling is the executor's own affair; nothing of it reaches a file. An LM travels without its keys: a worker has them
in its own environment.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mipro_nb import errors
from mipro_nb.cache import noting
from mipro_nb.example import Example, Prediction, fields_of
from mipro_nb.fieldtypes import plain
from mipro_nb.lm import LM
from mipro_nb.module import Module, Step
from mipro_nb.scoring import ExampleResult, Metric, run_example
from mipro_nb.settings import context
from mipro_nb.traffic import Traffic, through

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """An example to be evaluated, as it travels.

    Attributes:
        program, number, example, metric, trace, options: as of ``scoring.run_example``.
        lm: the configured one.
        lms: all that the program uses.
        known: (key, answer, whether it is free) of requests that needn't be made.
        plain: bring the outputs back as JSON's kinds.
        name: no two tasks have the same.
    """

    program: Module
    number: int
    example: Example
    metric: Metric | None
    trace: bool
    options: Mapping[str, Any]
    lm: LM | None
    lms: tuple[LM, ...]
    known: tuple[tuple[str, Answer, bool], ...] = ()
    plain: bool = False
    name: str = ""

    def __dask_tokenize__(self) -> str:
        return self.name  # else Dask would take one of two equal tasks for the other


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes back.

    Attributes:
        result: None if the task raised; its steps have no predictor where ``places`` says which one it is.
        places: of each step's predictor among the program's; None for one that the program made while it ran.
        error: the kind, message and traceback of what ends the run.
        asked: the keys of all requests, in order.
        paid: (key, answer) of those that were paid for.
        cached: (cache's token, key, answer) of those that belong in a cache.
        learned: of each of the task's LMs.
    """

    result: ExampleResult | None
    places: tuple[int | None, ...] = ()
    error: tuple[str, str, str] | None = None
    asked: tuple[str, ...] = ()
    paid: tuple[tuple[str, Answer], ...] = ()
    cached: tuple[tuple[str, str, Answer], ...] = ()
    learned: tuple[tuple[bool, tuple[str, ...]], ...] = ()


class _Known:
    """The answers that a worker was given, and all that it asks for; see ``traffic.Answers``."""

    def __init__(self, known: Sequence[tuple[str, Answer, bool]]) -> None:
        self._left = [(key, answer) for key, answer, free in known if not free]
        self._free = {key: answer for key, answer, free in known if free}
        self._lock = threading.Lock()
        self.asked: list[str] = []
        self.paid: list[tuple[str, Answer]] = []

    def take(self, key: str, shared: bool) -> tuple[dict[str, Any], bool] | None:
        with self._lock:
            self.asked.append(key)
            place = next((place for place, (known, _) in enumerate(self._left) if known == key), None)
            if place is not None:
                self._free[key] = self._left.pop(place)[1]
                return dict(self._free[key]), False
            return (dict(self._free[key]), True) if shared and key in self._free else None

    def keep(self, key: str, answer: Answer) -> None:
        with self._lock:
            self.paid.append((key, dict(answer)))


def work(task: Task) -> Outcome:
    """Evaluate an example; this runs on the worker."""
    program, journal = task.program, _Known(task.known)
    places = {id(predictor): place for place, predictor in enumerate(program.predictors)}
    result, error = None, None
    with context(lm=task.lm), through(Traffic(answers=journal)), noting() as cached:
        try:
            result = run_example(
                program, task.number, task.example, task.metric, trace=task.trace, options=task.options
            )
        except Exception as raised:  # noqa: BLE001 (not every error can be pickled: told by kind and text)
            error = _error(raised)
    found = tuple(places.get(id(step.predictor)) for step in result.steps) if result is not None else ()
    return Outcome(
        result if result is None else _light(result, found, task.plain),
        found,
        error,
        tuple(journal.asked),
        tuple(journal.paid),
        tuple(cached),
        tuple(lm.learned for lm in task.lms),
    )


def _error(error: Exception) -> tuple[str, str, str]:
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
    text = str(error) if kinds else f"{type(error).__name__}: {error}"
    return (kinds or ["MiproError"])[0], text, "".join(traceback.format_exception(error))


def _light(result: ExampleResult, places: Sequence[int | None], as_plain: bool) -> ExampleResult:
    """Take out the predictors that the other side has, and, if asked, whatever is no plain value."""
    steps: list[Step] = []
    for step, place in zip(result.steps, places, strict=True):
        if as_plain:
            step = replace(step, inputs=plain(step.inputs), outputs=plain(step.outputs))
        if as_plain or place is not None:
            step = replace(step, predictor=None)  # type: ignore[arg-type]
        steps.append(step)
    if not as_plain:
        return replace(result, steps=tuple(steps))
    held = result.prediction
    prediction = Prediction(plain(fields_of(held))) if isinstance(held, Example) else plain(held)
    return replace(result, steps=tuple(steps), prediction=prediction)
