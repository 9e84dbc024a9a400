"""The run: three stages and a verdict, told as events. One thread coordinates; whatever ends it, the best is kept."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from mipro_nb import bootstrap
from mipro_nb import events as ev
from mipro_nb.budget import OutOfBudget
from mipro_nb.control import Control
from mipro_nb.errors import ConfigError, LMError, TooManyErrors, WorkersLost
from mipro_nb.flow import Stopped
from mipro_nb.gate import Gate
from mipro_nb.history import History
from mipro_nb.jobrecord import memory_of
from mipro_nb.judging import Judging
from mipro_nb.keeping import Keeping
from mipro_nb.mirroring import mirrored
from mipro_nb.module import Module
from mipro_nb.opening import started
from mipro_nb.past import FINISHED, Past, Retelling
from mipro_nb.plan import Job
from mipro_nb.pool import Pool
from mipro_nb.propose import GroundedProposer
from mipro_nb.recombine import recombine
from mipro_nb.rundir import read_record
from mipro_nb.search import Candidates
from mipro_nb.settings import context
from mipro_nb.spending import Spending
from mipro_nb.stage import SearchStage
from mipro_nb.traffic import Traffic, through

SETTLING = "the best so far is evaluated on {count} examples more; stop again to end at once."
UNSETTLED = "the best so far isn't fully evaluated: {why}."
OVERTAKEN = "it came to lead only while others were evaluated"
CUT_SHORT = {  # by a limit: where that is told, and what it says
    "bootstrap": ("bootstrap", "no more demo sets are made from here: {why}."),
    "propose": ("propose", "proposals end here: {why}."),
    "search": ("search", "the search ends here: {why}."),
    "end": ("search", "the best so far isn't evaluated any further: {why}."),
}


class Execution:
    """A job as it is carried out: the three stages and the verdict, in the thread that calls ``run``.

    Attributes:
        history: what happened so far; other threads may read it.
        control: what other threads ask for.
        settling: whether the best is being evaluated after a stop.
    """

    def __init__(self, job: Job, listeners: Sequence[ev.Listener] = (), control: Control | None = None) -> None:
        self.job, self.history, self.control = job, History(), control or Control()
        self.settling = False
        self._stage: SearchStage | None = None
        self._gate: Gate | None = None
        self._pool_now: Pool | None = None
        self._paused = (False, "")  # and the reason
        self._reached: str | None = None  # why a stage was cut short, so that later ones can be paid for
        self._rng = copy.copy(job.rng)  # a job may be run again
        self.emit = Retelling([self.history])
        self._keeping = Keeping(job, self.history, self.emit)
        self._spending = Spending(job, self.history, self.emit)
        self._judging = Judging(job, self.history, self.emit, self._spending)
        for listener in (self._spending, *listeners):
            self.emit.add(listener)

    @property
    def remarks(self) -> list[str]:
        """What went wrong without ending the run's use: an early end, a program that can't be saved."""
        return self._keeping.remarks

    @property
    def directory(self) -> Path | None:
        """Where the run is kept, once that is settled; None: nowhere."""
        return self._keeping.home.path if self._keeping.home is not None else None

    @property
    def _past(self) -> Past:
        return self.emit.past

    def claim(self) -> None:
        """Take hold of the run directory, and of what is there of the run already.

        Raises:
            ConfigError, LoadError: the one that was named can't be had, see ``rundir.RunDirectory.claim``.
        """
        if self._keeping.home is not None:
            return
        self._keeping.claim()
        home = self._keeping.home
        if home is None or self._past.started is None:
            return
        try:
            self.job = dataclasses.replace(self.job, memory=memory_of(read_record(home.path)))
            self._spending.resume(home.journal, self._past.seconds)
        except BaseException:
            home.release()
            raise

    def run(self) -> Module:
        """Run everything; return the best program. Whatever ends the run, the best so far is kept."""
        self.claim()
        return self._logged(self._stages)

    def extend(self, num_trials: int) -> Module:
        """Go on with so many more trials, after ``run`` has ended; a verdict is reached anew.

        Raises:
            ConfigError: the search never began, or another process has gone on with the run.
        """
        stage = self._stage
        if stage is None:
            raise ConfigError("the run ended before its search began: there is nothing to extend.")

        def stages(pool: Pool) -> None:
            stage.extend(num_trials)
            self._search(stage, pool)

        self._keeping.reclaim()
        return self._logged(stages)

    def _logged(self, stages: Callable[[Pool], None]) -> Module:
        with self._keeping.logging(), mirrored(self.job.options.storage, self.history, self.emit):
            return self._kept(stages)

    def _kept(self, stages: Callable[[Pool], None]) -> Module:
        """Run stages; whatever ends them, the best so far is kept."""
        self._spending.budget.begin()
        self._reached = None
        try:
            if self.history.started is None:
                self._announce()
            with context(lm=self.job.task_model), self._pool() as pool, through(self._traffic(pool)):
                stages(pool)
            self._past.ahead = False
            reason = FINISHED
        except Stopped as stopped:
            reason = f"stopped: {stopped}"
        except KeyboardInterrupt:
            reason = "interrupted"
        except BaseException as error:
            reason = f"failed: {error}"
            if not isinstance(error, LMError | TooManyErrors | WorkersLost) or self.history.best is None:
                self._spending.close(reason, self._keeping.home)
                self.emit(ev.RunFinished(reason))
                raise
            self.remarks.append(f"the run ended early, the best program so far is returned: {error}")
        program = self.best_program()
        if self._stage is not None:
            self._stage.remember()
        self._keeping.save(program)
        self._spending.close(reason, self._keeping.home)
        self.emit(ev.RunFinished(reason))
        return program

    def _traffic(self, pool: Pool) -> Traffic:
        """What stands between the run and its LMs; the gate first, so that nothing is reserved while a call waits."""
        self._gate = Gate(self.job.num_threads, self.job.options.max_outage, pool.tell)
        home, budget = self._keeping.home, self._spending.budget
        journal = home.journal if home is not None else None
        budget.ledger = journal
        return Traffic((self._gate, budget), journal)

    @property
    def outage(self) -> str:
        """Why the run has paused by itself, in words, or an empty text."""
        return self._gate.reason if self._gate is not None else ""

    def unpause(self) -> None:
        """Go on; an LM that doesn't answer is tried at once."""
        self.control.unpause()
        if self._gate is not None:
            self._gate.hurry()

    def _pool(self) -> Pool:
        pool = Pool(self.job.num_threads, self._stop, self.emit, self.control.go, self.job.options.executor)
        self._pool_now = pool
        return pool

    def abandon(self) -> None:
        """Stop at once, and leave the calls in flight alone; from any thread."""
        self.control.stop("interrupted", evaluate=False)
        if self._pool_now is not None:
            self._pool_now.abandon()

    def _stages(self, pool: Pool) -> None:
        self._spending.funds.begin("first")
        sets = self._bootstrap(pool)
        proposer = self._propose(sets, pool)
        self.emit(ev.StageStarted("search", self.job.plan.trials_shown))
        keep, past = self._spending.funds.keep if self._spending.budget.limited else None, self._past
        stage = SearchStage(self.job, sets, proposer, self.history, self.emit, self.control, self._rng, past, keep)
        self._stage = stage
        self._search(stage, pool)
        for wishes in past.extensions():
            self._reached = None
            stage.extend_as(wishes)
            self._search(stage, pool)

    def _stop(self) -> str | None:
        """Return why to stop, if there is a reason; called again and again, so pauses and faults are told here too."""
        self._keeping.keep_up(self._found)
        self._spending.tell_doubt()
        outage = "" if self.control.paused else self.outage
        paused = (self.control.paused or bool(outage), outage)
        if self._paused != paused:
            self._paused = paused
            self.emit(ev.RunPaused(*paused))
        given_up = self._gate.stop_reason if self._gate is not None else None
        late = self._spending.budget.late()
        if self.settling:
            return late or given_up or outage or self._unsettled()
        if late is None and self.control.stop_reason is None and given_up is None and (asked := self._asked()):
            self.control.suggest(asked)
        return late or self.control.stop_reason or given_up

    def _unsettled(self) -> str | None:
        """Return why the best isn't to be evaluated any more."""
        if self.control.at_once:
            return "it was stopped again"
        return None if self.control.stop_reason is not None else "the run goes on"

    def _asked(self) -> str | None:
        check = self.job.options.stop
        try:
            found: object = check(self.history) if check is not None else None
            return None if found is None or found is False else "as asked" if found is True else str(found)
        except Exception as error:  # noqa: BLE001 (the user's own code; what was paid for must not be lost by it)
            return f"stop raised {type(error).__name__}: {error}"

    def _announce(self) -> None:
        self.emit(self._past.started or started(self.job))
        for remark in self.job.plan.remarks:
            self.emit(ev.Noted("data", remark))
        for remark in self.remarks:
            self.emit(ev.Noted("run", remark))

    def _bootstrap(self, pool: Pool) -> list[bootstrap.DemoSet]:
        """Stage 1."""
        job = self.job
        self.emit(ev.StageStarted("bootstrap", len(job.recipes) + job.recombined))
        sets: list[bootstrap.DemoSet] = []
        make = functools.partial(bootstrap.demo_sets, job.bootstrapping, job.recipes, pool, sets=sets)
        self._up_to_share("bootstrap", make, pool)
        return sets + recombine(job.bootstrapping, sets, job.recombined, self._rng, self.emit)

    def _propose(self, sets: list[bootstrap.DemoSet], pool: Pool) -> GroundedProposer:
        """Stage 2."""
        job = self.job
        count = job.plan.num_instructions
        self.emit(ev.StageStarted("propose", count * len(job.student.predictors)))
        grounding, temperature = job.options.grounding, job.params.init_temperature
        proposer = GroundedProposer(job.prompt_model, grounding, temperature, job.seed, job.options.keep, rng=self._rng)
        train, frozen = job.bootstrapping.trainset, job.options.freeze
        ask = functools.partial(proposer.propose, job.student, train, sets, count, pool, frozen=frozen)
        self._up_to_share("propose", ask, pool)
        return proposer

    def _search(self, stage: SearchStage, pool: Pool) -> None:
        """Stage 3, and the verdict. A search that a limit ends leaves what its end and the verdict take."""
        self._spending.funds.begin("search")
        if self._past.stopped:
            self._stop_again(stage, pool)
            return
        try:
            if not self._up_to_share("search", lambda: stage.run(pool), pool):
                self._spending.funds.begin("end")
                self._up_to_share("end", lambda: stage.conclude(pool), pool)
        except OutOfBudget:
            raise
        except Stopped:
            self._settle(stage, pool)
            raise
        self._spending.funds.begin("last")
        self._judging.run(stage, pool)
        if self._reached is not None and not self._past.extends:
            raise Stopped(self._reached)

    def _stop_again(self, stage: SearchStage, pool: Pool) -> None:
        """Repeat a search up to where somebody stopped it, and the evaluation of its best; an extension follows."""
        stage.run(pool)
        self._past.pass_stop()
        if self._past.stopped:
            stage.prove(pool)
            self._past.pass_stop()

    def _settle(self, stage: SearchStage, pool: Pool) -> None:
        """Evaluate the best so far fully, after somebody has stopped the search, unless they want the end at once."""
        lacking = stage.unproven
        if not lacking or self.control.stop_reason is None or self.control.at_once or self._past.ahead:
            return
        left = [one for one in lacking if not self._past.has(False, *one)]
        self._spending.funds.begin("last")
        self.settling = True
        try:
            pool.check()
            self._check_settling(len(left))
            self.emit(ev.Noted(ev.SETTLING, SETTLING.format(count=len(left))))
            pool.again()
            stage.prove(pool)
            if stage.unproven and stage.unproven[0][0] == stage.winner():
                raise Stopped(OVERTAKEN)
        except (Stopped, LMError, TooManyErrors, WorkersLost) as why:
            self.emit(ev.Noted("search", UNSETTLED.format(why=str(why).rstrip("."))))
        finally:
            self.settling = False

    def _check_settling(self, runs: int) -> None:
        if self.control.paused:
            raise Stopped("the run was paused")
        self._spending.funds.check_runs(runs)

    def _up_to_share(self, stage: str, work: Callable[[], object], pool: Pool) -> bool:
        """Do a work, or as much of it as what is kept for later allows; return whether it was all of it."""
        try:
            work()
        except OutOfBudget as out:
            if not out.share and self._past.started is None:  # of a resumed run the end may be paid for already
                raise
            where, told = CUT_SHORT[stage]
            self.emit(ev.Noted(where, told.format(why=out)))
            self._reached = str(out)
            pool.again()
            return False
        return True

    @property
    def candidates(self) -> Candidates | None:
        """What is searched, once the search has begun."""
        return self._stage.candidates if self._stage is not None else None

    def best_program(self) -> Module:
        """Return the best program so far, or a copy of the student; from any thread.

        While a resumed run hasn't come as far as before, it is that of before.
        """
        return self._keeping.saved() or self._found()

    def _found(self) -> Module:
        return self._stage.best() if self._stage is not None else self.job.student.deepcopy()
