"""Evaluate: run a program over examples and score it.

A failure is not a score: a call that failed after its retries gives a result without a score
(missing data). A reply that can't be read, or a prompt that the LM refuses, is the prompt's
doing and scores 0, with its error kept. A bug in the metric raises at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mipro_nb import events as ev
from mipro_nb.checks import prepare
from mipro_nb.errors import (
    ConfigError,
    LMError,
    LMRefused,
    LMUnavailable,
    MetricError,
    ParseError,
    TooManyErrors,
    UnknownPrompt,
    check_range,
)
from mipro_nb.example import Example, Score, fields_of
from mipro_nb.module import Module, Step, tracing
from mipro_nb.pool import Pool
from mipro_nb.settings import sampling, settings
from mipro_nb.usage import track_usage

Metric = Callable[..., Any]

LONGEST_OUTPUT = 2_000  # characters of an output that events carry


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """What one example gave.

    Attributes:
        example: its position in the dataset.
        score: in [0, 1]; None when the call failed, which is missing data and not a zero.
        boolean: whether the metric returned a boolean.
        prediction: what the program returned, or None.
        error: why there is no prediction, or empty.
        feedback: the metric's, if it returned a ``Score``.
        steps: the predictors' inputs and outputs.
        usage, notes: of the LM calls made.
    """

    example: int
    score: float | None
    boolean: bool = False
    prediction: Any = None
    error: str = ""
    feedback: str = ""
    steps: tuple[Step, ...] = ()
    usage: ev.Usage = field(default_factory=ev.Usage)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The score of a program on a dataset.

    Attributes:
        score: unrounded mean over ``examples`` scored examples; None if none could be scored.
        results: one per example, in dataset order.
    """

    results: tuple[ExampleResult, ...]

    @property
    def score(self) -> float | None:
        scores = [result.score for result in self.results if result.score is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def examples(self) -> int:
        """How many examples the score stands on."""
        return sum(result.score is not None for result in self.results)

    @property
    def failed(self) -> int:
        """How many examples are missing because their calls failed."""
        return len(self.results) - self.examples

    def __repr__(self) -> str:
        shown = "no score" if self.score is None else f"score {self.score:.1%}"
        missing = f", {self.failed} failed" if self.failed else ""
        return f"EvaluationResult({shown} on {self.examples} examples{missing})"


def run_example(
    program: Module,
    number: int,
    example: Example,
    metric: Metric | None,
    *,
    trace: bool,
    options: Mapping[str, Any] | None = None,
) -> ExampleResult:
    """Run a program on one example and score it.

    Args:
        number: the example's position in its dataset.
        metric: None gives a score of 1 to whatever the program returns.
        trace: whether the metric gets the trace (it does while bootstrapping, as in DSPy).
        options: of ``LM.complete``, for the program's calls; a metric's own calls don't get them.

    Raises:
        LMRefused, ConfigError: nothing that another example could change.
        MetricError: the metric raised or returned what is no score.
    """
    with track_usage() as account, tracing() as steps:
        failure: ExampleResult | None = None
        prediction = None
        try:
            with sampling(**(options or {})):
                prediction = program(**fields_of(Example.inputs(example)))
        except (LMRefused, ConfigError, MetricError, UnknownPrompt):
            raise
        except ParseError as error:
            told = f"ParseError: {error} The reply was: {error.reply[:LONGEST_OUTPUT]!r}"
            failure = ExampleResult(number, 0.0, error=told, feedback=str(error))
        except (LMUnavailable, OSError) as error:  # an outage, of the LM or of what else the program asks
            failure = ExampleResult(number, None, error=_told(error))
        except Exception as error:  # noqa: BLE001 (the program failed on what the LM wrote: that is its score)
            failure = ExampleResult(number, 0.0, error=_told(error))
        result = failure or _scored(number, example, prediction, metric, list(steps) if trace else None)
        return replace(result, steps=tuple(steps), usage=account.usage, notes=tuple(account.notes))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST_OUTPUT]


def _scored(number: int, example: Example, prediction: Any, metric: Metric | None, trace: Any) -> ExampleResult:
    if metric is None:
        return ExampleResult(number, 1.0, True, prediction)
    name = getattr(metric, "__name__", type(metric).__name__)
    try:
        raw = metric(example, prediction, trace) if _takes_trace(metric) else metric(example, prediction)
    except (LMRefused, UnknownPrompt):
        raise
    except (LMError, ParseError) as error:  # of an LM that the metric asks: the score is missing
        return ExampleResult(number, None, prediction=prediction, error=f"in the metric: {_told(error)}")
    except Exception as error:
        raise MetricError(f"metric {name} raised {type(error).__name__}: {error} (on {example!r:.300})") from error
    try:
        score = raw if isinstance(raw, Score) else Score(raw)
    except ConfigError as error:
        raise MetricError(f"metric {name} returned {error} (on {example!r:.300})") from error
    return ExampleResult(number, score.value, score.boolean, prediction, feedback=score.feedback)


def _takes_trace(metric: Metric) -> bool:
    try:
        parameters = list(inspect.signature(metric).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) >= 3 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def check_metric(metric: Any) -> None:
    """Raise ConfigError unless ``metric`` can be called with an example and a prediction."""
    if not callable(metric):
        raise ConfigError(
            f"metric={metric!r}: a function metric(example, prediction, trace=None) is needed that returns a bool, "
            "a number in [0, 1] or mipro_nb.Score."
        )


def check_threshold(threshold: Any) -> None:
    """Raise ConfigError unless ``threshold`` is None or a number in [0, 1]."""
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (number and 0 <= threshold <= 1):
        raise ConfigError(f"metric_threshold={threshold!r}: a number in [0, 1], or None, is needed.")


def evaluate(
    program: Module,
    items: Sequence[tuple[int, Example]],
    metric: Metric,
    pool: Pool,
    done: Callable[[ExampleResult], None],
    max_errors: int,
) -> list[ExampleResult]:
    """Score a program on (number, example) pairs. Examples whose calls failed are tried once more at the end.

    Args:
        done: called with each result as it arrives; with a second one if the example was tried again.
        max_errors: failed examples that are borne.

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
        return run_example(program, item[0], item[1], metric, trace=False)

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
        metric: ``metric(example, prediction, trace=None)`` -> bool, number in [0, 1] or ``Score``.
        num_threads: examples at the same time; None follows the LM.
        max_errors: examples that may fail before ``TooManyErrors``.
        listeners: get a TrialStarted, an ExampleScored per example, and a TrialFinished.

    >>> from mipro_nb.testing import FakeLM
    >>> from mipro_nb.predict import Predict
    >>> rows = [Example(q="1", a="1").with_inputs("q"), Example(q="2", a="3").with_inputs("q")]
    >>> program = Predict("q -> a", lm=FakeLM(lambda messages: messages[-1]["content"][-1]))
    >>> Evaluate(rows, lambda example, prediction: example.a == prediction.a)(program)
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
        """Evaluate; a keyboard interrupt ends it at once."""
        devset = prepare("devset", self.devset, program.input_names())
        emit = ev.Emitter(self.listeners)
        zeros = tuple(0 for _ in program.predictors)
        emit(ev.TrialStarted(0, "full", zeros, (), len(devset), len(devset)))
        with Pool(threads(self.num_threads, program)) as pool:
            found = evaluate(
                program,
                list(enumerate(devset)),
                self.metric,
                pool,
                lambda r: report(emit, "search", 0, r),
                self.max_errors,
            )
        outcome = EvaluationResult(tuple(found))
        emit(ev.TrialFinished(0, outcome.score, outcome.examples, outcome.failed))
        return outcome


def report(emit: ev.Listener, stage: str, trial: int, result: ExampleResult) -> None:
    """Emit what one example gave and used."""
    emit(ev.LMUsed(stage, result.usage))
    for note in result.notes:
        emit(ev.Noted(stage, note))
    output = _shown(result.prediction) if result.prediction is not None else ""
    emit(ev.ExampleScored(trial, result.example, result.score, result.error, result.feedback, output))


def _shown(prediction: Any) -> str:
    try:
        return repr(prediction)[:LONGEST_OUTPUT]
    except Exception as error:  # noqa: BLE001 (a repr of the user's own)
        return f"a {type(prediction).__name__} whose repr raised {type(error).__name__}"
