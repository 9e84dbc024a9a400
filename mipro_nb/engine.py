"""The run: three stages and a verdict, told as events. One thread coordinates; whatever ends it, the best is kept."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from mipro_nb import bootstrap
from mipro_nb import events as ev
from mipro_nb.budget import Amount, OutOfBudget
from mipro_nb.control import Control
from mipro_nb.errors import ConfigError, LMError, LoadError, TooManyErrors, WorkersLost
from mipro_nb.evaluate import evaluate
from mipro_nb.flow import Stopped
from mipro_nb.funds import Funds, budget_of, doubt, doubt_told
from mipro_nb.gate import Gate
from mipro_nb.history import History
from mipro_nb.jobrecord import memory_of, record_of
from mipro_nb.mirroring import mirrored
from mipro_nb.module import Module
from mipro_nb.opening import started
from mipro_nb.past import FINISHED, Past, Retelling
from mipro_nb.plan import Job
from mipro_nb.pool import Pool
from mipro_nb.propose import GroundedProposer
from mipro_nb.recombine import recombine
from mipro_nb.rundir import PROGRAM, RunDirectory, new_directory, read_record
from mipro_nb.search import Candidates, Choice
from mipro_nb.settings import context
from mipro_nb.stage import SearchStage
from mipro_nb.telling import names_of, report
from mipro_nb.traffic import Traffic, through
from mipro_nb.verdict import judge

SETTLING = "the best so far is evaluated on {count} examples more; stop again to end at once."
UNSETTLED = "the best so far isn't fully evaluated: {why}."
OVERTAKEN = "it came to lead only while others were evaluated"
ENDS = {"bootstrap": "no more demo sets are made from", "propose": "proposals end", "search": "the search ends"}
OPENED = "the test set is opened for the {times}. time: a choice made after seeing its result is no longer blind to it."


class Execution:
    """A job as it is carried out: the three stages and the verdict, in the thread that calls ``run``.

    Attributes:
        history: what happened so far; other threads may read it.
        control: what other threads ask for.
        remarks: what went wrong without ending the run's use: an early end, a program that can't be saved.
        settling: whether the best is being evaluated after a stop.
    """

    def __init__(self, job: Job, listeners: Sequence[ev.Listener] = (), control: Control | None = None) -> None:
        self.job, self.history, self.control = job, History(), control or Control()
        self.remarks: list[str] = []
        self._stage: SearchStage | None = None
        self._judged: list[Choice] = []
        self._gate: Gate | None = None
        self._paused = (False, "")  # and the reason
        self._pool_now: Pool | None = None
        self.settling = False
        self._doubt = ""  # to be told of, once a resumed run is further than before
        self._reached: str | None = None  # why a stage was cut short, so that later ones can be paid for
        self._rng = copy.copy(job.rng)  # a job may be run again
        self._home: RunDirectory | None = None
        self._past = Past()
        self._saved: Choice | None = None
        self._spend()
        self.emit = Retelling([self.history, self._fund, *listeners])

    def _spend(self, before: ev.Usage | None = None, doubtful: Amount | None = None, seconds: float = 0.0) -> None:
        """Set up the limits, of which a resumed run has used a part before."""
        self._budget = budget_of(self.job.options, before, doubtful, seconds)
        self._funds = Funds(self.job, self.history, self._budget)

    def _fund(self, event: ev.Event) -> None:
        self._funds(event)

    @property
    def directory(self) -> Path | None:
        """Where the run is kept, once that is settled; None: nowhere."""
        return self._home.path if self._home is not None else None

    def claim(self) -> None:
        """Take hold of the run directory, and of what is there of the run already.

        Raises:
            ConfigError, LoadError: the one that was named can't be had, see ``rundir.RunDirectory.claim``.
        """
        where = self.job.options.run_dir
        if where is False or self._home is not None:
            return
        record = record_of(self.job)
        if where is not None:
            self._home = RunDirectory.claim(Path(where).expanduser().absolute(), record)  # chdir may come
        else:
            try:
                self._home = RunDirectory.claim(new_directory(type(self.job.student).__name__), record)
            except ConfigError as error:  # nobody asked for it: the run goes on without
                self.remarks.append(f"the run is not kept, and can't be resumed: {error}")
                return
        self.emit.past = self._past = self._home.past
        self._home.placed = self._placed
        if self._past.started is None:
            return
        try:
            self.job = dataclasses.replace(self.job, memory=memory_of(read_record(self._home.path)))
            journal = self._home.journal
            doubtful = doubt(journal.doubtful)
            self._spend(journal.spent, doubtful, self._past.seconds)
            self._doubt = doubt_told(doubtful) if doubtful.calls else ""
        except BaseException:
            self._home.release()
            raise

    def _placed(self, path: Path, start: int, end: int) -> None:
        self.history.events.placed(path, start, end)  # so that those of a long run needn't stay in memory

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

        if self._home is not None:
            self._home.reclaim(self.history.events)
        return self._logged(stages)

    def _logged(self, stages: Callable[[Pool], None]) -> Module:
        home = self._home
        if home is None:
            return self._mirrored(stages)
        try:
            self.emit.add(home)
            return self._mirrored(stages)
        finally:
            if not self._past.ahead:
                home.summarize(self.history, now=True)
            self.emit.remove(home)
            home.release()

    def _mirrored(self, stages: Callable[[Pool], None]) -> Module:
        with mirrored(self.job.options.storage, self.history, self.emit):
            return self._kept(stages)

    def _kept(self, stages: Callable[[Pool], None]) -> Module:
        """Run stages; whatever ends them, the best so far is kept."""
        self._budget.begin()
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
                self._account(reason)
                self.emit(ev.RunFinished(reason))
                raise
            self.remarks.append(f"the run ended early, the best program so far is returned: {error}")
        program = self.best_program()
        if self._stage is not None:
            self._stage.remember()
        self._save(program)
        self._account(reason)
        self.emit(ev.RunFinished(reason))
        return program

    def _account(self, reason: str) -> None:
        """Tell of the calls for examples that the end cut off: they were paid for.

        A run that goes on tells of them again, with their examples; so they are booked apart, see ``events.CUT_OFF``.
        """
        self._budget.rest()
        retold = self._past.started is not None and not self._past.left_behind
        if self._past.ahead and self._home is not None and not (retold and self._past.ended):
            self.emit.go_on()
            untold = _more(self._budget.paid, self._past.usage)
            if untold.calls:
                self._home(ev.LMUsed(ev.CUT_OFF, untold))  # the log alone: it tells of the rest
        if self._past.ahead or (retold and reason != FINISHED):
            return  # what was paid for isn't all told yet
        # what the log tells of and this time wasn't asked for, such as the end that a limit had brought on
        logged = _more(self._past.usage, self._past.retold_usage)
        if logged.calls and self._budget.paid.calls > self.history.usage.calls:
            known = ev.LMUsed(ev.CUT_OFF, logged)
            self._past.own(known)
            self._past.retold_usage = self._past.usage
            self.emit(known)
        missing = _more(self._budget.paid, self.history.usage)
        if missing.calls:
            cut_off = ev.LMUsed(ev.CUT_OFF, missing)
            if retold and self._past.ended == reason:
                self._past.own(cut_off)
            self.emit(cut_off)

    def _traffic(self, pool: Pool) -> Traffic:
        """What stands between the run and its LMs; the gate first, so that nothing is reserved while a call waits."""
        self._gate = Gate(self.job.num_threads, self.job.options.max_outage, pool.tell)
        journal = self._home.journal if self._home is not None else None
        self._budget.ledger = journal
        return Traffic((self._gate, self._budget), journal)

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

    def _save(self, program: Module) -> None:
        if self._home is None or self._past.ahead:
            return
        path = self._home.path / PROGRAM
        try:
            with context(lm=self.job.task_model):
                program.save(path)
        except (OSError, TypeError, ValueError) as error:  # the program is still returned: it was paid for
            told = f"the program could not be saved to {path}: {error}"
            if told not in self.remarks:
                self.remarks.append(told)
                self.emit(ev.Noted("run", told))

    def _stages(self, pool: Pool) -> None:
        self._funds.begin("first")
        sets = self._bootstrap(pool)
        proposer = self._propose(sets, pool)
        self.emit(ev.StageStarted("search", self.job.plan.trials_shown))
        keep, past = self._funds.keep if self._budget.limited else None, self._past
        stage = SearchStage(self.job, sets, proposer, self.history, self.emit, self.control, self._rng, past, keep)
        self._stage = stage
        self._search(stage, pool)
        for wished in past.extensions():
            stage.extend(wished.wish["num_trials"], wished)
            self._search(stage, pool)

    def _stop(self) -> str | None:
        """Return why to stop, if there is a reason; called again and again, so pauses and faults are told here too."""
        self._keep_up()
        outage = "" if self.control.paused else self.outage
        paused = (self.control.paused or bool(outage), outage)
        if self._paused != paused:
            self._paused = paused
            self.emit(ev.RunPaused(*paused))
        given_up = self._gate.stop_reason if self._gate is not None else None
        late = self._budget.late()
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

    def _keep_up(self) -> None:
        """Keep on the disk how the run stands, and the best program so far; say what can't be kept."""
        if self._home is None:
            return
        best = self.history.best
        found = Choice(best.instructions, best.demos) if best is not None else None
        if not self._past.ahead:
            self._home.summarize(self.history)
            if self._stage is not None and found is not None and found != self._saved:
                self._saved = found
                self._save(self._stage.best())
        if self._doubt and self._past.left_behind:
            doubt, self._doubt = self._doubt, ""
            if doubt not in (note.message for note in self.history.notes):
                self.emit(ev.Noted("run", doubt))
        for complaint in self._home.complaints():
            self.remarks.append(f"{complaint} What came since then can't be resumed.")
            self.emit(ev.Noted("run", self.remarks[-1]))

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
        self._funds.begin("search")
        if self._past.stopped:
            self._stop_again(stage, pool)
            return
        try:
            if not self._up_to_share("search", lambda: stage.run(pool), pool):
                self._funds.begin("end")
                self._up_to_share("search", lambda: stage.conclude(pool), pool)
        except OutOfBudget:
            raise
        except Stopped:
            self._settle(stage, pool)
            raise
        self._funds.begin("last")
        if self.job.testset:
            try:
                self._verdict(stage, pool)
            except OutOfBudget as out:
                self.emit(ev.Noted("verdict", f"there is no verdict: {out}."))
                raise
        if self._reached is not None:
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
        self._funds.begin("last")
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
        self._funds.check_runs(runs)

    def _up_to_share(self, stage: str, work: Callable[[], object], pool: Pool) -> bool:
        """Do a work, or as much of it as what is kept for later allows; return whether it was all of it."""
        try:
            work()
        except OutOfBudget as out:
            if not out.share and self._past.started is None:  # of a resumed run the end may be paid for already
                raise
            self.emit(ev.Noted(stage, f"{ENDS[stage]} here: {out}."))
            self._reached = str(out)
            pool.again()
            return False
        return True

    def _verdict(self, stage: SearchStage, pool: Pool) -> None:
        """Open the sealed test set, for the baseline and the winner alone."""
        baseline, winner = stage.candidates.baseline, stage.winner()
        won = winner != baseline
        if self._judged and self._judged[-1] == winner:  # nothing better was found: the verdict stands
            return
        pool.check()
        left = [
            sum(not self._past.has(True, one, n) for n in range(len(self.job.testset))) for one in (baseline, winner)
        ]
        self._funds.check_verdict(left[0], left[1] if won else 0)
        tests = sum(trial.kind.startswith("test") for trial in self.history.trials_by_number.values())
        self.emit(ev.StageStarted("verdict", tests + (2 if won else 1)))
        if tests:
            self.emit(ev.Noted("verdict", OPENED.format(times=len(self._judged) + 1)))
        before = self._on_test("test_baseline", stage, baseline, pool)
        after = self._on_test("test_best", stage, winner, pool) if won else before
        both = [number for number in before if number in after]
        if not both:
            self.emit(ev.Noted("verdict", "no test example could be scored: there is no verdict."))
            return
        verdict = judge([before[number] for number in both], [after[number] for number in both], self.job.seed)
        self._judged.append(winner)
        self.emit(ev.VerdictReached(verdict))

    def _on_test(self, kind: str, stage: SearchStage, choice: Choice, pool: Pool) -> dict[int, float]:
        """Run a program on the test set; return the scores of the examples that didn't fail."""
        data, params, trial = self.job.testset, self.job.params, len(self.history.trials_by_number)
        self.emit(ev.TrialStarted(trial, kind, choice.instructions, choice.demos, len(data), len(data)))
        program = stage.with_(choice)
        done = functools.partial(report, self.emit, "verdict", trial, names_of(program))
        known = functools.partial(self._past.result, True, choice)
        results = evaluate(program, list(enumerate(data)), params.metric, pool, done, params.max_errors, known)
        scores = {result.example: result.score for result in results if result.score is not None}
        mean = sum(scores.values()) / len(scores) if scores else None
        self.emit(ev.TrialFinished(trial, mean, len(scores), len(data) - len(scores)))
        return scores

    @property
    def candidates(self) -> Candidates | None:
        """What is searched, once the search has begun."""
        return self._stage.candidates if self._stage is not None else None

    def best_program(self) -> Module:
        """Return the best program so far, or a copy of the student; from any thread.

        While a resumed run hasn't come as far as before, it is that of before.
        """
        if self._home is not None and self._past.ahead:
            with contextlib.suppress(LoadError):
                return self.job.student.deepcopy().load(self._home.path / PROGRAM)
        return self._stage.best() if self._stage is not None else self.job.student.deepcopy()


def _more(whole: ev.Usage, part: ev.Usage) -> ev.Usage:
    """Return what the whole is more than a part of it; cached calls aside."""
    prompt, completion = whole.prompt_tokens - part.prompt_tokens, whole.completion_tokens - part.completion_tokens
    cost = None if whole.cost is None or part.cost is None else max(0.0, whole.cost - part.cost)
    return ev.Usage(max(0, whole.calls - part.calls), 0, max(0, prompt), max(0, completion), cost)
