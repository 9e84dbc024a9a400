"""Stage 3: which combination of instructions and demo sets to try next.

A strategy never runs anything: ``ask`` gives work (a combination and the examples that it
lacks), ``tell`` takes the scores. So a run is a pure function of data, settings, seed and
replies. The strategies are ``tpe.MiproStrategy`` and ``paired.PairedStrategy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mipro_nb.example import Example
from mipro_nb.module import Module


@dataclass(frozen=True, slots=True)
class Choice:
    """A combination: an index per predictor.

    Attributes:
        instructions: which candidate instruction each predictor takes.
        demos: which demo set each takes; empty in a zero-shot run.
    """

    instructions: tuple[int, ...]
    demos: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the search chooses from.

    Attributes:
        predictors: names, in order.
        instructions: per predictor its candidate instructions; index 0 is the program's own.
        demos: per predictor its demo sets, or empty in a zero-shot run.
        baseline: the combination that is the program as it was given.
    """

    predictors: tuple[str, ...]
    instructions: tuple[tuple[str, ...], ...]
    demos: tuple[tuple[tuple[Example, ...], ...], ...]
    baseline: Choice

    @property
    def combinations(self) -> int:
        """How many combinations differ in what they say."""
        count = 1
        for options in (*self.instructions, *self.demos):
            count *= len({_first_equal(options, place) for place in range(len(options))})
        return count

    def same(self, choice: Choice) -> Choice:
        """Return the combination of lowest indices that says the same; demo sets may be equal in content."""
        instructions = tuple(map(_first_equal, self.instructions, choice.instructions))
        return Choice(instructions, tuple(map(_first_equal, self.demos, choice.demos)))

    def apply(self, program: Module, choice: Choice) -> Module:
        """Return a copy of the program with a combination put in."""
        copy = program.deepcopy()
        for place, (_, predictor) in enumerate(copy.named_predictors()):
            text = self.instructions[place][choice.instructions[place]]
            predictor.signature = predictor.signature.with_instructions(text)
            if choice.demos:
                predictor.demos = list(self.demos[place][choice.demos[place]])
        return copy


def _first_equal(options: Sequence[Any], place: int) -> int:
    return options.index(options[place])


@dataclass(frozen=True, slots=True)
class Work:
    """A trial to run.

    Attributes:
        trial: number from 0.
        kind: ``baseline``, ``minibatch`` or ``full``.
        choice: the combination.
        examples: ids that its score stands on; ``new`` are those not yet scored for this combination.
    """

    trial: int
    kind: str
    choice: Choice
    examples: tuple[int, ...]
    new: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How much to try.

    Attributes:
        num_trials: combinations to try, the baseline and full evaluations of minibatch winners not counted.
        examples: size of the validation set.
        minibatch_size: examples per trial, or None to evaluate every trial fully.
        full_eval_steps: trials between two full evaluations.
        order: all examples in the order that minibatches are drawn from; empty is their own.
    """

    num_trials: int
    examples: int
    minibatch_size: int | None
    full_eval_steps: int = 5
    order: tuple[int, ...] = ()


class Strategy(Protocol):
    """The seam between a search and the run.

    Attributes:
        depth: how many rounds are under way at the same time, 1 or more. What a round brought is known when the round
            ``depth`` later is decided, whatever the number of threads; so nobody waits for the last slow example.
    """

    depth: int

    @property
    def over(self) -> bool:
        """Whether there is nothing more to ask for, once what is under way is told."""

    def ask(self) -> tuple[Work, ...]:
        """Return the next round, trials to run side by side; empty when there is none (any more, or yet)."""

    def tell(self, work: Work, scores: Mapping[int, float]) -> float | None:
        """Take the scores of ``work.new`` (missing ones left out), in the order of asking.

        Returns:
            The mean over ``work.examples``, or None if there is none.
        """

    def extend(self, num_trials: int) -> None:
        """Try so many combinations more, also when the search was over."""

    def keep(self, work: Work, scores: Mapping[int, float]) -> None:
        """Keep what came of a trial that was cut off; ``ask`` gives the rest of it again."""
