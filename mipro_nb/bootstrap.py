"""Stage 1: demo sets. The teacher works through training examples; traces that pass become demos.

Follows DSPy's ``create_n_fewshot_demo_sets`` and ``BootstrapFewShot`` (teleprompt/utils.py and
bootstrap.py of dspy 3.4.1): none; labeled only; bootstrapped in order; bootstrapped shuffled, of
random size; sets aligned across predictors. MIPROv2 paper, section 3.1 (arXiv 2406.11695).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb import events as ev
from mipro_nb.budget import OutOfBudget
from mipro_nb.errors import TooManyErrors
from mipro_nb.example import Example, fields_of
from mipro_nb.fieldtypes import plain
from mipro_nb.module import Module
from mipro_nb.pool import Pool
from mipro_nb.predict import Predict
from mipro_nb.remote import score_example
from mipro_nb.scoring import ExampleResult, Metric
from mipro_nb.signature import Signature

CONTEXT_DEMOS = 3  # bootstrapped for the proposer's eyes in a zero-shot run
NUMERIC = "the metric is numeric and metric_threshold is not set: the best traces are kept."
ALWAYS = 0  # seed of what fills a set: as in dspy the run's own seed settles order and size of the shuffled sets alone
TRIES_PER_DEMO = 4  # with a numeric metric and no threshold: attempts per demo wanted, of which the best are kept


@dataclass(frozen=True, slots=True)
class DemoSet:
    """A demo set of the whole program.

    Attributes:
        origin: as of ``events.DemosBootstrapped``.
        demos: per predictor name the demos, the bootstrapped ones first.
        bootstrapped: per predictor name how many of them are traces of the teacher's.
    """

    origin: str
    demos: Mapping[str, tuple[Example, ...]]
    bootstrapped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one set is made: its origin, the order of the training examples, and how many demos to bootstrap."""

    origin: str
    order: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Bootstrapping:
    """Everything that demo sets are made from.

    Attributes:
        student, teacher: programs with the same predictors; neither is changed.
        max_labeled: demos in a set at most, filled up with labeled ones.
        threshold: a numeric score that a trace must reach; None keeps the best by score.
        rounds: attempts per example; those after the first sample at temperature 1.
        frozen: names of predictors that keep the demos they have.
    """

    student: Module
    teacher: Module
    trainset: Sequence[Example]
    metric: Metric | None
    max_labeled: int
    threshold: float | None = None
    rounds: int = 1
    max_errors: int = 10
    frozen: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A set with the attempts that led to it."""

    made: DemoSet
    attempts: tuple[tuple[ExampleResult, bool, str], ...]


def recipes(count: int, size: int, bootstrapped: int, labeled: int, rng: random.Random) -> list[Recipe]:
    """Return what each of ``count`` sets is to hold.

    Args:
        count: number of sets, 1 or more; the first is always empty.
        size: of the training set.
        bootstrapped, labeled: most demos of each kind in a set.
        rng: the run's draws: shuffles and sizes.
    """
    in_order = tuple(range(size))
    made = [Recipe("none", in_order, 0)]
    while len(made) < count:
        if len(made) == 1 and labeled > 0:
            made.append(Recipe("labeled", in_order, 0))
        elif len(made) == 2 and bootstrapped > 0:
            made.append(Recipe("bootstrapped", in_order, bootstrapped))
        else:
            order = list(in_order)
            shuffler = random.Random(ALWAYS) if len(made) == 2 else rng  # the third set comes about without the seed
            shuffler.shuffle(order)
            wanted = rng.randint(1, bootstrapped) if bootstrapped > 0 else 0
            made.append(Recipe("shuffled" if wanted else "labeled", tuple(order), wanted))
    return made


def demo_sets(
    job: Bootstrapping, wanted: Sequence[Recipe], pool: Pool, first: int = 0, sets: list[DemoSet] | None = None
) -> list[DemoSet]:
    """Make the sets, side by side, and tell about them in order.

    A student that comes with demos keeps them as the last set.

    Args:
        first: number of the first set; later sets, beyond those that the student's own is the last of, have another.
        sets: an empty list that gets them, so that those that are made are there if the work is cut off.

    Raises:
        TooManyErrors: the teacher's calls failed on more than ``max_errors`` examples.
        OutOfBudget: a limit was reached; ``sets`` holds those before, and the student's.
    """
    predictors = job.student.named_predictors()
    sets = [] if sets is None else sets
    said = False
    own = {name: tuple(predictor.demos) for name, predictor in predictors}
    for name in () if first else job.frozen:  # its own demos are its only set
        origin = "student" if own[name] else "none"
        tell(pool.emit, 0, DemoSet(origin, own, dict.fromkeys(own, 0)), [name])
    names = [name for name, _ in predictors if name not in job.frozen]

    def take(found: Bootstrapped) -> None:
        nonlocal said
        sets.append(found.made)
        for result, kept, why in found.attempts:
            pool.emit(ev.ExampleBootstrapped(result.example, result.score, kept, why))
        numeric = any(r.score is not None and not r.boolean and not r.error for r, _, _ in found.attempts)
        if numeric and job.threshold is None and not said:
            said = True
            pool.emit(ev.Noted("bootstrap", NUMERIC))
        tell(pool.emit, first + len(sets) - 1, found.made, names)

    def add_own() -> None:
        if not first and any(own.values()):
            sets.append(DemoSet("student", own, dict.fromkeys(own, 0)))
            tell(pool.emit, len(sets) - 1, sets[-1], names)

    try:
        pool.each(lambda recipe: _make(job, recipe, pool.tell), wanted, take)
    except OutOfBudget:
        add_own()
        raise
    add_own()
    return sets


def tell(emit: ev.Listener, number: int, made: DemoSet, names: Sequence[str]) -> None:
    """Emit a demo set's event for each of these predictors."""
    for name in names:
        demos = tuple(plain(fields_of(demo)) for demo in made.demos[name])
        emit(ev.DemosBootstrapped(name, number, made.origin, demos, made.bootstrapped[name]))


def _make(job: Bootstrapping, recipe: Recipe, say: ev.Listener) -> Bootstrapped:
    names = [name for name, _ in job.student.named_predictors()]
    if recipe.origin == "none":
        empty: dict[str, tuple[Example, ...]] = dict.fromkeys(names, ())
        return Bootstrapped(DemoSet("none", empty, dict.fromkeys(names, 0)), ())
    traces, attempts = _traces(job, recipe, say) if recipe.size else ({}, [])
    used = {result.example for result, kept, _ in attempts if kept}
    demos: dict[str, tuple[Example, ...]] = {}
    rest = [job.trainset[i] for i in recipe.order if i not in used]
    if recipe.size:
        random.Random(ALWAYS).shuffle(rest)
    rng = random.Random(ALWAYS)
    for name, predictor in job.student.named_predictors():
        own = traces.get(name, [])[: recipe.size]
        fill = [demo for demo in (labeled_demo(predictor.signature, e) for e in rest) if demo is not None]
        room = min(max(0, job.max_labeled - len(own)), len(fill))
        demos[name] = (*own, *rng.sample(fill, room))
    counts = {name: len(traces.get(name, [])[: recipe.size]) for name in names}
    return Bootstrapped(DemoSet(recipe.origin, demos, counts), tuple(attempts))


def labeled_demo(signature: Signature, example: Example) -> Example | None:
    """Return the part of an example that a predictor can show, or None if inputs or outputs are missing."""
    fields = fields_of(example)
    held = {name: fields[name] for name in signature.fields if name in fields and fields[name] is not None}
    whole = set(signature.input_fields) <= set(held) and set(signature.output_fields) & set(held)
    return Example(held) if whole else None


def _teacher(job: Bootstrapping, recipe: Recipe) -> Module:
    """A teacher without demos of its own gets labeled ones, as in DSPy."""
    teacher = job.teacher.deepcopy()
    if job.max_labeled and not any(predictor.demos for predictor in teacher.predictors):
        rng = random.Random(ALWAYS)
        for predictor in teacher.predictors:
            fits = [labeled_demo(predictor.signature, job.trainset[i]) for i in recipe.order]
            fill = [demo for demo in fits if demo is not None]
            predictor.demos = rng.sample(fill, min(job.max_labeled, len(fill)))
    return teacher


def _traces(
    job: Bootstrapping, recipe: Recipe, tell: ev.Listener
) -> tuple[dict[str, list[Example]], list[tuple[ExampleResult, bool, str]]]:
    """Let the teacher try examples in the recipe's order until enough of its traces pass."""
    teacher = _teacher(job, recipe)
    predictors = teacher.named_predictors()  # once: a program may make more of them while it runs
    tried: list[ExampleResult] = []
    passed: list[ExampleResult] = []
    failures = 0
    for number in recipe.order:
        for attempt in range(job.rounds):
            result = _attempt(teacher, predictors, job, number, attempt)
            tried.append(result)
            tell(ev.LMUsed("bootstrap", result.usage))
            for note in result.notes:
                tell(ev.Noted("bootstrap", note))
            if _passes(result, job.threshold):
                passed.append(result)
                break
        failures += tried[-1].score is None
        if failures > job.max_errors:
            raise TooManyErrors(f"the teacher failed on {failures} examples, the last: {tried[-1].error}")
        if _enough(passed, tried, recipe.size, job.threshold):
            break
    best = sorted(passed, key=lambda r: -(r.score or 0.0))[: recipe.size]  # stable: of equals the earlier
    kept = {id(result) for result in best}
    rng = random.Random(ALWAYS)
    traces: dict[str, list[Example]] = {name: [] for name, _ in job.student.named_predictors()}
    for result in (result for result in passed if id(result) in kept):
        for name, demo in _demos_of(predictors, result, rng).items():
            traces[name].append(demo)
    return traces, [(r, id(r) in kept, "" if id(r) in kept else _why_not(r, job.threshold)) for r in tried]


def _attempt(
    teacher: Module, predictors: Sequence[tuple[str, Predict]], job: Bootstrapping, number: int, attempt: int
) -> ExampleResult:
    """Run the teacher, this set's own copy, on an example that is taken out of its demos meanwhile."""
    example = job.trainset[number]
    shown = [predictor.demos for _, predictor in predictors]
    for _, predictor in predictors:
        predictor.demos = [demo for demo in predictor.demos if not _same_question(predictor.signature, demo, example)]
    again: dict[str, Any] = {"temperature": 1.0, "rollout": attempt} if attempt else {}
    try:
        return score_example(teacher, number, example, job.metric, trace=True, options=again)
    finally:
        for (_, predictor), demos in zip(predictors, shown, strict=True):
            predictor.demos = demos


def _same_question(signature: Signature, demo: Example, example: Example) -> bool:
    """Whether a demo has the example's inputs, as far as the example holds them; its answer may be spelt otherwise."""
    held = [name for name in signature.input_fields if name in example and name in demo]
    return bool(held) and all(demo[name] == example[name] for name in held)


def _passes(result: ExampleResult, threshold: float | None) -> bool:
    if result.score is None or result.error:
        return False
    return result.score >= threshold if threshold is not None else result.score > 0.0


def _enough(
    passed: Sequence[ExampleResult], tried: Sequence[ExampleResult], size: int, threshold: float | None
) -> bool:
    """Booleans and thresholds: as soon as ``size`` passed. Numbers: full marks, or enough tries to choose from."""
    if threshold is not None or all(result.boolean for result in passed):
        return len(passed) >= size
    perfect = sum(result.score == 1.0 for result in passed)
    return perfect >= size or (len(tried) >= TRIES_PER_DEMO * size and len(passed) >= size)


def _why_not(result: ExampleResult, threshold: float | None) -> str:
    if result.error:
        return result.error
    if threshold is not None:
        return f"score {result.score:g} is below metric_threshold={threshold:g}"
    return "score 0" if not result.score else f"score {result.score:g}; others scored better"


def _demos_of(
    predictors: Sequence[tuple[str, Predict]], result: ExampleResult, rng: random.Random
) -> dict[str, Example]:
    """Turn a trace into one demo per predictor; of several calls, the last or one before it (as in DSPy)."""
    names = {id(predictor): name for name, predictor in predictors}
    by_name: dict[str, list[Example]] = {}
    for step in result.steps:
        if id(step.predictor) in names and step.outputs:
            demo = Example({**step.inputs, **step.outputs})
            by_name.setdefault(names[id(step.predictor)], []).append(demo)
    return {
        name: demos[-1] if len(demos) == 1 or rng.random() >= 0.5 else rng.choice(demos[:-1])
        for name, demos in by_name.items()
    }
