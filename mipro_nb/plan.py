"""What a run will do, settled before the first call: sizes, trials, and the checked inputs.

The numbers are those of ``effort``; the split when no validation set is given is that of dspy 3.4.1's MIPROv2
(teleprompt/mipro_optimizer_v2.py), shuffled.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mipro_nb import checks, data, estimate, funds
from mipro_nb.bootstrap import CONTEXT_DEMOS, Bootstrapping, Recipe, recipes
from mipro_nb.effort import Effort, paired, trials_for
from mipro_nb.errors import ConfigError, DataError, check_choice
from mipro_nb.estimate import Estimate
from mipro_nb.evaluate import threads
from mipro_nb.example import Example, input_keys_of
from mipro_nb.fewshot import checked_teacher
from mipro_nb.learning import Result
from mipro_nb.lm import LM
from mipro_nb.memory import read_memory
from mipro_nb.module import Module
from mipro_nb.options import AUTO, MINIBATCH, Options, Params
from mipro_nb.search import candidates_of
from mipro_nb.settings import context, settings

MINIBATCH_ABOVE = 50  # in an auto mode smaller validation sets are evaluated whole
LARGEST_VALSET = 1000
TRAIN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do and cost, known without one LM call. ``MIPROv2.plan`` makes it; it prints as a table.

    Attributes:
        auto: the mode, or None when the numbers were given.
        num_trials: combinations to try; of a search that counts evaluations, what MIPROv2's would try.
        num_instructions, num_demo_sets: candidates per predictor before the search, the program's own included.
        minibatch_size: examples per trial; None: every trial is evaluated fully.
        full_eval_steps: trials between full evaluations.
        sizes: examples in the ``training``, ``validation`` and ``test`` set.
        stages: for ``bootstrap``, ``propose``, ``search`` and, with a test set, ``verdict`` the range (``low``,
            ``likely``, ``high``) of ``calls``, ``prompt_tokens``, ``completion_tokens`` and ``cost`` in US dollars
            (None: a price isn't known), see ``mipro_nb.estimate``.
        remarks: sentences on what about the data or the settings deserves a look.
        evaluations: program runs that the search may make, each a combination on an example, about as many as
            MIPROv2's trials take; None with ``search="mipro"``, which counts trials.
        later_instructions: per predictor, how many instructions each later round of proposals asks for.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> data = mn.examples([{"q": f"question {n}", "a": "yes"} for n in range(100)], inputs=["q"])
    >>> with mn.context(lm=FakeLM([])):
    ...     plan = mn.MIPROv2(mn.exact_match, auto="light").plan(mn.Predict("q -> a"), trainset=data)
    >>> print(str(plan).split("; 20 training")[0])
    410 evaluations; per predictor 5 instructions, later 4 + 3 + 3, and 11 demo sets
    >>> plan.total.calls.low <= plan.total.calls.likely <= plan.total.calls.high, plan.total.cost.high
    (True, 0.0)
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
    evaluations: int | None = None
    later_instructions: tuple[int, ...] = ()

    @property
    def total(self) -> Estimate:
        """The estimate of all stages together."""
        return sum(self.stages.values(), Estimate())

    @property
    def trials_shown(self) -> int:
        """What the search's stage counts, at most: evaluations, or else baseline, trials and full evaluations."""
        if self.evaluations is not None:
            return self.evaluations
        if self.minibatch_size is None:
            return 1 + self.num_trials
        return 1 + self.num_trials + math.ceil(self.num_trials / self.full_eval_steps)

    def __str__(self) -> str:
        each = f"{self.minibatch_size} examples each" if self.minibatch_size else "all validation examples each"
        later = f", later {' + '.join(map(str, self.later_instructions))}," if self.later_instructions else ""
        head = (
            f"{self.num_trials} trials of {each}" if self.evaluations is None else f"{self.evaluations:,} evaluations"
        )
        head += (
            f"; per predictor {self.num_instructions} instructions{later} and {self.num_demo_sets} demo sets; "
            + ", ".join(f"{count} {name}" for name, count in self.sizes.items() if count)
            + " examples"
        )
        rows = [f"{name:<10} {part}" for name, part in (*self.stages.items(), ("together", self.total))]
        return "\n".join([head, *rows, *(f"Note: {remark}" for remark in self.remarks)])


@dataclass(frozen=True, slots=True)
class Job:
    """A run, ready to go: every input checked, every default settled, nothing spent.

    Attributes:
        recombined: demo sets that are made from the traces and labels of the others.
        full: validation examples that a full evaluation stands on.
        order: of the validation examples, for drawing minibatches.
        rng: the run's draws, one stream from here to the end in dspy's order; a run goes on with a copy.
        memory: what earlier runs learnt about proposing.
    """

    student: Module
    params: Params
    options: Options
    plan: Plan
    seed: int
    zero_shot: bool
    bootstrapping: Bootstrapping
    recipes: Sequence[Recipe]
    recombined: int
    full: int
    valset: Sequence[Example]
    order: tuple[int, ...]
    testset: Sequence[Example]
    rng: random.Random
    task_model: LM | None
    prompt_model: LM | None
    num_threads: int
    memory: Sequence[Result] = ()


def make_job(params: Params, student: Module, options: Options) -> Job:
    """Check everything and settle every default; see ``Options`` and ``MIPROv2``.

    Raises:
        ConfigError, DataError, LoadError: what is wrong, named.
    """
    names = _check_student(student)
    _check_wishes(params, options, names)
    seed = _first(options.seed, params.seed)
    bootstrapped = _first(options.max_bootstrapped_demos, params.max_bootstrapped_demos)
    labeled = _first(options.max_labeled_demos, params.max_labeled_demos)
    zero_shot = bootstrapped == 0 and labeled == 0
    auto, n, num_trials = _effort(params, options, len(names), zero_shot)
    rng = random.Random(seed)
    trainset, valset, testset = _datasets(student, options, seed)
    everything = valset[:LARGEST_VALSET]
    valset, order = _chosen(valset, auto, rng)
    remarks = checks.remarks({"trainset": trainset, "valset": valset, "testset": testset})
    if input_keys_of(trainset[0]) == frozenset(trainset[0]):
        remarks.append("all fields of the examples are inputs: the metric has no label to compare with.")
    batch = _minibatch(options, auto, len(valset), remarks)
    unseen = zero_shot and not options.fewshot_aware_proposer  # nobody would look at the demos
    size = CONTEXT_DEMOS if zero_shot else bootstrapped
    sets = recipes(n, len(trainset), size, labeled, rng)[: 1 if unseen else n]
    instructions = n if zero_shot or auto is None else n // 2
    made = Effort(num_trials, instructions, len(sets), batch, options.minibatch_full_eval_steps)
    if params.search != "mipro":
        chosen = {"given": params.num_candidates is not None, "learn": params.proposals != "once"}
        made = paired(made, len(valset), len(names), zero_shot, **chosen)
        valset, order = everything, ()
    plan = Plan(
        auto=auto,
        num_trials=num_trials,
        num_instructions=made.num_instructions,
        num_demo_sets=len(sets) + made.recombined + any(predictor.demos for predictor in student.predictors),
        minibatch_size=batch,
        full_eval_steps=options.minibatch_full_eval_steps,
        sizes={"training": len(trainset), "validation": len(valset), "test": len(testset)},
        stages={},
        remarks=tuple(remarks),
        evaluations=made.evaluations,
        later_instructions=made.later,
    )
    task_model = _first(params.task_model, settings().lm)
    with context(lm=task_model):
        workers = threads(params.num_threads, student, options.executor)
    teacher = checked_teacher(student, _first(options.teacher, params.teacher))
    demos = {"max_labeled": labeled, "threshold": params.metric_threshold, "max_errors": params.max_errors}
    bootstrapping = Bootstrapping(student, teacher, trainset, params.metric, **demos, frozen=tuple(options.freeze))
    job = Job(
        student=student,
        params=params,
        options=options,
        plan=plan,
        seed=seed,
        zero_shot=zero_shot,
        bootstrapping=bootstrapping,
        recipes=sets,
        recombined=made.recombined,
        full=len(valset) if auto is None else min(len(valset), AUTO[auto][1]),
        valset=valset,
        order=order,
        testset=testset,
        rng=rng,
        task_model=task_model,
        prompt_model=_first(params.prompt_model, settings().lm, task_model, *(p.lm for p in student.predictors)),
        num_threads=workers,
        memory=read_memory(options.memory) if options.memory is not None else (),
    )
    stages = estimate.stages(job)
    remarks += _too_long(job) + funds.remarks(job, stages)
    return replace(job, plan=replace(plan, remarks=tuple(remarks), stages=stages))


def check_lms(job: Job) -> None:
    """Raise ConfigError if a predictor, of student or teacher, has no LM, or if a limit can't be kept with it."""
    for program in (job.student, job.bootstrapping.teacher):
        for name, predictor in program.named_predictors():
            if _first(predictor.lm, job.task_model) is None:
                raise ConfigError(
                    f"predictor {name!r} has no LM: call mipro_nb.configure(lm=mipro_nb.LM('local/smollm2-135m')), "
                    "or give task_model=."
                )
    funds.check_limits(job)


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
            f"{type(student).__name__} has no predictor to optimize: give it a Predict or ChainOfThought."
        )
    return names


def _check_wishes(params: Params, options: Options, names: Sequence[str]) -> None:
    for name in options.freeze:
        check_choice("freeze", name, names)
    if set(names) <= set(options.freeze):
        raise ConfigError(f"freeze={list(options.freeze)!r} leaves no predictor to optimize.")
    wished = {name: getattr(options, name) for name in ("max_prompt_tokens", "token_price", "memory")}
    given = [name for name, value in wished.items() if value]
    if given and params.search == "mipro":
        raise ConfigError(f"{given[0]}={wished[given[0]]!r} is nothing that search='mipro' knows: drop one of them.")


def _too_long(job: Job) -> list[str]:
    """Return what is to be said of ``max_prompt_tokens``; ConfigError if no instruction at all would fit."""
    most = job.options.max_prompt_tokens
    if most is None:
        return []
    rest = estimate.rest_tokens(job)
    if rest >= most:
        raise ConfigError(
            f"max_prompt_tokens={most}: the prompts have about {rest:,.0f} tokens without instructions and demos."
        )
    given = candidates_of(job.student)
    own = rest + given.tokens(given.baseline)
    if own <= most:
        return []
    return [f"the program's own prompts, about {own:,.0f} tokens, exceed max_prompt_tokens={most}: it can't win."]


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


def _datasets(student: Module, options: Options, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
    inputs = student.input_names()
    trainset = checks.prepare("trainset", options.trainset, inputs)
    if options.valset is None:
        if len(trainset) < 2:
            raise DataError("trainset holds 1 example and no valset is given: at least 2 are needed.")
        held = min(LARGEST_VALSET, max(1, int(len(trainset) * (1 - TRAIN_SHARE))))
        label = checks.label_field(trainset)
        trainset, valset = data.split_counts(trainset, [len(trainset) - held, held], stratify=label, seed=f"val/{seed}")
    else:
        valset = checks.prepare("valset", options.valset, inputs)
    testset = checks.prepare("testset", options.testset or [], inputs, required=False)
    return trainset, valset, testset


def _chosen(valset: list[Example], auto: str | None, rng: random.Random) -> tuple[list[Example], tuple[int, ...]]:
    """Return the examples to validate on, and the order to draw them from: a sample in an auto mode, however few."""
    everything = range(len(valset))
    order = list(everything) if auto is None else rng.sample(everything, min(len(valset), AUTO[auto][1]))
    kept = sorted(order)
    return [valset[i] for i in kept], tuple(map(kept.index, order))


def _minibatch(options: Options, auto: str | None, validation: int, remarks: list[str]) -> int | None:
    """Return the examples per trial, or None for full evaluations."""
    if not options.minibatch or (auto is not None and validation <= MINIBATCH_ABOVE):
        return None
    if options.minibatch_size >= validation:
        if options.minibatch_size != MINIBATCH:  # else nobody spoke of minibatches
            remarks.append(
                f"minibatch_size={options.minibatch_size} is not below the validation set's {validation} examples: "
                "every trial is evaluated fully."
            )
        return None
    return options.minibatch_size
