"""Does ``search="paired"`` reach MIPROv2's quality on the demo's task with at most 60% of its task calls?

python -m tests.benchmarks.demo_task --seeds 5

Each seed splits the demo's data as the demo does. ``search="mipro"`` runs with ``auto="light"``; then ``"paired"`` with
the largest ``num_trials`` whose plan (evaluations, and likely calls of the bootstrap) stays within the share of the
task calls that mipro made. Task calls are those of the stages bootstrap and search, cached ones included, so that the
answer cache, which all runs share, saves time alone. Quality is the score of the returned program on the sealed test
set, of which no search sees anything. Runs are kept (``--runs``) and finished ones aren't repeated, so that several
processes can take a part of the seeds each (``--first``), and the table can be printed once more.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import mipro_nb as mn
from mipro_nb.__main__ import FindProduct, same_product
from mipro_nb.cache import default_directory
from mipro_nb.data import split
from mipro_nb.demo import messages
from mipro_nb.errors import LoadError
from mipro_nb.events import TrialFinished, Usage

MODEL = "local/smollm2-135m"
HEAD = f"{'seed':>4} {'run':<13} {'trials':>6} {'task calls':>10} {'of mipro':>8} {'proposer':>8} {'baseline':>8} "
HEAD += f"{'quality':>7} {'stage 1':>7} {'stage 2':>7} {'1st trial':>9} {'search':>7} {'best program'}"


@dataclass(frozen=True)
class Played:
    """What came of a run: calls (cached ones too), scores on the test set, and seconds."""

    name: str
    trials: int
    calls: int
    proposer_calls: int
    baseline: float
    quality: float
    seconds: tuple[float, float, float, float]  # of stages 1 and 2, until the first trial's score, of the search
    best: str

    @classmethod
    def of(cls, name: str, history: mn.History) -> Played:
        def calls(*stages: str) -> int:
            used = [history.usage_by_stage.get(stage, Usage()) for stage in stages]
            return sum(one.calls + one.cached_calls for one in used)

        assert history.verdict is not None
        assert history.best is not None
        start, at = history.events[0].at, {stage: event.at for stage, event in history.stages.items()}
        first = next(event.at for event in history.events if isinstance(event, TrialFinished))
        instruction, demos = history.best.instructions[0], history.best.demos[0]
        sets = {one.index: one for one in history.demo_sets}
        shown = f"{instruction} ({history.instructions[instruction].origin}), "
        shown += f"demos {demos} ({sets[demos].origin}, {len(sets[demos].demos)})"
        assert history.started is not None
        return cls(
            name,
            history.started.plan["num_trials"],
            calls("bootstrap", "search"),
            calls("propose"),
            history.verdict.baseline,
            history.verdict.best,
            (at["propose"] - start, at["search"] - at["propose"], first - start, at["verdict"] - at["search"]),
            shown,
        )


class Task:
    """The demo's task, split by a seed."""

    def __init__(self, seed: int, runs: Path) -> None:
        self._seed, self._runs = seed, runs
        train, val, test = split(messages(), 0.2, 0.4, 0.4, stratify="product", seed=seed)
        self._data: dict[str, Any] = {"trainset": train, "valset": val, "testset": test}
        self._task_model, self._prompt_model = mn.LM(MODEL, max_tokens=32), mn.LM(MODEL)  # those of the demo

    def _optimizer(self, search: str, **settings: Any) -> mn.MIPROv2:
        return mn.MIPROv2(same_product, prompt_model=self._prompt_model, seed=self._seed, search=search, **settings)

    def play(self, name: str, search: str, num_trials: int | None = None, **settings: Any) -> Played:
        where = self._runs / f"{name}-{self._seed}"
        with contextlib.suppress(LoadError):
            history = mn.History.read(where)
            if history.reason == "finished":
                return Played.of(name, history)
        history = mn.History()
        with mn.context(lm=self._task_model, progress=False):
            self._optimizer(search, **settings).compile(
                mn.Predict(FindProduct), num_trials=num_trials, listeners=[history], run_dir=where, **self._data
            )
        return Played.of(name, history)

    def trials_within(self, calls: float, proposals: str) -> int:
        """Return the most trials whose plan makes no more task calls, at least 1."""
        number = 1
        with mn.context(lm=self._task_model):
            while True:
                optimizer = self._optimizer("paired", proposals=proposals)
                plan = optimizer.plan(mn.Predict(FindProduct), num_trials=number + 1, **self._data)
                assert plan.evaluations is not None
                if plan.evaluations + plan.stages["bootstrap"].calls.likely > calls:
                    return number
                number += 1


def play(seed: int, share: float, proposals: Sequence[str], runs: Path) -> list[Played]:
    """Run mipro, then paired with each way of proposing; print a row of each."""
    task = Task(seed, runs)
    mipro = task.play("mipro", "mipro", auto="light")
    played = [mipro]
    show(seed, mipro, mipro)
    for way in proposals:
        trials = task.trials_within(share * mipro.calls, way)
        played.append(task.play(f"paired {way}", "paired", trials, proposals=way))
        show(seed, played[-1], mipro)
    return played


def show(seed: int, one: Played, mipro: Played) -> None:
    seconds = "{:>6.0f}s {:>6.0f}s {:>8.0f}s {:>6.0f}s".format(*one.seconds)
    print(
        f"{seed:>4} {one.name:<13} {one.trials:>6} {one.calls:>10} {one.calls / mipro.calls:>8.0%} "
        f"{one.proposer_calls:>8} {one.baseline:>8.1%} {one.quality:>7.1%} {seconds} {one.best}",
        flush=True,
    )


def told(everything: Sequence[Sequence[Played]]) -> str:
    """Means over the seeds, and paired differences to mipro."""
    lines = []
    for runs in zip(*everything, strict=True):
        name, calls = runs[0].name, fmean(one.calls for one in runs)
        line = f"{name:<13} {calls:.0f} task calls, {fmean(one.proposer_calls for one in runs):.0f} of the proposer, "
        line += f"quality {fmean(one.quality for one in runs):.1%} (baseline {fmean(one.baseline for one in runs):.1%})"
        if name != "mipro":
            gains = [100 * (one.quality - all_[0].quality) for one, all_ in zip(runs, everything, strict=True)]
            ratio = calls / fmean(all_[0].calls for all_ in everything)
            error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
            line += f"; to mipro: {ratio:.0%} of the calls, {fmean(gains):+.1f} points (standard error {error:.1f})"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--share", type=float, default=0.6, help="of mipro's task calls, for paired (default 0.6)")
    parser.add_argument("--proposals", nargs="+", default=["learn", "once"], help="of paired (default both)")
    parser.add_argument("--runs", type=Path, default=default_directory() / "demo_task", help="directory of the runs")
    given = parser.parse_args()
    os.makedirs(given.runs, exist_ok=True)
    print(HEAD)
    seeds = range(given.first, given.first + given.seeds)
    print(told([play(seed, given.share, given.proposals, given.runs) for seed in seeds]))


if __name__ == "__main__":
    main()
