"""What a run will do, settled before the first call: sizes, trials, and the checked inputs.

The numbers are those of dspy 3.4.1's MIPROv2 (teleprompt/mipro_optimizer_v2.py): auto modes, the
trials' formula, minibatches, the split when no validation set is given.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mipro_nb import data, estimate
from mipro_nb.bootstrap import CONTEXT_DEMOS, Bootstrapping, Recipe, checked_teacher, recipes
from mipro_nb.errors import ConfigError, DataError, check_choice, check_range, nearest
from mipro_nb.estimate import Estimate
from mipro_nb.evaluate import Metric, StopCheck, threads
from mipro_nb.events import Listener
from mipro_nb.example import Example, input_keys_of
from mipro_nb.lm import LM
from mipro_nb.module import Module, settings
from mipro_nb.propose import Grounding

AUTO = {"light": (6, 100), "medium": (12, 300), "heavy": (18, 1000)}  # n, validation examples at most
MINIBATCH_ABOVE = 50  # in an auto mode smaller validation sets are evaluated whole
LARGEST_VALSET = 1000
TRAIN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Options:
    """The keywords of ``compile``, ``plan`` and ``start``, in one place.

    Attributes:
        trainset: for demos and proposals.
        valset: scores the trials; None takes 80% of the trainset (at most 1,000), shuffled, stratified by label.
        testset: sealed; baseline and winner are compared on it once, at the end.
        teacher: a program, or an LM for the student, that bootstraps; None is the student itself.
        num_trials: combinations to try; not together with ``auto``.
        max_bootstrapped_demos, max_labeled_demos: per set; None takes the constructor's.
        minibatch: score trials on ``minibatch_size`` examples; False evaluates each fully.
        minibatch_full_eval_steps: trials between full evaluations of the best one.
        program_aware_proposer, data_aware_proposer, tip_aware_proposer, fewshot_aware_proposer:
            what the proposer is shown.
        view_data_batch_size: examples per call of the dataset's summary.
        seed: None takes the constructor's; 0 is a seed.
        requires_permission_to_run: show the plan and ask before the first call.
        listeners: called with every event, see ``events``; a ``History`` is one.
        stop: ``stop(history)`` is asked again and again; a text ends the run with the best so far.
        run_dir: a directory that gets ``events.jsonl`` and ``program.json``.
    """

    trainset: Sequence[Example]
    valset: Sequence[Example] | None = None
    testset: Sequence[Example] | None = None
    teacher: Module | LM | None = None
    num_trials: int | None = None
    max_bootstrapped_demos: int | None = None
    max_labeled_demos: int | None = None
    minibatch: bool = True
    minibatch_size: int = 35
    minibatch_full_eval_steps: int = 5
    program_aware_proposer: bool = True
    data_aware_proposer: bool = True
    tip_aware_proposer: bool = True
    fewshot_aware_proposer: bool = True
    view_data_batch_size: int = 10
    seed: int | None = None
    requires_permission_to_run: bool = False
    listeners: Sequence[Listener] = ()
    stop: Callable[[Any], str | None] | None = None
    run_dir: str | os.PathLike[str] | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Make Options of keywords; ConfigError for one that isn't known, or for a missing trainset."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise ConfigError(f"argument {name!r} is not known; accepted: {', '.join(names)}.{nearest(name, names)}")
        if "trainset" not in given:
            raise ConfigError("trainset= is needed: a list of Examples (see mipro_nb.examples).")
        options = cls(**given)
        for name, low in (("minibatch_size", 1), ("minibatch_full_eval_steps", 1), ("view_data_batch_size", 1)):
            check_range(name, getattr(options, name), low)
        for name in ("num_trials", "max_bootstrapped_demos", "max_labeled_demos", "seed"):
            if getattr(options, name) is not None:
                check_range(name, getattr(options, name), 0 if name != "num_trials" else 1)
        return options

    @property
    def grounding(self) -> Grounding:
        """The proposer's switches."""
        return Grounding(
            self.program_aware_proposer,
            self.data_aware_proposer,
            self.tip_aware_proposer,
            self.fewshot_aware_proposer,
            self.view_data_batch_size,
        )


@dataclass(frozen=True, slots=True)
class Params:
    """The settings of a MIPROv2, checked; see there."""

    metric: Metric
    prompt_model: LM | None
    task_model: LM | None
    teacher: Module | LM | None
    max_bootstrapped_demos: int
    max_labeled_demos: int
    auto: str | None
    num_candidates: int | None
    num_threads: int | None
    max_errors: int
    seed: int
    init_temperature: float
    metric_threshold: float | None
    search: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do and cost, known without one LM call. Prints as a table.

    Attributes:
        auto: the mode, or None when the numbers were given.
        num_trials: combinations to try.
        num_instructions, num_demo_sets: candidates per predictor.
        minibatch_size: examples per trial; None: every trial is evaluated fully.
        full_eval_steps: trials between full evaluations.
        sizes: examples in train, val and test set.
        stages: per stage the range of calls, tokens and dollars, see ``Estimate``.
        remarks: what about the data or the settings deserves a look.
    """

    auto: str | None
    num_trials: int
    num_instructions: int
    num_demo_sets: int
    minibatch_size: int | None
    full_eval_steps: int
    sizes: Mapping[str, int]
    stages: Mapping[str, Estimate]
    remarks: tuple[str, ...] = ()

    @property
    def total(self) -> Estimate:
        """All stages together."""
        return sum(self.stages.values(), Estimate())

    @property
    def trials_shown(self) -> int:
        """Evaluations that the search will make at most: baseline, trials, full evaluations."""
        if self.minibatch_size is None:
            return 1 + self.num_trials
        return 1 + self.num_trials + math.ceil(self.num_trials / self.full_eval_steps)

    def __str__(self) -> str:
        each = f"{self.minibatch_size} examples each" if self.minibatch_size else "all validation examples each"
        head = (
            f"{self.num_trials} trials of {each}; per predictor {self.num_instructions} instructions and "
            f"{self.num_demo_sets} demo sets; "
            + ", ".join(f"{count} {name}" for name, count in self.sizes.items() if count)
            + " examples"
        )
        rows = [f"{name:<10} {part}" for name, part in (*self.stages.items(), ("together", self.total))]
        return "\n".join([head, *rows, *(f"Note: {remark}" for remark in self.remarks)])


@dataclass(frozen=True, slots=True)
class Job:
    """A run, ready to go: every input checked, every default settled, nothing spent."""

    student: Module
    params: Params
    options: Options
    plan: Plan
    seed: int
    zero_shot: bool
    bootstrapping: Bootstrapping
    recipes: Sequence[Recipe]
    valset: Sequence[Example]
    testset: Sequence[Example]
    task_model: LM | None
    num_threads: int
    stop: StopCheck = field(default=lambda: None)


def trials_for(predictors: int, n: int, zero_shot: bool) -> int:
    """Return MIPROv2's number of trials: ``max(2 V log2 n, 1.5 n)``, V doubled when demos are searched too."""
    variables = predictors if zero_shot else 2 * predictors
    return max(1, int(max(2 * variables * math.log2(max(n, 1)), 1.5 * n)))


def make_job(params: Params, student: Module, options: Options) -> Job:
    """Check everything and settle every default; see ``Options`` and ``MIPROv2``.

    Raises:
        ConfigError, DataError: what is wrong, named.
    """
    names = _check_student(student)
    seed = options.seed if options.seed is not None else params.seed
    bootstrapped = _first(options.max_bootstrapped_demos, params.max_bootstrapped_demos)
    labeled = _first(options.max_labeled_demos, params.max_labeled_demos)
    zero_shot = bootstrapped == 0 and labeled == 0
    auto, n, num_trials = _effort(params, options, len(names), zero_shot)
    trainset, valset, testset = _datasets(student, options, auto, seed)
    remarks = data.remarks({"trainset": trainset, "valset": valset, "testset": testset})
    batch = _minibatch(options, auto, len(valset), remarks)
    instructions = n if zero_shot or auto is None else n // 2
    teacher = checked_teacher(student, _first(options.teacher, params.teacher))
    task_model = params.task_model or settings().lm
    job = Bootstrapping(
        student, teacher, trainset, params.metric, labeled, params.metric_threshold, max_errors=params.max_errors
    )
    rng = random.Random(f"bootstrap/{seed}")
    sets = recipes(n, len(trainset), CONTEXT_DEMOS if zero_shot else bootstrapped, labeled, rng)
    own = any(predictor.demos for predictor in student.predictors)
    sizes = {"training": len(trainset), "validation": len(valset), "test": len(testset)}
    shape = estimate.Shape(
        student=student,
        trainset=trainset,
        valset=valset,
        testset=testset,
        task_model=task_model,
        prompt_model=params.prompt_model or settings().lm,
        recipes=sets,
        most_demos=max(bootstrapped, labeled),
        num_instructions=instructions,
        grounding=options.grounding,
        num_trials=num_trials,
        minibatch_size=batch,
        full_eval_steps=options.minibatch_full_eval_steps,
    )
    plan = Plan(
        auto,
        num_trials,
        instructions,
        len(sets) + own,
        batch,
        options.minibatch_full_eval_steps,
        sizes,
        estimate.stages(shape),
        tuple(remarks),
    )
    workers = threads(params.num_threads, student) if task_model is None else _workers(params, student, task_model)
    return Job(
        student, params, options, plan, seed, zero_shot, job, sets, valset, testset, task_model, workers
    )


def _workers(params: Params, student: Module, task_model: LM) -> int:
    from mipro_nb.module import context

    with context(lm=task_model):
        return threads(params.num_threads, student)


def _first(*values: Any) -> Any:
    """Return the first value that isn't None. (``or`` would skip a 0.)"""
    return next((value for value in values if value is not None), None)


def _check_student(student: Any) -> list[str]:
    if not isinstance(student, Module):
        raise ConfigError(
            f"student={student!r:.100}: a program is needed, such as mipro_nb.Predict('question -> answer')"
            f" ({type(student).__name__} given)."
        )
    names = [name for name, _ in student.named_predictors()]
    if not names:
        raise ConfigError(
            f"{type(student).__name__} has no predictor to optimize: give it a Predict or ChainOfThought as an attribute."
        )
    return names


def _effort(params: Params, options: Options, predictors: int, zero_shot: bool) -> tuple[str | None, int, int]:
    """Return (auto mode or None, candidates, trials)."""
    given = {"num_candidates": params.num_candidates, "num_trials": options.num_trials}
    set_ = [name for name, value in given.items() if value is not None]
    if params.auto is not None and set_:
        raise ConfigError(
            f"auto={params.auto!r} settles {' and '.join(set_)} too: drop {' and '.join(set_)}, or drop auto."
        )
    if params.auto is None and set_:
        n = _first(params.num_candidates, AUTO["light"][0])
        return None, n, _first(options.num_trials, trials_for(predictors, n, zero_shot))
    auto = params.auto or "light"
    return auto, AUTO[auto][0], trials_for(predictors, AUTO[auto][0], zero_shot)


def _datasets(
    student: Module, options: Options, auto: str | None, seed: int
) -> tuple[list[Example], list[Example], list[Example]]:
    inputs = student.input_names()
    trainset = data.prepare("trainset", options.trainset, inputs)
    if options.valset is None:
        if len(trainset) < 2:
            raise DataError("trainset holds 1 example and no valset is given: at least 2 are needed.")
        held = min(LARGEST_VALSET, max(1, int(len(trainset) * (1 - TRAIN_SHARE))))
        label = data.label_field(trainset)
        trainset, valset = data.split_counts(
            trainset, [len(trainset) - held, held], stratify=label, seed=f"val/{seed}"
        )
    else:
        valset = data.prepare("valset", options.valset, inputs)
    testset = data.prepare("testset", options.testset or [], inputs, required=False)
    if auto is not None and len(valset) > AUTO[auto][1]:
        valset = random.Random(f"valset/{seed}").sample(valset, AUTO[auto][1])
    for name, rows in (("trainset", trainset), ("valset", valset), ("testset", testset)):
        if rows and input_keys_of(rows[0]) == frozenset(rows[0]):
            raise DataError(f"{name}: all fields of its examples are inputs; none is left to score against.")
    return trainset, valset, testset


def _minibatch(options: Options, auto: str | None, validation: int, remarks: list[str]) -> int | None:
    """Return the examples per trial, or None for full evaluations."""
    if not options.minibatch or (auto is not None and validation <= MINIBATCH_ABOVE):
        return None
    if options.minibatch_size >= validation:
        remarks.append(
            f"minibatch_size={options.minibatch_size} is not below the validation set's {validation} examples: "
            "every trial is evaluated fully."
        )
        return None
    return options.minibatch_size


def check_params(params: Params, strategies: Sequence[str]) -> None:
    """Check the constructor's arguments; ConfigError names the first that is wrong."""
    from mipro_nb.evaluate import check_metric

    check_metric(params.metric)
    if params.auto is not None:
        check_choice("auto", params.auto, AUTO)
    check_choice("search", params.search, strategies)
    for name, low in (("max_bootstrapped_demos", 0), ("max_labeled_demos", 0), ("max_errors", 0), ("seed", 0)):
        check_range(name, getattr(params, name), low)
    for name in ("num_candidates", "num_threads"):
        if getattr(params, name) is not None:
            check_range(name, getattr(params, name), 1)
    for name in ("prompt_model", "task_model"):
        if getattr(params, name) is not None and not isinstance(getattr(params, name), LM):
            raise ConfigError(f"{name}={getattr(params, name)!r}: an LM is needed, as in mipro_nb.LM('openai/gpt-5-mini').")
    number = isinstance(params.init_temperature, int | float) and not isinstance(params.init_temperature, bool)
    if not number or not 0 <= params.init_temperature <= 2:
        raise ConfigError(f"init_temperature={params.init_temperature!r}: a number from 0 to 2 is needed. Nearest valid: 1.0.")
    threshold = params.metric_threshold
    if threshold is not None and (not isinstance(threshold, int | float) or not 0 <= threshold <= 1):
        raise ConfigError(f"metric_threshold={threshold!r}: a number in [0, 1], or None, is needed.")
