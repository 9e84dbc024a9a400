"""One example: run the program on it, score what comes back, keep what went wrong.

A failure is not a score: a call that failed after its retries gives a result without a score
(missing data). A reply that can't be read, a prompt that the LM refuses, or a program that fails
on what the LM wrote is the prompt's doing and scores 0, with its error kept. A bug in the metric
raises at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mipro_nb import events as ev
from mipro_nb.errors import (
    ConfigError,
    LMError,
    LMRefused,
    LMUnavailable,
    MetricError,
    ParseError,
    UnknownPrompt,
)
from mipro_nb.example import Example, Score, fields_of
from mipro_nb.flow import ENDED, Stopped, checkpoint, ended, undisguised
from mipro_nb.module import Module, Step, copied, tracing
from mipro_nb.settings import sampling
from mipro_nb.usage import track_usage

Metric = Callable[..., Any]

LONGEST_OUTPUT = 2_000  # characters of an output or error that events carry


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
        steps: the predictors' inputs, outputs and replies; failed calls have no outputs.
        usage, notes, answers: of the LM calls made, see ``usage.Account``.
        told: the events that tell of it, where a run's log holds them already.
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
    answers: tuple[str, ...] = ()
    told: tuple[ev.Event, ...] = ()


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
        Stopped: a call was refused, because the run ends or has reached a limit; whatever the program made of that.
    """
    checkpoint()
    with undisguised(), track_usage() as account, tracing() as steps:
        failure: ExampleResult | None = None
        prediction = None
        try:
            with sampling(**(options or {})):
                prediction = program(**copied(fields_of(Example.inputs(example))))
        except (LMRefused, ConfigError, MetricError, UnknownPrompt, Stopped):
            raise
        except ParseError as error:
            told = f"ParseError: {error} The reply was: {error.reply[:LONGEST_OUTPUT]!r}"
            failure = ExampleResult(number, 0.0, error=told, feedback=str(error))
        except (LMUnavailable, OSError) as error:  # an outage, of the LM or of what else the program asks
            if ended():  # the LM wasn't asked any more: that says nothing about it
                raise Stopped(ENDED) from error
            failure = ExampleResult(number, None, error=_told(error))
        except Exception as error:  # noqa: BLE001 (the program failed on what the LM wrote: that is its score)
            failure = ExampleResult(number, 0.0, error=_told(error))
        done = [step for step in steps if step.outputs]
        result = failure or _scored(number, example, prediction, metric, done if trace else None)
        notes, answers = tuple(account.notes), tuple(account.answers)
        return replace(result, steps=tuple(steps), usage=account.usage, notes=notes, answers=answers)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST_OUTPUT]


def _scored(number: int, example: Example, prediction: Any, metric: Metric | None, trace: Any) -> ExampleResult:
    if metric is None:
        return ExampleResult(number, 1.0, True, prediction)
    name = getattr(metric, "__name__", type(metric).__name__)
    try:
        raw = metric(example, prediction, trace) if _takes_trace(metric) else metric(example, prediction)
    except (LMRefused, UnknownPrompt, Stopped):
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
