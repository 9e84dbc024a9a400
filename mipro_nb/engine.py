"""The run: three stages and a verdict, told as events. One thread coordinates; whatever ends it, the best is kept."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from mipro_nb import bootstrap, estimate
from mipro_nb import events as ev
from mipro_nb.control import Added, Control, Wish
from mipro_nb.errors import ConfigError, LMError, TooManyErrors
from mipro_nb.evaluate import evaluate
from mipro_nb.eventlog import EventLog
from mipro_nb.example import Example
from mipro_nb.flow import Stopped
from mipro_nb.history import History
from mipro_nb.module import Module
from mipro_nb.opening import started
from mipro_nb.plan import Job
from mipro_nb.pool import Pool
from mipro_nb.propose import GroundedProposer
from mipro_nb.recombine import recombine
from mipro_nb.renewal import Renewal, combined
from mipro_nb.search import Candidates, Choice, Limits, Schedule, Strategy, Work
from mipro_nb.searching import Searching
from mipro_nb.settings import context
from mipro_nb.strategies import strategy as make_strategy
from mipro_nb.telling import names_of, report
from mipro_nb.verdict import judge

OPENED = "the test set is opened for the {times}. time: a choice made after seeing its result is no longer blind to it."


class Execution:
    """A job as it is carried out: the three stages and the verdict, in the thread that calls ``run``.

    Attributes:
        history: what happened so far; other threads may read it.
        control: what other threads ask for.
        remarks: what went wrong without ending the run's use: an early end, a program that can't be saved.
    """

    def __init__(self, job: Job, listeners: Sequence[ev.Listener] = (), control: Control | None = None) -> None:
        self.job, self.history, self.control = job, History(), control or Control()
        self.candidates: Candidates | None = None
        self.remarks: list[str] = []
        self._strategy: Strategy | None = None
        self._searching: Searching | None = None
        self._renewal: Renewal | None = None
        self._judged: list[Choice] = []
        self._paused = False
        self._rng = copy.copy(job.rng)  # a job may be run again
        self.emit = ev.Emitter([self.history, *listeners])

    def run(self) -> Module:
        """Run everything; return the best program. Whatever ends the run, the best so far is kept."""
        return self._logged(self._stages, more=False)

    def extend(self, num_trials: int) -> Module:
        """Go on with so many more trials, after ``run`` has ended; a verdict is reached anew.

        Raises:
            ConfigError: the search never began.
        """
        strategy = self._strategy
        if strategy is None:
            raise ConfigError("the run ended before its search began: there is nothing to extend.")

        def stages(pool: Pool) -> None:
            self._extend(strategy, num_trials)
            self._try_combinations(strategy, pool)

        return self._logged(stages, more=True)

    def _logged(self, stages: Callable[[Pool], None], *, more: bool) -> Module:
        where = self.job.options.run_dir
        if where is None:
            return self._kept(stages)
        with EventLog(where, self.history.events if more else None) as log:
            self.emit.add(log)
            try:
                return self._kept(stages, log.directory)
            finally:
                self.emit.remove(log)

    def _kept(self, stages: Callable[[Pool], None], where: Path | None = None) -> Module:
        """Run stages; whatever ends them, the best so far is kept."""
        try:
            if self.history.started is None:
                self._announce()
            with context(lm=self.job.task_model), self._pool() as pool:
                stages(pool)
            reason = "finished"
        except Stopped as stopped:
            reason = f"stopped: {stopped}"
        except KeyboardInterrupt:
            reason = "interrupted"
        except BaseException as error:
            reason = f"failed: {error}"
            if not isinstance(error, LMError | TooManyErrors) or self.history.best is None:
                self.emit(ev.RunFinished(reason))
                raise
            self.remarks.append(f"the run ended early, the best program so far is returned: {error}")
        program = self.best_program()
        if self._renewal is not None:
            self._renewal.remember()
        if where is not None:
            self._save(program, where / "program.json")
        self.emit(ev.RunFinished(reason))
        return program

    def _pool(self) -> Pool:
        return Pool(self.job.num_threads, self._stop, self.emit, self.control.go)

    def _save(self, program: Module, path: Path) -> None:
        try:
            with context(lm=self.job.task_model):
                program.save(path)
        except (OSError, TypeError, ValueError) as error:  # the program is still returned: it was paid for
            self.remarks.append(f"the program could not be saved to {path}: {error}")
            self.emit(ev.Noted("run", self.remarks[-1]))

    def _stages(self, pool: Pool) -> None:
        sets = self._bootstrap(pool)
        self._propose(sets, pool)
        self._try_combinations(self._begin_search(sets), pool)

    def _stop(self) -> str | None:
        """Return why to stop, if there is a reason; called again and again, so pauses are told here too."""
        if self._paused != self.control.paused:
            self._paused = self.control.paused
            self.emit(ev.RunPaused(self._paused))
        cost, most = self.history.usage.cost, self.job.options.max_cost
        if most is not None and cost is not None and cost >= most:
            return f"max_cost=${most:g} is reached"
        return self.control.stop_reason or self._asked()

    def _asked(self) -> str | None:
        check = self.job.options.stop
        try:
            found: object = check(self.history) if check is not None else None
            return None if found is None or found is False else "as asked" if found is True else str(found)
        except Exception as error:  # noqa: BLE001 (the user's own code; what was paid for must not be lost by it)
            return f"stop raised {type(error).__name__}: {error}"

    def _announce(self) -> None:
        self.emit(started(self.job))
        for remark in self.job.plan.remarks:
            self.emit(ev.Noted("data", remark))

    def _bootstrap(self, pool: Pool) -> list[bootstrap.DemoSet]:
        """Stage 1."""
        job = self.job
        self.emit(ev.StageStarted("bootstrap", len(job.recipes) + job.recombined))
        sets = bootstrap.demo_sets(job.bootstrapping, job.recipes, pool)
        return sets + recombine(job.bootstrapping, sets, job.recombined, self._rng, self.emit)

    def _propose(self, sets: list[bootstrap.DemoSet], pool: Pool) -> None:
        """Stage 2."""
        job = self.job
        count = job.plan.num_instructions
        self.emit(ev.StageStarted("propose", count * len(job.student.predictors)))
        grounding, temperature = job.options.grounding, job.params.init_temperature
        self._proposer = GroundedProposer(
            job.prompt_model, grounding, temperature, job.seed, job.options.keep, rng=self._rng
        )
        train, frozen = job.bootstrapping.trainset, job.options.freeze
        self._proposer.propose(job.student, train, sets, count, pool, frozen=frozen)

    def _begin_search(self, sets: list[bootstrap.DemoSet]) -> Strategy:
        """Stage 3."""
        job, plan = self.job, self.job.plan
        self.candidates = combined(job, self.history.instructions, sets)
        self.emit(ev.StageStarted("search", plan.trials_shown))
        schedule = Schedule(
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
        options = job.options
        limits = Limits(options.max_prompt_tokens, options.token_price, estimate.rest_tokens(job))
        strategy = make_strategy(job.params.search, self.candidates, schedule, job.seed, self._rng, limits)
        params = job.params
        self._searching = Searching(
            strategy,
            job.valset,
            params.metric,
            params.max_errors,
            self.history,
            self.emit,
            self._with,
            lambda: self._take_wishes(strategy),
        )
        self._renewal = Renewal(job, self._proposer, sets, self.history, self.emit)
        self._strategy = strategy
        return strategy

    def _try_combinations(self, strategy: Strategy, pool: Pool) -> None:
        assert self._searching is not None
        assert self._renewal is not None
        self._searching.run(pool)
        while strategy.wants:
            self._renewal.propose(self.best_program(), pool)
            self._grow(strategy, wanted=True)
            self._searching.run(pool)
        if self.job.testset:
            self._verdict(pool)

    def _grow(self, strategy: Strategy, *, wanted: bool = False) -> None:
        assert self._renewal is not None
        self.candidates = self._renewal.candidates()
        strategy.grow(self.candidates, wanted=wanted)

    def _take_wishes(self, strategy: Strategy) -> None:
        """Do what people have asked for since the last round."""
        if more := self.control.take_more():
            self._extend(strategy, more)
        for wish in self.control.take_wishes():
            try:
                self._grant(wish, strategy)
            except ConfigError as error:
                self.emit(ev.Noted("search", str(error)))

    def _grant(self, wish: Wish, strategy: Strategy) -> None:
        if isinstance(wish, Added):
            assert self._renewal is not None
            self._renewal.add(wish)
            self._grow(strategy)
            return
        place = [name for name, _ in self.job.student.named_predictors()].index(wish.predictor)
        strategy.ban(place, wish.kind, wish.index)
        self.emit(ev.CandidateBanned(wish.predictor, wish.kind, wish.index))

    def _extend(self, strategy: Strategy, num_trials: int) -> None:
        plan = self.job.plan
        full = math.ceil(num_trials / plan.full_eval_steps) + 1 if plan.minibatch_size is not None else 0
        more = num_trials + full
        if plan.evaluations is not None:
            more = num_trials * (plan.minibatch_size or len(self.job.valset))
        strategy.extend(num_trials)
        self.emit(ev.RunExtended(num_trials, more))
        if strategy.over:
            self.emit(ev.Noted("search", "every combination has been tried: there is nothing to extend the search to."))

    def _evaluate(self, trial: int, work: Work, data: Sequence[Example], pool: Pool) -> dict[int, float]:
        """Run a trial's new examples; return the scores of those that didn't fail."""
        choice = work.choice
        self.emit(
            ev.TrialStarted(trial, work.kind, choice.instructions, choice.demos, len(work.examples), len(work.new))
        )
        stage = "verdict" if work.kind.startswith("test") else "search"
        program = self._with(choice)
        done = functools.partial(report, self.emit, stage, trial, names_of(program))
        items = [(number, data[number]) for number in work.new]
        params = self.job.params
        results = evaluate(program, items, params.metric, pool, done, params.max_errors)
        return {result.example: result.score for result in results if result.score is not None}

    def _verdict(self, pool: Pool) -> None:
        """Open the sealed test set, for the baseline and the winner alone."""
        baseline, winner = self._baseline(), self._winner()
        if baseline is None or winner is None:
            return
        won = winner != baseline
        if self._judged and self._judged[-1] == winner:  # nothing better was found: the verdict stands
            return
        pool.check()
        tests = sum(trial.kind.startswith("test") for trial in self.history.trials_by_number.values())
        self.emit(ev.StageStarted("verdict", tests + (2 if won else 1)))
        if tests:
            self.emit(ev.Noted("verdict", OPENED.format(times=len(self._judged) + 1)))
        before = self._on_test("test_baseline", baseline, pool)
        after = self._on_test("test_best", winner, pool) if won else before
        both = [number for number in before if number in after]
        if not both:
            self.emit(ev.Noted("verdict", "no test example could be scored: there is no verdict."))
            return
        verdict = judge([before[number] for number in both], [after[number] for number in both], self.job.seed)
        self._judged.append(winner)
        self.emit(ev.VerdictReached(verdict))

    def _on_test(self, kind: str, choice: Choice, pool: Pool) -> dict[int, float]:
        everything = tuple(range(len(self.job.testset)))
        trial = len(self.history.trials_by_number)
        scores = self._evaluate(trial, Work(trial, kind, choice, everything, everything), self.job.testset, pool)
        mean = sum(scores.values()) / len(scores) if scores else None
        self.emit(ev.TrialFinished(trial, mean, len(scores), len(everything) - len(scores)))
        return scores

    def _baseline(self) -> Choice | None:
        return self.candidates.baseline if self.candidates is not None else None

    def _winner(self) -> Choice | None:
        best = self.history.best
        return Choice(best.instructions, best.demos) if best else self._baseline()

    def _with(self, choice: Choice | None) -> Module:
        """Return a copy of the student with a combination put in."""
        if self.candidates is None or choice is None:
            return self.job.student.deepcopy()
        return self.candidates.apply(self.job.student, choice)

    def best_program(self) -> Module:
        """Return the best fully evaluated program so far, or a copy of the student; from any thread."""
        winner = self._winner()
        return self._with(None if winner == self._baseline() else winner)
