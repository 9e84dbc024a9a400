"""One example, here or on a worker of the user's executor.

A ``Task`` travels, and an ``Outcome`` comes back: the result, and all that the run keeps of it, see ``errand``. A
worker that dies costs its examples one more try.

A run's guards stand around an example as a whole: one ``Attempt`` with the prompts as far as they are known before,
whose answer tells what all calls used together, and how many ``calls`` they were. So limits hold per example, and those
in flight may exceed them; retries of single calls are the worker's. An example whose answers the journal holds passes
no guard.

A worker doesn't see the run's journal or cache. It gets the answers to what the same example asked on a worker before,
and has a cache in its memory.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mipro_nb import errors
from mipro_nb.adapter import Message, messages
from mipro_nb.cache import Cache, request_key, same_cache
from mipro_nb.elsewhere import Elsewhere, Lost, outside
from mipro_nb.errand import Answer, Outcome, Task, work
from mipro_nb.errors import ConfigError, LMUnavailable, MiproError, WorkersLost
from mipro_nb.events import Usage
from mipro_nb.example import Example, fields_of
from mipro_nb.fieldtypes import plain
from mipro_nb.flow import Stopped, checkpoint, ended
from mipro_nb.journal import INDEX
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.scoring import ExampleResult, Metric, run_example
from mipro_nb.settings import settings
from mipro_nb.traffic import Anew, Attempt, guarded, traffic
from mipro_nb.usage import book, note

STAYS = (
    "executor={}: this can't be sent to a worker or back ({}). Program, metric and examples must be picklable, and "
    "what they import installed on the workers; classes and functions of a notebook need an executor that sends them "
    "by value, as Dask's does."
)
KEYS = " (Said on a worker: keys come from its own environment, and none is sent along.)"


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
    while True:
        with contextlib.suppress(Anew):
            return _within_guards(executor, task)


def _within_guards(executor: Elsewhere, task: Task) -> ExampleResult:
    if not task.lms:
        return _evaluated(executor, task, "")[0]
    index, result = _index(task), None
    before, whole = _paid_before(task.lms, index)
    task = replace(task, known=(*before, *_free(task.lms, index)))
    attempt = Attempt(task.lms[0], _prompts(task), {})
    try:
        if whole:  # as calls whose answers the journal holds pass no guard: a resumed run sets nothing aside for them
            result, used = _evaluated(executor, task, index)
            if not used.calls:
                return result
        with guarded(attempt):
            if result is None:
                result, used = _evaluated(executor, task, index)
            if (
                result.score is None and not result.usage.calls
            ):  # the guards are told of an outage; here it is missing data
                raise LMUnavailable(result.error)
            told = {"text": "", "finish": "", "prompt": used.prompt_tokens, "completion": used.completion_tokens}
            attempt.answer = {**told, "cost": used.cost, "calls": used.calls}
    except LMUnavailable as error:
        if result is None and ended():
            raise Stopped("the work was ended") from error
        return result or ExampleResult(task.number, None, error=f"{type(error).__name__}: {error}")
    return result


def _prompts(task: Task) -> list[Message]:
    """Return the messages of all predictors together, as far as they are known: what comes of others is left out."""
    given = fields_of(task.example)
    try:
        return [
            message
            for predictor in task.program.predictors
            for message in messages(
                predictor.signature,
                predictor.demos,
                {name: given.get(name, "") for name in predictor.input_names() or ()},
            )
        ]
    except Exception:  # noqa: BLE001 (types or values of the user's own: the guards see the example)
        return [{"role": "user", "content": repr(given)}]


def _evaluated(executor: Elsewhere, task: Task, index: str) -> tuple[ExampleResult, Usage]:
    """Return what came of a task, and what was paid for it now: what is known was paid for before."""
    predictors = task.program.predictors
    outcome = _brought(executor, task)
    _keep(task.lms, index, outcome)
    if outcome.result is None:
        raise _raised(outcome.error or ("MiproError", "nothing came back", ""))
    result = outcome.result
    book(result.usage)
    for said in result.notes:
        note(said)
    steps = [
        step if place is None else replace(step, predictor=predictors[place])
        for step, place in zip(result.steps, outcome.places, strict=True)
    ]
    paid = [Usage(1, 0, answer["prompt"], answer["completion"], answer["cost"]) for _, answer in outcome.paid]
    answers = (*result.answers, index) if result.answers and traffic().answers is not None else ()
    return replace(result, steps=tuple(steps), answers=answers), sum(paid, Usage())


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


def _raised(told: tuple[str, str, str]) -> Exception:
    """Make the error that a worker told of."""
    kind, text, where = told
    made: type[Exception] = getattr(errors, kind, MiproError)
    error = made(text + KEYS * (kind == "LMRefused"))
    error.add_note(f"On the worker:\n{where}")
    return error


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


def _free(lms: Sequence[LM], index: str) -> list[tuple[str, Answer, bool]]:
    """Return what the LMs' caches hold of the requests that a worker made for the same task before."""
    found: list[tuple[str, Answer, bool]] = []
    for cache in _caches(lms) if index else ():
        keys = (cache.get(index) or {}).get("asked", ())
        pairs = [(key, cache.get(key)) for key in dict.fromkeys(keys)]
        found += [(key, answer, True) for key, answer in pairs if answer is not None]
    return found


def _paid_before(lms: Sequence[LM], index: str) -> tuple[list[tuple[str, Answer, bool]], bool]:
    """Return the answers in the run's journal to the requests that a worker made for the same task before.

    And whether these are all of them, so that nothing is left to pay.
    """
    answers = traffic().answers
    asked = answers.take(index, False) if answers is not None and index else None
    if answers is None or asked is None:
        return [], False
    shared = bool(_caches(lms))
    pairs = [(key, answers.take(key, shared)) for key in json.loads(asked[0]["text"])]
    found: list[tuple[str, Answer, bool]] = [(key, *known) for key, known in pairs if known is not None]
    return found, len(found) == len(pairs)


def _keep(lms: Sequence[LM], index: str, outcome: Outcome) -> None:
    """Keep what was paid for, in journal and caches, and what was asked; take over what was learnt of the LMs."""
    answers = traffic().answers
    if answers is not None and index and outcome.paid:  # first: an answer that no index leads to would be lost
        asked = json.dumps(outcome.asked)  # in the form of an answer that cost nothing
        answers.keep(index, {"text": asked, "finish": INDEX, "prompt": 0, "completion": 0, "cost": 0.0})
    for key, answer in outcome.paid if answers is not None else ():
        answers.keep(key, answer)  # type: ignore[union-attr]
    for token, key, answer in outcome.cached:
        cache = same_cache(token)
        if cache.get(key) is None:
            cache.set(key, dict(answer))
    for cache in _caches(lms) if index and outcome.cached else ():
        cache.set(index, {"asked": list(outcome.asked)})
    for lm, learned in zip(lms, outcome.learned, strict=False):
        lm.learn(learned)
