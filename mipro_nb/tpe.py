"""MIPROv2's own search: TPE over minibatch means, on Optuna."""

from __future__ import annotations

import random
import statistics
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mipro_nb.errors import ConfigError
from mipro_nb.events import PosteriorUpdated
from mipro_nb.search import Candidates, Choice, Schedule, Work

SETTLED = (
    "search='mipro' settles its candidates before it begins, as dspy does; search='paired' takes them at any time."
)


@dataclass(slots=True)
class _Known:
    """What a combination has scored: per example, and per trial."""

    scores: dict[int, float] = field(default_factory=dict)
    means: list[float] = field(default_factory=list)
    full: bool = False
    trial: int = -1  # of the last evaluation on everything


class MiproStrategy:
    """MIPROv2's search as dspy 3.4.1 runs it (teleprompt/mipro_optimizer_v2.py).

    The program itself is evaluated fully; then TPE (multivariate) proposes combinations, each
    scored on a fresh minibatch; every few trials, and at the end, the combination of highest mean
    that wasn't fully evaluated yet is. What is bettered: no combination is run twice on the same
    example, and the search ends when everything is known.
    """

    depth = 1

    def __init__(self, candidates: Candidates, schedule: Schedule, seed: int, rng: random.Random | None = None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._candidates, self._schedule = candidates, schedule
        self._rng = rng if rng is not None else random.Random(seed)
        self._known: dict[Choice, _Known] = {}
        self._trials = 0
        self._again: set[int] = set()  # trials that go on, for what failed in them
        self._asked, self._wanted = 0, schedule.num_trials
        self._space = self._distributions(optuna)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=10,
            n_ei_candidates=24,
            seed=seed,
            multivariate=True,
            group=False,
            constant_liar=True,
        )
        self._optuna = optuna
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._plan = self._run()
        self._work: Work | None = next(self._plan, None)
        self._given = False  # whether the work is under way
        self._held: tuple[Generator[Work, float | None, None], Work | None, Choice | None]

    @property
    def over(self) -> bool:
        return self._work is None

    def ask(self) -> tuple[Work, ...]:
        if self._work is None or self._given:
            return ()
        self._given = True
        return (self._work,)

    @property
    def owed(self) -> int:
        """A full evaluation of the best of minibatches; what is evaluated fully now is owed no more."""
        work, everything = self._work, self._schedule.examples
        if work is None or work.kind != "minibatch":
            return 0
        return everything - len(self._known[self._leader() or work.choice].scores)

    def conclude(self) -> None:
        self._wanted, self._given = self._asked, False
        self._plan = self._end()
        self._work = next(self._plan, None)

    def _end(self) -> Generator[Work, float | None, None]:
        """The baseline, if it wasn't evaluated yet, and the leader, if it is one of minibatches."""
        baseline, everything = self._candidates.baseline, tuple(range(self._schedule.examples))
        if not self._known[baseline].full:
            score = yield self._trial("baseline", baseline, everything)
            self._book(baseline, score)
        leader = self._leader() if self._schedule.minibatch_size is not None else None
        if leader is not None and leader != baseline:
            score = yield self._trial("full", leader, everything)
            self._book(leader, score)

    @property
    def unproven(self) -> tuple[Choice, tuple[int, ...]] | None:
        leader, best = self._leader(), self._known.get(self._best())
        if leader is None or best is None or not best.full:
            return None
        known = self._known[leader]
        if _mean(known.means) <= _mean(list(best.scores.values())):
            return None
        return leader, tuple(example for example in range(self._schedule.examples) if example not in known.scores)

    def prove(self, on: bool) -> None:
        """After it the leader counts as before, with more scores known: the search takes the way that it would have."""
        if on:
            self._held = self._plan, self._work, self._leader()
            self._plan = self._proof()
            self._work = next(self._plan, None)
        else:
            self._plan, self._work, leader = self._held
            if leader is not None:
                self._known[leader].full = False
            if self._work is not None:
                self._work = self._rest(self._work, self._known[self._work.choice].scores)
        self._given = False

    def _proof(self) -> Generator[Work, float | None, None]:
        if (found := self.unproven) is not None:
            yield self._trial("full", found[0], tuple(range(self._schedule.examples)))

    @property
    def wants(self) -> bool:
        return False

    def grow(self, candidates: Candidates, *, wanted: bool = False) -> None:
        raise ConfigError(SETTLED)

    def ban(self, place: int, kind: str, index: int) -> None:
        raise ConfigError(SETTLED)

    def believed(self) -> PosteriorUpdated | None:
        return None

    def keep(self, work: Work, scores: Mapping[int, float]) -> float | None:
        self._known[work.choice].scores.update(scores)
        if self._work is not None:
            self._work = self._rest(self._work, scores)
        self._given = False
        return None

    def _rest(self, work: Work, known: Mapping[int, float]) -> Work:
        return replace(work, new=tuple(example for example in work.new if example not in known))

    def extend(self, num_trials: int) -> None:
        self._wanted += num_trials
        if self._work is None:
            self._plan = self._combinations()
            self._work = next(self._plan, None)

    def tell(self, work: Work, scores: Mapping[int, float]) -> float | None:
        known = self._known[work.choice]
        known.scores.update(scores)
        held = [known.scores[example] for example in work.examples if example in known.scores]
        lost = bool(work.new) and not scores  # an outage: what was known before must not pass for this trial
        lost = lost and work.trial not in self._again
        mean = None if lost or not held else _mean(held)
        if work.kind != "minibatch" and mean is not None:
            known.full = True  # after an outage it stays open, and the next full evaluation tries it again
        try:
            self._work = self._plan.send(mean)
        except StopIteration:
            self._work = None
        self._given = False
        return mean

    def _run(self) -> Generator[Work, float | None, None]:
        """The schedule, read from top to bottom; each ``yield`` is a trial and gives back its mean."""
        score = yield self._trial("baseline", self._candidates.baseline, tuple(range(self._schedule.examples)))
        self._book(self._candidates.baseline, score)
        yield from self._combinations()

    def _combinations(self) -> Generator[Work, float | None, None]:
        """Up to the wanted number of combinations, the full evaluations of the best of them in between."""
        schedule, everything = self._schedule, tuple(range(self._schedule.examples))
        order = schedule.order or everything
        batch = schedule.minibatch_size
        while self._asked < self._wanted and not self._exhausted():
            self._asked += 1
            trial = self._study.ask(self._space)
            choice = self._choice(trial.params)
            chosen = everything if batch is None else tuple(self._rng.sample(order, batch))
            score = yield self._trial("full" if batch is None else "minibatch", choice, chosen)
            if score is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, score)
                self._known[choice].means.append(score)
            if batch is not None and (self._asked % schedule.full_eval_steps == 0 or self._asked == self._wanted):
                leader = self._leader()
                if leader is not None:
                    score = yield self._trial("full", leader, everything)
                    self._book(leader, score)
        yield from self._once_more()

    def _once_more(self) -> Generator[Work, float | None, None]:
        """What failed for the program as it was given, and then for the best one, is tried a last time."""
        tried: set[Choice] = set()
        while choice := next((one for one in (self._candidates.baseline, self._best()) if one not in tried), None):
            tried.add(choice)
            known = self._known.get(choice, _Known())
            everything = tuple(range(self._schedule.examples))
            missing = tuple(example for example in everything if example not in known.scores)
            if known.full and missing:
                kind = "baseline" if choice == self._candidates.baseline else "full"
                self._again.add(known.trial)
                yield Work(known.trial, kind, choice, everything, missing)

    def _best(self) -> Choice:
        """The fully evaluated combination of highest mean; of equals the first tried."""
        full = {choice: _mean(list(known.scores.values())) for choice, known in self._known.items() if known.full}
        return max(full, key=full.__getitem__, default=self._candidates.baseline)

    def _trial(self, kind: str, choice: Choice, examples: tuple[int, ...]) -> Work:
        known = self._known.setdefault(choice, _Known())
        work = Work(self._trials, kind, choice, examples, tuple(e for e in examples if e not in known.scores))
        known.trial = known.trial if kind == "minibatch" else self._trials
        self._trials += 1
        return work

    def _book(self, choice: Choice, score: float | None) -> None:
        """Let Optuna learn from a full evaluation too."""
        if score is not None:
            params = self._params(choice)
            done = self._optuna.trial.create_trial(params=params, distributions=self._space, value=score)
            self._study.add_trial(done)

    def _leader(self) -> Choice | None:
        """The combination of highest mean over its trials that isn't fully evaluated; of equals the first tried."""
        open_ = [(choice, k.means) for choice, k in self._known.items() if k.means and not k.full]
        return max(open_, key=lambda pair: _mean(pair[1]))[0] if open_ else None

    def _exhausted(self) -> bool:
        return sum(known.full for known in self._known.values()) >= self._candidates.combinations

    def _distributions(self, optuna: Any) -> dict[str, Any]:
        """One categorical parameter per predictor and kind, named and ordered as in dspy."""
        space: dict[str, Any] = {}
        for place, options in enumerate(self._candidates.instructions):
            space[f"{place}_predictor_instruction"] = optuna.distributions.CategoricalDistribution(range(len(options)))
            if self._candidates.demos:
                sets = range(len(self._candidates.demos[place]))
                space[f"{place}_predictor_demos"] = optuna.distributions.CategoricalDistribution(sets)
        return space

    def _choice(self, params: Mapping[str, int]) -> Choice:
        places = range(len(self._candidates.predictors))
        instructions = tuple(params[f"{place}_predictor_instruction"] for place in places)
        demos = tuple(params[f"{place}_predictor_demos"] for place in places) if self._candidates.demos else ()
        return self._candidates.same(Choice(instructions, demos))

    def _params(self, choice: Choice) -> dict[str, int]:
        params = {f"{place}_predictor_instruction": index for place, index in enumerate(choice.instructions)}
        return params | {f"{place}_predictor_demos": index for place, index in enumerate(choice.demos)}


def _mean(scores: Sequence[float]) -> float:
    """Return the mean, exactly rounded: equals stay equal, on however many examples they stand."""
    return float(statistics.mean(scores))
