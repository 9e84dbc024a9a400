"""Stage 3 of a run: a strategy, its rounds, the proposals that come while it searches, and what people wish."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from mipro_nb import estimate
from mipro_nb import events as ev
from mipro_nb.bootstrap import DemoSet
from mipro_nb.control import Added, Control, Wish, read_wish, told_wish
from mipro_nb.errors import ConfigError
from mipro_nb.history import History
from mipro_nb.module import Module
from mipro_nb.past import Past
from mipro_nb.plan import Job
from mipro_nb.pool import Pool
from mipro_nb.propose import GroundedProposer
from mipro_nb.renewal import Renewal, combined
from mipro_nb.search import Candidates, Choice, Limits, Schedule
from mipro_nb.searching import Searching
from mipro_nb.strategies import strategy

NOTHING_FITS = "no combination fits max_prompt_tokens={most}: the shortest prompts have about {least:,.0f} tokens."
EXHAUSTED = "every combination has been tried: there is nothing to extend the search to."


class SearchStage:
    """Searches the combinations of what the first two stages made.

    Args:
        sets: the demo sets of stage 1; the instructions of stage 2 are in the history.
        proposer: that of stage 2, which later rounds ask again.
        rng: the run's draws.
        past: what is known of a run that is resumed.
        keep: told before each round how many evaluations the end of the search takes, if it comes now.

    Attributes:
        candidates: what is searched by now.
    """

    def __init__(
        self,
        job: Job,
        sets: Sequence[DemoSet],
        proposer: GroundedProposer,
        history: History,
        emit: ev.Listener,
        control: Control,
        rng: random.Random,
        past: Past,
        keep: Callable[[int], None] | None = None,
    ) -> None:
        self._job, self._history, self._emit, self._control = job, history, emit, control
        self._past, self._keep, self._proving = past, keep, False
        self.candidates: Candidates = combined(job, history.instructions, sets)
        limits = Limits(job.options.max_prompt_tokens, job.options.token_price, estimate.rest_tokens(job))
        self._strategy = strategy(job.params.search, self.candidates, _schedule(job), job.seed, rng, limits)
        self._renewal = Renewal(job, proposer, sets, history, emit)
        least, most = limits.rest + self.candidates.fewest_tokens, limits.most
        if most is not None and least > most:
            emit(ev.Noted("search", NOTHING_FITS.format(most=most, least=least)))
        metric, errors, with_, between = job.params.metric, job.params.max_errors, self.with_, self._take_wishes
        self._searching = Searching(self._strategy, job.valset, metric, errors, history, emit, with_, between, past)

    def run(self, pool: Pool) -> None:
        """Search until the strategy has no more to ask for; errors as of ``Searching.run``."""
        self._searching.run(pool)
        while self._strategy.wants and not self._past.stopped_at(self._searching.turn):
            self._renewal.propose(self.best(), pool)
            self._searching.turn += 1  # what is wished for from here on is granted after these proposals
            self._grow(wanted=True)
            self._searching.run(pool)

    def conclude(self, pool: Pool) -> None:
        """Evaluate what the end of the search takes, after ``run`` was cut off by a limit; errors as of ``run``."""
        self._strategy.conclude()
        self._searching.run(pool)

    @property
    def unproven(self) -> list[tuple[Choice, int]]:
        """The best combination with each of the examples that its full evaluation lacks."""
        found = self._strategy.unproven
        return [(found[0], example) for example in found[1]] if found is not None else []

    def prove(self, pool: Pool) -> None:
        """Evaluate the best fully, after ``run`` was cut off; the search may go on later; errors as of ``run``."""
        turn, self._proving = self._searching.turn, True
        self._strategy.prove(True)
        try:
            self._searching.run(pool)
        finally:
            self._strategy.prove(False)
            self._searching.turn, self._proving = turn, False  # a resumed run counts none of this

    def extend(self, num_trials: int) -> None:
        """Let the search go on with so many more trials, and with what people have wished for since it ended."""
        wishes = [told_wish(wish) for wish in self._control.take_wishes()]
        wishes.append({"kind": "extend", "num_trials": num_trials})
        self.extend_as([ev.Wished(self._searching.turn, wish, ended=True) for wish in wishes])

    def extend_as(self, wishes: Sequence[ev.Wished]) -> None:
        """Do so as a log tells of it; the search may have come further before it now, if it had been stopped."""
        for wished in wishes:
            self._grant(wished)

    def _more(self, num_trials: int) -> None:
        plan = self._job.plan
        if plan.evaluations is not None:
            more = num_trials * (plan.minibatch_size or len(self._job.valset))
        else:
            full = math.ceil(num_trials / plan.full_eval_steps) + 1 if plan.minibatch_size is not None else 0
            more = num_trials + full
        self._strategy.extend(num_trials)
        self._emit(ev.RunExtended(num_trials, more))
        if self._strategy.over:
            self._emit(ev.Noted("search", EXHAUSTED))

    def remember(self) -> None:
        """Keep what worked in proposing, where a memory over runs is wanted."""
        self._renewal.remember()

    def winner(self) -> Choice:
        """Return the best combination so far."""
        best = self._history.best
        return Choice(best.instructions, best.demos) if best else self.candidates.baseline

    def best(self) -> Module:
        """Return the best program so far, or a copy of the student."""
        winner = self.winner()
        return self._job.student.deepcopy() if winner == self.candidates.baseline else self.with_(winner)

    def with_(self, choice: Choice) -> Module:
        """Return a copy of the student with a combination put in."""
        return self.candidates.apply(self._job.student, choice)

    def _grow(self, *, wanted: bool = False) -> None:
        self.candidates = self._renewal.candidates()
        self._strategy.grow(self.candidates, wanted=wanted)

    def _take_wishes(self) -> None:
        """Do what people have asked for since the last round; after a stop it waits until the search goes on."""
        if self._proving:
            return
        wishes = list(self._past.wishes(self._searching.turn))
        if more := self._control.take_more():
            wishes.append({"kind": "extend", "num_trials": more})
        wishes += [told_wish(wish) for wish in self._control.take_wishes()]
        for wish in wishes:
            self._grant(ev.Wished(self._searching.turn, wish))
        if self._keep is not None:
            self._keep(self._strategy.owed)

    def _grant(self, wished: ev.Wished) -> None:
        self._emit(wished)
        wish = read_wish(wished.wish)
        try:
            self._more(wish) if isinstance(wish, int) else self._do(wish)
        except ConfigError as error:
            self._emit(ev.Noted("search", str(error)))

    def _do(self, wish: Wish) -> None:
        if isinstance(wish, Added):
            self._renewal.add(wish)
            self._grow()
            return
        place = self.candidates.predictors.index(wish.predictor)
        self._strategy.ban(place, wish.kind, wish.index)
        self._emit(ev.CandidateBanned(wish.predictor, wish.kind, wish.index))
        self._searching.tell_posterior(0.0)  # another may lead now


def _schedule(job: Job) -> Schedule:
    plan = job.plan
    return Schedule(
        plan.num_trials,
        len(job.valset),
        plan.minibatch_size,
        plan.full_eval_steps,
        job.order,
        plan.evaluations or 0,
        job.full,
        level=not job.testset,
        rounds=len(plan.later_instructions),
    )
