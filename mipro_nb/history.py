"""History: the fold of a run's events into trials, candidates, best and cost.

The same History serves the terminal, the notebook, DataFrames, reports and resuming: feed it
events live (it is a Listener), or read a finished run with ``History.read``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mipro_nb import events as ev
from mipro_nb.errors import LoadError

if TYPE_CHECKING:
    import pandas as pd

FULL = ("baseline", "full")


@dataclass(slots=True)
class TrialRecord:
    """One trial as known so far.

    Attributes:
        number, kind, instructions, demos: as in ``events.TrialStarted``.
        score: mean over ``examples`` examples, or None while running or when all failed.
        scored: per example id the latest ExampleScored of this trial.
    """

    number: int
    kind: str
    instructions: tuple[int, ...]
    demos: tuple[int, ...]
    planned: int
    score: float | None = None
    examples: int = 0
    failed: int = 0
    finished: bool = False
    scored: dict[int, ev.ExampleScored] = field(default_factory=dict)


class History:
    """Everything a run has told so far. One thread feeds it; any thread may read.

    >>> history = History([ev.StageStarted("search", 3), ev.TrialStarted(0, "baseline", (0,), (), 2, 2)])
    >>> history(ev.TrialFinished(0, 0.5, 2, 0))
    >>> history.best.score, history.stage
    (0.5, 'search')
    """

    def __init__(self, events: Iterable[ev.Event] = ()) -> None:
        self.events: list[ev.Event] = []
        self.started: ev.RunStarted | None = None
        self.stages: dict[str, ev.StageStarted] = {}
        self.usage_by_stage: dict[str, ev.Usage] = {}
        self.bootstrap_attempts: list[ev.ExampleBootstrapped] = []
        self.demo_sets: list[ev.DemosBootstrapped] = []
        self.instructions: list[ev.InstructionProposed] = []
        self.trials_by_number: dict[int, TrialRecord] = {}
        self.notes: list[ev.Noted] = []
        self.verdict: ev.VerdictReached | None = None
        self.reason: str | None = None
        for event in events:
            self(event)

    def __call__(self, event: ev.Event) -> None:
        """Fold one event in."""
        self.events.append(event)
        match event:
            case ev.RunStarted():
                self.started = event
            case ev.StageStarted():
                self.stages[event.stage] = event
            case ev.LMUsed():
                self.usage_by_stage[event.stage] = self.usage_by_stage.get(event.stage, ev.Usage()) + event.usage
            case ev.ExampleBootstrapped():
                self.bootstrap_attempts.append(event)
            case ev.DemosBootstrapped():
                self.demo_sets.append(event)
            case ev.InstructionProposed():
                self.instructions.append(event)
            case ev.TrialStarted() | ev.ExampleScored() | ev.TrialFinished():
                self._fold_trial(event)
            case ev.Noted():
                self.notes.append(event)
            case ev.VerdictReached():
                self.verdict = event
            case ev.RunFinished():
                self.reason = event.reason

    def _fold_trial(self, event: ev.TrialStarted | ev.ExampleScored | ev.TrialFinished) -> None:
        if isinstance(event, ev.TrialStarted):
            self.trials_by_number[event.trial] = TrialRecord(
                event.trial, event.kind, event.instructions, event.demos, event.examples
            )
            return
        trial = self.trials_by_number[event.trial]
        if isinstance(event, ev.ExampleScored):
            trial.scored[event.example] = event
            return
        trial.score, trial.examples, trial.failed = event.score, event.examples, event.failed
        trial.finished = True

    @property
    def stage(self) -> str | None:
        """The stage that runs, or the last one that ran; None before the first."""
        return next(reversed(self.stages), None)

    @property
    def trials(self) -> list[TrialRecord]:
        """The trials of the search, in order; those on the test set are not among them."""
        return [trial for trial in list(self.trials_by_number.values()) if not trial.kind.startswith("test")]

    @property
    def baseline(self) -> TrialRecord | None:
        """The full evaluation of the program as it was given, once finished."""
        found = (t for t in self.trials if t.kind == "baseline" and t.finished and t.score is not None)
        return next(found, None)

    @property
    def best(self) -> TrialRecord | None:
        """The best fully evaluated trial so far; of equals the earliest, so that the baseline must be beaten."""
        full = [t for t in self.trials if t.kind in FULL and t.finished and t.score is not None]
        return max(full, key=lambda t: (t.score or 0.0, -t.number), default=None)

    @property
    def usage(self) -> ev.Usage:
        """LM use of all stages together."""
        return sum(list(self.usage_by_stage.values()), ev.Usage())

    @property
    def seconds(self) -> float:
        """Seconds from the first event to the last."""
        return self.events[-1].at - self.events[0].at if self.events else 0.0

    def trials_frame(self) -> pd.DataFrame:
        """One row per trial: number, kind, score, examples, failed, best_so_far, and the choice per predictor."""
        import pandas as pd

        rows, best = [], None
        names = self.started.predictors if self.started else ()
        for trial in self.trials:
            if trial.kind in FULL and trial.score is not None and (best is None or trial.score > best):
                best = trial.score
            row: dict[str, Any] = {
                "trial": trial.number,
                "kind": trial.kind,
                "score": trial.score,
                "examples": trial.examples,
                "failed": trial.failed,
                "best_so_far": best,
            }
            for position, instruction in enumerate(trial.instructions):
                name = names[position] if position < len(names) else str(position)
                row[f"{name}.instruction"] = instruction
                if trial.demos:
                    row[f"{name}.demos"] = trial.demos[position]
            rows.append(row)
        return pd.DataFrame(rows)

    def candidates_frame(self) -> pd.DataFrame:
        """One row per candidate instruction and demo set: predictor, kind, index, origin, tip, text, mean, examples.

        ``mean`` weighs the trials in which the candidate took part by their examples.
        """
        import pandas as pd

        names = list(self.started.predictors) if self.started else []
        rows: list[dict[str, Any]] = []
        for proposed in self.instructions:
            row = self._candidate(names, proposed.predictor, "instruction", proposed.index)
            rows.append({**row, "origin": proposed.origin, "tip": proposed.tip, "text": proposed.text})
        for made in self.demo_sets:
            row = self._candidate(names, made.predictor, "demos", made.index)
            text = "\n".join(json.dumps(demo, ensure_ascii=False) for demo in made.demos)
            rows.append({**row, "origin": made.origin, "tip": "", "text": text})
        return pd.DataFrame(rows)

    def _candidate(self, names: list[str], predictor: str, kind: str, index: int) -> dict[str, Any]:
        total, count, trials = 0.0, 0, 0
        position = names.index(predictor) if predictor in names else 0
        for trial in self.trials:
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

    def examples_frame(self) -> pd.DataFrame:
        """One row per validation example: score of baseline and best, and ``fixed`` / ``broken`` / ``same``."""
        import pandas as pd

        before, after = self.baseline, self.best
        rows = []
        for example, was in sorted((before.scored if before else {}).items()):
            now = self._latest(after, example) if after else None
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

    def _latest(self, trial: TrialRecord, example: int) -> ev.ExampleScored | None:
        """The result of a trial's combination on an example, in whichever trial it was run."""
        same = [t for t in self.trials if (t.instructions, t.demos) == (trial.instructions, trial.demos)]
        results = [t.scored[example] for t in same if example in t.scored]
        return results[-1] if results else None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the events as JSON lines."""
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(to_line(event) for event in self.events)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> History:
        """Read JSON lines; a half line at the end (a crash) is dropped.

        Raises:
            LoadError: a line that is no event, with its number.
        """
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        complete, last = lines[:-1], lines[-1]
        found = []
        for number, line in enumerate(complete, 1):
            try:
                found.append(ev.from_json(json.loads(line)))
            except (json.JSONDecodeError, LoadError, AttributeError) as error:
                raise LoadError(f"{os.fspath(path)}, line {number}: {error}") from error
        if last.strip():
            try:
                found.append(ev.from_json(json.loads(last)))
            except (json.JSONDecodeError, LoadError):
                pass  # the half line that a crash leaves
        return cls(found)


def to_line(event: ev.Event) -> str:
    """Return one JSON line; what JSON doesn't know is written as text."""
    return json.dumps(ev.to_json(event), ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
