"""What a run cost, beside what its plan foresaw, and the settings, data and versions that it ran with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import Any

from mipro_nb import events as ev
from mipro_nb.estimate import Estimate, Range
from mipro_nb.history import History
from mipro_nb.mipro import MIPROv2
from mipro_nb.notebook.document import Block, Heading, Paragraph, Table
from mipro_nb.opening import plan_of
from mipro_nb.options import Options
from mipro_nb.progress import duration_text
from mipro_nb.text import cut

LONGEST = 200  # characters of a setting
SPENT = ("stage", "calls", "cached", "tokens in", "tokens out", "dollars", "time")
PLANNED = ("planned calls", "planned dollars")
BEYOND = (
    "Planned are the likely number and, in brackets, the least and the most. A call that the cache answered costs "
    "nothing; the plan can't know of it."
)
SHAPES = ("num_trials", "evaluations", "num_instructions", "num_demo_sets", "minibatch_size", "full_eval_steps")


def seconds_by_stage(history: History) -> dict[str, float]:
    """Return the seconds that each stage worked, pauses not counted."""
    found: dict[str, float] = {}
    stage, last, works = "", 0.0, False
    for turn, before in [*history.turns, (None, history.latest)]:
        now = before if turn is None else max(before, turn.at)
        if works and stage:  # until a run was resumed it didn't work
            found[stage] = found.get(stage, 0.0) + (before if isinstance(turn, ev.RunResumed) else now) - last
        last = now
        match turn:
            case ev.StageStarted():
                stage, works = turn.stage, True
            case ev.RunPaused():
                works = not turn.paused
            case ev.RunFinished():
                works = False
            case ev.RunResumed():
                works = True
            case ev.RunExtended():
                stage, works = "search", True
    return found


def cost(history: History) -> list[Block]:
    """LM use by stage, beside the plan's range where the log holds one."""
    if history.started is None:
        return []
    plan = plan_of(history.started)
    planned = dict(plan.stages) if plan is not None else {}
    times, used = seconds_by_stage(history), dict(history.usage_by_stage)
    stages = list(dict.fromkeys([*planned, *history.stages, *used]))
    rows = [_spent(name, used.get(name, ev.Usage()), times.get(name), planned.get(name)) for name in stages]
    total = plan.total if plan is not None and planned else None
    rows.append(_spent("together", history.usage, sum(times.values()), total))
    shown = [row if planned else row[: len(SPENT)] for row in rows]
    head = (*SPENT, *PLANNED) if planned else SPENT
    table = Table(head, tuple(shown), "cost by stage", frozenset(range(1, len(head))), frozenset({len(rows) - 1}))
    return [Heading("Cost", short="Cost"), table, *([Paragraph(BEYOND)] if planned else [])]


def _spent(name: str, used: ev.Usage, seconds: float | None, planned: Estimate | None) -> tuple[str, ...]:
    calls, dollars = "", ""
    if planned is not None:
        calls = _range(planned.calls, "{:,.0f}")
        dollars = "unknown" if planned.cost is None else _range(planned.cost, "${:,.4f}")
    tokens = f"{used.prompt_tokens:,}", f"{used.completion_tokens:,}"
    price = "unknown" if used.cost is None else f"${used.cost:,.4f}"
    time = "" if seconds is None else duration_text(seconds)
    return name, f"{used.calls:,}", f"{used.cached_calls:,}", *tokens, price, time, calls, dollars


def _range(found: Range, form: str) -> str:
    likely, low, high = (form.format(number) for number in (found.likely, found.low, found.high))
    return likely if low == high else f"{likely} ({low} to {high})"


def defaults() -> dict[str, Any]:
    """Return the default of every setting of ``MIPROv2`` and of its ``compile``."""
    own = {name: found.default for name, found in inspect.signature(MIPROv2).parameters.items()}
    given = {field.name: field.default for field in fields(Options) if field.default is not MISSING}
    return {**given, **{name: value for name, value in own.items() if value is not inspect.Parameter.empty}}


def settings(history: History) -> list[Block]:
    """Every setting beside its default, what the plan made of them, the data, the versions."""
    started = history.started
    if started is None:
        return []
    usual = defaults()
    rows: list[tuple[str, ...]] = []
    marked: set[int] = set()
    for name, value in started.settings.items():
        if name in usual and value != usual[name]:
            marked.add(len(rows))
        rows.append((name, _value(value), _value(usual[name]) if name in usual else ""))
    head = ("setting", "value", "default")
    parts: list[Block] = [Heading("Settings", short="Settings")]
    if rows:
        parts.append(Table(head, tuple(rows), "settings; marked: not the default", marked=frozenset(marked)))
    return [*parts, *_facts(started)]


def _facts(started: ev.RunStarted) -> list[Block]:
    """What follows from the settings, and what the run stood on."""
    plan = [(name, started.plan[name]) for name in ("auto", *SHAPES) if started.plan.get(name) is not None]
    told: tuple[tuple[str, list[tuple[str, object]]], ...] = (
        ("The plan", plan),
        ("Examples", list(started.sizes.items())),
        ("Versions", list(started.versions.items())),
        ("Run", [("id", started.run_id), ("began", moment(started.at))]),
    )
    lines = [f"{name}: " + ", ".join(f"{key} {_value(value)}" for key, value in found) for name, found in told if found]
    return [Paragraph(line) for line in lines]


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return cut(", ".join(f"{key} {_value(part)}".join(("(", ")")) for key, part in value.items()), LONGEST)
    return cut(str(value), LONGEST)


def moment(at: float) -> str:
    """Write a time as ``2026-11-22 21:15 UTC``."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "unknown"
