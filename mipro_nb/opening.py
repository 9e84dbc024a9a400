"""The first event of a run, and the plan that can be read back from it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from mipro_nb import events as ev
from mipro_nb.estimate import Estimate, Range
from mipro_nb.lm import LM
from mipro_nb.options import Options, Params
from mipro_nb.plan import Job, Plan
from mipro_nb.saving import versions

PLANNED = tuple(field.name for field in fields(Plan))
LATER = ("evaluations", "later_instructions")  # not told by the logs of the first versions
UNTOLD = (
    "trainset",
    "valset",
    "testset",
    "listeners",
    "stop",
    "run_dir",
    "memory",
    "storage",
)  # no settings: data, and what only looks on


def started(job: Job) -> ev.RunStarted:
    """Return the event that tells what a run is: program, settings, plan, sizes, versions."""
    names = tuple(name for name, _ in job.student.named_predictors())
    return ev.RunStarted(
        run_id=uuid.uuid4().hex,
        program=type(job.student).__name__,
        predictors=names,
        settings=settings_of(job),
        plan={**asdict(job.plan), "trials_shown": job.plan.trials_shown},
        sizes=job.plan.sizes,
        versions=versions(),
        signatures={name: predictor.signature.to_json() for name, predictor in job.student.named_predictors()},
    )


def settings_of(job: Job) -> dict[str, Any]:
    """Return all settings in force; what ``compile`` was given wins over the constructor's."""
    given = {field.name: getattr(job.options, field.name) for field in fields(Options) if field.name not in UNTOLD}
    settled = {field.name: getattr(job.params, field.name) for field in fields(Params)}
    settled |= {name: value for name, value in given.items() if value is not None or name not in settled}
    lms = {"task_model": job.task_model, "prompt_model": job.prompt_model}
    sampling = {name: _sampling(lm) for name, lm in lms.items() if lm is not None}
    return {**{name: _plain(value) for name, value in {**settled, **lms, "seed": job.seed}.items()}, "lms": sampling}


def _sampling(lm: LM) -> dict[str, Any]:
    told: dict[str, Any] = {"model": lm.model, "temperature": lm.temperature, "max_tokens": lm.max_tokens}
    return {**told, "more": list(lm.more_options)} if lm.more_options else told


def _plain(value: Any) -> Any:
    """Write a setting as a plain value: an LM by its model's name, a function or program by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, LM):
        return value.model
    return getattr(value, "__name__", type(value).__name__)


def plan_of(event: ev.RunStarted) -> Plan | None:
    """Return the plan that a run's first event tells; None for a log that holds none, or another version's."""
    try:
        known: dict[str, Any] = {name: event.plan[name] for name in PLANNED if name in event.plan or name not in LATER}
        stages = {name: _estimate(told) for name, told in known["stages"].items()}
        tuples: dict[str, Any] = {
            name: tuple(known[name]) for name in ("remarks", "later_instructions") if name in known
        }
        return Plan(**{**known, **tuples, "stages": stages})
    except (KeyError, TypeError, AttributeError):
        return None


def _estimate(told: Mapping[str, Any]) -> Estimate:
    ranges: dict[str, Any] = {name: Range(**part) if part is not None else None for name, part in told.items()}
    return Estimate(**ranges)
