"""Does the paired search find better programs than MIPROv2's, with as many LM calls? And is what it says true?

python -m tests.benchmarks.search [--seeds 100] [--part regret|end_to_end|calibration|verdict|time] [--others]
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipro_nb.effort import MOST_INSTRUCTIONS, MOST_SETS, PER_ROOT, SETS_PER_INSTRUCTION, trials_for
from mipro_nb.paired import PairedStrategy
from mipro_nb.search import Choice, Schedule, Strategy
from mipro_nb.tpe import MiproStrategy
from mipro_nb.verdict import judge

from .surfaces import FAMILIES, OTHERS, QUANTILES, World, right

WHOLE = 400  # validation examples that there are; MIPROv2's auto modes take a sample
RATIO = "{:<14} {:<9} {:<8} regret in points: mipro {:5.2f} +- {:.2f}, paired {:5.2f} +- {:.2f}: ratio {:.2f}"
CALLS = "{:<14} {:<9} {:<8} true score: mipro {:5.1f}; paired {:5.1f} ({:+.1f} +- {:.1f}); at a third {:+.1f} +- {:.1f}"
TRUTH = "{:<14} {:<9} {:<8} reported - true: mipro {:+.2f} +- {:.2f}, paired {:+.2f} +- {:.2f}; interval holds {:.0%}"


@dataclass(frozen=True)
class Size:
    """What an auto mode searches, and on how many validation examples."""

    name: str
    predictors: int
    instructions: int
    demos: int
    examples: int

    @property
    def trials(self) -> int:
        return trials_for(self.predictors, self.demos, zero_shot=False)

    def world(self, family: str, seed: int, graded: bool) -> World:
        return World(family, seed, self.predictors, self.instructions, self.demos, graded)


SIZES = [Size("light", 1, 3, 6, 100), Size("medium", 1, 6, 12, 300), Size("light x 3", 3, 3, 6, 100)]


@dataclass(frozen=True)
class Outcome:
    """What a search returned: its program, what it says that scores, the interval of that, evaluations."""

    choice: Choice
    reported: float
    low: float
    high: float
    evaluations: int


def play(search: Strategy, world: World) -> tuple[list[tuple[str, Choice, float | None]], int]:
    """Play a search to its end; return its trials and how many evaluations it took."""
    told, flight, evaluations = [], [], 0
    while True:
        while len(flight) < search.depth and (works := search.ask()):
            flight.append(works)
        if not flight:
            return told, evaluations
        for work in flight.pop(0):
            evaluations += len(work.new)
            mean = search.tell(work, {n: world.score(work.choice, n) for n in work.new})
            told.append((work.kind, work.choice, mean))


def mipro(world: World, size: Size) -> Outcome:
    """MIPROv2's search; it returns the combination of highest full score, and reports that."""
    search = MiproStrategy(world.candidates(), Schedule(size.trials, size.examples, 35), world.seed)
    told, evaluations = play(search, world)
    score, choice = -1.0, told[0][1]
    for kind, one, mean in told:
        if kind != "minibatch" and mean is not None and mean > score:
            score, choice = mean, one
    return Outcome(choice, score, math.nan, math.nan, evaluations)


def paired(world: World, examples: int, evaluations: int, full: int, rule: str = "ucb", level: bool = True) -> Outcome:
    plan = Schedule(10, examples, 35, evaluations=evaluations, full=full, level=level)
    search = PairedStrategy(world.candidates(), plan, random.Random(world.seed), rule=rule)
    _, spent = play(search, world)
    event = search.believed()
    assert event is not None
    score = event.score
    return Outcome(Choice(event.instructions, event.demos), score["mean"], score["low"], score["high"], spent)


def cells(families: Iterable[str], sizes: Iterable[Size] = SIZES) -> Iterator[tuple[str, Size, bool]]:
    for size in sizes:
        for family in families:
            yield from ((family, size, graded) for graded in (False, True))


def named(family: str, size: Size, graded: bool) -> tuple[str, str, str]:
    return family, size.name, "graded" if graded else "boolean"


def mean_error(values: Sequence[float]) -> tuple[float, float]:
    """In points."""
    found = 100 * np.asarray(values, dtype=float)
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))


# regret among the same candidates, at equal evaluations


def regrets(family: str, size: Size, graded: bool, seeds: int) -> tuple[list[float], list[float]]:
    """The best combination's true score less that of the one returned: MIPROv2's search, paired search."""
    ours, theirs = [], []
    for seed in range(seeds):
        world = size.world(family, seed, graded)
        best, one = world.best(), mipro(world, size)
        other = paired(world, size.examples, one.evaluations, size.examples)
        assert other.evaluations <= one.evaluations
        theirs.append(best - world.true(one.choice))
        ours.append(best - world.true(other.choice))
    return theirs, ours


def regret(families: Iterable[str], seeds: int, tell: Callable[[str], Any] = print) -> list[float]:
    ratios = []
    for cell in cells(families):
        theirs, ours = map(mean_error, regrets(*cell, seeds))
        ratios.append(ours[0] / theirs[0])
        tell(RATIO.format(*named(*cell), *theirs, *ours, ratios[-1]))
    tell(f"on average {np.mean(ratios):.2f}, at worst {max(ratios):.2f}")
    return ratios


# end to end: as many candidates as the search makes use of, at equal calls


def enlarged(evaluations: int, size: Size) -> tuple[int, int]:
    """Instructions and demo sets per predictor, as ``effort.paired`` has it."""
    root = PER_ROOT * math.sqrt(evaluations)
    sets = round(SETS_PER_INSTRUCTION * root)
    return (
        max(size.instructions, min(MOST_INSTRUCTIONS, round(root))),
        max(size.demos, min(MOST_SETS, sets)),
    )


def free(family: str, size: Size, graded: bool, seed: int, calls: int, counts: tuple[int, int] | None = None) -> float:
    """The true score of what the paired search returns for so many calls, proposals among them."""
    instructions, demos = counts or enlarged(calls, size)
    world = World(family, seed, size.predictors, instructions, demos, graded)
    evaluations = calls - instructions * size.predictors
    return world.true(paired(world, WHOLE, evaluations, size.examples).choice)


def end_to_end(families: Iterable[str], seeds: int, tell: Callable[[str], Any] = print) -> list[float]:
    gains, thirds = [], []
    for cell in cells(families):
        _, size, graded = cell
        theirs, same, third = [], [], []
        for seed in range(seeds):
            world = size.world(cell[0], seed, graded)
            one = mipro(world, size)
            calls = one.evaluations + size.instructions * size.predictors
            theirs.append(world.true(one.choice))
            same.append(free(*cell, seed, calls))
            third.append(free(*cell, seed, calls // 3))
        gain, less = (mean_error(np.subtract(ours, theirs)) for ours in (same, third))
        gains.append(gain[0])
        thirds.append(less[0])
        tell(CALLS.format(*named(*cell), mean_error(theirs)[0], mean_error(same)[0], *gain, *less))
    tell(f"on average {np.mean(gains):+.1f} at equal calls, {np.mean(thirds):+.1f} at a third")
    return gains


# calibration: what is reported without a test set


def calibration(families: Iterable[str], seeds: int, tell: Callable[[str], Any] = print) -> list[float]:
    """The validation set's luck is taken off what is reported: it is 0 on average, and known here."""
    biases = []
    for cell in cells(families):
        family, size, graded = cell
        off: dict[str, list[float]] = {"mipro": [], "paired": []}
        held = []
        for seed in range(seeds):
            world = size.world(family, seed, graded)
            one = mipro(world, size)
            other = paired(world, size.examples, one.evaluations, size.examples)
            for name, found in (("mipro", one), ("paired", other)):
                off[name].append(found.reported - world.true(found.choice) - world.luck(found.choice, size.examples))
            held.append(other.low <= world.true(other.choice) <= other.high)
        biases.append(mean_error(off["paired"])[0])
        tell(TRUTH.format(*named(*cell), *mean_error(off["mipro"]), *mean_error(off["paired"]), np.mean(held)))
    tell(f"largest {max(map(abs, biases)):.2f}")
    return biases


# the verdict on a test set


def verdict(runs: int = 1000, tell: Callable[[str], Any] = print) -> list[tuple[float, float]]:
    """How often the 95% interval of the difference holds the true one, and how often no gain is called one."""
    found = []
    for size in (30, 60, 200):
        for graded in (False, True):
            held = [_judged(size, graded, 0.6, seed)[0] for seed in range(runs)]
            said = [_judged(size, graded, 0.0, seed)[1] for seed in range(runs)]
            found.append((float(np.mean(held)), float(np.mean(said))))
            name = "graded" if graded else "boolean"
            tell(
                f"{size:>4} test examples, {name:<8} interval holds {found[-1][0]:.1%}, "
                f"falsely improved {found[-1][1]:.1%}"
            )
    return found


def _judged(size: int, graded: bool, gain: float, seed: int) -> tuple[bool, bool]:
    """Whether the interval holds the true difference, and whether the word is "improved", on one test set."""
    rng = np.random.default_rng([seed, size, graded, round(10 * gain)])
    easiness, population = 1.5 * rng.standard_normal(size), 1.5 * QUANTILES
    before, after = (_drawn(rng, right(0.3 + more + easiness), graded) for more in (0.0, gain))
    found = judge(before, after, seed)
    true = float((right(0.3 + gain + population) - right(0.3 + population)).mean())
    return found.low <= true <= found.high, found.word == "improved"


def _drawn(rng: Any, rate: Any, graded: bool) -> list[float]:
    hit = (rng.random(len(rate)) < rate) * 1.0
    if not graded:
        return hit.tolist()
    return (0.5 * hit + 0.5 * (rate + np.minimum(rate, 1 - rate) * (2 * rng.random(len(rate)) - 1))).tolist()


# the search's own time


def own_time(evaluations: int, rule: str = "ucb", tell: Callable[[str], Any] = print) -> float:
    """The share of a run's wall time that the search takes: 3 predictors, 18 x 18 candidates each, 1,000 examples.

    A program run is three LM calls of 50 ms; 16 are in flight.
    """
    world = World("additive", 0, 3, 18, 18)
    plan = Schedule(10, 1000, 35, evaluations=evaluations, full=1000)
    search = PairedStrategy(world.candidates(), plan, random.Random(0), rule=rule)
    timed = Timed(search)
    play(timed, world)
    wall = evaluations * 0.150 / 16
    tell(f"{rule}, {evaluations} evaluations: {timed.taken:.2f} s of {wall:.0f} s, {timed.taken / wall:.1%}")
    return timed.taken / wall


class Timed:
    """A strategy whose processor time is taken; ``believed`` is called whenever the evaluations have grown by 4%."""

    def __init__(self, search: PairedStrategy) -> None:
        self._search, self.depth, self.taken = search, search.depth, 0.0
        self._told, self._next = 0, 1.0

    def ask(self) -> Any:
        return self._timed(self._search.ask)

    def tell(self, work: Any, scores: Any) -> Any:
        found = self._timed(self._search.tell, work, scores)
        self._told += len(scores)
        if self._told >= self._next:
            self._next = 1.04 * self._told
            self._timed(self._search.believed)
        return found

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        try:
            return call(*arguments)
        finally:
            self.taken += time.process_time() - start


PARTS = ("regret", "end_to_end", "calibration", "verdict", "time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--others", action="store_true", help="families that nothing was chosen by")
    options = parser.parse_args()
    families = OTHERS if options.others else FAMILIES
    for part in [options.part] if options.part else PARTS:
        print(f"\n{part}\n")
        if part == "verdict":
            verdict()
        elif part == "time":
            for evaluations in (1900, 7700):
                own_time(evaluations)
        else:
            {"regret": regret, "end_to_end": end_to_end, "calibration": calibration}[part](families, options.seeds)


if __name__ == "__main__":
    main()
