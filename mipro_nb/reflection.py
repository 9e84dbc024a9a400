"""What a study of Optuna should show of a run: History -> trials, and the study's own attributes. Pure.

A trial of a study can't be changed any more once it is finished, so it stays open as long as it may get more examples.
At the end COMPLETE are the program as it was given, those that were fully evaluated, and the best; PRUNED, with their
score, those that the search left on fewer examples, and those that scored as high as the best without being it: so the
best trial of the study is the best of the search, and no lucky one of a few examples.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from mipro_nb.events import FULL, RunStarted
from mipro_nb.history import History, TrialRecord

NUMBER = "trial"  # user attribute that holds a trial's number in the run
ROOM = 5  # candidates beyond those planned: what people add


@dataclass(frozen=True, slots=True)
class Shown:
    """A trial as the study should show it.

    Attributes:
        params: per predictor the indices of instruction and demo set; ``highest`` the bounds they are drawn from.
        attrs: user attributes.
        step, mean: the examples scored so far, and their mean score.
        state, value: how it ended, and its score; None as long as it may go on.
        ranks: whether its score isn't below that of the best.
    """

    number: int
    params: Mapping[str, int]
    highest: Mapping[str, int]
    attrs: Mapping[str, Any]
    step: int
    mean: float | None
    state: str | None
    value: float | None
    ranks: bool


def study_name(started: RunStarted) -> str:
    """Name a run's study: the program, and the beginning of the run's id."""
    return f"{started.program} {started.run_id[:12]}"


def shown(history: History, trial: TrialRecord) -> Shown:
    """Return how the study should show a trial."""
    own = {number: one.score for number, one in trial.scored.items() if one.score is not None}
    scores = own if trial.kind == "minibatch" else history.scores_of(trial)
    state = _state(history, trial)
    step, mean = len(scores), fmean(scores.values()) if scores else None
    if trial.score is not None and state is not None:
        step, mean = trial.examples, trial.score
    params, highest, attrs = _choice(history, trial)
    attrs |= {NUMBER: trial.number, "kind": trial.kind, "examples": step, "failed": trial.failed}
    best = history.best.score if history.best is not None else None
    ranks = best is None or (trial.score is not None and trial.score >= best)
    value = trial.score if state is not None else None
    return Shown(trial.number, params, highest, attrs, step, mean, state, value, ranks)


def _state(history: History, trial: TrialRecord) -> str | None:
    """Return how a trial ended; None as long as it may go on, or another may turn out to be better on what it lacks."""
    ended = history.reason is not None
    if not ended and (history.counts_examples or not trial.finished or (trial.failed and trial.score is not None)):
        return None
    if trial.score is None:
        return "PRUNED" if any(one.score is not None for one in trial.scored.values()) else "FAIL"
    best = history.best
    if best is not None and best.number == trial.number:
        return "COMPLETE"
    below = best is None or best.score is None or trial.score < best.score
    return "COMPLETE" if below and trial.kind in FULL else "PRUNED"


def _choice(history: History, trial: TrialRecord) -> tuple[dict[str, int], dict[str, int], dict[str, Any]]:
    """Return indices, their bounds, and what they stand for as user attributes."""
    names = history.started.predictors if history.started is not None else ()
    plan = history.started.plan if history.started is not None else {}
    later = plan.get("later_instructions") or ()
    planned = {
        "instruction": plan.get("num_instructions", 0) + sum(later) + ROOM,
        "demos": plan.get("num_demo_sets", 0) + len(later) + ROOM,
    }
    texts = {(made.predictor, made.index): made.text for made in history.instructions}
    sets = {(made.predictor, made.index): made for made in history.demo_sets}
    params, highest, attrs = {}, {}, {}
    for kind, indices in (("instruction", trial.instructions), ("demos", trial.demos)):
        for name, index in zip(names, indices, strict=False):
            params[f"{name}.{kind}"] = index
            highest[f"{name}.{kind}"] = max(index, planned[kind])
            if kind == "instruction" and (name, index) in texts:
                attrs[f"{name}.instruction text"] = texts[name, index]
            if kind == "demos" and (name, index) in sets:
                made = sets[name, index]
                attrs[f"{name}.demos origin"] = f"{made.origin}, {len(made.demos)} demos"
    return params, highest, attrs


def about(history: History) -> dict[str, Any]:
    """Return the study's user attributes: what is run, where it is, the best, the verdict."""
    started, best, leader = history.started, history.best, history.posterior
    if started is None:
        return {}
    first: dict[str, Any] = {}
    if best is not None:
        first = {NUMBER: best.number, "score": best.score, "examples": best.examples}
        first |= {"estimate": leader.score} if leader is not None else {}
    told = {  # in the order in which the dashboard lists them
        "status": history.reason or ("paused" if history.paused else "running"),
        "best": first or None,
        "verdict": dataclasses.asdict(history.verdict) if history.verdict is not None else None,
        "calls": history.usage.calls,
        "cost": history.usage.cost,
        "stage": history.stage,
        "program": started.program,
        "run_id": started.run_id,
        "started": str(datetime.fromtimestamp(started.at).replace(microsecond=0)),
        "examples": started.sizes,
        "settings": started.settings,
    }
    for trial in history.trials_by_number.values():
        if trial.kind.startswith("test") and trial.score is not None:
            told[trial.kind] = {"score": trial.score, "examples": trial.examples, "failed": trial.failed}
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return plain
