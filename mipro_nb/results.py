"""What combinations have scored on which examples, as a table that grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mipro_nb.search import Choice

TRIES = 2  # for an example whose call failed
OPEN, AWAITED, SEEN, LOST = range(4)


def row_of(choice: Choice) -> tuple[int, ...]:
    """Write a combination as whole numbers: per predictor its instruction and, if there are any, its demo set."""
    if not choice.demos:
        return choice.instructions
    return tuple(index for pair in zip(choice.instructions, choice.demos, strict=True) for index in pair)


def choice_of(row: Sequence[int], demos: bool) -> Choice:
    """Return the combination that ``row_of`` wrote."""
    numbers = tuple(int(number) for number in row)
    return Choice(numbers[::2], numbers[1::2]) if demos else Choice(numbers)


class Results:
    """Scores by combination and example; every combination meets the examples in the same order.

    Args:
        order: of the examples, by their ids from 0.

    Attributes:
        choices: the combinations in order of their first trial; a combination's place here is its trial's number.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self._order = np.array(order, dtype=int)
        self._rank = np.argsort(self._order)
        self.choices: list[Choice] = []
        self._place: dict[Choice, int] = {}
        self._tries: dict[tuple[int, int], int] = {}  # of what failed
        self._scores = np.zeros((0, len(order)))  # columns by rank, not by id
        self._state = np.zeros((0, len(order)), dtype=np.int8)

    def __contains__(self, choice: Choice) -> bool:
        return choice in self._place

    def place(self, choice: Choice) -> int:
        """Return a combination's place; a new one gets the next."""
        if choice not in self._place:
            self._place[choice] = len(self.choices)
            self.choices.append(choice)
            if len(self.choices) > len(self._scores):  # room is made in advance
                more = ((0, len(self._scores) + 16), (0, 0))
                self._scores, self._state = np.pad(self._scores, more), np.pad(self._state, more)
        return self._place[choice]

    def met(self, choice: Choice) -> tuple[int, ...]:
        """Return the examples that a combination has met or is about to meet, in order."""
        place = self.place(choice)  # which may make room
        return tuple(self._order[self._state[place] != OPEN].tolist())

    def open(self, choice: Choice, most: int, up_to: int) -> tuple[int, ...]:
        """Return up to ``most`` examples, of the first ``up_to``, that a combination should meet next."""
        place = self._place.get(choice)
        if place is None:
            return tuple(self._order[: min(most, up_to)].tolist())
        return tuple(self._order[np.flatnonzero(self._state[place, :up_to] == OPEN)[:most]].tolist())

    def exhausted(self, choice: Choice) -> bool:
        """Whether a combination has met every example."""
        place = self._place.get(choice)
        return place is not None and bool((self._state[place] != OPEN).all())

    def begin(self, choice: Choice, examples: Sequence[int]) -> None:
        """Note that a combination is about to meet these examples."""
        place = self.place(choice)
        self._state[place, self._rank[list(examples)]] = AWAITED

    def add(self, choice: Choice, asked: Iterable[int], scores: Mapping[int, float]) -> None:
        """Take what came of the examples that were asked for; what failed is open once more, then lost."""
        place = self.place(choice)
        for example in asked:
            rank = self._rank[example]
            if example in scores:
                self._scores[place, rank], self._state[place, rank] = scores[example], SEEN
            else:
                tries = self._tries[place, example] = self._tries.get((place, example), 0) + 1
                self._state[place, rank] = OPEN if tries < TRIES else LOST

    def missing(self, choice: Choice) -> tuple[int, ...]:
        """Return the examples that failed for a combination and may have a last try, in order."""
        place = self._place.get(choice)
        failed = [example for (at, example), tries in self._tries.items() if at == place and tries <= TRIES]
        ranks = sorted(rank for rank in self._rank[failed].tolist() if self._state[place, rank] in (OPEN, LOST))
        return tuple(self._order[ranks].tolist())

    def begin_last(self, choice: Choice, examples: Sequence[int]) -> None:
        """Note that a combination is about to meet examples that failed, for the last time."""
        self.begin(choice, examples)
        self._tries |= {(self.place(choice), example): TRIES for example in examples}

    def forget(self, choice: Choice, examples: Iterable[int]) -> None:
        """Take back what was asked for and never run."""
        place = self.place(choice)
        self._state[place, self._rank[list(examples)]] = OPEN

    def known(self, choice: Choice) -> dict[int, float]:
        """Return a combination's scores by example."""
        place = self._place.get(choice)
        if place is None:
            return {}
        ranks = np.flatnonzero(self._state[place] == SEEN)
        return dict(zip(self._order[ranks].tolist(), self._scores[place, ranks].tolist(), strict=True))

    @property
    def total(self) -> int:
        """How many results there are."""
        return int((self._state == SEEN).sum())

    def arrays(self) -> tuple[list[Choice], Any, Any, Any]:
        """Return the combinations with a result, and as arrays their rows, scores, and whether these are known."""
        seen = self._state == SEEN
        rows = np.flatnonzero(seen.any(axis=1))
        met = seen.any(axis=0)
        choices = [self.choices[place] for place in rows]
        table = np.array([row_of(one) for one in choices], dtype=int)
        return choices, table, self._scores[np.ix_(rows, met)], seen[np.ix_(rows, met)]
