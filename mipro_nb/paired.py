"""The search by paired comparisons: small chunks of examples for the combinations that matter.

All combinations meet the examples in one shared random order. After each round a model of all results
(``posterior``) says how good every combination is, tried or not, and how sure that is; the next round goes to those
that may be best: an upper confidence bound (Srinivas et al., 2010, in batches as Desautels et al., 2014), or Thompson
sampling (Thompson, 1933). What is hopeless gets no more examples. The leader is the best by posterior mean, which
shrinks lucky scores towards what else is known; at the end it is evaluated as far as a full evaluation goes.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mipro_nb.errors import ConfigError
from mipro_nb.events import PosteriorUpdated
from mipro_nb.posterior import Outlook, Posterior, Scales
from mipro_nb.results import Results, row_of
from mipro_nb.search import Candidates, Choice, Limits, Schedule, Work
from mipro_nb.summary import neighbours, parts, summary, swapped

CHUNK = 8  # examples that a combination gets at a time
ARMS = 4  # combinations in a round, at least
BOUND = 2.0  # standard deviations above the mean to which a combination is thought to be able to rise
COVER = 0.35  # share of the evaluations that may go to a first look at every candidate
REFIT = 1.2  # growth of the evidence after which the model's scales are fitted anew
POOL = 1500  # combinations up to which all are looked at
TOPS = 8  # else: the neighbours of so many of the best, all but one part the same
DRAWS = 200  # Thompson samples for a round, at most
LEAST_GAIN = 0.001  # score by which the baseline must be beaten: less is the model's own noise
ROUNDS_OVER = (0.15, 0.75)  # between these shares of the evaluations later proposals are asked for


class PairedStrategy:
    """Spends (combination, example) pairs where they tell most about which combination is best.

    Args:
        rng: draws the order of the examples, the first combinations and, if asked to, from the posterior.
        limits: what a person sets on prompts.
        rule: ``ucb`` or ``thompson``.
    """

    depth = 2

    def __init__(
        self,
        candidates: Candidates,
        schedule: Schedule,
        rng: random.Random,
        limits: Limits | None = None,
        rule: str = "ucb",
    ) -> None:
        self._candidates, self._schedule, self._limits, self._rule = candidates, schedule, limits or Limits(), rule
        self._rng = rng
        self._results = Results(self._rng.sample(range(schedule.examples), schedule.examples))
        self._chunk = max(1, min(CHUNK, schedule.examples // 4))
        self._arms = min(16, max(ARMS, schedule.evaluations // 32 // CHUNK))
        self._budget, self._spent, self._flying = schedule.evaluations, 0, 0
        self._banned: set[tuple[int, str, int]] = set()
        self._cover: list[Choice] = []
        self._look_at((), ())
        self._renewed, self._waiting = 0, False  # rounds of new candidates that came, and whether one is waited for
        self._finished = False
        self._scales: Sequence[Scales] = ()
        self._fitted = 0
        self._model: Posterior | None = None
        self._tried: list[Choice] = []

    # what the run asks

    @property
    def over(self) -> bool:
        return self._finished and not self._flying

    @property
    def wants(self) -> bool:
        return self._waiting and not self._flying

    def ask(self) -> tuple[Work, ...]:
        more = self._renewed < self._schedule.rounds
        self._waiting = self._waiting or (more and self._spent >= self._due(self._renewed))
        if self._finished or self._waiting:
            return ()
        works = self._first() or self._next()
        if not works and more and self._tried_any:  # there is nothing left to try, or little: new candidates now
            self._waiting = True
            return ()
        works = works or self._last()
        self._finished = not works and not self._flying
        return works

    def tell(self, work: Work, scores: Mapping[int, float]) -> float | None:
        self._results.add(work.choice, work.new, scores)
        return self._told(work)

    def keep(self, work: Work, scores: Mapping[int, float]) -> float | None:
        self._results.add(work.choice, scores, scores)
        self._results.forget(work.choice, [e for e in work.new if e not in scores])
        if not self._results.known(work.choice) and work.choice != self._candidates.baseline:
            self._cover.insert(0, work.choice)  # its first look is still to come
        self._spent -= len(work.new) - len(scores)
        return self._told(work)

    def extend(self, num_trials: int) -> None:
        self._budget += num_trials * (self._schedule.minibatch_size or self._schedule.examples)
        self._finished = self._tried_any and not self._pool(self._leader())[1]

    def grow(self, candidates: Candidates, *, wanted: bool = False) -> None:
        before, self._candidates = self._candidates, candidates
        if wanted:
            self._renewed, self._waiting = self._renewed + 1, False
        self._look_at(tuple(map(len, before.instructions)), tuple(map(len, before.demos)))
        self._finished = self._finished and not self._cover

    def ban(self, place: int, kind: str, index: int) -> None:
        options = (self._candidates.instructions if kind == "instruction" else self._candidates.demos)[place]
        left = [n for n in range(len(options)) if n != index and (place, kind, n) not in self._banned]
        if not left:
            raise ConfigError(f"{kind} {index} is the last one of its predictor: it can't be banned.")
        self._banned.add((place, kind, index))
        self._cover = [choice for choice in self._cover if self._allowed(choice)]

    def believed(self) -> PosteriorUpdated | None:
        if not self._tried_any:
            return None
        leader, model = self._leader(), self._posterior()
        return summary(self._candidates, leader, model, self._tried, self._limits, self._results.total)

    # what comes next

    def _first(self) -> tuple[Work, ...]:
        """A first look at the program as it was given, and at every candidate."""
        works: list[Work] = []
        if not self._results.met(self._candidates.baseline):
            works.append(self._work(self._candidates.baseline, 2 * self._chunk))
        wanted, self._cover = self._cover[: 2 * self._arms], self._cover[2 * self._arms :]
        works += [self._work(choice, self._chunk) for choice in wanted]
        return tuple(work for work in works if work.new)

    def _next(self) -> tuple[Work, ...]:
        """A chunk for each of the combinations that may be best."""
        if not self._tried_any:
            return ()
        leader = self._leader()
        left = self._budget - self._spent - self._owed(leader)
        arms = min(self._arms, left // self._chunk)
        if arms < 1:
            return ()
        pool, open_ = self._pool(leader)
        if not open_:
            return ()
        outlook = self._posterior().outlook(np.array([row_of(choice) for choice in pool], dtype=int))
        prices = np.array([self._price(choice) for choice in pool])
        choose = self._by_bound if self._rule == "ucb" else self._by_draw
        chosen = choose(outlook, prices, open_, arms)
        return tuple(self._work(pool[place], self._chunk) for place in chosen)

    def _by_bound(self, outlook: Outlook, prices: Any, open_: Sequence[int], arms: int) -> list[int]:
        """The highest upper confidence bounds, each choice made as if the results of those before were known."""
        chosen: list[int] = []
        left = np.full(len(prices), -np.inf)
        left[list(open_)] = 0.0
        noise = self._posterior().noise / self._chunk
        while len(chosen) < min(arms, len(open_)):
            bounds = outlook.mean - prices + BOUND * np.sqrt(outlook.variance) + left
            place = int(bounds.argmax())
            chosen.append(place)
            left[place] = -np.inf
            outlook.await_result(place, noise)
        return chosen

    def _by_draw(self, outlook: Outlook, prices: Any, open_: Sequence[int], arms: int) -> list[int]:
        """The best in each of as many draws from the posterior as it takes."""
        kept = sorted(open_, key=lambda n: -float(outlook.mean[n] - prices[n] + BOUND * outlook.variance[n] ** 0.5))
        kept = sorted(kept[:400])
        belief = self._posterior().believed(outlook.rows[kept])
        draws = np.random.default_rng(self._rng.getrandbits(32))
        root = np.linalg.cholesky(belief.covariance + 1e-9 * np.eye(len(kept)))
        samples = (belief.mean - prices[kept])[:, None] + root @ draws.standard_normal((len(kept), DRAWS))
        return [kept[n] for n in dict.fromkeys(samples.argmax(0).tolist())][:arms]

    def _last(self) -> tuple[Work, ...]:
        """What is owed at the end: the leader in full, the baseline beside it, each half of the leader alone."""
        if self._flying or not self._tried_any:
            return ()
        works, left = [], self._budget - self._spent
        for choice, examples in self._debts(self._leader()):
            work = self._work(choice, min(len(examples), left))
            left -= len(work.new)
            works.append(work)
        return tuple(work for work in works if work.new)

    def _debts(self, leader: Choice) -> list[tuple[Choice, tuple[int, ...]]]:
        """What should still be evaluated before the end, the most important first."""
        full, baseline = self._schedule.full, self._candidates.baseline
        owed = [(leader, self._results.open(leader, full, full))]
        if baseline != leader:
            owed += [(half, self._results.open(half, self._chunk, self._chunk)) for half in self._halves(leader)]
            if self._schedule.level:
                owed.append((baseline, self._results.open(baseline, full, full)))
        return [(choice, examples) for choice, examples in owed if examples]

    def _halves(self, leader: Choice) -> list[Choice]:
        """The leader's instructions with the demos that were given, and the other way round."""
        baseline = self._candidates.baseline
        if not leader.demos or leader.instructions == baseline.instructions or leader.demos == baseline.demos:
            return []
        halves = (Choice(leader.instructions, baseline.demos), Choice(baseline.instructions, leader.demos))
        return [half for half in map(self._same, halves) if self._allowed(half)]

    def _owed(self, leader: Choice) -> int:
        return sum(len(examples) for _, examples in self._debts(leader))

    def _work(self, choice: Choice, most: int) -> Work:
        up_to = self._schedule.examples
        new = self._results.open(choice, max(0, min(most, self._budget - self._spent)), up_to)
        if not new:
            return Work(-1, "partial", choice, (), ())
        trial = self._results.place(choice)
        self._results.begin(choice, new)
        self._spent += len(new)
        self._flying += 1
        met = self._results.met(choice)
        kind = "full" if len(met) >= self._schedule.full else "partial"
        return Work(trial, "baseline" if choice == self._candidates.baseline else kind, choice, met, new)

    def _told(self, work: Work) -> float | None:
        self._flying -= 1
        self._model = None
        known = self._results.known(work.choice)
        held = [known[example] for example in work.examples if example in known]
        return sum(held) / len(held) if held else None

    # what is known

    @property
    def _tried_any(self) -> bool:
        return self._results.total > 0

    def _posterior(self) -> Posterior:
        if self._model is None:
            self._tried, rows, scores, seen = self._results.arrays()
            total = self._results.total
            if total > REFIT * self._fitted:
                self._scales, self._fitted = (), total
            self._model = Posterior(rows, scores, seen, bool(self._candidates.demos), self._scales)
            self._scales = self._model.scales
        return self._model

    def _leader(self) -> Choice:
        """The combination of highest posterior mean, less the price of its prompt; the baseline must be beaten.

        A baseline that isn't allowed can't win, unless it is all there is. Once the evaluations are spent, one that
        was looked at a few times only can't win any more.
        """
        model = self._posterior()
        baseline = self._candidates.baseline
        tried = [choice for choice in self._tried if self._allowed(choice)]
        if self._spent >= self._budget and not self._flying:
            enough = [choice for choice in tried if 2 * len(self._results.met(choice)) >= self._schedule.full]
            tried = enough or tried
        if baseline not in tried:
            tried.append(baseline)
        outlook = model.outlook(np.array([row_of(choice) for choice in tried], dtype=int))
        worth = outlook.mean - [self._price(choice) for choice in tried]
        own = tried.index(baseline)
        worth[own] = worth[own] + LEAST_GAIN if self._allowed(baseline) else -np.inf
        return tried[int(worth.argmax())]

    def _pool(self, leader: Choice) -> tuple[list[Choice], list[int]]:
        """The combinations to look at, and the places of those with examples left."""
        pool = self._everything() if self._size() <= POOL else self._around(leader)
        pool = [choice for choice in pool if self._allowed(choice)]
        return pool, [n for n, one in enumerate(pool) if not self._results.exhausted(one)]

    def _size(self) -> int:
        return math.prod(len(options) for options in (*self._candidates.instructions, *self._candidates.demos))

    def _everything(self) -> list[Choice]:
        """All combinations that differ in what they say."""
        sizes = [len(options) for options in (*self._candidates.instructions, *self._candidates.demos)]
        places = len(self._candidates.predictors)
        every = (Choice(row[:places], row[places:]) for row in itertools.product(*map(range, sizes)))
        return list(dict.fromkeys(map(self._same, every)))

    def _around(self, leader: Choice) -> list[Choice]:
        """What was tried, and whatever differs in one part from the best of it."""
        outlook = self._posterior().outlook(np.array([row_of(choice) for choice in self._tried], dtype=int))
        best = [self._tried[place] for place in np.argsort(-outlook.mean, kind="stable")[:TOPS]]
        found = dict.fromkeys([*self._tried, leader])
        for choice in (leader, *best):
            found.update(dict.fromkeys(self._same(other) for other in neighbours(self._candidates, choice)))
        return list(found)

    def _same(self, choice: Choice) -> Choice:
        """Return the combination of lowest indices that says the same."""
        return Choice(
            tuple(first[n] for first, n in zip(self._firsts[0], choice.instructions, strict=True)),
            tuple(first[n] for first, n in zip(self._firsts[1], choice.demos, strict=True)) if choice.demos else (),
        )

    def _allowed(self, choice: Choice) -> bool:
        """Whether a person's bans and limits let a combination be tried, or win."""
        for place, index in enumerate(choice.instructions):
            if (place, "instruction", index) in self._banned:
                return False
        for place, index in enumerate(choice.demos):
            if (place, "demos", index) in self._banned:
                return False
        most = self._limits.most
        return most is None or self._limits.rest + self._candidates.tokens(choice) <= most

    def _price(self, choice: Choice) -> float:
        if not self._limits.price:
            return 0.0
        return self._limits.price * (self._limits.rest + self._candidates.tokens(choice)) / 1000

    # a first look

    def _look_at(self, instructions: Sequence[int], demos: Sequence[int]) -> None:
        """Plan a first chunk for the candidates beyond so many per predictor: each in one combination at least."""
        candidates = self._candidates
        self._firsts = [
            [[options.index(one) for one in options] for options in kind]
            for kind in (candidates.instructions, candidates.demos)
        ]
        if instructions:
            self._cover += self._with_leader(instructions, demos)
            return
        counts = [len(options) for options in (*candidates.instructions, *candidates.demos)]
        most = min(max(counts), int(COVER * self._budget / self._chunk))
        orders = [self._rng.sample(range(count), count) for count in counts]
        places = len(candidates.predictors)
        for number in range(most):
            row = [order[(number + shift) % len(order)] for shift, order in enumerate(orders)]
            choice = self._same(Choice(tuple(row[:places]), tuple(row[places:])))
            if choice not in self._cover and choice != candidates.baseline and self._allowed(choice):
                self._cover.append(choice)

    def _with_leader(self, instructions: Sequence[int], demos: Sequence[int]) -> list[Choice]:
        """Put each new candidate into the leader."""
        leader = self._leader() if self._tried_any else self._candidates.baseline
        known = {"instruction": instructions, "demos": demos}
        new = [
            swapped(leader, place, kind, index)
            for place, kind, index in parts(self._candidates)
            if index >= known[kind][place]
        ]
        room = max(0, (self._budget - self._spent - self._owed(leader)) // self._chunk)
        return [one for one in dict.fromkeys(map(self._same, new)) if self._allowed(one)][:room]

    def _due(self, number: int) -> int:
        """After how many evaluations a later round of proposals is asked for."""
        low, high = ROUNDS_OVER
        share = low + (high - low) * (number + 1) / (self._schedule.rounds + 1)
        return int(share * self._schedule.evaluations)
