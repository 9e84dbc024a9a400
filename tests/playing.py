"""Plays a search as the run does, without a run: rounds under way at the same time, told in the order of asking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import mipro_nb as mn
from mipro_nb.search import Candidates, Choice, Strategy, Work

Score = Callable[[Choice, int], float | None]  # of a combination on an example; None: the call failed


def candidates(instructions: list[int], demos: list[int] | None = None, **changes: Any) -> Candidates:
    """Candidates told apart by their texts, so many per predictor; texts grow with their number."""
    names = tuple(f"step{place}" for place in range(len(instructions)))
    texts = tuple(tuple(f"Instruction {n}." + " More." * 20 * n for n in range(count)) for count in instructions)
    sets = tuple(tuple((mn.Example(question=f"q{n}", answer="a"),) * n for n in range(count)) for count in demos or [])
    zeros = (0,) * len(instructions)
    return replace(Candidates(names, texts, sets, Choice(zeros, zeros if demos else ())), **changes)


@dataclass
class Played:
    """What a search asked for and was told."""

    works: list[Work] = field(default_factory=list)
    means: list[float | None] = field(default_factory=list)
    asked: Counter[tuple[Choice, int]] = field(default_factory=Counter)

    @property
    def evaluations(self) -> int:
        return self.asked.total()

    @property
    def choices(self) -> list[Choice]:
        return list(dict.fromkeys(work.choice for work in self.works))

    def examples(self, choice: Choice) -> set[int]:
        return {example for one, example in self.asked if one == choice}


def scored(work: Work, score: Score) -> dict[int, float]:
    found = {example: score(work.choice, example) for example in work.new}
    return {example: one for example, one in found.items() if one is not None}


def play(strategy: Strategy, score: Score, most: int | None = None) -> Played:
    """Play to the end, or until ``most`` rounds were asked for: those under way are then cut off and kept."""
    played, flight = Played(), []
    rounds = 0
    while True:
        while len(flight) < strategy.depth and rounds != most and (works := strategy.ask()):
            flight.append(works)
            rounds += 1
        if not flight:
            return played
        if rounds == most:
            for work in (work for works in flight for work in works):
                note(played, work, strategy.keep(work, {}))
            return played
        for work in flight.pop(0):
            played.asked.update((work.choice, example) for example in work.new)
            note(played, work, strategy.tell(work, scored(work, score)))


def note(played: Played, work: Work, mean: float | None) -> None:
    played.works.append(work)
    played.means.append(mean)


def table(by_choice: Mapping[Choice, float]) -> Score:
    """Scores 0 and 1 of these rates, the same for every run; other combinations score 0."""
    return lambda choice, example: float((example * 0.618034) % 1 < by_choice.get(choice, 0.0))


def every(found: Candidates) -> Iterator[Choice]:
    """All combinations of one predictor."""
    for n in range(len(found.instructions[0])):
        for m in range(len(found.demos[0]) if found.demos else 1):
            yield Choice((n,), (m,) if found.demos else ())
