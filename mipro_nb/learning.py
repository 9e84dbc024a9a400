"""Proposals that learn: which ways of asking for an instruction have paid, and so which to try next.

The MIPRO++ of the paper (Opsahl-Ong et al., 2024, section 3.3) learns the proposer's own settings. Here each setting is
a factor, what a proposal gained is an observation of its levels (see ``additive``), and the next setting is drawn by
Thompson sampling (Thompson, 1933): as often as it is believed to be the best. Pure: the state is a list of results.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb.additive import CENTRE, Fit, Level, Row, fit
from mipro_nb.events import InstructionProposed
from mipro_nb.verdict import Z

TIPS = {
    "none": "",
    "creative": "Feel free to be inventive in how the new instruction is put.",
    "simple": "Keep the new instruction short and clear.",
    "description": "Make the new instruction rich in information about the task.",
    "high_stakes": "Put the task into a situation where much depends on solving it right.",
    "persona": "Give the reader a role that fits the task, as in 'You are a ...'.",
}
KINDS = ("fresh", "rewrite", "combine", "fix")
ORIGINS = {"fresh": "proposed", "rewrite": "rewritten", "combine": "combined", "fix": "fixed"}
FACTORS = ("kind", "tip", "temperature", "summary", "demos")
HOTTEST = 2.0
STEPS = (1.0, 0.7, 1.3)  # of the sampling temperature, times the one that was asked for


@dataclass(frozen=True, slots=True)
class Approach:
    """How to ask for an instruction.

    Attributes:
        kind: ``fresh``, from the task alone; ``rewrite`` a good one; ``combine`` two; ``fix`` what one fails at.
        tip: a key of ``TIPS``.
        temperature: of sampling, 0 to 2.
        summary, demos: whether the summary of the data, and demos that the program got right, are shown.
    """

    kind: str
    tip: str
    temperature: float
    summary: bool
    demos: bool


@dataclass(frozen=True, slots=True)
class Levels:
    """What may be chosen, one level or more for each field of ``Approach``."""

    kind: tuple[str, ...] = KINDS
    tip: tuple[str, ...] = tuple(TIPS)
    temperature: tuple[float, ...] = STEPS
    summary: tuple[bool, ...] = (True, False)
    demos: tuple[bool, ...] = (True, False)


def temperatures(init: float) -> tuple[float, ...]:
    """Return the sampling temperatures to choose from: around ``init``, 0 to 2, at most three."""
    return tuple(dict.fromkeys(round(min(HOTTEST, step * init), 2) for step in STEPS))


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an approach.

    Attributes:
        gain: of the instruction's score over the best one that was known before it, a fraction, -1 to 1.
        error: its standard error, 0 or more.
        group: what had the same yardstick: proposals for one predictor in one round.
        weight: above 0 to 1; results of earlier runs count less.
    """

    approach: Approach
    gain: float
    error: float
    group: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one level.

    Attributes:
        factor, level: a field of ``Approach`` and its value, as text.
        tried: how many proposals of this run it took part in.
        gain: that is expected of a proposal with it, all else mixed; ``low`` to ``high`` is its 95% interval.
    """

    factor: str
    level: str
    tried: int
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bandit:
    """What is believed of the approaches; made by ``bandit``, anew whenever results have changed."""

    levels: Levels
    believed: Fit

    def choose(self, rng: random.Random, kinds: Sequence[str] = KINDS) -> Approach:
        """Draw an approach, as often as it is believed to be the best one.

        Args:
            rng: makes the draw; the same state gives the same approach.
            kinds: those that can be asked for now; where none of them is allowed it is ``fresh``.
        """
        drawn = self.believed.draw(rng)

        def best(factor: str, open_to: Sequence[Any]) -> Any:
            return max(open_to, key=lambda level: drawn[factor, level])

        now = [kind for kind in self.levels.kind if kind in kinds] or ["fresh"]
        rest = {name: best(name, getattr(self.levels, name)) for name in FACTORS if name != "kind"}
        return Approach(kind=best("kind", now), **rest)


def bandit(results: Iterable[Result], memory: Iterable[Result] = (), levels: Levels | None = None) -> Bandit:
    """Return what is believed after the results of this run and the remembered ones of others.

    Args:
        results: of this run, see ``results``.
        memory: of earlier runs, see ``memory.read_memory``.
        levels: what may be chosen; None is everything.
    """
    levels = levels or Levels()
    rows = [
        Row(_levels(one.approach), one.gain, one.error, (whose, one.group), one.weight)
        for whose, told in enumerate((results, memory))
        for one in told
    ]
    open_to = [(name, level) for name in FACTORS for level in getattr(levels, name)]
    return Bandit(levels, fit(rows, [*open_to, ("kind", "fresh")]))


def standings(results: Sequence[Result], memory: Iterable[Result] = ()) -> list[Standing]:
    """Return what is known of each level that was tried in this run, by factor; ``memory`` adds to what is known."""
    tried = {name: [getattr(one.approach, name) for one in results] for name in FACTORS}
    levels = Levels(**{name: tuple(sorted(set(seen), key=_place(name))) for name, seen in tried.items()})
    believed = bandit(results, memory, levels).believed
    found = []
    for name in FACTORS:
        for level in getattr(levels, name):
            mean, spread = believed.estimate(_mixed(levels, name, level))
            low, high = mean - Z * spread, mean + Z * spread
            found.append(Standing(name, written(level), tried[name].count(level), mean, low, high))
    return found


def _place(factor: str) -> Callable[[Any], Any]:
    """The order in which levels are listed: as they are declared, numbers by size, yes before no."""
    declared: list[Any] = list(KINDS) if factor == "kind" else list(TIPS)
    return declared.index if factor in ("kind", "tip") else lambda level: -level if level is True else level


def _mixed(levels: Levels, factor: str, level: object) -> dict[Level, float]:
    """A proposal with one level, and those of the other factors in equal parts."""
    shares: dict[Level, float] = {CENTRE: 1.0, (factor, level): 1.0}
    for name in FACTORS:
        if name != factor:
            others = getattr(levels, name)
            shares |= {(name, other): 1 / len(others) for other in others}
    return shares


def results(instructions: Iterable[InstructionProposed], candidates: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Return what came of each proposal of a run, as its search believes now.

    The yardstick is the best instruction that was known when a round began, and not the program's own: to equal the
    one that it was rewritten from is no gain. What all proposals of a round share, their yardstick and how hard it
    was to beat, is left to the model (``Result.group``), so that no approach is blamed for having come late.

    Args:
        instructions: of all predictors, in the order in which they were proposed.
        candidates: as in ``events.PosteriorUpdated``.
    """
    known = {(one["place"], one["index"]): one for one in candidates if one["kind"] == "instruction"}
    places: dict[str, int] = {}
    best: dict[int, float] = {}  # by predictor's place, so far
    yardsticks: dict[tuple[int, int], float] = {}
    found: list[Result] = []
    for event in instructions:
        place = places.setdefault(event.predictor, len(places))
        yardstick = yardsticks.setdefault((place, event.round), best.get(place, 0.0))
        one = known.get((place, event.index))
        if one is None:
            continue
        best[place] = max(best.get(place, one["gain"]), one["gain"])
        approach = approach_of(event)
        if approach is not None:
            gain = max(-1.0, min(1.0, one["gain"] - yardstick))
            found.append(Result(approach, gain, one["error"], f"{place}.{event.round}"))
    return found


def approach_of(event: InstructionProposed) -> Approach | None:
    """Return how an instruction was asked for; None if an LM wasn't asked, or the log doesn't tell."""
    if event.kind not in KINDS or event.tip not in TIPS or event.temperature is None:
        return None
    return Approach(event.kind, event.tip, event.temperature, bool(event.summary), bool(event.demos))


def written(level: object) -> str:
    """Write a level as people read it."""
    if isinstance(level, bool):
        return "yes" if level else "no"
    return f"{level:g}" if isinstance(level, float) else str(level)


def _levels(approach: Approach) -> tuple[Level, ...]:
    return tuple((name, getattr(approach, name)) for name in FACTORS)
