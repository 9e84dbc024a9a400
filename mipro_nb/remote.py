"""One example, here or on a worker of the user's executor.

What travels is a ``Task`` of plain values, and an ``Outcome`` comes back: the result, and all that the run keeps of
it: usage, notes, the answers that were paid for, what was learnt about the LMs. Pickling them is the executor's own
affair; nothing of it reaches a file. An LM travels without its keys: a worker has them in its own environment.

A run's guards stand around an example as a whole (one ``Attempt`` without messages, whose answer holds what all its
calls used together), so that limits hold per example: those in flight may still exceed them.

A worker doesn't see the run's journal or cache. It gets the answers to what the same example was asked before on a
worker, and has a cache in its memory.
"""

from __future__ import annotations

import contextlib
import json
import threading
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mipro_nb import errors
from mipro_nb.cache import Cache, noting, request_key, same_cache
from mipro_nb.elsewhere import Elsewhere, Lost, outside
from mipro_nb.errors import ConfigError, LMUnavailable, MiproError, WorkersLost
from mipro_nb.example import Example, Prediction, fields_of
from mipro_nb.fieldtypes import plain
from mipro_nb.flow import Stopped, checkpoint, ended
from mipro_nb.lm import LM
from mipro_nb.module import Module, Step
from mipro_nb.scoring import ExampleResult, Metric, run_example
from mipro_nb.settings import context, settings
from mipro_nb.traffic import Attempt, Traffic, guarded, through, traffic
from mipro_nb.usage import book, note

Answer = Mapping[str, Any]

STAYS = (
    "executor={}: this can't be sent to a worker or back ({}). Program, metric and examples must be picklable, and "
    "what they import installed on the workers; classes and functions of a notebook need an executor that sends them "
    "by value, as Dask's does."
)
KEYS = " (Said on a worker: keys come from its own environment, and none is sent along.)"


@dataclass(frozen=True, slots=True)
class Task:
    """An example to be evaluated, as it travels.

    Attributes:
        program, number, example, metric, trace, options: as of ``scoring.run_example``.
        lm: the configured one.
        lms: all that the program uses.
        paid: (key, answer) of calls that this run has paid for before.
        known: (cache's token, key, answer) of calls that are free.
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
    paid: tuple[tuple[str, Answer], ...] = ()
    known: tuple[tuple[str, str, Answer], ...] = ()
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


def score_example(
    program: Module,
    number: int,
    example: Example,
    metric: Metric | None,
    *,
    trace: bool,
    options: Mapping[str, Any] | None = None,
) -> ExampleResult:
    """Do what ``scoring.run_example`` does, on the pool's executor if it has one of the user's.

    A worker that dies costs the example one more try; if that fails too, its score is missing.

    Raises:
        WorkersLost: the executor takes nothing more.
        ConfigError: program, metric or example can't travel.
        MiproError: as of ``run_example``; the worker's traceback is its note.
    """
    executor = outside.get()
    if executor is None:
        return run_example(program, number, example, metric, trace=trace, options=options)
    checkpoint()
    lm = settings().lm
    lms = tuple({id(one): one for one in (lm, *(p.lm for p in program.predictors)) if one is not None}.values())
    task = Task(program, number, example, metric, trace, dict(options or {}), lm, lms)
    came: list[ExampleResult] = []
    try:
        attempt = Attempt(lms[0], (), {}) if lms else None
        with guarded(attempt) if attempt is not None else contextlib.nullcontext():
            came.append(_evaluated(executor, task, attempt))
            if came[0].score is None:  # the guards are told; here it is missing data
                raise LMUnavailable(came[0].error)
    except LMUnavailable as error:
        if not came and ended():
            raise Stopped("the work was ended") from error
        return came[0] if came else ExampleResult(number, None, error=f"{type(error).__name__}: {error}")
    return came[0]


def _evaluated(executor: Elsewhere, task: Task, attempt: Attempt | None) -> ExampleResult:
    index = _index(task)
    predictors = task.program.predictors
    outcome = _brought(executor, replace(task, paid=_paid_before(index), known=_known(task.lms, index)))
    _keep(task.lms, index, outcome)
    if outcome.result is None:
        raise _raised(outcome.error or ("MiproError", "nothing came back", ""))
    result = outcome.result
    book(result.usage)
    for said in result.notes:
        note(said)
    if attempt is not None:
        used = result.usage
        attempt.answer = {"text": "", "finish": "", "prompt": used.prompt_tokens, "completion": used.completion_tokens}
        attempt.answer |= {"cost": used.cost, "calls": used.calls}
    steps = [
        step if place is None else replace(step, predictor=predictors[place])
        for step, place in zip(result.steps, outcome.places, strict=True)
    ]
    return replace(result, steps=tuple(steps))


def _brought(executor: Elsewhere, task: Task) -> Outcome:
    """Send a task; once more if it is lost on the way, or if it or its result can't be sent as it is."""
    failure: Exception | None = None
    for _ in range(2):
        again = failure is not None and not isinstance(failure, Lost)
        try:
            return executor.bring(work, replace(task, plain=again, name=uuid.uuid4().hex))
        except (Stopped, WorkersLost):
            raise
        except Exception as error:  # noqa: BLE001 (executors raise many kinds; what the task raises isn't among them)
            failure = error
    if isinstance(failure, Lost):
        return Outcome(ExampleResult(task.number, None, error=f"{failure} (twice)"))
    first = _first(failure)
    raise ConfigError(STAYS.format(executor.name, f"{type(first).__name__}: {first}"[:500])) from failure


def _first(error: BaseException | None) -> BaseException | None:
    """Return the error that others were made of: it says what it is that can't be pickled."""
    deeper = None if error is None else error.__cause__ or error.__context__
    return error if deeper is None or type(deeper).__name__ == "_RemoteTraceback" else _first(deeper)


class _Journal:
    """The answers that a worker was given, and all that it asks for."""

    def __init__(self, paid: Sequence[tuple[str, Answer]]) -> None:
        self._left = list(paid)
        self._lock = threading.Lock()
        self.asked: list[str] = []
        self.paid: list[tuple[str, Answer]] = []

    def take(self, key: str) -> dict[str, Any] | None:
        with self._lock:
            self.asked.append(key)
            place = next((place for place, (known, _) in enumerate(self._left) if known == key), None)
            return None if place is None else dict(self._left.pop(place)[1])

    def keep(self, key: str, answer: Answer) -> None:
        with self._lock:
            self.paid.append((key, dict(answer)))


def work(task: Task) -> Outcome:
    """Evaluate an example; this runs on the worker."""
    program, journal = task.program, _Journal(task.paid)
    places = {id(predictor): place for place, predictor in enumerate(program.predictors)}
    result, error = None, None
    for token, key, answer in task.known:
        same_cache(token).remember(key, dict(answer))
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


def _raised(told: tuple[str, str, str]) -> Exception:
    """Make the error that a worker told of."""
    kind, text, where = told
    made: type[Exception] = getattr(errors, kind, MiproError)
    error = made(text + KEYS * (kind == "LMRefused"))
    error.add_note(f"On the worker:\n{where}")
    return error


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


def _index(task: Task) -> str:
    """Return the key under which it is kept what an example of a program was asked; empty if that can't be told."""
    try:
        program = {name: predictor.to_json() for name, predictor in task.program.named_predictors()}
        about = {"program": program, "example": plain(fields_of(task.example)), "options": task.options}
        lms = [lm.model for lm in task.lms]
        return request_key(f"mipro_nb.remote {type(task.program).__name__}", [], {**about, "lms": lms})
    except Exception:  # noqa: BLE001 (types or values of the user's own: then nothing is known beforehand)
        return ""


def _caches(lms: Sequence[LM]) -> list[Cache]:
    return list({id(lm.cache): lm.cache for lm in lms if lm.cache is not None}.values())


def _known(lms: Sequence[LM], index: str) -> tuple[tuple[str, str, Answer], ...]:
    """Return what the LMs' caches hold of the requests that a worker made for the same task before."""
    found: list[tuple[str, str, Answer]] = []
    for cache in _caches(lms) if index else ():
        keys = (cache.get(index) or {}).get("asked", ())
        pairs = [(key, cache.get(key)) for key in dict.fromkeys(keys)]
        found += [(cache.token, key, answer) for key, answer in pairs if answer is not None]
    return tuple(found)


def _paid_before(index: str) -> tuple[tuple[str, Answer], ...]:
    """Return the answers in the run's journal to the requests that a worker made for the same task before."""
    answers = traffic().answers
    asked = answers.take(index) if answers is not None and index else None
    if answers is None or asked is None:
        return ()
    pairs = [(key, answers.take(key)) for key in json.loads(asked["text"])]
    return tuple((key, answer) for key, answer in pairs if answer is not None)


def _keep(lms: Sequence[LM], index: str, outcome: Outcome) -> None:
    """Keep what was paid for, in journal and caches, and what was asked; take over what was learnt of the LMs."""
    answers = traffic().answers
    for key, answer in outcome.paid if answers is not None else ():
        answers.keep(key, answer)  # type: ignore[union-attr]
    if answers is not None and index and outcome.paid:
        asked = json.dumps(outcome.asked)  # in the form of an answer that cost nothing
        answers.keep(index, {"text": asked, "finish": "index", "prompt": 0, "completion": 0, "cost": 0.0})
    for token, key, answer in outcome.cached:
        cache = same_cache(token)
        if cache.get(key) is None:
            cache.set(key, dict(answer))
    for cache in _caches(lms) if index and outcome.cached else ():
        cache.set(index, {"asked": list(outcome.asked)})
    for lm, learned in zip(lms, outcome.learned, strict=False):
        lm.learn(learned)
