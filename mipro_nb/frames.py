"""History -> DataFrames: the numbers behind every table and chart."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mipro_nb import events as ev
from mipro_nb.errors import check_choice
from mipro_nb.eventlist import ExampleRecord
from mipro_nb.fieldtypes import plain
from mipro_nb.learning import results as results_of_approaches
from mipro_nb.learning import standings as standings_of_approaches
from mipro_nb.text import whole
from mipro_nb.verdict import interval, spread_of

if TYPE_CHECKING:
    import pandas as pd

    from mipro_nb.history import History, TrialRecord

TRIALS = ["trial", "kind", "score", "low", "high", "examples", "failed", "best_so_far"]
CANDIDATES = ["predictor", "kind", "index", "mean", "low", "high", "examples", "trials", "origin", "tip", "text"]
CANDIDATES += ["gain", "error", "banned"]
APPROACHES = ["factor", "level", "tried", "gain", "low", "high"]
TESTED = ("test_baseline", "test_best")  # kinds of trials on the test set
EXAMPLES = ["example", "input", "baseline", "best", "change", "error", "output"]


def trials(history: History) -> pd.DataFrame:
    """One row per trial, in order of start; those on the test set are not among them.

    Columns: ``trial``, its number; ``kind``: baseline, minibatch, full, or partial, of a trial that
    ``search="paired"`` gives more examples as long as it may win; ``score``, a mean, as a fraction; ``low`` and
    ``high``, its 95% interval, see ``verdict.interval``; ``examples``, how many it stands on; ``failed``, how many are
    missing from it; ``best_so_far``, the best fully evaluated score by then, or with a
    posterior the mean of its leader when the trial was the newest; and the choice, as ``index`` in
    ``candidates``: ``NAME.instruction`` and ``NAME.demos`` per predictor.
    """
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
    return _table(rows, None if rows else TRIALS)


def candidates(history: History) -> pd.DataFrame:
    """One row per candidate instruction and demo set.

    Columns: ``predictor``; ``kind``: instruction or demos; ``index``, from 0; ``mean``, a fraction, over the
    ``examples`` that each combination with the candidate was scored on, each counted once; ``low`` and ``high``, its
    95% interval, see ``verdict.interval``; ``trials``, how many tried it; ``origin``: of an instruction as in
    ``events.InstructionProposed``, of a demo set none, student, labeled, bootstrapped or shuffled; ``tip``, see
    ``learning.TIPS``; ``text``, of a demo set one demo a line, as JSON; ``banned``, whether a person
    took it out of the search.

    With a posterior (``search="paired"``) ``mean``, ``low`` and ``high`` are its estimate and 95% interval for the
    leader with this candidate put in, tried or not, and ``gain`` is the estimated difference to the candidate that the
    program was given, with its standard ``error``, both as fractions; without one these two are missing.
    """
    names = list(history.started.predictors) if history.started else []
    known = _Known(standings(history), estimates(history), banned(history), names)
    rows: list[dict[str, Any]] = []
    for proposed in history.instructions:
        row = known.row(proposed.predictor, "instruction", proposed.index)
        rows.append({**row, "origin": proposed.origin, "tip": proposed.tip, "text": proposed.text})
    for made in history.demo_sets:
        row = known.row(made.predictor, "demos", made.index)
        text = "\n".join(json.dumps(demo, ensure_ascii=False, default=str) for demo in made.demos)
        rows.append({**row, "origin": made.origin, "tip": "", "text": text})
    return _table(rows, CANDIDATES)


def approaches(history: History) -> pd.DataFrame:
    """What worked: one row for each way of asking for instructions; empty before ``history.posterior`` is there.

    Columns: ``factor`` and ``level``: a field of ``learning.Approach`` and its value, as text; ``tried``, how many
    proposals took part; ``gain``, a fraction, that is expected of a proposal over the best instruction known before
    it; ``low`` and ``high``, its 95% interval, see ``learning.standings``.
    """
    known = history.posterior.candidates if history.posterior is not None else ()
    found = results_of_approaches(history.instructions, known)
    rows = [dataclasses.asdict(one) for one in (standings_of_approaches(found) if found else [])]
    return _table(rows, APPROACHES)


@dataclass(slots=True)
class Standing:
    """What is known of one candidate: of its scores the sum, the sum of squares and how many, and of its trials.

    An example counts once for each combination that the candidate took part in: the same program on the same example
    gives the same score, so that another trial of it is no more evidence.
    """

    total: float = 0.0
    squares: float = 0.0
    examples: int = 0
    trials: int = 0
    boolean: bool = True

    def add(self, mean: float, examples: int, spread: float | None, trials: int) -> None:
        """Count a combination that was tried in so many trials; ``spread`` as of ``verdict.spread_of``."""
        squares = mean * examples if spread is None else spread**2 * (examples - 1) + mean**2 * examples
        self.total, self.squares = self.total + mean * examples, self.squares + squares
        self.examples, self.trials = self.examples + examples, self.trials + trials
        self.boolean = self.boolean and spread is None

    @property
    def mean(self) -> float | None:
        """Mean over all examples."""
        return self.total / self.examples if self.examples else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95% interval of the mean."""
        mean = self.mean
        if mean is None:
            return None, None
        around = max(0.0, self.squares - mean * self.total) / max(1, self.examples - 1)
        return interval(mean, self.examples, None if self.boolean else math.sqrt(around))


def standings(history: History) -> dict[tuple[int, str, int], Standing]:
    """Return what is known of each tried candidate, by predictor's place, ``instruction`` or ``demos``, and index."""
    tried: dict[tuple[tuple[int, ...], tuple[int, ...]], list[TrialRecord]] = {}
    for trial in history.trials:
        if trial.score is not None and trial.examples:
            tried.setdefault((trial.instructions, trial.demos), []).append(trial)
    known: dict[tuple[int, str, int], Standing] = {}
    for (instructions, demos), trials_of_it in tried.items():
        evidence = _evidence(history, trials_of_it)
        for kind, chosen in (("instruction", instructions), ("demos", demos)):
            for place, index in enumerate(chosen):
                known.setdefault((place, kind, index), Standing()).add(*evidence, len(trials_of_it))
    return known


def _evidence(history: History, trials_of_it: Sequence[TrialRecord]) -> tuple[float, int, float | None]:
    """Return mean, number and spread of the scores that are known of a combination."""
    most = max(trials_of_it, key=lambda trial: trial.examples)
    if len(trials_of_it) > 1 and most.kind not in ev.FULL:  # a full trial has summed them up; minibatches overlap
        scores = history.scores_of(most).values()
        if len(scores) > most.examples:
            return fmean(scores), len(scores), spread_of(scores)
    return most.score or 0.0, most.examples, most.spread


def estimates(history: History) -> dict[tuple[int, str, int], Mapping[str, Any]]:
    """Return what the posterior says of each candidate, by the same keys as ``standings``; nothing without one."""
    told = history.posterior.candidates if history.posterior is not None else ()
    return {(one["place"], one["kind"], one["index"]): one for one in told}


def banned(history: History) -> set[tuple[str, str, int]]:
    """Return the candidates that people took out of the search: predictor, ``instruction`` or ``demos``, index."""
    return {(one.predictor, one.kind, one.index) for one in list(history.banned)}


@dataclass(frozen=True, slots=True)
class _Known:
    """What rows of candidates are made of."""

    standings: Mapping[tuple[int, str, int], Standing]
    estimates: Mapping[tuple[int, str, int], Mapping[str, Any]]
    banned: set[tuple[str, str, int]]
    names: list[str]

    def row(self, predictor: str, kind: str, index: int) -> dict[str, Any]:
        place = self.names.index(predictor) if predictor in self.names else 0
        found = self.standings.get((place, kind, index), Standing())
        estimate = self.estimates.get((place, kind, index), {})
        low, high = found.interval
        return {
            "predictor": predictor,
            "kind": kind,
            "index": index,
            "mean": estimate.get("mean", found.mean),
            "low": estimate.get("low", low),
            "high": estimate.get("high", high),
            "examples": found.examples,
            "trials": found.trials,
            "gain": estimate.get("gain"),
            "error": estimate.get("error"),
            "banned": (predictor, kind, index) in self.banned,
        }


def examples(history: History, split: str = "validation") -> pd.DataFrame:
    """One row per example, the baseline's result beside that of the best program so far.

    Args:
        split: ``validation``, or ``test``: empty until the verdict is reached.

    Columns: ``example``, its position in the set; ``input``, what the program was given; ``baseline`` and ``best``,
    scores in [0, 1], missing where the call failed; ``change``: fixed, broken, same, or empty where that isn't known;
    ``error`` and ``output``, texts, of the best program.

    Raises:
        ConfigError: another split.
    """
    rows = [
        {
            "example": example,
            "input": inputs_text(was),
            "baseline": was.score,
            "best": now.score if now else None,
            "change": change(was, now),
            "error": now.error if now else "",
            "output": now.output if now else "",
        }
        for example, was, now in compared(history, split)
    ]
    return _table(rows, EXAMPLES)


def _table(rows: Sequence[Mapping[str, Any]], columns: list[str] | None) -> pd.DataFrame:
    """Return rows as a table; in texts half characters are named, for pandas' texts can't hold them."""
    import pandas as pd

    fit = [{name: whole(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows]
    return pd.DataFrame(fit, columns=columns)


def inputs_text(result: ExampleRecord) -> str:
    """Return what the program's first call was given, as text; empty when it made none."""
    given = result.calls[0]["inputs"] if result.calls else {}
    return "; ".join(f"{name}: {as_text(value)}" for name, value in given.items())


def as_text(value: Any) -> str:
    """Return a field's value as it is shown: texts as they are."""
    return value if isinstance(value, str) else str(plain(value))


def compared(history: History, split: str = "validation") -> list[tuple[int, ExampleRecord, ExampleRecord | None]]:
    """Return (example, result of the baseline, that of the best) for each example of a split that the baseline met."""
    check_choice("split", split, ("validation", "test"))
    if split == "test":
        if history.verdict is None:
            return []
        known = list(history.trials_by_number.values())
        was, now = ({k: v for t in known if t.kind == kind for k, v in t.scored.items()} for kind in TESTED)
        return [(example, result, now.get(example)) for example, result in sorted(was.items())]
    before = results_of(history, next((t for t in history.trials if t.kind == "baseline"), None))
    after = results_of(history, history.best)
    return [(example, was, after.get(example)) for example, was in sorted(before.items())]


def change(was: ExampleRecord, now: ExampleRecord | None) -> str:
    """Return ``fixed``, ``broken`` or ``same``; empty while a score is missing, or the best is the baseline itself."""
    if now is None or now is was or was.score is None or now.score is None:
        return ""
    return "fixed" if now.score > was.score else "broken" if now.score < was.score else "same"


def results_of(history: History, trial: TrialRecord | None) -> dict[int, ExampleRecord]:
    """Return the latest results by example of a trial's combination, from whichever trials they came."""
    if trial is None:
        return {}
    found: dict[int, ExampleRecord] = {}
    for other in history.trials_of(trial.choice):
        found.update(list(other.scored.items()))
    return found
