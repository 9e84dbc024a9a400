"""A Bayesian model of paired scores: what results on some examples say of every combination, tried or not.

The score of a combination c on an example e is taken as

    y(c, e) = 1/2 + f(c) + d(e) + noise

with Gaussian d (the example's difficulty) and noise, and f a Gaussian process over combinations: a common mean, main
effects of each predictor's instruction and demo set, the interaction of the two, and a residual of the combination's
own. Difficulties are integrated out, so that combinations which met the same examples are compared by paired
differences. The scales come from the data: two variances by moments (Searle, Casella and McCulloch, 1992), those of f
by the marginal likelihood on a small grid, over which predictions are averaged (Rasmussen and Williams, 2006,
chapters 2 and 5).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

Array = Any  # of NumPy
P = ParamSpec("P")
R = TypeVar("R")
BLAS = ThreadpoolController()

CENTRE = 0.5
COMMON = 0.3**2  # prior variance of the common mean
SCALES = (0.003, 0.02, 0.04, 0.07, 0.11, 0.17, 0.26)  # standard deviations of f between combinations
PRIOR = (2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # weights of these before there is data; the first: hardly any difference
SHARES = (  # of f's variance: instructions, demos, their interaction, the combination's own
    (0.45, 0.45, 0.05, 0.05),
    (0.25, 0.25, 0.25, 0.25),
    (0.08, 0.08, 0.42, 0.42),
    (0.75, 0.15, 0.05, 0.05),
    (0.15, 0.75, 0.05, 0.05),
)
KEPT = 5  # points of the grid that predictions are averaged over, at most
LEAST = 0.01  # variance of a score within a combination: nothing seen is as sure as it looks
PSEUDO = 12.0  # results that the usual variance counts for


@dataclass(frozen=True, slots=True)
class Scales:
    """A point of the grid: variances of f's four parts, in the order of ``SHARES``, and its weight."""

    parts: tuple[float, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Belief:
    """Means and covariances of combinations' scores, averaged over the grid."""

    mean: Array
    covariance: Array

    def of(self, weights: Array) -> tuple[float, float]:
        """Return mean and standard deviation of a weighted sum."""
        return float(weights @ self.mean), float(np.sqrt(max(0.0, weights @ self.covariance @ weights)))


def variances(scores: Array, seen: Array) -> tuple[float, float]:
    """Return the variances of noise and of difficulty, by moments.

    Args:
        scores: combinations x examples; 0 where nothing is known.
        seen: the same shape, whether it is known.
    """
    counts = seen.sum(1)
    means = scores.sum(1) / np.maximum(counts, 1)
    rest = np.where(seen, scores - means[:, None], 0.0)
    level = float(scores.sum() / max(1, counts.sum()))
    usual = max(LEAST, 0.6 * level * (1 - level))
    within = (float((rest**2).sum()) + PSEUDO * usual) / (float(np.maximum(counts - 1, 0).sum()) + PSEUDO)
    met = seen.sum(0)
    shared = float((rest.sum(0) ** 2 - (rest**2).sum(0)).sum())
    left = max(0.3, 1 - 1 / max(1.5, float(counts.mean())))  # of a product of deviations, by taking means off
    difficulty = (shared + PSEUDO * 0.4 * within) / (float((met * (met - 1)).sum()) * left + PSEUDO)
    difficulty = min(max(difficulty, 0.02 * within), 0.9 * within)
    return max(within - difficulty, LEAST / 4), difficulty


def frugal(work: Callable[P, R]) -> Callable[P, R]:
    """Let a function reckon in its own thread alone.

    The matrices are small: BLAS's threads would wait for each other in busy loops, and take the processor from the
    threads that run the program.
    """

    @functools.wraps(work)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with BLAS.limit(limits=1, user_api="blas"):
            return work(*args, **kwargs)

    return alone


class Alike:
    """How much combinations have in common: what every kernel over them is a weighted sum of.

    Args:
        rows, columns: combinations x parts, whole numbers: per predictor its instruction and, with ``demos``, demo set.
    """

    def __init__(self, rows: Array, columns: Array, demos: bool) -> None:
        step = 2 if demos else 1
        places = range(0, rows.shape[1], step)
        shape = (len(rows), len(columns))
        self._parts = [np.zeros(shape) for _ in range(3)]
        self._same = np.ones(shape, dtype=bool)
        for place in places:
            left = rows[:, None, place] == columns[None, :, place]
            right = rows[:, None, place + 1] == columns[None, :, place + 1] if demos else left
            both = left & right
            self._same &= both
            for part, one in zip(self._parts, (left, right, both), strict=True):
                part += one / len(places)

    def kernel(self, parts: Sequence[float]) -> Array:
        """Return the prior covariance of f; ``parts`` as of ``Scales``."""
        found = COMMON + parts[3] * self._same
        for variance, alike in zip(parts, self._parts, strict=False):
            found += variance * alike
        return found


class Posterior:
    """The model, given results.

    Args:
        design: combinations x parts, as of ``Alike``; each has a result at least.
        scores, seen: combinations x examples: the score, and whether it is known.
        demos: whether rows hold demo sets beside the instructions.
        scales: to go by; none fits them to the data.

    Attributes:
        noise: variance of a score that neither combination nor example explains.
    """

    @frugal
    def __init__(self, design: Array, scores: Array, seen: Array, demos: bool, scales: Sequence[Scales] = ()) -> None:
        self.design, self._demos = design, demos
        self.noise, self.difficulty = variances(scores, seen)
        self._root, self._data = self._evidence(scores, seen)
        alike = Alike(design, design, demos)
        self.scales = tuple(scales) or self._fit(alike)
        self._weights = np.array([one.weight for one in self.scales])
        self._solved = [self._solve(alike, one.parts) for one in self.scales]

    def _evidence(self, scores: Array, seen: Array) -> tuple[Array, Array]:
        """Integrate the difficulties out: a Gaussian likelihood of f with precision R R'; return R and R^-1 b."""
        known = seen.astype(float)
        share = self.difficulty / (self.noise + self.difficulty * known.sum(0))
        off = np.where(seen, scores - CENTRE, 0.0)
        weighted = known * share
        precision = (np.diag(known.sum(1)) - weighted @ known.T) / self.noise
        sums = (off.sum(1) - weighted @ off.sum(0)) / self.noise
        root = np.linalg.cholesky(precision + 1e-9 * np.eye(len(known)))
        return root, np.linalg.solve(root, sums)

    def _solve(self, alike: Alike, parts: Sequence[float]) -> tuple[Array, Array]:
        """Return L^-1 R' and L^-1 R^-1 b; L L' = I + R' K R."""
        inner = np.linalg.cholesky(self._inner(alike, parts))
        solved = np.linalg.solve(inner, np.column_stack([self._root.T, self._data]))
        return solved[:, :-1], solved[:, -1]

    def _inner(self, alike: Alike, parts: Sequence[float]) -> Array:
        return np.eye(len(self._root)) + self._root.T @ alike.kernel(parts) @ self._root

    def _likelihood(self, alike: Alike, parts: Sequence[float]) -> float:
        """Return the log marginal likelihood, up to a constant; of one Cholesky factor, bordered by the data."""
        size, data = len(self._data), self._data
        bordered = np.empty((size + 1, size + 1))
        bordered[:size, :size] = self._inner(alike, parts)
        bordered[size, :size] = bordered[:size, size] = data
        bordered[size, size] = data @ data + 1  # more than what the data take off: I + R' K R is at least I
        factor = np.linalg.cholesky(bordered)
        solved = factor[size, :size]
        return -0.5 * float(solved @ solved) - float(np.log(np.diag(factor)[:size]).sum())

    def _fit(self, alike: Alike) -> tuple[Scales, ...]:
        shares = SHARES if self._demos else SHARES[1:3]
        grid = [(scale, tuple(scale**2 * share for share in each)) for scale in SCALES for each in shares]
        before = np.log(np.repeat(PRIOR, len(shares)))
        fits = np.array([self._likelihood(alike, parts) for _, parts in grid]) + before
        weights = np.exp(fits - fits.max())
        best = [n for n in sorted(np.argsort(-weights, kind="stable")[:KEPT].tolist()) if weights[n] > 0.02]
        total = sum(weights[n] for n in best)
        return tuple(Scales(grid[n][1], float(weights[n] / total)) for n in best)

    @frugal
    def believed(self, rows: Array) -> Belief:
        """Return what is believed of combinations, jointly."""
        means, second = self._moments(rows)
        return Belief(CENTRE + means, second - np.outer(means, means))

    def _moments(self, rows: Array) -> tuple[Array, Array]:
        across, among = Alike(self.design, rows, self._demos), Alike(rows, rows, self._demos)
        means, second = np.zeros(len(rows)), np.zeros((len(rows), len(rows)))
        for one, (inner, data) in zip(self.scales, self._solved, strict=True):
            half = inner @ across.kernel(one.parts)
            mean = half.T @ data
            means += one.weight * mean
            second += one.weight * (among.kernel(one.parts) - half.T @ half + np.outer(mean, mean))
        return means, second

    @frugal
    def outlook(self, rows: Array) -> Outlook:
        """Return means and variances of many combinations, from which those to try next are chosen."""
        across = Alike(self.design, rows, self._demos)
        mean, second = np.zeros(len(rows)), np.zeros(len(rows))
        main, halves = int(self._weights.argmax()), []
        for one, (inner, data) in zip(self.scales, self._solved, strict=True):
            half = inner @ across.kernel(one.parts)
            each = half.T @ data
            mean += one.weight * each
            second += one.weight * (COMMON + sum(one.parts) - (half**2).sum(0) + each**2)
            halves.append(half)
        variance = np.maximum(second - mean**2, 1e-12)
        return Outlook(rows, CENTRE + mean, variance, halves[main], self.scales[main].parts, self._demos)


@dataclass(slots=True)
class Outlook:
    """Means and variances of combinations, the variances shrinking as results are awaited.

    Attributes:
        rows: the combinations.
    """

    rows: Array
    mean: Array
    variance: Array
    _half: Array
    _parts: Sequence[float]
    _demos: bool
    _awaited: list[tuple[Array, float]] | None = None

    def await_result(self, place: int, variance: float) -> None:
        """Reckon with a result of one combination that has this variance: how sure one will be, whatever it is."""
        column = Alike(self.rows, self.rows[place : place + 1], self._demos).kernel(self._parts)[:, 0]
        column = column - self._half.T @ self._half[:, place]
        self._awaited = self._awaited or []
        for earlier, scale in self._awaited:
            column = column - earlier * (earlier[place] / scale)
        scale = max(float(column[place]), 1e-12) + variance
        self._awaited.append((column, scale))
        self.variance = np.maximum(self.variance - column**2 / scale, 1e-12)
