"""The search by paired comparisons: small chunks of examples for the combinations that matter.

All combinations meet the examples in one shared random order. After each round a model of all results
(``posterior``) says how good every combination is, tried or not, and how sure that is; the next round goes to those
that may be best: an upper confidence bound (Srinivas et al., 2010, in batches as Desautels et al., 2014), or Thompson
sampling (Thompson, 1933). What is hopeless gets no more examples. The leader is the best by posterior mean, which
shrinks lucky scores towards what else is known; at the end it is evaluated as far as a full evaluation goes, which is
a share of all evaluations at most.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mipro_nb.events import PosteriorUpdated
from mipro_nb.posterior import Outlook, Posterior, Scales
from mipro_nb.results import Results, row_of
from mipro_nb.search import Candidates, Choice, Limits, Schedule, Work
from mipro_nb.space import Space
from mipro_nb.summary import summary

PROOF = 2  # full evaluations that a stopped search may take at most: of the leader, and of one that overtakes it
STEP = 4  # chunks that the leader gets at a time in the end
CHUNK = 8  # examples that a combination gets at a time
ARMS = 4  # combinations in a round, at least
BOUNDS = (2.0, 0.5)  # standard deviations above the mean that a combination may rise: at first, and in the end
FULL_SHARE, FULL_CHUNKS = 4, 5  # a full evaluation takes one in so many evaluations at most, or so many chunks
COVER = 0.35  # share of the evaluations that may go to a first look at every candidate
REFIT = 1.2  # growth of the evidence after which the model's scales are fitted anew
TOPS = 8  # among many combinations: the neighbours of so many of the best are looked at, one part another
DRAWS = 200  # Thompson samples for a round, at most
FAR, SURE = 0.2, 2.0  # a combination is far from the leader: so much worse, by so many standard errors
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
        self._schedule, self._limits, self._rule, self._rng = schedule, limits or Limits(), rule, rng
        self._space = Space(candidates, self._limits)
        self._results = Results(self._rng.sample(range(schedule.examples), schedule.examples))
        self._chunk = max(1, min(CHUNK, schedule.examples // 4))
        self._arms = min(16, max(ARMS, schedule.evaluations // 32 // CHUNK))
        self._budget, self._spent, self._flying = schedule.evaluations, 0, 0
        self._cover: list[Choice] = self._first_looks()
        self._renewed, self._waiting = 0, False  # rounds of new candidates that came, and whether one is waited for
        self._finished = self._concluding = False
        self._proof: int | None = None  # evaluations left to prove the leader with, while nothing else is asked for
        self._scales: Sequence[Scales] = ()
        self._fitted = 0
        self._overrated = 0.0  # as of the last fit
        self._model: Posterior | None = None
        self._outlook: Outlook | None = None
        self._tried: list[Choice] = []

    # what the run asks

    @property
    def over(self) -> bool:
        return self._finished and not self._flying

    @property
    def _full(self) -> int:
        """Examples that a full evaluation stands on: what it costs is lost to the comparison with the others."""
        return min(self._schedule.full, max(FULL_CHUNKS * self._chunk, self._budget // FULL_SHARE))

    @property
    def owed(self) -> int:
        return self._owed(self._leader()) if self._tried_any else self._full

    def conclude(self) -> None:
        self._cover, self._concluding, self._finished = [], True, False
        self._waiting, self._renewed = False, self._schedule.rounds
        self._budget = self._spent  # a full evaluation is a share of all: fewer of these make it shorter
        self._budget += self.owed

    @property
    def unproven(self) -> tuple[Choice, tuple[int, ...]] | None:
        if not any(choice != self._baseline for choice in self._tried_now()):
            return None
        leader = self._leader()
        lacking = self._results.open(leader, self._full, self._full)
        return (leader, lacking) if lacking else None

    def prove(self, on: bool) -> None:
        self._proof = PROOF * self._full if on else None

    @property
    def wants(self) -> bool:
        return self._waiting and not self._flying

    def ask(self) -> tuple[Work, ...]:
        if self._proof is not None:
            return self._step(self._proof)
        more = self._renewed < self._schedule.rounds
        self._waiting = self._waiting or (more and self._spent >= self._due)
        if self._finished or self._waiting:
            return ()
        self._refit()
        works = self._first() or self._next()
        if not works and more and self._tried_any:  # nothing is left to try: new candidates now
            self._waiting = True
            return ()
        works = works or self._last() or self._once_more()
        self._finished = not works and not self._flying
        return works

    def tell(self, work: Work, scores: Mapping[int, float]) -> float | None:
        self._results.add(work.choice, work.new, scores)
        return self._told(work)

    def keep(self, work: Work, scores: Mapping[int, float]) -> float | None:
        self._results.add(work.choice, scores, scores)
        self._results.forget(work.choice, [e for e in work.new if e not in scores])
        self._spent -= len(work.new) - len(scores)
        if not self._results.known(work.choice) and work.choice not in (self._baseline, *self._cover):
            self._cover.append(work.choice)
        return self._told(work)

    def extend(self, num_trials: int) -> None:
        self._concluding = False
        self._budget += num_trials * (self._schedule.minibatch_size or self._schedule.examples)
        self._finished = self._tried_any and not self._pool(self._leader())[1]

    def grow(self, candidates: Candidates, *, wanted: bool = False) -> None:
        before = self._space.candidates
        self._space.grow(candidates)
        if wanted:
            self._renewed, self._waiting = self._renewed + 1, False
        if not self._tried_any:
            self._cover = self._first_looks()
            return
        leader = self._leader()
        room = max(0, (self._budget - self._spent - self._owed(leader)) // self._chunk - len(self._cover))
        new = [one for one in self._space.renewed(leader, before) if one not in (*self._cover, *self._tried)]
        self._cover += new[:room]
        self._finished = self._finished and not self._cover

    def ban(self, place: int, kind: str, index: int) -> None:
        self._space.ban(place, kind, index)
        self._cover = list(filter(self._space.allowed, self._cover))

    def believed(self) -> PosteriorUpdated | None:
        if not self._tried_any:
            return None
        leader, model = self._leader(), self._posterior()
        overrated = self._luck_of(leader) if self._spent >= self._budget else self._overrated
        tried = list(filter(self._space.allowed, self._tried))
        return summary(self._space.candidates, leader, model, overrated, tried, self._limits, self._results.total)

    # what comes next

    def _first(self) -> tuple[Work, ...]:
        """A first look at the program as it was given, and at every candidate."""
        works: list[Work] = []
        start = self._results.open(self._baseline, 2 * self._chunk, 2 * self._chunk)
        if start:
            works.append(self._work(self._baseline, len(start)))
        wanted, self._cover = self._cover[: 2 * self._arms], self._cover[2 * self._arms :]
        works += [self._work(choice, self._chunk) for choice in wanted]
        return tuple(work for work in works if work.new)

    def _next(self) -> tuple[Work, ...]:
        """A chunk for each of the combinations that may be best."""
        if not self._tried_any or self._concluding:
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
        prices = np.array([self._space.price(choice) for choice in pool])
        choose = self._by_bound if self._rule == "ucb" else self._by_draw
        chosen = choose(outlook, prices, open_, arms)
        return tuple(self._work(pool[place], self._chunk) for place in chosen)

    def _by_bound(self, outlook: Outlook, prices: Any, open_: Sequence[int], arms: int) -> list[int]:
        """The highest upper confidence bounds, each choice made as if the results of those before were known."""
        chosen: list[int] = []
        left = np.full(len(prices), -np.inf)
        left[list(open_)] = 0.0
        noise = self._posterior().noise / self._chunk
        (high, low), spent = BOUNDS, min(1.0, self._spent / max(1, self._budget))
        rise = high + (low - high) * spent
        while len(chosen) < min(arms, len(open_)):
            bounds = outlook.mean - prices + rise * np.sqrt(outlook.variance) + left
            place = int(bounds.argmax())
            chosen.append(place)
            left[place] = -np.inf
            outlook.await_result(place, noise)
        return chosen

    def _by_draw(self, outlook: Outlook, prices: Any, open_: Sequence[int], arms: int) -> list[int]:
        """The best in each of as many draws from the posterior as it takes."""
        kept = sorted(open_, key=lambda n: -float(outlook.mean[n] - prices[n] + BOUNDS[0] * outlook.variance[n] ** 0.5))
        kept = sorted(kept[:400])
        belief = self._posterior().believed(outlook.rows[kept])
        draws = np.random.default_rng(self._rng.getrandbits(32))
        root = np.linalg.cholesky(belief.covariance + 1e-9 * np.eye(len(kept)))
        samples = (belief.mean - prices[kept])[:, None] + root @ draws.standard_normal((len(kept), DRAWS))
        return [kept[n] for n in dict.fromkeys(samples.argmax(0).tolist())][:arms]

    def _last(self) -> tuple[Work, ...]:
        """What is owed at the end: the leader in full, then the baseline beside it, each half of the leader alone.

        The leader goes on in steps: if it falls behind, what is left goes to the one that leads then.
        """
        if self._flying or not self._tried_any:
            return ()
        leader = self._leader()
        debts = self._debts(leader)
        if debts and debts[0][0] == leader:
            debts = [(leader, debts[0][1][: STEP * self._chunk])]
        works, left = [], self._budget - self._spent
        for choice, examples in debts:
            work = self._work(choice, min(len(examples), left))
            left -= len(work.new)
            works.append(work)
        return tuple(work for work in works if work.new)

    def _step(self, most: int) -> tuple[Work, ...]:
        """The next of the examples that the leader's full evaluation lacks; which may cost the search nothing."""
        found = self.unproven if not self._flying else None
        count = min(len(found[1]), STEP * self._chunk, most) if found is not None else 0
        if found is None or count < 1:
            return ()
        self._proof = most - count
        self._budget = max(self._budget, self._spent + count)
        return (self._work(found[0], count),)

    def _debts(self, leader: Choice) -> list[tuple[Choice, tuple[int, ...]]]:
        """What should still be evaluated before the end, the most important first."""
        full, baseline = self._full, self._baseline
        owed = [(leader, self._results.open(leader, full, full))]
        if baseline != leader:
            owed += [(half, self._results.open(half, self._chunk, self._chunk)) for half in self._space.halves(leader)]
            if self._schedule.level:
                owed.append((baseline, self._results.open(baseline, full, full)))
        return [(choice, examples) for choice, examples in owed if examples]

    def _owed(self, leader: Choice) -> int:
        return sum(len(examples) for _, examples in self._debts(leader))

    def _work(self, choice: Choice, most: int) -> Work:
        up_to = self._schedule.examples
        new = self._results.open(choice, max(0, min(most, self._budget - self._spent)), up_to)
        if not new:
            return Work(-1, "partial", choice, (), ())
        self._results.begin(choice, new)
        return self._begun(choice, new)

    def _once_more(self) -> tuple[Work, ...]:
        """What failed for the program as it was given and for the leader is tried a last time before they are told."""
        works: list[Work] = []
        for choice in dict.fromkeys((self._baseline, self._leader())) if self._tried_any and not self._flying else ():
            if missing := self._results.missing(choice):
                self._results.begin_last(choice, missing)
                works.append(self._begun(choice, missing))
        return tuple(works)

    def _begun(self, choice: Choice, new: tuple[int, ...]) -> Work:
        trial = self._results.place(choice)
        self._spent += len(new)
        self._flying += 1
        met = self._results.met(choice)
        kind = "full" if len(met) >= self._full else "partial"
        return Work(trial, "baseline" if choice == self._baseline else kind, choice, met, new)

    def _told(self, work: Work) -> float | None:
        self._flying -= 1
        self._model = None
        known = self._results.known(work.choice)
        held = [known[example] for example in work.examples if example in known]
        return sum(held) / len(held) if held else None

    # what is known

    @property
    def _baseline(self) -> Choice:
        return self._space.candidates.baseline

    @property
    def _demos(self) -> bool:
        return bool(self._space.candidates.demos)

    @property
    def _tried_any(self) -> bool:
        return self._results.total > 0

    def _tried_now(self) -> list[Choice]:
        return self._results.arrays()[0] if self._tried_any else []

    def _posterior(self) -> Posterior:
        """The model of all that is known; its scales change only between rounds, whoever looks when."""
        if self._model is None:
            self._tried, rows, scores, seen = self._results.arrays()
            self._model = Posterior(rows, scores, seen, self._demos, self._scales)
            self._outlook = None
        return self._model

    def _standing(self) -> Outlook:
        """Means and variances of the combinations that were tried."""
        model = self._posterior()
        if self._outlook is None:
            self._outlook = model.outlook(model.design)
        return self._outlook

    def _luck_of(self, leader: Choice) -> float:
        """By how much the model rates the leader higher than one of the combinations near to it alone does.

        How far off the others are says nothing of how much these differ: taken for that, it makes the leader's luck
        look like its worth.
        """
        standing, row = self._standing(), np.array([row_of(leader)], dtype=int)
        rated = float(self._posterior().outlook(row).mean[0])
        near = standing.mean + SURE * np.sqrt(standing.variance) >= rated - FAR
        if near.all() or not near.any():
            return 0.0
        _, rows, scores, seen = self._results.arrays()
        met = seen[near].any(axis=0)
        model = Posterior(rows[near], scores[near][:, met], seen[near][:, met], self._demos)
        return rated - float(model.outlook(row).mean[0])

    def _refit(self) -> None:
        """Fit the scales anew, if there is much more evidence than last time."""
        total = self._results.total
        if total > REFIT * self._fitted:
            self._scales, self._fitted, self._model = (), total, None
            self._scales = self._posterior().scales
            self._overrated = self._luck_of(self._leader())

    def _leader(self) -> Choice:
        """The combination of highest posterior mean, less the price of its prompt; the baseline must be beaten.

        Beaten by what was seen too: where all scores are the same, the model alone makes nothing better. Once the
        evaluations are spent, one that was looked at a few times only can't win any more.
        """
        model, baseline = self._posterior(), self._baseline
        tried = list(filter(self._space.allowed, self._tried))
        if self._spent >= self._budget and not self._flying:
            enough = [choice for choice in tried if 2 * len(self._results.met(choice)) >= self._full]
            tried = enough or tried
        if baseline not in tried and (self._space.allowed(baseline) or not tried):
            tried.append(baseline)
        means = dict(zip(self._tried, self._standing().mean, strict=True))
        if baseline not in means:
            means[baseline] = model.outlook(np.array([row_of(baseline)], dtype=int)).mean[0]
        worth = np.round([means[one] - self._space.price(one) for one in tried], 9)  # of equals the first tried
        given = worth[tried.index(baseline)] if baseline in tried else -np.inf
        ahead = (tried[place] for place in np.argsort(-worth, kind="stable").tolist() if worth[place] > given)
        return next((one for one in ahead if baseline not in tried or self._seems_better(one)), baseline)

    def _seems_better(self, choice: Choice) -> bool:
        """Whether a combination scored higher than the baseline, on the same examples or on all, or costs less."""
        if self._space.price(choice) < self._space.price(self._baseline):
            return True
        own, given = self._results.known(choice), self._results.known(self._baseline)
        both = own.keys() & given.keys()
        paired = sum(own[example] - given[example] for example in both)
        return not given or paired > 0 or sum(own.values()) * len(given) > sum(given.values()) * len(own)

    def _pool(self, leader: Choice) -> tuple[list[Choice], list[int]]:
        """The combinations to look at, and the places of those with examples left."""
        pool = self._space.every() if self._space.small else self._around(leader)
        return pool, [n for n, one in enumerate(pool) if not self._results.exhausted(one)]

    def _around(self, leader: Choice) -> list[Choice]:
        best = [self._tried[place] for place in np.argsort(-self._standing().mean, kind="stable")[:TOPS]]
        return self._space.around(self._tried, list(dict.fromkeys([leader, *best])))

    def _first_looks(self) -> list[Choice]:
        return self._space.cover(self._rng, int(COVER * self._budget / self._chunk))

    @property
    def _due(self) -> int:
        """After how many evaluations the next later round of proposals is asked for."""
        low, high = ROUNDS_OVER
        share = low + (high - low) * (self._renewed + 1) / (self._schedule.rounds + 1)
        return int(share * self._schedule.evaluations)
