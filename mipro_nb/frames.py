"""History -> DataFrames: the numbers behind every table and chart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mipro_nb import events as ev

if TYPE_CHECKING:
    import pandas as pd

    from mipro_nb.history import History, TrialRecord

TRIALS = ["trial", "kind", "score", "examples", "failed", "best_so_far"]
CANDIDATES = ["predictor", "kind", "index", "mean", "examples", "trials", "origin", "tip", "text"]


def trials(history: History) -> pd.DataFrame:
    """One row per trial: number, kind, score, examples, failed, best_so_far, and the choice per predictor."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    names = history.started.predictors if history.started else ()
    for trial in history.trials:
        row: dict[str, Any] = {
            "trial": trial.number,
            "kind": trial.kind,
            "score": trial.score,
            "examples": trial.examples,
            "failed": trial.failed,
            "best_so_far": trial.best_so_far,
        }
        for position, instruction in enumerate(trial.instructions):
            name = names[position] if position < len(names) else str(position)
            row[f"{name}.instruction"] = instruction
            if trial.demos:
                row[f"{name}.demos"] = trial.demos[position]
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else TRIALS)


def candidates(history: History) -> pd.DataFrame:
    """One row per candidate instruction and demo set: predictor, kind, index, origin, tip, text, mean, examples.

    ``mean`` weighs the trials in which the candidate took part by their examples.
    """
    import pandas as pd

    names = list(history.started.predictors) if history.started else []
    rows: list[dict[str, Any]] = []
    for proposed in history.instructions:
        row = _candidate(history, names, proposed.predictor, "instruction", proposed.index)
        rows.append({**row, "origin": proposed.origin, "tip": proposed.tip, "text": proposed.text})
    for made in history.demo_sets:
        row = _candidate(history, names, made.predictor, "demos", made.index)
        text = "\n".join(json.dumps(demo, ensure_ascii=False, default=str) for demo in made.demos)
        rows.append({**row, "origin": made.origin, "tip": "", "text": text})
    return pd.DataFrame(rows, columns=CANDIDATES)


def _candidate(history: History, names: list[str], predictor: str, kind: str, index: int) -> dict[str, Any]:
    total, count, trials = 0.0, 0, 0
    position = names.index(predictor) if predictor in names else 0
    for trial in history.trials:
        chosen = trial.instructions if kind == "instruction" else trial.demos
        if trial.score is not None and position < len(chosen) and chosen[position] == index:
            total, count, trials = total + trial.score * trial.examples, count + trial.examples, trials + 1
    mean = total / count if count else None
    return {
        "predictor": predictor,
        "kind": kind,
        "index": index,
        "mean": mean,
        "examples": count,
        "trials": trials,
    }


def examples(history: History) -> pd.DataFrame:
    """One row per validation example: score of baseline and best, and ``fixed`` / ``broken`` / ``same``."""
    import pandas as pd

    before, after = history.baseline, history.best
    rows = []
    for example, was in sorted((before.scored if before else {}).items()):
        now = _latest(history, after, example) if after else None
        a, b = was.score, now.score if now else None
        change = "" if a is None or b is None else "fixed" if b > a else "broken" if b < a else "same"
        rows.append(
            {
                "example": example,
                "baseline": a,
                "best": b,
                "change": change,
                "error": now.error if now else "",
                "output": now.output if now else "",
            }
        )
    return pd.DataFrame(rows, columns=["example", "baseline", "best", "change", "error", "output"])


def _latest(history: History, trial: TrialRecord, example: int) -> ev.ExampleScored | None:
    """The result of a trial's combination on an example, in whichever trial it was run."""
    same = [t for t in history.trials if (t.instructions, t.demos) == (trial.instructions, trial.demos)]
    results = [t.scored[example] for t in same if example in t.scored]
    return results[-1] if results else None
