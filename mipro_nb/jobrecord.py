"""The record of a job: what a run stands on, as JSON, so that a resumed run can be told from another one.

Data, program, metric, teacher and settings are kept as they are, and not as hashes alone: so a difference can be
shown, and the data needn't be given again.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mipro_nb.errors import LoadError
from mipro_nb.example import Example, fields_of, input_keys_of
from mipro_nb.fieldtypes import plain
from mipro_nb.learning import Approach, Result
from mipro_nb.module import Module
from mipro_nb.opening import UNTOLD, settings_of
from mipro_nb.options import Options, Params
from mipro_nb.plan import Job

FORMAT, FORMAT_VERSION = "mipro_nb.run", 1
DATA = ("trainset", "valset", "testset")
FREE = (  # settings that may be others when a run is resumed: no decision hangs on them
    "num_threads",
    "max_errors",
    "max_cost",
    "max_calls",
    "max_tokens",
    "max_seconds",
    "max_outage",
    "requires_permission_to_run",
)
GIVEN = ("metric", "prompt_model", "task_model", "teacher")  # by the person who resumes: no plain values
PASSING = (*UNTOLD, "requires_permission_to_run")  # of one process, and not the run's
MOST_LINES = 12  # of a difference that are shown
LONGEST = 80  # characters of a value in a difference


def record_of(job: Job) -> dict[str, Any]:
    """Return what a job stands on, as plain values."""
    data = {name: _rows(getattr(job.options, name)) for name in DATA}
    teacher = job.bootstrapping.teacher
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program": _program(job.student),
        "metric": {"name": getattr(job.params.metric, "__name__", type(job.params.metric).__name__)}
        | {"code": code_of(job.params.metric)},
        "teacher": _program(teacher) if teacher is not job.student else None,
        "settings": {name: plain(value) for name, value in settings_of(job).items() if name not in FREE},
        "data": data,
        "inputs": {name: _inputs(getattr(job.options, name)) for name in DATA},
        "exact": all(_exact(getattr(job.options, name)) for name in DATA),
        "arguments": _arguments(job.params, Params, GIVEN) | _arguments(job.options, Options, (*DATA, "teacher")),
        "memory": [dataclasses.asdict(one) for one in job.memory],
    }


def memory_of(record: Mapping[str, Any]) -> list[Result]:
    """Return what the run knew of earlier ones when it began."""
    return [Result(**{**one, "approach": Approach(**one["approach"])}) for one in record["memory"]]


def data_of(record: Mapping[str, Any]) -> dict[str, list[Example]]:
    """Return the datasets that a run was given.

    Raises:
        LoadError: they hold values that JSON doesn't know, and must be given again.
    """
    if not record["exact"]:
        raise LoadError("the run's data holds values that JSON doesn't know: give trainset= (valset=, testset=) again.")
    found = {}
    for name in DATA:
        if record["data"][name] is not None:
            named = record["inputs"][name]
            rows = [Example(row) for row in record["data"][name]]
            found[name] = [row.with_inputs(*named) for row in rows] if named is not None else rows
    return found


def _rows(data: Sequence[Example] | None) -> list[Any] | None:
    return None if data is None else [plain(fields_of(row)) for row in data]


def _exact(data: Sequence[Example] | None) -> bool:
    """Whether JSON gives the data back as they are, all with the same inputs."""
    rows = data or []
    same = len({frozenset(input_keys_of(row) or ()) for row in rows}) <= 1
    return same and all(_is_json(fields_of(row)) for row in rows)


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or (type(value) in (str, int, float, bool) and plain(value) == value)


def _inputs(data: Sequence[Example] | None) -> list[str] | None:
    keys = input_keys_of(data[0]) if data else None
    return None if keys is None else sorted(keys)


def _arguments(given: Any, kind: Any, but: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that differ from their defaults and are plain values."""
    found = {}
    for field in dataclasses.fields(kind):
        value = getattr(given, field.name)
        if field.name not in (*but, *PASSING) and value is not None:
            made = list(value) if isinstance(value, tuple) else float(value) if isinstance(value, float) else value
            if _is_json(made) and made != field.default:
                found[field.name] = made
    return found


def _program(program: Module) -> dict[str, Any]:
    predictors = {}
    for name, predictor in program.named_predictors():
        try:
            predictors[name] = plain(predictor.to_json())
        except Exception:  # noqa: BLE001 (types of the user's own, which no file can hold: they are told by name)
            predictors[name] = {
                "signature": repr(predictor.signature),
                "demos": [repr(demo) for demo in predictor.demos],
            }
    return {"class": type(program).__name__, "predictors": predictors, "code": code_of(type(program))}


def code_of(thing: Any) -> str | None:
    """Return the source of a function or class without its comments and layout; None where it can't be had.

    What it calls, and the values that it finds around it, aren't in it.
    """
    target = thing if inspect.isfunction(thing) or inspect.ismethod(thing) or inspect.isclass(thing) else type(thing)
    if (target.__module__ or "").startswith("mipro_nb."):
        return target.__qualname__
    try:
        source = textwrap.dedent(inspect.getsource(target))
    except (OSError, TypeError):  # made by exec, in a shell, or in C; of a notebook's class only methods are found
        return _methods(target) if inspect.isclass(target) else None
    try:
        return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError):  # a lambda in the middle of something
        return source.strip()


def _methods(kind: type) -> str | None:
    found = [code_of(value) for value in vars(kind).values() if inspect.isfunction(value)]
    return "\n".join(code for code in found if code) or None


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between the job that a run was and the one that is to go on with it, a text for each."""
    found = [*_of_data(then, now), *_of_program("program", then["program"], now["program"])]
    if then["teacher"] is None or now["teacher"] is None:
        found += ["teacher: " + _was(then["teacher"], now["teacher"])] if then["teacher"] != now["teacher"] else []
    else:
        found += _of_program("teacher", then["teacher"], now["teacher"])
    found += _of_code("metric", then["metric"], now["metric"], "name")
    for name in {**then["settings"], **now["settings"]}:
        before, after = then["settings"].get(name), now["settings"].get(name)
        if name not in (*FREE, "metric", "teacher"):
            found += _apart(name, before, after)
    return found


def _apart(name: str, then: Any, now: Any) -> Iterator[str]:
    """Tell how two values differ; of objects only the parts that do."""
    if isinstance(then, dict) and isinstance(now, dict):
        for part in {**then, **now}:
            yield from _apart(f"{name}, {part}", then.get(part), now.get(part))
    elif then != now:
        yield f"{name}: {_was(then, now)}"


def _of_data(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in DATA:
        before, after = then["data"][name], now["data"][name]
        if (before is None) != (after is None):
            yield f"{name}: {_was(*(None if rows is None else f'{len(rows)} examples' for rows in (before, after)))}"
        elif before is not None and before != after:
            place = next((n for n, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
            sizes = f"{len(before)} examples then, {len(after)} now"
            if place is None:
                yield f"{name}: {sizes}"
            else:
                yield f"{name}: {sizes}; the first that differs is number {place}, " + _was(before[place], after[place])
        elif then["inputs"][name] != now["inputs"][name]:
            yield f"{name}: its inputs {_was(then['inputs'][name], now['inputs'][name])}"


def _of_program(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_code(what, then, now, "class")
    for name in {**then["predictors"], **now["predictors"]}:
        before, after = then["predictors"].get(name, {}), now["predictors"].get(name, {})
        yield from _apart(f"{what}, predictor {name!r}", before, after)


def _of_code(what: str, then: Mapping[str, Any], now: Mapping[str, Any], named: str) -> Iterator[str]:
    if then[named] != now[named]:
        yield f"{what}: {_was(then[named], now[named])}"
    elif then["code"] is not None and now["code"] is not None and then["code"] != now["code"]:
        lines = difflib.unified_diff(then["code"].split("\n"), now["code"].split("\n"), "then", "now", "", "", 1, "")
        shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        more = [f"({len(shown) - MOST_LINES} lines more)"] if len(shown) > MOST_LINES else []
        yield "\n    ".join([f"{what}: its code has changed", *shown[:MOST_LINES], *more])


def _was(then: Any, now: Any) -> str:
    return f"{_short(then)} then, {_short(now)} now"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value.endswith(" examples") else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
