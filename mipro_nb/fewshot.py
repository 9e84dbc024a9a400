"""BootstrapFewShot: one demo set for a program, as an optimizer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from mipro_nb.bootstrap import Bootstrapping, Recipe, demo_sets
from mipro_nb.checks import prepare
from mipro_nb.errors import ConfigError, check_range
from mipro_nb.example import Example
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.pool import Pool
from mipro_nb.scoring import Metric, check_metric, check_threshold

M = TypeVar("M", bound=Module)


class BootstrapFewShot:
    """Give a program demos from its own (or a teacher's) successful traces, filled up with labeled ones.

    Vocabulary and defaults are those of DSPy's optimizer of the same name (teleprompt/bootstrap.py of dspy 3.4.1).

    Args:
        metric: ``metric(example, prediction, trace)`` -> bool, number in [0, 1] or ``Score``; None keeps every trace.
        metric_threshold: score in [0, 1] that a trace must reach; None keeps what the metric calls true, and of
            numeric scores the best.
        max_bootstrapped_demos: most traces of the teacher's, 0 or more.
        max_labeled_demos: labeled examples fill up to so many demos in all, 0 or more.
        max_rounds: attempts per example, 1 or more; those after the first sample at temperature 1.
        max_errors: examples on which the teacher's calls may fail, 0 or more.

    Raises:
        ConfigError: an argument is wrong.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> data = mn.examples([{"q": "1", "a": "3"}, {"q": "2", "a": "2"}], inputs=["q"])
    >>> program = mn.Predict("q -> a", lm=FakeLM(lambda messages: messages[-1]["content"][-1]))
    >>> optimizer = mn.BootstrapFewShot(mn.exact_match, max_labeled_demos=0)
    >>> optimizer.compile(program, trainset=data).demos
    [Example(q='2', a='2')]
    """

    def __init__(
        self,
        metric: Metric | None = None,
        metric_threshold: float | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 16,
        max_rounds: int = 1,
        max_errors: int = 10,
    ) -> None:
        if metric is not None:
            check_metric(metric)
        for name, value in (("bootstrapped", max_bootstrapped_demos), ("labeled", max_labeled_demos)):
            check_range(f"max_{name}_demos", value, 0)
        check_range("max_rounds", max_rounds, 1)
        check_range("max_errors", max_errors, 0)
        check_threshold(metric_threshold)
        self.metric, self.metric_threshold = metric, metric_threshold
        self.max_bootstrapped_demos, self.max_labeled_demos = max_bootstrapped_demos, max_labeled_demos
        self.max_rounds, self.max_errors = max_rounds, max_errors

    def compile(self, student: M, *, teacher: Module | None = None, trainset: Sequence[Example]) -> M:
        """Return a copy of the student with demos; student, teacher and examples stay as they are.

        Args:
            student: the program.
            teacher: a program with the same predictors, whose traces become demos; None is the student itself.
            trainset: Examples with named inputs.

        Raises:
            ConfigError, DataError: teacher or trainset don't fit the student.
            MetricError: the metric raised, or returned what is no score.
            TooManyErrors: the teacher's calls failed on more than ``max_errors`` examples.
        """
        rows = prepare("trainset", trainset, student.input_names())
        job = Bootstrapping(
            student,
            checked_teacher(student, teacher),
            rows,
            self.metric,
            self.max_labeled_demos,
            self.metric_threshold,
            self.max_rounds,
            self.max_errors,
        )
        origin = "bootstrapped" if self.max_bootstrapped_demos else "labeled"
        recipe = Recipe(origin, tuple(range(len(rows))), self.max_bootstrapped_demos)
        with Pool(1) as pool:
            made = demo_sets(job, [recipe], pool)[0]
        program = student.deepcopy()
        for name, predictor in program.named_predictors():
            predictor.demos = list(made.demos[name])
        return program


def checked_teacher(student: Module, teacher: Module | LM | None) -> Module:
    """Return the teacher: the student itself by default, or the student asked of another LM.

    Raises:
        ConfigError: the teacher has other predictors than the student.
    """
    if teacher is None:
        return student
    if isinstance(teacher, LM):
        same = student.deepcopy()
        same.set_lm(teacher)
        return same
    if not isinstance(teacher, Module):
        raise ConfigError(f"teacher={teacher!r}: a program or an LM is needed.")
    mine, theirs = dict(student.named_predictors()), dict(teacher.named_predictors())
    if list(mine) != list(theirs):
        raise ConfigError(
            f"teacher has the predictors {list(theirs)}, the student {list(mine)}; they must be the same."
        )
    for name, predictor in mine.items():
        if list(predictor.signature.fields) != list(theirs[name].signature.fields):
            raise ConfigError(f"teacher's predictor {name!r} has other fields than the student's.")
    return teacher
