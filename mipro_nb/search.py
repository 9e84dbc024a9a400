"""Stage 3: which combination of instructions and demo sets to try next.

A strategy never runs anything: ``ask`` gives work (a combination and the examples that it
lacks), ``tell`` takes the scores. So a run is a pure function of data, settings, seed and
replies. The strategies are ``tpe.MiproStrategy`` and ``paired.PairedStrategy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mipro_nb.events import PosteriorUpdated
from mipro_nb.example import Example, fields_of
from mipro_nb.module import Module

CHARACTERS_PER_TOKEN = 4
T = TypeVar("T")


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

    def tokens(self, choice: Choice) -> float:
        """Return about how many tokens a combination's instructions and demos add to the program's prompts."""
        texts = map(_at, self.instructions, choice.instructions)
        shown = map(_at, self.demos, choice.demos)
        return (sum(map(len, texts)) + sum(map(_characters, shown))) / CHARACTERS_PER_TOKEN

    @property
    def fewest_tokens(self) -> float:
        """About how many tokens the shortest combination adds."""
        shortest = sum(min(map(len, options)) for options in self.instructions)
        return (shortest + sum(min(map(_characters, options)) for options in self.demos)) / CHARACTERS_PER_TOKEN

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


def _at(options: Sequence[T], place: int) -> T:
    return options[place]


def _characters(demos: Sequence[Example]) -> int:
    return sum(len(str(value)) for demo in demos for value in fields_of(demo).values())


def candidates_of(program: Module) -> Candidates:
    """Return a program as the only combination there is."""
    named = program.named_predictors()
    zeros = tuple(0 for _ in named)
    return Candidates(
        tuple(name for name, _ in named),
        tuple((predictor.signature.instructions,) for _, predictor in named),
        tuple((tuple(predictor.demos),) for _, predictor in named),
        Choice(zeros, zeros),
    )


def _first_equal(options: Sequence[Any], place: int) -> int:
    return options.index(options[place])


@dataclass(frozen=True, slots=True)
class Work:
    """A trial to run.

    Attributes:
        trial: number from 0; a trial that goes on with more examples keeps its number.
        kind: as of ``events.TrialStarted``.
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
        evaluations: of a search that spends single examples: how many it may run in all.
        full: examples that a full evaluation stands on, for such a search; at most ``examples``.
        level: whether the baseline is in the end to be evaluated as far as the winner.
        rounds: of proposals during the search.
    """

    num_trials: int
    examples: int
    minibatch_size: int | None
    full_eval_steps: int = 5
    order: tuple[int, ...] = ()
    evaluations: int = 0
    full: int = 0
    level: bool = True
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person sets on prompts; lengths in tokens, about.

    Attributes:
        most: longest prompt of the program, summed over its predictors; None: any.
        price: score that 1,000 tokens of prompt must be worth.
        rest: tokens of the prompts beside instructions and demos.
    """

    most: int | None = None
    price: float = 0.0
    rest: float = 0.0


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

    @property
    def owed(self) -> int:
        """How many evaluations the end of the search takes, if it comes now."""

    def conclude(self) -> None:
        """Ask for nothing more than the end takes: the run can't pay for the rest. ``extend`` takes it back."""

    @property
    def unproven(self) -> tuple[Choice, tuple[int, ...]] | None:
        """The best combination so far and the examples that its full evaluation lacks; None: there is nothing to do."""

    def prove(self, on: bool) -> None:
        """From now on ask for the full evaluation of the best alone; False lets the search go on as before."""

    @property
    def wants(self) -> bool:
        """Whether new candidates should be proposed before the next round."""

    def grow(self, candidates: Candidates, *, wanted: bool = False) -> None:
        """Search among more candidates: those of before, at their places, and new ones behind them.

        Args:
            wanted: whether they are the answer to ``wants``.

        Raises:
            ConfigError: this search can't.
        """

    def ban(self, place: int, kind: str, index: int) -> None:
        """Leave a predictor's instruction or demo set (``kind``) out from now on; raises as ``grow`` does."""

    def believed(self) -> PosteriorUpdated | None:
        """Return what the search makes of the results so far, if it has a model of them."""

    def keep(self, work: Work, scores: Mapping[int, float]) -> float | None:
        """Keep what came of a trial that was cut off; ``ask`` gives the rest of it again, if it is still of use.

        Returns:
            The mean of what is known, if the trial can stand as it is.
        """
