"""What can be said of a run's result: History -> sentences and small numbers. Pure; every page says the same.

The estimate is the posterior's of ``search="paired"``: shrunken, so that the luck of the winner is taken off. A run
without a posterior has none, and of it nothing is said here but what a test set shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mipro_nb import frames
from mipro_nb.history import History
from mipro_nb.verdict import Z

SOURCES = {"instructions": "instructions alone", "demos": "demos alone", "both": "both together"}
ESTIMATED = (
    "No verdict: there was no test set. The score is estimated from the same examples that the search chose by: a "
    "model of all results, which takes off the luck of the winner; pass testset= for a judgement."
)


@dataclass(frozen=True, slots=True)
class Gap:
    """How far the test score fell below what the validation set promised.

    Attributes:
        promised, tested: scores as fractions.
        difference: promised minus tested; ``error`` is its standard error: the estimate's and the test's, squared and
            summed, as of two independent samples.
        shrunken: whether the promise is an estimate; else it is the winner's raw mean, which promises too much.
    """

    promised: float
    tested: float
    difference: float
    error: float
    shrunken: bool

    @property
    def overfit(self) -> bool:
        """Whether the test score is lower by more than noise explains, at 95%."""
        return self.difference > Z * self.error

    def __str__(self) -> str:
        noise = f"noise alone explains up to {Z * self.error * 100:.1f} (95%)"
        if self.overfit:
            return (
                f"Overfit warning: the test score {self.tested:.1%} lies {self.difference * 100:.1f} points below the "
                f"{'estimate' if self.shrunken else 'score'} on validation {self.promised:.1%}; {noise}. The program "
                "fits the validation examples better than new ones."
            )
        way = "below" if self.difference > 0 else "above"
        return (
            f"Validation against test: the test score {self.tested:.1%} lies {abs(self.difference) * 100:.1f} points "
            f"{way} the {'estimate' if self.shrunken else 'score'} on validation {self.promised:.1%}; {noise}."
        )


def percent(found: Mapping[str, float]) -> str:
    """Write a mean and its interval: ``81.2% [75.0, 86.5]``."""
    return f"{found['mean']:.1%} [{found['low'] * 100:.1f}, {found['high'] * 100:.1f}]"


def points(found: Mapping[str, float]) -> str:
    """Write a difference and its interval in points: ``+9.1 points [+2.0, +16.2]``."""
    return f"{found['mean'] * 100:+.1f} points [{found['low'] * 100:+.1f}, {found['high'] * 100:+.1f}]"


def probability(share: float) -> str:
    """Write a probability in per cent that never claims to be sure."""
    return "less than 1%" if share < 0.01 else "more than 99%" if share > 0.99 else f"{share:.0%}"


def is_given(history: History) -> bool:
    """Whether the leader is the program as it was given."""
    found, baseline = history.posterior, history.baseline
    return found is not None and baseline is not None and _choice(found) == _choice(baseline)


def best_text(history: History) -> str:
    """Say the leader's score, estimated, and what it is without the model; empty without a posterior."""
    if history.posterior is None:
        return ""
    best = history.best
    raw = ""
    if best is not None and best.score is not None:
        raw = f"; the raw mean is {best.score:.1%} on {best.examples} examples"
    return f"estimated {percent(history.posterior.score)}, shrunken{raw}"


def gain_text(history: History) -> str:
    """Say how much better than the baseline the leader is; empty without a posterior."""
    found = history.posterior
    if found is None:
        return ""
    if is_given(history):
        return "nothing better than the program as it was given"
    return f"{points(found.gain)} over the baseline, better with a probability of {probability(found.gain['better'])}"


def sources(history: History) -> list[tuple[str, Mapping[str, float]]]:
    """Return what brought the gain: (``instructions alone``, mean, low and high), and so on; none if nothing did."""
    if history.posterior is None or is_given(history):
        return []
    told = history.posterior.sources
    return [(words, told[name]) for name, words in SOURCES.items() if told.get(name)]


def simplest_text(history: History) -> str:
    """Say which shorter program is within the noise of the best, and what it saves per call; empty if none is."""
    found = history.posterior.simplest if history.posterior is not None else {}
    if not found:
        return ""
    loss = found["loss"]
    return (
        f"Within the noise of the best is a shorter program: {choice_text(history, found)}, estimated "
        f"{percent(found['score'])}, {_loss(loss)}.{saved_text(found)}"
    )


def saved_text(found: Mapping[str, Any]) -> str:
    """Say what the shorter program saves per call."""
    best, own = found.get("best_tokens", 0), found.get("tokens", 0)
    if not best or own >= best:
        return ""
    return f" It saves about {best - own:,} of {best:,} prompt tokens per call ({(best - own) / best:.0%})."


def _loss(loss: Mapping[str, float]) -> str:
    return f"{-loss['mean'] * 100:+.1f} points [{-loss['high'] * 100:+.1f}, {-loss['low'] * 100:+.1f}]"


def choice_text(history: History, chosen: Mapping[str, Any]) -> str:
    """Name a combination of the posterior: ``instruction 1, demos 2``; those as given by their own word."""
    names = history.started.predictors if history.started else ()
    instructions, demos = chosen["instructions"], chosen["demos"]
    origins = {(made.predictor, made.index): made.origin for made in list(history.demo_sets)}
    parts = []
    for place, index in enumerate(instructions):
        name = names[place] if place < len(names) else str(place)
        told = "the original instruction" if index == 0 else f"instruction {index}"
        if demos:
            bare = origins.get((name, demos[place])) == "none"
            told += ", no demos" if bare else f", demos {demos[place]}"
        parts.append(f"{name}: {told}" if len(instructions) > 1 else told)
    return "; ".join(parts)


def gap(history: History) -> Gap | None:
    """Return how the test score compares with what the validation set promised; None before a verdict."""
    found, best = history.verdict, history.best
    if found is None or best is None:
        return None
    told = history.posterior.score if history.posterior is not None else None
    promised = told["mean"] if told is not None else best.score
    if promised is None:
        return None
    ends = (told["low"], told["high"]) if told is not None else (best.low, best.high)
    tests = [trial for trial in list(history.trials_by_number.values()) if trial.kind == "test_best"]
    error = math.hypot(_error(*ends), _error(tests[-1].low, tests[-1].high) if tests else 0.0)
    return Gap(promised, found.best, promised - found.best, error, told is not None)


def _error(low: float | None, high: float | None) -> float:
    """Return the standard error behind a 95% interval."""
    return 0.0 if low is None or high is None else (high - low) / (2 * Z)


def price_text(history: History) -> str:
    """Say what a point of the test score cost; only where the verdict is that it improved."""
    found, usage = history.verdict, history.usage
    if found is None or found.word != "improved":
        return ""
    gained = found.difference * 100
    if usage.cost:
        return f"The whole run cost ${usage.cost:,.4f}: ${usage.cost / gained:,.4f} per point gained on the test set."
    if not usage.calls:
        return ""
    price = "at no cost" if usage.cost == 0 else "at an unknown price"
    return f"The whole run took {usage.calls:,} calls {price}: {usage.calls / gained:,.1f} per point gained."


def after_test(history: History) -> list[str]:
    """Return what is said below a verdict: the gap between validation and test, the price of a point."""
    found = gap(history)
    if history.posterior is None or found is None:  # a log of another search is shown as it always was
        return []
    return [line for line in (str(found), price_text(history)) if line]


def lines(history: History) -> list[str]:
    """Return all that is said of the result beside the verdict, a sentence each; nothing without a posterior."""
    if history.posterior is None:
        return []
    told = [f"The best is {best_text(history)}.", f"Its gain: {gain_text(history)}."]
    parts = [f"{words} {points(found)}" for words, found in sources(history)]
    told += [f"What brought the gain: {', '.join(parts)}."] if parts else []
    simplest = simplest_text(history)
    return [*told, *([simplest] if simplest else [])]


def approaches(history: History) -> list[dict[str, Any]]:
    """Return what worked in proposing instructions: ``factor``, ``level``, ``tried``, ``gain``, ``low``, ``high``."""
    if history.posterior is None:
        return []
    table = frames.approaches(history)
    rows: list[dict[str, Any]] = [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]
    return sorted(rows, key=lambda row: (str(row["factor"]), -float(row["gain"])))


def _choice(one: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(one.instructions), tuple(one.demos)
