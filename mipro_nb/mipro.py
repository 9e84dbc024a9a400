"""MIPROv2: bootstrap demo sets, propose instructions, search their combinations.

After Opsahl-Ong et al. (2024), "Optimizing Instructions and Demonstrations for Multi-Stage
Language Model Programs", arXiv 2406.11695, and DSPy's implementation of it.
"""

from __future__ import annotations

import functools
import inspect
import os
import uuid
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

from mipro_nb import bootstrap, search
from mipro_nb import events as ev
from mipro_nb.errors import LMError, MiproError, TooManyErrors
from mipro_nb.evaluate import ExampleResult, Metric, Pool, Stopped, evaluate, report
from mipro_nb.example import Example
from mipro_nb.history import History, TrialRecord, to_line
from mipro_nb.lm import LM
from mipro_nb.module import Module, context, settings, versions
from mipro_nb.plan import Job, Options, Params, Plan, check_params, make_job
from mipro_nb.propose import GroundedProposer
from mipro_nb.search import STRATEGIES, Candidates, Choice, Schedule, Strategy
from mipro_nb.verdict import judge

M = TypeVar("M", bound=Module)
F = TypeVar("F", bound=Callable[..., Any])


def _takes_options(method: F) -> F:
    """Show the keywords of ``Options`` in a method's signature, so that ``help`` and completion know them."""
    own = [p for p in inspect.signature(method).parameters.values() if p.kind is not p.VAR_KEYWORD]
    keywords = [
        p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(Options).parameters.values()
    ]
    method.__signature__ = inspect.Signature([*own, *keywords])  # type: ignore[attr-defined]
    return method


class MIPROv2:
    """Optimizes the instructions and demos of every predictor of a program.

    Args:
        metric: ``metric(example, prediction, trace=None)`` -> bool, number in [0, 1] or ``Score``.
        prompt_model: the LM that writes instructions; None: the configured one.
        task_model: the LM that runs the program; None: the configured one.
        teacher: a program, or an LM for the student, that bootstraps demos; None: the student.
        max_bootstrapped_demos, max_labeled_demos: per demo set, 0 or more; both 0 is zero-shot.
        auto: ``"light"``, ``"medium"`` or ``"heavy"``; None with ``num_candidates`` or ``num_trials``
            takes those, else light.
        num_candidates: instructions and demo sets per predictor, 1 or more.
        num_threads: examples at the same time; None follows the LM.
        max_errors: failed examples that a trial may have.
        seed: 0 or more; the same seed and replies give the same run, with any number of threads.
        init_temperature: the proposer's sampling temperature, 0 to 2.
        metric_threshold: score in [0, 1] that a bootstrapped demo must reach.
        search: the strategy, ``"mipro"``.

    Raises:
        ConfigError: an argument is wrong.
    """

    def __init__(
        self,
        metric: Metric,
        prompt_model: LM | None = None,
        task_model: LM | None = None,
        teacher: Module | LM | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 4,
        auto: str | None = None,
        num_candidates: int | None = None,
        num_threads: int | None = None,
        max_errors: int = 10,
        seed: int = 9,
        init_temperature: float = 1.0,
        metric_threshold: float | None = None,
        search: str = "mipro",
    ) -> None:
        given = {name: value for name, value in locals().items() if name != "self"}
        self._params = Params(**given)
        check_params(self._params, list(STRATEGIES))

    def get_params(self) -> dict[str, Any]:
        """Return the constructor's settings by name."""
        return {name: getattr(self._params, name) for name in Params.__slots__}

    @_takes_options
    def plan(self, student: Module, **options: Any) -> Plan:
        """Return what ``compile`` with the same arguments would do and cost, without one LM call."""
        return make_job(self._params, student, Options.read(options)).plan

    @_takes_options
    def compile(self, student: M, **options: Any) -> M:
        """Optimize; block until done; return the best program as a new one.

        The keywords are described at ``mipro_nb.plan.Options``. A keyboard interrupt, or a reason
        from ``stop``, ends the run with the best so far.

        Raises:
            ConfigError, DataError: before anything is spent.
            MetricError: at once, with the example.
            LMError, TooManyErrors: when the LM is out of reach before the program was evaluated; later
                such an end is a warning, and the best so far is returned.
        """
        job = make_job(self._params, student, Options.read(options))
        if job.options.requires_permission_to_run and not _permitted(job.plan):
            return student.deepcopy()
        listeners = list(job.options.listeners)
        if settings().progress:
            from mipro_nb.progress import TerminalProgress

            listeners.append(TerminalProgress())
        return cast(M, execute(job, listeners))


def _permitted(plan: Plan) -> bool:
    print(plan)
    return input("Run this? [y/N] ").strip().lower() in ("y", "yes")


def execute(job: Job, listeners: list[ev.Listener]) -> Module:
    """Run a job: the three stages and the verdict. Returns the best program."""
    history = History()
    with _run_directory(job.options.run_dir) as directory:
        emit = ev.Emitter([history, *([directory.append] if directory else []), *listeners])
        run = _Run(job, history, emit)
        program = run.go()
        if directory:
            program.save(directory.path / "program.json")
    return program


class _Run:
    """One run, read from top to bottom in ``_stages``."""

    def __init__(self, job: Job, history: History, emit: ev.Listener) -> None:
        self.job, self.history, self.emit = job, history, emit
        self.candidates: Candidates | None = None
        self.trial = 0

    def go(self) -> Module:
        """Run the stages; whatever ends them, the best so far is kept."""
        reason = "failed"
        try:
            self._announce()
            with context(lm=self.job.task_model), Pool(self.job.num_threads, self._stop) as pool:
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
        self.candidates = self._combine(sets, instructions)
        self._search(self.candidates, pool)
        if self.job.testset:
            self._verdict(pool)

    def _stop(self) -> str | None:
        check = self.job.options.stop
        return check(self.history) if check is not None else None

    def _announce(self) -> None:
        job = self.job
        plain = {name: _plain(value) for name, value in zip(Params.__slots__, _values(job.params), strict=True)}
        names = tuple(name for name, _ in job.student.named_predictors())
        shown = {**asdict(job.plan), "trials_shown": job.plan.trials_shown}
        lms = {"task_model": job.task_model.model if job.task_model else None}
        settled = {**plain, **lms, "seed": job.seed}
        program = type(job.student).__name__
        self.emit(ev.RunStarted(uuid.uuid4().hex, program, names, settled, shown, job.plan.sizes, versions()))
        for remark in job.plan.remarks:
            self.emit(ev.Noted("data", remark))

    def _bootstrap(self, pool: Pool) -> list[bootstrap.DemoSet]:
        """Stage 1."""
        self.emit(ev.StageStarted("bootstrap", len(self.job.recipes)))
        return bootstrap.demo_sets(self.job.bootstrapping, self.job.recipes, pool, self.emit)

    def _propose(self, sets: list[bootstrap.DemoSet], pool: Pool) -> dict[str, list[str]]:
        """Stage 2."""
        job = self.job
        count = job.plan.num_instructions
        self.emit(ev.StageStarted("propose", count * len(job.student.predictors)))
        grounding, temperature = job.options.grounding, job.params.init_temperature
        proposer = GroundedProposer(job.params.prompt_model, grounding, temperature, job.seed, self.emit)
        return proposer.propose(job.student, job.bootstrapping.trainset, sets, count, pool)

    def _combine(self, sets: list[bootstrap.DemoSet], instructions: dict[str, list[str]]) -> Candidates:
        names = tuple(name for name, _ in self.job.student.named_predictors())
        texts = tuple(tuple(instructions[name]) for name in names)
        zeros = tuple(0 for _ in names)
        own = any(predictor.demos for predictor in self.job.student.predictors)
        if self.job.zero_shot and not own:
            return Candidates(names, texts, (), Choice(zeros))
        if self.job.zero_shot:  # demos were not asked for, but those that the student came with are kept
            sets = [made for made in sets if made.origin in ("none", "student")]
        demos = tuple(tuple(made.demos[name] for made in sets) for name in names)
        baseline = tuple(len(sets) - 1 for _ in names) if own else zeros
        return Candidates(names, texts, demos, Choice(zeros, baseline))

    def _search(self, candidates: Candidates, pool: Pool) -> None:
        """Stage 3."""
        job, plan = self.job, self.job.plan
        self.emit(ev.StageStarted("search", plan.trials_shown))
        schedule = Schedule(plan.num_trials, len(job.valset), plan.minibatch_size, plan.full_eval_steps)
        strategy: Strategy = STRATEGIES[job.params.search](candidates, schedule, job.seed)
        while (work := strategy.ask()) is not None:
            program = candidates.apply(job.student, work.choice)
            results = self._evaluate(program, work.kind, work.choice, work.examples, work.new, job.valset, pool)
            scores = {result.example: result.score for result in results if result.score is not None}
            mean = strategy.tell(work, scores)
            failed = len(work.new) - len(scores)
            self.emit(ev.TrialFinished(self.trial, mean, len(work.examples) - failed, failed))
            self.trial += 1

    def _evaluate(
        self,
        program: Module,
        kind: str,
        choice: Choice,
        examples: tuple[int, ...],
        new: tuple[int, ...],
        data: Any,
        pool: Pool,
    ) -> list[ExampleResult]:
        self.emit(ev.TrialStarted(self.trial, kind, choice.instructions, choice.demos, len(examples), len(new)))
        stage = "verdict" if kind.startswith("test") else "search"
        done = functools.partial(report, self.emit, stage, self.trial)
        items: list[tuple[int, Example]] = [(number, data[number]) for number in new]
        return evaluate(program, items, self.job.params.metric, pool, done, self.job.params.max_errors)

    def _verdict(self, pool: Pool) -> None:
        """Open the sealed test set once, for the baseline and the winner alone."""
        assert self.candidates is not None
        testset, best = self.job.testset, self.history.best
        winner = Choice(best.instructions, best.demos) if best else self.candidates.baseline
        self.emit(ev.StageStarted("verdict", 1 if winner == self.candidates.baseline else 2))
        before = self._on_test(self.candidates.baseline, "test_baseline", pool)
        after = before if winner == self.candidates.baseline else self._on_test(winner, "test_best", pool)
        both = [number for number in range(len(testset)) if number in before and number in after]
        if not both:
            self.emit(ev.Noted("verdict", "no test example could be scored: there is no verdict."))
            return
        verdict = judge([before[number] for number in both], [after[number] for number in both], self.job.seed)
        self.emit(ev.VerdictReached(**asdict(verdict)))

    def _on_test(self, choice: Choice, kind: str, pool: Pool) -> dict[int, float]:
        assert self.candidates is not None
        everything = tuple(range(len(self.job.testset)))
        program = self.candidates.apply(self.job.student, choice)
        results = self._evaluate(program, kind, choice, everything, everything, self.job.testset, pool)
        scores = {result.example: result.score for result in results if result.score is not None}
        mean = sum(scores.values()) / len(scores) if scores else None
        self.emit(ev.TrialFinished(self.trial, mean, len(scores), len(everything) - len(scores)))
        self.trial += 1
        return scores

    def best_program(self) -> Module:
        """Return the best fully evaluated program so far, or a copy of the student."""
        best: TrialRecord | None = self.history.best
        if self.candidates is None or best is None:
            return self.job.student.deepcopy()
        choice = Choice(best.instructions, best.demos)
        if choice == self.candidates.baseline:
            return self.job.student.deepcopy()
        return self.candidates.apply(self.job.student, choice)


class _RunDirectory:
    """Appends each event to ``events.jsonl`` and flushes it."""

    def __init__(self, path: Path | None) -> None:
        self.path = path or Path()
        self._file = None
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / "events.jsonl").open("w", encoding="utf-8")

    def __enter__(self) -> _RunDirectory | None:
        return self if self._file is not None else None

    def __exit__(self, *raised: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, event: ev.Event) -> None:
        """Write one event."""
        assert self._file is not None
        self._file.write(to_line(event))
        self._file.flush()


def _run_directory(path: str | os.PathLike[str] | None) -> _RunDirectory:
    return _RunDirectory(Path(path) if path is not None else None)


def _values(params: Params) -> list[Any]:
    return [getattr(params, name) for name in Params.__slots__]


def _plain(value: Any) -> Any:
    """Write a setting as a plain value: an LM by its model's name, a function or program by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, LM):
        return value.model
    return getattr(value, "__name__", type(value).__name__)
