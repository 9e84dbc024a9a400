"""New candidates while the search goes on: later rounds of proposals, demo sets for what failed, people's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from mipro_nb import bootstrap
from mipro_nb import events as ev
from mipro_nb.bootstrap import DemoSet, Recipe
from mipro_nb.control import Added
from mipro_nb.effort import HARDER_RUNS
from mipro_nb.errors import LoadError, TooManyErrors
from mipro_nb.feedback import feedback_of
from mipro_nb.history import History
from mipro_nb.instruction import keeping
from mipro_nb.learning import Result, bandit, results
from mipro_nb.memory import write_memory
from mipro_nb.module import Module
from mipro_nb.plan import Job
from mipro_nb.pool import Pool
from mipro_nb.propose import Ask, GroundedProposer
from mipro_nb.search import Candidates, Choice

HARDER = "harder"  # origin of a demo set from examples that only a better program solves


def combined(job: Job, instructions: Sequence[ev.InstructionProposed], sets: Sequence[DemoSet]) -> Candidates:
    """Return what is searched: all instructions that were told, and the demo sets; frozen predictors have their own."""
    predictors = dict(job.student.named_predictors())
    frozen, names = job.options.freeze, tuple(predictors)
    texts = tuple(
        tuple(one.text for one in instructions if one.predictor == name)[: 1 if name in frozen else None]
        for name in names
    )
    zeros = tuple(0 for _ in names)
    if job.zero_shot:  # demos stay as the student brought them, if it did
        return Candidates(names, texts, (), Choice(zeros))
    demos = tuple(
        (tuple(predictors[name].demos),) if name in frozen else tuple(made.demos[name] for made in sets)
        for name in names
    )
    own = next((place for place, made in enumerate(sets) if made.origin == "student"), 0)
    return Candidates(names, texts, demos, Choice(zeros, tuple(0 if name in frozen else own for name in names)))


class Renewal:
    """Grows a run's candidates.

    Args:
        sets: the demo sets of stage 1.
    """

    def __init__(
        self, job: Job, proposer: GroundedProposer, sets: Sequence[DemoSet], history: History, emit: ev.Listener
    ) -> None:
        self._job, self._proposer, self._sets = job, proposer, list(sets)
        self._history, self._emit = history, emit
        self._rng = random.Random(f"renewal/{job.seed}")
        self._round = 0
        self._run = history.started.run_id if history.started is not None else ""

    def candidates(self) -> Candidates:
        """Return all that there is by now."""
        return combined(self._job, self._history.instructions, self._sets)

    def propose(self, best: Module, pool: Pool) -> None:
        """Ask for instructions in the light of what the search has found, and for a demo set of what was hard."""
        number_of_round = self._round + 1  # counted when it is through: a stop may cut it off
        planned = self._job.plan.later_instructions
        count = planned[self._round] if self._round < len(planned) else 0
        if not self._job.zero_shot:
            self._solve_harder(best, pool)
        feedback = feedback_of(self._history, self._job.valset, number_of_round)
        known = bandit(self._results(), self._job.memory, self._proposer.levels)
        names = [name for name, _ in self._job.student.named_predictors() if name not in self._job.options.freeze]
        asks = [
            Ask(name, known.choose(self._rng, feedback.kinds(name)), 100 * number_of_round + number)
            for name in names
            for number in range(count)
        ]
        self._proposer.again(self._job.student, self._sets, asks, feedback, pool)
        self._round = number_of_round

    def add(self, wish: Added) -> None:
        """Take a person's own instruction in."""
        text = keeping(wish.text, self._job.options.keep)
        index = sum(one.predictor == wish.predictor for one in self._history.instructions)
        self._emit(ev.InstructionProposed(wish.predictor, index, text, "added", round=self._round))

    def remember(self) -> None:
        """Write what worked into the memory over runs; a file that can't be written is said, and costs nothing."""
        memory = self._job.options.memory
        if memory is None:
            return
        try:
            write_memory(memory, self._results(), self._run)
        except (OSError, LoadError) as error:
            self._emit(ev.Noted("propose", f"what worked could not be kept in {memory}: {error}"))

    def _results(self) -> list[Result]:
        posterior = self._history.posterior
        return results(self._history.instructions, posterior.candidates if posterior is not None else ())

    def _solve_harder(self, best: Module, pool: Pool) -> None:
        """Let the best program try training examples that the teacher failed on; what it solves becomes demos."""
        tried: dict[int, bool] = {}
        for attempt in self._history.bootstrap_attempts:
            tried[attempt.example] = tried.get(attempt.example, False) or attempt.kept
        hard = [number for number, kept in tried.items() if not kept]
        new = [number for number in range(len(self._job.bootstrapping.trainset)) if number not in tried]
        order = [*self._rng.sample(hard, len(hard)), *self._rng.sample(new, len(new))][:HARDER_RUNS]
        size = max((recipe.size for recipe in self._job.recipes), default=0)
        if not order or not size:
            return
        job = replace(self._job.bootstrapping, teacher=best)
        try:
            self._sets += bootstrap.demo_sets(job, [Recipe(HARDER, tuple(order), size)], pool, first=len(self._sets))
        except TooManyErrors as error:
            self._emit(ev.Noted("bootstrap", f"no demo set of harder examples: {error}"))
