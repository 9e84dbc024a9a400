"""The run: three stages and a verdict, told as events. One thread coordinates; whatever ends it, the best is kept."""

from __future__ import annotations

import contextlib
import functools
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mipro_nb import bootstrap
from mipro_nb import events as ev
from mipro_nb.errors import LMError, MiproError, TooManyErrors
from mipro_nb.evaluate import evaluate, report
from mipro_nb.example import Example
from mipro_nb.history import EventLog, History
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.options import Params
from mipro_nb.plan import Job
from mipro_nb.pool import Pool, Stopped
from mipro_nb.propose import GroundedProposer
from mipro_nb.saving import versions
from mipro_nb.search import STRATEGIES, Candidates, Choice, Schedule, Strategy, Work
from mipro_nb.settings import context
from mipro_nb.verdict import judge

PROMPTS_DOING = ("ParseError", "PromptRefused")
UNSEEN = (
    "the program made no LM call that could be seen. Threads that it starts itself lose the run's LM and its account: "
    "start them with contextvars.copy_context().run."
)


def execute(job: Job, listeners: list[ev.Listener]) -> Module:
    """Run a job: the three stages and the verdict. Returns the best program."""
    history, where = History(), job.options.run_dir
    with EventLog(where) if where is not None else contextlib.nullcontext() as log:
        emit = ev.Emitter([history, *([log] if log else []), *listeners])
        program = _Run(job, history, emit).go()
        if log:
            _save(program, log.directory / "program.json", job)
    return program


def _save(program: Module, path: Path, job: Job) -> None:
    try:
        with context(lm=job.task_model):
            program.save(path)
    except (OSError, TypeError, ValueError) as error:  # the program is still returned: it was paid for
        warnings.warn(f"the program could not be saved to {path}: {error}", stacklevel=4)


class _Run:
    """One run, read from top to bottom in ``_stages``."""

    def __init__(self, job: Job, history: History, emit: ev.Listener) -> None:
        self.job, self.history, self.emit = job, history, emit
        self.candidates: Candidates | None = None

    def go(self) -> Module:
        """Run the stages; whatever ends them, the best so far is kept."""
        reason = "failed"
        try:
            self._announce()
            with context(lm=self.job.task_model), Pool(self.job.num_threads, self._stop, self.emit) as pool:
                self._stages(pool)
            reason = "finished"
        except Stopped as stopped:
            reason = f"stopped: {stopped}"
        except KeyboardInterrupt:
            reason = "interrupted"
        except (LMError, TooManyErrors) as error:
            reason = f"failed: {error}"
            if self.history.best is None:
                raise
            warnings.warn(f"the run ended early, the best program so far is returned: {error}", stacklevel=4)
        except MiproError as error:
            reason = f"failed: {error}"
            raise
        finally:
            self.emit(ev.RunFinished(reason))
        return self.best_program()

    def _stages(self, pool: Pool) -> None:
        sets = self._bootstrap(pool)
        instructions = self._propose(sets, pool)
        self.candidates = candidates = self._combine(sets, instructions)
        self._search(candidates, pool)
        if self.job.testset:
            self._verdict(candidates, pool)

    def _stop(self) -> str | None:
        check = self.job.options.stop
        try:
            found: object = check(self.history) if check is not None else None
            return None if found is None or found is False else "as asked" if found is True else str(found)
        except Exception as error:  # noqa: BLE001 (the user's own code; what was paid for must not be lost by it)
            return f"stop raised {type(error).__name__}: {error}"

    def _announce(self) -> None:
        job = self.job
        plain = {field.name: _plain(getattr(job.params, field.name)) for field in fields(Params)}
        names = tuple(name for name, _ in job.student.named_predictors())
        shown = {**asdict(job.plan), "trials_shown": job.plan.trials_shown}
        lms = {"task_model": _plain(job.task_model), "prompt_model": _plain(job.prompt_model)}
        settled = {**plain, **lms, "seed": job.seed}
        program = type(job.student).__name__
        self.emit(ev.RunStarted(uuid.uuid4().hex, program, names, settled, shown, job.plan.sizes, versions()))
        for remark in job.plan.remarks:
            self.emit(ev.Noted("data", remark))

    def _bootstrap(self, pool: Pool) -> list[bootstrap.DemoSet]:
        """Stage 1."""
        self.emit(ev.StageStarted("bootstrap", len(self.job.recipes)))
        return bootstrap.demo_sets(self.job.bootstrapping, self.job.recipes, pool)

    def _propose(self, sets: list[bootstrap.DemoSet], pool: Pool) -> dict[str, list[str]]:
        """Stage 2."""
        job = self.job
        count = job.plan.num_instructions
        self.emit(ev.StageStarted("propose", count * len(job.student.predictors)))
        grounding, temperature = job.options.grounding, job.params.init_temperature
        proposer = GroundedProposer(job.prompt_model, grounding, temperature, job.seed)
        return proposer.propose(job.student, job.bootstrapping.trainset, sets, count, pool)

    def _combine(self, sets: list[bootstrap.DemoSet], instructions: dict[str, list[str]]) -> Candidates:
        names = tuple(name for name, _ in self.job.student.named_predictors())
        texts = tuple(tuple(instructions[name]) for name in names)
        zeros = tuple(0 for _ in names)
        if self.job.zero_shot:  # demos stay as the student brought them, if it did
            return Candidates(names, texts, (), Choice(zeros))
        demos = tuple(tuple(made.demos[name] for made in sets) for name in names)
        own = next((place for place, made in enumerate(sets) if made.origin == "student"), 0)
        return Candidates(names, texts, demos, Choice(zeros, tuple(own for _ in names)))

    def _search(self, candidates: Candidates, pool: Pool) -> None:
        """Stage 3."""
        job, plan = self.job, self.job.plan
        self.emit(ev.StageStarted("search", plan.trials_shown))
        schedule = Schedule(plan.num_trials, len(job.valset), plan.minibatch_size, plan.full_eval_steps)
        strategy: Strategy = STRATEGIES[job.params.search](candidates, schedule, job.seed)
        while (work := strategy.ask()) is not None:
            scores = self._evaluate(work, candidates, job.valset, pool)
            if work.kind == "baseline":
                self._check_baseline(work.trial)
            mean = strategy.tell(work, scores)
            failed = len(work.new) - len(scores)
            self.emit(ev.TrialFinished(work.trial, mean, len(work.examples) - failed, failed))

    def _check_baseline(self, trial: int) -> None:
        """End a run whose program fails throughout before more is spent on it; say what can't be seen."""
        scored = list(self.history.trials_by_number[trial].scored.values())
        failures = [one.error for one in scored if one.error and not one.error.startswith(PROMPTS_DOING)]
        if len(failures) == len(scored):
            raise TooManyErrors(f"all {len(failures)} validation examples failed; the last: {failures[-1]}")
        used = self.history.usage_by_stage.get("search", ev.Usage())
        if not used.calls + used.cached_calls:
            self.emit(ev.Noted("search", UNSEEN))

    def _evaluate(self, work: Work, candidates: Candidates, data: Sequence[Example], pool: Pool) -> dict[int, float]:
        """Run a trial's new examples; return the scores of those that didn't fail."""
        choice = work.choice
        self.emit(
            ev.TrialStarted(work.trial, work.kind, choice.instructions, choice.demos, len(work.examples), len(work.new))
        )
        stage = "verdict" if work.kind.startswith("test") else "search"
        done = functools.partial(report, self.emit, stage, work.trial)
        program = candidates.apply(self.job.student, choice)
        items = [(number, data[number]) for number in work.new]
        params = self.job.params
        results = evaluate(program, items, params.metric, pool, done, params.max_errors)
        return {result.example: result.score for result in results if result.score is not None}

    def _verdict(self, candidates: Candidates, pool: Pool) -> None:
        """Open the sealed test set once, for the baseline and the winner alone."""
        winner = self._winner(candidates)
        won = winner != candidates.baseline
        self.emit(ev.StageStarted("verdict", 2 if won else 1))
        before = self._on_test("test_baseline", candidates.baseline, candidates, pool)
        after = self._on_test("test_best", winner, candidates, pool) if won else before
        both = [number for number in before if number in after]
        if not both:
            self.emit(ev.Noted("verdict", "no test example could be scored: there is no verdict."))
            return
        verdict = judge([before[number] for number in both], [after[number] for number in both], self.job.seed)
        self.emit(ev.VerdictReached(verdict))

    def _on_test(self, kind: str, choice: Choice, candidates: Candidates, pool: Pool) -> dict[int, float]:
        everything = tuple(range(len(self.job.testset)))
        work = Work(len(self.history.trials_by_number), kind, choice, everything, everything)
        scores = self._evaluate(work, candidates, self.job.testset, pool)
        mean = sum(scores.values()) / len(scores) if scores else None
        self.emit(ev.TrialFinished(work.trial, mean, len(scores), len(everything) - len(scores)))
        return scores

    def _winner(self, candidates: Candidates) -> Choice:
        best = self.history.best
        return Choice(best.instructions, best.demos) if best else candidates.baseline

    def best_program(self) -> Module:
        """Return the best fully evaluated program so far, or a copy of the student."""
        candidates = self.candidates
        if candidates is None or (winner := self._winner(candidates)) == candidates.baseline:
            return self.job.student.deepcopy()
        return candidates.apply(self.job.student, winner)


def _plain(value: Any) -> Any:
    """Write a setting as a plain value: an LM by its model's name, a function or program by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, LM):
        return value.model
    return getattr(value, "__name__", type(value).__name__)
