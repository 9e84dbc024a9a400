"""MIPROv2: bootstrap demo sets, propose instructions, search their combinations.

After Opsahl-Ong et al. (2024), "Optimizing Instructions and Demonstrations for Multi-Stage
Language Model Programs", arXiv 2406.11695, and DSPy's implementation of it.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from mipro_nb.engine import Execution
from mipro_nb.interrupts import stopping
from mipro_nb.jobrecord import data_of
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.options import Options, Params, check_params
from mipro_nb.plan import Job, Plan, check_lms, make_job
from mipro_nb.run import Run
from mipro_nb.rundir import read_record
from mipro_nb.scoring import Metric
from mipro_nb.settings import settings
from mipro_nb.strategies import SEARCHES

M = TypeVar("M", bound=Module)
F = TypeVar("F", bound=Callable[..., Any])


def takes(*others: Callable[..., Any]) -> Callable[[F], F]:
    """Show the keywords of others in a function's signature, so that ``help`` and completion know them.

    Of keywords with the same name the function's own counts, then that of the last of the others.
    """

    def shown(function: F) -> F:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [
            p.replace(kind=p.KEYWORD_ONLY) for other in others for p in inspect.signature(other).parameters.values()
        ]
        every = {p.name: p for p in (*more, *own)}.values()
        function.__signature__ = inspect.Signature(sorted(every, key=lambda p: p.kind))  # type: ignore[attr-defined]
        return function

    return shown


class MIPROv2:
    """Optimizes the instructions and demos of every predictor of a program.

    The algorithm is MIPROv2 (arXiv 2406.11695); defaults and formulas are those of dspy 3.4.1
    (teleprompt/mipro_optimizer_v2.py).

    Args:
        metric: ``metric(example, prediction, trace=None)`` -> bool, number in [0, 1] or ``Score``; a ``trace``, the
            list of the program's steps, comes only while demos are bootstrapped.
        prompt_model: the LM that writes instructions; None: the configured one.
        task_model: the LM that runs the program; None: the configured one.
        teacher: a program, or an LM for the student, that bootstraps demos; None: the student.
        max_bootstrapped_demos: most of the teacher's traces in a demo set, 0 or more.
        max_labeled_demos: labeled examples fill a set up to so many demos in all, 0 or more; both 0 is zero-shot.
        auto: ``"light"``, ``"medium"`` or ``"heavy"``: n = 6, 12 or 18 demo sets, n // 2 instructions (zero-shot: n),
            and at most 100, 300 or 1,000 validation examples. None with ``num_candidates`` or ``num_trials`` takes
            those, else light.
        num_candidates: instructions and demo sets per predictor, n, 1 or more; the trials, unless ``num_trials`` is
            given, are max(2 V log2 n, 1.5 n), rounded down; V is the number of predictors, doubled if not zero-shot.
        num_threads: examples at the same time, 1 or more; None: as configured, or as the LM can use.
        max_errors: failed examples that a round of the search (with ``search="mipro"`` a trial), or the teacher for one
            demo set, may have, 0 or more.
        seed: 0 to 2**32 - 1; the same seed and replies give the same run, with any number of threads.
        init_temperature: the proposer's sampling temperature, 0 to 2.
        metric_threshold: score in [0, 1] that a bootstrapped demo must reach; None keeps what the metric calls true,
            and of numeric scores the best.
        search: ``"paired"`` spends the LM calls that MIPROv2 would take on chunks of examples for the combinations that
            may be best by a Bayesian model of all results, among more candidates unless ``num_candidates`` is given,
            on the whole validation set; ``"thompson"`` is the same with random draws from the model; ``"mipro"`` is
            MIPROv2's own search, with dspy's decisions.
        proposals: ``"learn"`` goes on proposing while it searches, in the light of scores and failures; ``"once"``
            proposes before the search alone. None is learn, but for ``search="mipro"``.

    Raises:
        ConfigError: an argument is wrong.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> lm = FakeLM({"instruction alone": "Say yes.", "Say yes.": "yes", "": "no"})
    >>> data = mn.examples([{"q": f"question {n}", "a": "yes"} for n in range(10)], inputs=["q"])
    >>> optimizer = mn.MIPROv2(mn.exact_match, num_candidates=2, max_bootstrapped_demos=0, max_labeled_demos=0)
    >>> with mn.context(lm=lm, progress=False):
    ...     best = optimizer.compile(mn.Predict("q -> a"), trainset=data, num_trials=2)
    >>> best.predictors[0].signature.instructions
    'Say yes.'
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
        search: str = "paired",
        proposals: str | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name != "self"}
        self._params = Params(**given)
        check_params(self._params, list(SEARCHES))

    def get_params(self) -> dict[str, Any]:
        """Return the constructor's settings by name."""
        return {name: getattr(self._params, name) for name in Params.__slots__}

    @takes(Options)
    def plan(self, student: Module, **options: Any) -> Plan:
        """Return what ``compile`` with the same arguments would do and cost, without one LM call.

        Raises:
            ConfigError, DataError: what is wrong with them.
        """
        return make_job(self._params, student, Options.read(options)).plan

    @takes(Options)
    def compile(self, student: M, **options: Any) -> M:
        """Optimize; block until done; return the best program as a new one.

        Args:
            student: the program; it stays as it is.
            **options: described at ``mipro_nb.options.Options``.

        A keyboard interrupt, or a reason from ``stop``, ends the run with the best so far: what is in flight comes in,
        and a best that was found in the search and never fully evaluated is, if the limits allow. A second interrupt is
        raised at once, and leaves the calls in flight alone; ``run_dir`` has what came in.

        Raises:
            ConfigError, DataError: before anything is spent.
            MetricError: at once, with the example.
            LMError, TooManyErrors, WorkersLost: when the LM, or the executor, is out of reach before the program was
                evaluated; later such an end is a warning, and the best so far is returned.
        """
        job = self._job(student, options)
        if job.options.requires_permission_to_run and not _permitted(job.plan):
            return student.deepcopy()
        listeners = list(job.options.listeners)
        if settings().progress:
            from mipro_nb.progress import TerminalProgress

            listeners.append(TerminalProgress())
        execution = Execution(job, listeners)
        with stopping(lambda: execution.control.stop("interrupted")):
            program = execution.run()
        for remark in execution.remarks:
            warnings.warn(remark, stacklevel=2)
        return cast(M, program)

    @takes(Options)
    def start(self, student: Module, **options: Any) -> Run:
        """Optimize in a thread of its own; return the run at once: to watch, pause, stop, extend, or wait for.

        The keywords are those of ``compile``. With ``requires_permission_to_run`` nothing is spent until
        ``run.start()``, or the Start button of its view.

        Raises:
            ConfigError, DataError: before anything is spent.
        """
        run = Run(self._job(student, options))
        if not run.job.options.requires_permission_to_run:
            run.start()
        return run

    def _job(self, student: Module, options: dict[str, Any]) -> Job:
        job = make_job(self._params, student, Options.read(options))
        check_lms(job)
        return job


def resume(path: str | os.PathLike[str], program: Module, metric: Metric, **changes: Any) -> Run:
    """Go on with a run from its directory; see ``Run.resume``."""
    where = Path(path).expanduser()
    record = read_record(where)
    data = {} if "trainset" in changes else data_of(record)
    given = {**record["arguments"], **data, **changes, "run_dir": where}
    names = inspect.signature(MIPROv2).parameters
    optimizer = MIPROv2(metric, **{name: value for name, value in given.items() if name in names})
    return optimizer.start(program, **{name: value for name, value in given.items() if name not in names})


def _permitted(plan: Plan) -> bool:
    print(plan)
    return input("Run this? [y/N] ").strip().lower() in ("y", "yes")
