"""Evaluate: run a program over examples and score it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mipro_nb import events as ev
from mipro_nb.checks import prepare
from mipro_nb.errors import TooManyErrors, check_range
from mipro_nb.example import Example
from mipro_nb.module import Module
from mipro_nb.pool import Pool
from mipro_nb.scoring import ExampleResult, Metric, check_metric, run_example
from mipro_nb.settings import settings
from mipro_nb.telling import names_of, report


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The score of a program on a dataset. ``Evaluate`` makes it.

    Attributes:
        results: one per example, in dataset order, see ``mipro_nb.scoring.ExampleResult``: each with ``score``,
            ``prediction``, ``error``, ``feedback``, ``steps``.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> data = mn.examples([{"q": "1 + 1", "a": "2"}, {"q": "1 + 2", "a": "3"}], inputs=["q"])
    >>> result = mn.Evaluate(data, mn.exact_match)(mn.Predict("q -> a", lm=FakeLM({"1 + 1": "2", "1 + 2": "5"})))
    >>> result.score, result.examples, result.failed
    (0.5, 2, 0)
    >>> [one.prediction.a for one in result.results if one.score == 0]
    ['5']
    """

    results: tuple[ExampleResult, ...]

    @property
    def score(self) -> float | None:
        """Unrounded mean over ``examples`` examples, a fraction in [0, 1]; None if none could be scored."""
        scores = [result.score for result in self.results if result.score is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def examples(self) -> int:
        """How many examples the score stands on: those that could be scored."""
        return sum(result.score is not None for result in self.results)

    @property
    def failed(self) -> int:
        """How many examples are missing because their calls failed."""
        return len(self.results) - self.examples

    def __repr__(self) -> str:
        shown = "no score" if self.score is None else f"score {self.score:.1%}"
        missing = f", {self.failed} failed" if self.failed else ""
        return f"EvaluationResult({shown} on {self.examples} examples{missing})"


def evaluate(
    program: Module,
    items: Sequence[tuple[int, Example]],
    metric: Metric,
    pool: Pool,
    done: Callable[[ExampleResult], None],
    max_errors: int,
    known: Callable[[int], ExampleResult | None] = lambda number: None,
) -> list[ExampleResult]:
    """Score a program on (number, example) pairs. Examples whose calls failed are tried once more at the end.

    Args:
        done: called with each result as it arrives; with a second one if the example was tried again.
        max_errors: failed examples that are borne.
        known: gives what is known of an example already; None: it is to be run.

    Raises:
        TooManyErrors: more examples failed.
    """
    failed: list[str] = []

    def arrived(result: ExampleResult) -> None:
        done(result)
        if result.score is None:
            failed.append(result.error)
            if len(failed) > max_errors:
                raise TooManyErrors(f"{len(failed)} examples failed, max_errors={max_errors}; the last: {failed[-1]}")

    def work(item: tuple[int, Example]) -> ExampleResult:
        return known(item[0]) or run_example(program, item[0], item[1], metric, trace=False)

    results = pool.map(work, items, arrived)
    missing = [place for place, result in enumerate(results) if result.score is None]
    if missing and len(missing) < len(results):
        failed.clear()
        again = pool.map(work, [items[place] for place in missing], arrived)
        for place, result in zip(missing, again, strict=True):
            results[place] = result
    return results


def threads(num_threads: int | None, program: Module) -> int:
    """Return how many threads to use: as asked, as configured, or as the slowest LM of the program can use."""
    asked = num_threads if num_threads is not None else settings().num_threads
    if asked is not None:
        check_range("num_threads", asked, 1)
        return asked
    lms = {predictor.lm or settings().lm for predictor in program.predictors}
    return min((lm.concurrency for lm in lms if lm is not None), default=1)


class Evaluate:
    """Score programs on a dataset.

    Args:
        devset: Examples with named inputs.
        metric: ``metric(example, prediction, trace=None)`` -> bool, number in [0, 1] or ``Score``; a ``trace``
            comes only while demos are bootstrapped.
        num_threads: examples at the same time, 1 or more; None: as configured, or as the LM can use.
        max_errors: examples whose calls may fail before ``TooManyErrors``, 0 or more.
        listeners: called with a TrialStarted, an ExampleScored per example, and a TrialFinished, see ``events``.

    Raises:
        ConfigError: an argument is wrong. What an evaluation can raise stands at ``__call__``.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> data = mn.examples([{"q": "1", "a": "1"}, {"q": "2", "a": "3"}], inputs=["q"])
    >>> program = mn.Predict("q -> a", lm=FakeLM(lambda messages: messages[-1]["content"][-1]))
    >>> mn.Evaluate(data, lambda example, prediction: example.a == prediction.a)(program)
    EvaluationResult(score 50.0% on 2 examples)
    """

    def __init__(
        self,
        devset: Sequence[Example],
        metric: Metric,
        *,
        num_threads: int | None = None,
        max_errors: int = 10,
        listeners: Iterable[ev.Listener] = (),
    ) -> None:
        check_metric(metric)
        check_range("max_errors", max_errors, 0)
        self.devset, self.metric = devset, metric
        self.num_threads, self.max_errors, self.listeners = num_threads, max_errors, tuple(listeners)

    def __call__(self, program: Module) -> EvaluationResult:
        """Evaluate; a keyboard interrupt ends it at once.

        A failed call is missing from the score, and tried once more at the end; a reply that can't be read scores 0.

        Raises:
            DataError: the dataset doesn't fit the program.
            MetricError: the metric raised, or returned what is no score; at once, with the example.
            LMRefused, ConfigError: the key or model is refused, or no LM is configured.
            TooManyErrors: more than ``max_errors`` examples failed.
        """
        devset = prepare("devset", self.devset, program.input_names())
        emit = ev.Emitter(self.listeners)
        zeros = tuple(0 for _ in program.predictors)
        emit(ev.TrialStarted(0, "full", zeros, (), len(devset), len(devset)))
        names = names_of(program)
        with Pool(threads(self.num_threads, program)) as pool:
            found = evaluate(
                program,
                list(enumerate(devset)),
                self.metric,
                pool,
                lambda r: report(emit, "search", 0, names, r),
                self.max_errors,
            )
        outcome = EvaluationResult(tuple(found))
        emit(ev.TrialFinished(0, outcome.score, outcome.examples, outcome.failed))
        return outcome
