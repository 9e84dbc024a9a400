"""The verdict: is the best program really better, on examples that the search never saw?

Every example is scored under both programs, so the comparison is paired. The interval is the
percentile bootstrap of the mean difference (Efron and Tibshirani, 1993, chapter 13); the test
is McNemar's exact one for booleans, a sign-flip permutation test for other scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

RESAMPLES = 10_000
LEVEL = 0.95
Z = 1.959964  # of the normal distribution, for LEVEL
STUDENT = (12.7062, 4.30265, 3.18245, 2.77645)  # quantiles of Student's t for LEVEL, 1 to 4 degrees of freedom
NO_SPREAD = 1e-6  # a standard deviation of less is the rounding of sums
BOOLEANS = frozenset((0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement.

    Attributes:
        word: ``improved``, ``not shown`` or ``worse``.
        examples: how many examples both programs were scored on.
        baseline, best: mean scores, fractions.
        difference: ``best - baseline``; ``low`` to ``high`` is its 95% interval.
        p_value: two-sided, of no difference.
        fixed, broken: examples that score higher, lower than before.
    """

    word: str
    examples: int
    baseline: float
    best: float
    difference: float
    low: float
    high: float
    p_value: float
    fixed: int
    broken: int

    def __str__(self) -> str:
        """One sentence for people, in percentage points."""
        change = f"{self.difference * 100:+.1f} points [{self.low * 100:+.1f}, {self.high * 100:+.1f}]"
        return (
            f"{self.word}: {self.baseline:.1%} -> {self.best:.1%} on {self.examples} test examples, "
            f"{change}, p = {self.p_value:.2g}; {self.fixed} fixed, {self.broken} broken"
        )


def judge(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Verdict:
    """Compare the scores of two programs on the same examples, in the same order.

    Args:
        before, after: scores in [0, 1]; of equal length, 1 or more.
        seed: of the resampling.

    >>> judge([0.0] * 12, [1.0] * 12).word, judge([0.0, 1.0], [1.0, 1.0]).word
    ('improved', 'not shown')
    """
    import numpy as np

    difference = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    rng = np.random.default_rng(seed)
    low, high = _interval(difference, rng)
    fixed, broken = int((difference > 0).sum()), int((difference < 0).sum())
    boolean = set(before) | set(after) <= {0.0, 1.0}
    p_value = mcnemar(fixed, broken) if boolean else _sign_flip(difference, rng)
    mean = float(difference.mean())
    sure = p_value < 1 - LEVEL
    word = "improved" if sure and low > 0 else "worse" if sure and high < 0 else "not shown"
    baseline, best = float(np.mean(before)), float(np.mean(after))
    return Verdict(word, len(difference), baseline, best, mean, low, high, p_value, fixed, broken)


def interval(mean: float, examples: int, spread: float | None = None) -> tuple[float, float]:
    """Return the 95% interval of a mean score, inside [0, 1] and rounded outwards.

    It is Wilson's (1927) for booleans, else Student's (1908). One number alone says nothing; a few equal ones have no
    spread to go by, and get Wilson's: no scores of that mean are more spread than booleans.

    Args:
        mean: a fraction, over ``examples`` examples, 1 or more.
        spread: standard deviation of the single scores, as of ``spread_of``; None: they are booleans.

    >>> interval(0.5, 100), interval(0.5, 100, 0.1)
    ((0.403, 0.597), (0.48, 0.52))
    """
    if spread is not None and examples < 2:
        return 0.0, 1.0
    if spread is None or spread < NO_SPREAD:
        weight = Z * Z / examples
        centre, half = mean + weight / 2, Z * math.sqrt(mean * (1 - mean) / examples + weight / (4 * examples))
        low, high = (centre - half) / (1 + weight), (centre + half) / (1 + weight)
    else:
        half = student(examples - 1) * spread / math.sqrt(examples)
        low, high = mean - half, mean + half
    return max(0.0, math.floor(low * 1000) / 1000), min(1.0, math.ceil(high * 1000) / 1000)


def student(freedom: int) -> float:
    """Return the two-sided quantile of Student's t for ``LEVEL`` and so many degrees of freedom, 1 or more.

    From 5 on by the expansion of Cornish and Fisher (Abramowitz and Stegun, 1964, 26.7.5), good to 0.0003.
    """
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    first, second = (Z**3 + Z) / 4, (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    fourth = (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160
    return Z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def spread_of(scores: Collection[float]) -> float | None:
    """Return the sample's standard deviation, or None if all scores are booleans; equal scores and one alone have 0."""
    if BOOLEANS.issuperset(scores):
        return None
    if min(scores) == max(scores):
        return 0.0
    mean = math.fsum(scores) / len(scores)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))


def mcnemar(fixed: int, broken: int) -> float:
    """Return the exact two-sided p-value that ``fixed`` and ``broken`` are tosses of a fair coin."""
    n = fixed + broken
    tail = sum(math.comb(n, k) for k in range(min(fixed, broken) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def _interval(difference: Any, rng: Any) -> tuple[float, float]:
    import numpy as np

    n = len(difference)
    means = np.concatenate(
        [difference[rng.integers(0, n, size=(500, n))].mean(axis=1) for _ in range(RESAMPLES // 500)]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _sign_flip(difference: Any, rng: Any) -> float:
    import numpy as np

    n, seen = len(difference), abs(difference.sum()) - 1e-12
    flips = [rng.choice([-1.0, 1.0], size=(500, n)) @ difference for _ in range(RESAMPLES // 500)]
    return float((1 + (np.abs(np.concatenate(flips)) >= seen).sum()) / (RESAMPLES + 1))
