"""Worlds to search in: made-up response surfaces, whose true scores are known exactly.

A combination's log odds of a right answer on an example are the sum of what its parts bring (main effects, instruction
x demo set per predictor, an own residual) and the example's easiness. Everything is a function of the world's seed:
whoever asks for a score in whatever order gets the same one, so that two searches meet the same luck. The true score
is the average over 400 quantiles of the examples' population, of which a validation set is a random sample.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

import mipro_nb as mn
from mipro_nb.search import Candidates, Choice

Array = Any
QUANTILES = np.array([NormalDist().inv_cdf((n + 0.5) / 400) for n in range(400)])
SPREAD = 1.5  # standard deviation of the examples' easiness, in log odds


@dataclass(frozen=True)
class Family:
    """How effects are drawn.

    Attributes:
        main, cross, own: standard deviations: of a part, of instruction x demos, of a combination's residual.
        base: mean log odds.
        bad: share of parts that are broken, at a cost of 2.
        good: share of parts that are excellent, worth 1.2.
        tails: degrees of freedom of Student's t for main effects; 0: they are normal.
        fickle: standard deviation of program x example.
    """

    main: float
    cross: float
    own: float
    base: float = 0.5
    bad: float = 0.0
    good: float = 0.0
    tails: float = 0.0
    fickle: float = 0.0


FAMILIES = {
    "additive": Family(0.6, 0.1, 0.05),
    "interaction": Family(0.2, 0.8, 0.4),
    "flat": Family(0.08, 0.05, 0.025),
    "many bad": Family(0.4, 0.2, 0.1, bad=0.5),
}
OTHERS = {  # that nothing was chosen by
    "few excellent": Family(0.1, 0.1, 0.05, base=-0.3, good=0.15),
    "heavy tails": Family(0.35, 0.15, 0.1, tails=2.5),
    "fickle": Family(0.5, 0.2, 0.1, fickle=1.2),
    "near one": Family(0.5, 0.2, 0.1, base=3.0),
    "near zero": Family(0.5, 0.2, 0.1, base=-3.5),
}
ALL = FAMILIES | OTHERS


@dataclass
class World:
    """A surface.

    Args:
        instructions, demos: how many of each per predictor; the first ones stay the same if there are more.
        graded: whether scores are fractions, not 0 and 1.
    """

    family: str
    seed: int
    predictors: int = 1
    instructions: int = 3
    demos: int = 6
    graded: bool = False
    met: dict[tuple[Choice, int], float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.kind = ALL[self.family]
        self._place = list(ALL).index(self.family)
        share = 1 / math.sqrt(self.predictors)
        rng = self._rng(0)
        self._base = self.kind.base + 0.4 * rng.standard_normal()
        places = range(self.predictors)
        self._mains = [[self._main(place, 0, self.instructions) * share for place in places]]
        self._mains.append([self._main(place, 1, self.demos) * share for place in places])
        for parts in self._mains[0]:
            parts[0] -= 0.5 * self.kind.main * share  # the program's own instruction is somewhat below average
        self._scale = share

    def _rng(self, *which: int) -> np.random.Generator:
        return np.random.default_rng([self._place, self.seed, self.predictors, *which])

    def _main(self, place: int, kind: int, count: int) -> Array:
        rng = self._rng(1, place, kind)
        effects = rng.standard_normal(200)
        if self.kind.tails:
            effects *= np.sqrt(self.kind.tails / rng.chisquare(self.kind.tails, 200))
        effects *= self.kind.main
        effects -= 2.0 * (rng.random(200) < self.kind.bad)
        effects += 1.2 * (rng.random(200) < self.kind.good)
        return effects[:count]

    def candidates(self) -> Candidates:
        names = tuple(f"step{place}" for place in range(self.predictors))
        texts = tuple(f"Instruction {n}." for n in range(self.instructions))
        sets = tuple((mn.Example(question=f"q{n}", answer="a"),) for n in range(self.demos))
        zeros = (0,) * self.predictors
        return Candidates(names, (texts,) * self.predictors, (sets,) * self.predictors, Choice(zeros, zeros))

    def skill(self, instructions: Array, demos: Array) -> Array:
        """The log odds of combinations (predictors x combinations)."""
        found = np.full(len(instructions[0]), self._base)
        key = np.zeros(len(instructions[0]), dtype=np.uint64)
        for place in range(self.predictors):
            left, right = np.asarray(instructions[place]), np.asarray(demos[place])
            found += self._mains[0][place][left] + self._mains[1][place][right]
            pair = (left * 1000 + right).astype(np.uint64)
            found += self.kind.cross * self._scale * normal(self._hash(3 + place, pair))
            key = mixed(key + pair)
        return found + self.kind.own * normal(self._hash(2, key))

    def skill_of(self, choice: Choice) -> float:
        rows = [[n] for n in choice.instructions], [[n] for n in choice.demos]
        return float(self.skill(np.array(rows[0]), np.array(rows[1]))[0])

    def true(self, choice: Choice) -> float:
        return float(self._truth(self.skill_of(choice)))

    def best(self) -> float:
        """The highest true score of all combinations."""
        sizes = [range(self.instructions)] * self.predictors + [range(self.demos)] * self.predictors
        rows = np.array(list(itertools.product(*sizes))).T
        return float(self._truth(self.skill(rows[: self.predictors], rows[self.predictors :]).max()))

    def luck(self, choice: Choice, examples: int) -> float:
        """How much easier these first examples are than their population, for a combination: 0 on average."""
        easiness = SPREAD * self._easiness(np.arange(examples))
        spread = self.kind.fickle * QUANTILES[10::20, None]
        return float(right(self.skill_of(choice) + easiness + spread).mean()) - self.true(choice)

    def score(self, choice: Choice, example: int) -> float:
        if (choice, example) not in self.met:
            examples = np.arange(max(400, example + 1))
            self.met |= {(choice, n): float(one) for n, one in enumerate(self._scores(choice, examples))}
        return self.met[choice, example]

    def _scores(self, choice: Choice, examples: Array) -> Array:
        which = hash((choice.instructions, choice.demos)) & 0xFFFFFFFF  # of whole numbers: the same in every process
        keys = mixed(examples.astype(np.uint64) + mixed(np.uint64(which)))
        odds = self.skill_of(choice) + SPREAD * self._easiness(examples)
        rate = right(odds + self.kind.fickle * normal(self._hash(20, keys)))
        hit = (uniform(self._hash(21, keys)) < rate) * 1.0
        if not self.graded:
            return hit
        return 0.5 * hit + 0.5 * (rate + np.minimum(rate, 1 - rate) * (2 * uniform(self._hash(22, keys)) - 1))

    def _easiness(self, examples: Array) -> Array:
        return normal(self._hash(23, examples.astype(np.uint64)))

    def _truth(self, skill: float) -> float:
        return right(skill + math.hypot(SPREAD, self.kind.fickle) * QUANTILES).mean()

    def _hash(self, which: int, keys: Array) -> Array:
        start = ((self._place * 1009 + self.seed) * 101 + self.predictors) * 101 + which
        return mixed(mixed(keys) + np.uint64(start * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF))


def right(log_odds: Array) -> Array:
    return 1 / (1 + np.exp(-log_odds))


def mixed(keys: Array) -> Array:
    """Hash whole numbers (splitmix64, Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        keys = np.asarray(keys, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return keys ^ (keys >> np.uint64(31))


def uniform(keys: Array) -> Array:
    return ((keys >> np.uint64(11)).astype(float) + 0.5) / 2**53


def normal(keys: Array) -> Array:
    """Box and Muller's (1958) numbers of hashes."""
    return np.sqrt(-2 * np.log(uniform(keys))) * np.cos(2 * np.pi * uniform(mixed(keys)))
