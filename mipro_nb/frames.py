"""History -> DataFrames: the numbers behind every table and chart."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro_nb import events as ev
from mipro_nb.verdict import interval

if TYPE_CHECKING:
    import pandas as pd

    from mipro_nb.history import History, TrialRecord

TRIALS = ["trial", "kind", "score", "low", "high", "examples", "failed", "best_so_far"]
CANDIDATES = ["predictor", "kind", "index", "mean", "low", "high", "examples", "trials", "origin", "tip", "text"]
EXAMPLES = ["example", "baseline", "best", "change", "error", "output"]


def trials(history: History) -> pd.DataFrame:
    """One row per trial: see ``TRIALS``, and the choice per predictor; ``low`` to ``high`` is the score's interval."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    names = history.started.predictors if history.started else ()
    for trial in history.trials:
        row: dict[str, Any] = {
            "trial": trial.number,
            "kind": trial.kind,
            "score": trial.score,
            "low": trial.low,
            "high": trial.high,
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
    """One row per candidate instruction and demo set: see ``CANDIDATES``; ``low`` to ``high`` is the mean's interval.

    ``mean`` weighs the trials in which the candidate took part by their examples.
    """
    import pandas as pd

    names = list(history.started.predictors) if history.started else []
    known = standings(history)
    rows: list[dict[str, Any]] = []
    for proposed in history.instructions:
        row = _candidate(known, names, proposed.predictor, "instruction", proposed.index)
        rows.append({**row, "origin": proposed.origin, "tip": proposed.tip, "text": proposed.text})
    for made in history.demo_sets:
        row = _candidate(known, names, made.predictor, "demos", made.index)
        text = "\n".join(json.dumps(demo, ensure_ascii=False, default=str) for demo in made.demos)
        rows.append({**row, "origin": made.origin, "tip": "", "text": text})
    return pd.DataFrame(rows, columns=CANDIDATES)


@dataclass(slots=True)
class Standing:
    """What the trials say about one candidate: of their scores the sum, the sum of squares, and their numbers."""

    total: float = 0.0
    squares: float = 0.0
    examples: int = 0
    trials: int = 0
    boolean: bool = True

    def add(self, trial: TrialRecord) -> None:
        """Count a trial that has a score."""
        score, n = trial.score or 0.0, trial.examples
        variance = score * (1 - score) if trial.spread is None else trial.spread**2
        self.total, self.squares = self.total + score * n, self.squares + (variance + score * score) * n
        self.examples, self.trials = self.examples + n, self.trials + 1
        self.boolean = self.boolean and trial.spread is None

    @property
    def mean(self) -> float | None:
        """Mean over all examples, those that were in several trials counted each time."""
        return self.total / self.examples if self.examples else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95% interval of the mean."""
        mean = self.mean
        if mean is None:
            return None, None
        spread = None if self.boolean else math.sqrt(max(0.0, self.squares / self.examples - mean * mean))
        return interval(mean, self.examples, spread)


def standings(history: History) -> dict[tuple[int, str, int], Standing]:
    """Return what is known of each tried candidate, by predictor's place, ``instruction`` or ``demos``, and index."""
    known: dict[tuple[int, str, int], Standing] = {}
    for trial in history.trials:
        if trial.score is not None and trial.examples:
            for kind, chosen in (("instruction", trial.instructions), ("demos", trial.demos)):
                for place, index in enumerate(chosen):
                    known.setdefault((place, kind, index), Standing()).add(trial)
    return known


def _candidate(
    known: Mapping[tuple[int, str, int], Standing], names: list[str], predictor: str, kind: str, index: int
) -> dict[str, Any]:
    place = names.index(predictor) if predictor in names else 0
    found = known.get((place, kind, index), Standing())
    low, high = found.interval
    counts = {"examples": found.examples, "trials": found.trials}
    return {
        "predictor": predictor,
        "kind": kind,
        "index": index,
        "mean": found.mean,
        "low": low,
        "high": high,
        **counts,
    }


def examples(history: History) -> pd.DataFrame:
    """One row per validation example: see ``EXAMPLES``; ``change`` is ``fixed``, ``broken``, ``same`` or empty."""
    import pandas as pd

    rows = [
        {
            "example": example,
            "baseline": was.score,
            "best": now.score if now else None,
            "change": change(was, now),
            "error": now.error if now else "",
            "output": now.output if now else "",
        }
        for example, was, now in compared(history)
    ]
    return pd.DataFrame(rows, columns=EXAMPLES)


def compared(history: History) -> list[tuple[int, ev.ExampleScored, ev.ExampleScored | None]]:
    """Return (example, result of the baseline, result of the best) for each validation example of the baseline."""
    before = results_of(history, next((t for t in history.trials if t.kind == "baseline"), None))
    after = results_of(history, history.best)
    return [(example, was, after.get(example)) for example, was in sorted(before.items())]


def change(was: ev.ExampleScored, now: ev.ExampleScored | None) -> str:
    """Return ``fixed``, ``broken`` or ``same``; empty while one of the scores is missing."""
    if now is None or was.score is None or now.score is None:
        return ""
    return "fixed" if now.score > was.score else "broken" if now.score < was.score else "same"


def results_of(history: History, trial: TrialRecord | None) -> dict[int, ev.ExampleScored]:
    """Return the latest results by example of a trial's combination, from whichever trials they came."""
    if trial is None:
        return {}
    found: dict[int, ev.ExampleScored] = {}
    for other in history.trials:
        if (other.instructions, other.demos) == (trial.instructions, trial.demos):
            found.update(list(other.scored.items()))
    return found
