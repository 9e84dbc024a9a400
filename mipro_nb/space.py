"""The combinations that a paired search may try: which say the same, are allowed, and are worth a look."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

from mipro_nb.errors import ConfigError
from mipro_nb.search import Candidates, Choice, Limits
from mipro_nb.summary import neighbours, parts, swapped

POOL = 1500  # combinations up to which all are looked at


class Space:
    """Candidates, less what a person has ruled out.

    Args:
        candidates: the baseline counts as the combination of lowest indices that says the same.
        limits: what a person sets on prompts.

    Attributes:
        candidates: as they are now.
    """

    def __init__(self, candidates: Candidates, limits: Limits) -> None:
        self._limits = limits
        self._banned: set[tuple[int, str, int]] = set()
        self._every: list[Choice] | None = None
        self._lengths: dict[Choice, float] = {}  # in tokens; reckoned once
        self.grow(candidates)

    def grow(self, candidates: Candidates) -> None:
        """Go on with these candidates."""
        self.candidates = replace(candidates, baseline=candidates.same(candidates.baseline))
        self._every = None
        self._firsts = [
            [[options.index(one) for one in options] for options in kind]
            for kind in (candidates.instructions, candidates.demos)
        ]

    def ban(self, place: int, kind: str, index: int) -> None:
        """Rule a part out, and those that say the same.

        Raises:
            ConfigError: nothing would be left, or demo sets aren't searched.
        """
        if kind == "demos" and not self.candidates.demos:
            raise ConfigError(f"demos {index} can't be banned: only instructions are searched, demos stay as they are.")
        firsts = self._firsts[kind == "demos"][place]
        left = {first for first in firsts if first != firsts[index] and (place, kind, first) not in self._banned}
        if not left:
            raise ConfigError(f"{kind} {index} is the last one of its predictor: it can't be banned.")
        self._banned.add((place, kind, firsts[index]))
        self._every = None

    def same(self, choice: Choice) -> Choice:
        """Return the combination of lowest indices that says the same."""
        return Choice(
            tuple(first[n] for first, n in zip(self._firsts[0], choice.instructions, strict=True)),
            tuple(first[n] for first, n in zip(self._firsts[1], choice.demos, strict=True)) if choice.demos else (),
        )

    def allowed(self, choice: Choice) -> bool:
        """Whether a person's bans and limits let a combination be tried, or win."""
        if self._banned:
            chosen = (("instruction", choice.instructions), ("demos", choice.demos))
            if any((place, kind, n) in self._banned for kind, row in chosen for place, n in enumerate(row)):
                return False
        most = self._limits.most
        return most is None or self._limits.rest + self._tokens(choice) <= most

    def price(self, choice: Choice) -> float:
        """Return the score that a combination must be worth for its prompt's length."""
        if not self._limits.price:
            return 0.0
        return self._limits.price * (self._limits.rest + self._tokens(choice)) / 1000

    def _tokens(self, choice: Choice) -> float:
        if choice not in self._lengths:
            self._lengths[choice] = self.candidates.tokens(choice)
        return self._lengths[choice]

    @property
    def small(self) -> bool:
        """Whether all combinations are looked at."""
        options = (*self.candidates.instructions, *self.candidates.demos)
        return math.prod(map(len, options)) <= POOL

    def every(self) -> list[Choice]:
        """All combinations that differ in what they say, and are allowed."""
        if self._every is None:
            sizes = [len(options) for options in (*self.candidates.instructions, *self.candidates.demos)]
            places = len(self.candidates.predictors)
            rows = itertools.product(*map(range, sizes))
            unlike = dict.fromkeys(self.same(Choice(row[:places], row[places:])) for row in rows)
            self._every = list(filter(self.allowed, unlike))
        return self._every

    def around(self, tried: Sequence[Choice], best: Sequence[Choice]) -> list[Choice]:
        """What was tried, and whatever differs in one part from the best of it."""
        found = dict.fromkeys([*tried, *best])
        for choice in best:
            found.update(dict.fromkeys(self.same(other) for other in neighbours(self.candidates, choice)))
        return list(filter(self.allowed, found))

    def halves(self, leader: Choice) -> list[Choice]:
        """The leader's instructions with the demos that were given, and the other way round."""
        baseline = self.candidates.baseline
        if not leader.demos or leader.instructions == baseline.instructions or leader.demos == baseline.demos:
            return []
        halves = (Choice(leader.instructions, baseline.demos), Choice(baseline.instructions, leader.demos))
        return list(filter(self.allowed, map(self.same, halves)))

    def cover(self, rng: random.Random, most: int) -> list[Choice]:
        """Put every candidate into one combination at least, drawn at random; ``most`` combinations at most."""
        counts = [len(options) for options in (*self.candidates.instructions, *self.candidates.demos)]
        orders = [rng.sample(range(count), count) for count in counts]
        places = len(self.candidates.predictors)
        found: dict[Choice, None] = {}
        for number in range(min(max(counts), most)):
            row = [order[(number + shift) % len(order)] for shift, order in enumerate(orders)]
            choice = self.same(Choice(tuple(row[:places]), tuple(row[places:])))
            if choice != self.candidates.baseline and self.allowed(choice):
                found[choice] = None
        return list(found)

    def renewed(self, leader: Choice, before: Candidates) -> list[Choice]:
        """Put each candidate that was not there before into the leader."""
        known = {"instruction": list(map(len, before.instructions)), "demos": list(map(len, before.demos))}
        new = (swapped(leader, *part) for part in parts(self.candidates) if part[2] >= known[part[1]][part[0]])
        return [one for one in dict.fromkeys(map(self.same, new)) if self.allowed(one)]
