"""A Bayesian model of what each level of some factors adds, in closed form.

``value = centre + its group's own shift + what each of its levels adds + scatter + its own error``, all normal. What
is added is shrunk towards 0: little is believed of a level that was tried once. How far levels and single values
scatter is taken from a small grid, by the likelihood (empirical Bayes; Gelman et al., Bayesian Data Analysis, 2013,
chapters 5 and 15). Groups are integrated out, so that their number costs nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

Level = tuple[str, object]  # a factor and one of its levels
Matrix = list[list[float]]

CENTRE: Level = ("", None)
CENTRE_SPREAD = 0.1  # standard deviations of what is known before anything was seen, in units of the score
GROUP_SPREAD = 0.1
LEVEL_SPREADS = (0.03, 0.01, 0.1)  # the first ones hold while the data say nothing
SCATTERS = (0.05, 0.02, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Row:
    """One observation.

    Attributes:
        levels: one of each factor.
        value: with its own standard ``error``.
        group: rows that share a shift, whatever its cause.
        weight: how much it counts, above 0 to 1; less is as if it were that much less precise.
    """

    levels: tuple[Level, ...]
    value: float
    error: float
    group: object
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """What is believed: a normal distribution over the centre and every level.

    Attributes:
        places: of each level in ``mean`` and in ``root``, the lower Cholesky factor of the precision.
        evidence: the logarithm of the likelihood, up to a constant.
        shift: the mean shift of the groups that were seen: how much of each place is in it, what is added, and the
            variance that it has beside that.
    """

    places: Mapping[Level, int]
    mean: Sequence[float]
    root: Matrix
    evidence: float
    shift: tuple[Sequence[float], float, float]

    def draw(self, rng: random.Random) -> dict[Level, float]:
        """Draw what each level adds."""
        noise = _solve_upper(self.root, [rng.gauss(0.0, 1.0) for _ in self.mean])
        return {level: self.mean[place] + noise[place] for level, place in self.places.items()}

    def estimate(self, shares: Mapping[Level, float]) -> tuple[float, float]:
        """Return mean and standard deviation of a weighted sum of levels; with the centre, in the groups seen."""
        own, added, variance = self.shift if CENTRE in shares else ([0.0] * len(self.mean), 0.0, 0.0)
        weights = list(own)
        for level, share in shares.items():
            weights[self.places[level]] += share
        spread = _solve_lower(self.root, weights)
        mean = sum(map(_times, weights, self.mean)) + added
        return mean, math.sqrt(sum(map(_times, spread, spread)) + variance)


def fit(rows: Sequence[Row], levels: Iterable[Level]) -> Fit:
    """Return what is believed after ``rows``, of their levels and of those that are asked for."""
    known = dict.fromkeys((CENTRE, *levels, *(level for row in rows for level in row.levels)))
    places = {level: place for place, level in enumerate(known)}
    tried = [_fit(rows, places, spread, scatter) for scatter, spread in product(SCATTERS, LEVEL_SPREADS)]
    return max(tried, key=lambda found: found.evidence)  # of equals the first


def _fit(rows: Sequence[Row], places: Mapping[Level, int], spread: float, scatter: float) -> Fit:
    size = len(places)
    prior = [1 / CENTRE_SPREAD**2, *[1 / spread**2] * (size - 1)]
    precision = [[prior[i] if i == j else 0.0 for j in range(size)] for i in range(size)]
    target, shifted = [0.0] * size, [0.0] * size
    squares, evidence = 0.0, sum(map(math.log, prior)) / 2
    added, variance = 0.0, 0.0 if rows else GROUP_SPREAD**2
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    for members in groups.values():
        total, moment, shares = 1 / GROUP_SPREAD**2, 0.0, dict[int, float]()
        for row in members:
            weight = row.weight / (row.error**2 + scatter**2)
            total, moment = total + weight, moment + weight * row.value
            squares, evidence = squares + weight * row.value**2, evidence + math.log(weight) / 2
            _add(precision, target, shares, [0, *(places[level] for level in row.levels)], weight, row.value)
        evidence -= math.log(total * GROUP_SPREAD**2) / 2
        squares -= moment**2 / total
        part = len(members) / len(rows)
        added, variance = added + part * moment / total, variance + part**2 / total
        for i, share in shares.items():  # the group's own shift is integrated out
            target[i] -= share * moment / total
            shifted[i] -= part * share / total
            for j, other in shares.items():
                precision[i][j] -= share * other / total
    root = _cholesky(precision)
    half = _solve_lower(root, target)
    evidence -= sum(math.log(root[i][i]) for i in range(size)) + (squares - sum(map(_times, half, half))) / 2
    return Fit(places, _solve_upper(root, half), root, evidence, (shifted, added, variance))


def _add(
    precision: Matrix, target: list[float], shares: dict[int, float], columns: list[int], weight: float, value: float
) -> None:
    """Count one row, whose levels stand at ``columns``."""
    for i in columns:
        target[i] += weight * value
        shares[i] = shares.get(i, 0.0) + weight
        for j in columns:
            precision[i][j] += weight


def _cholesky(matrix: Matrix) -> Matrix:
    """Return the lower factor of a positive definite matrix."""
    root = [[0.0] * len(matrix) for _ in matrix]
    for i, row in enumerate(matrix):
        for j in range(i + 1):
            rest = row[j] - sum(map(_times, root[i][:j], root[j][:j]))
            root[i][j] = math.sqrt(rest) if i == j else rest / root[j][j]
    return root


def _solve_lower(root: Matrix, target: Sequence[float]) -> list[float]:
    found: list[float] = []
    for i, row in enumerate(root):
        found.append((target[i] - sum(map(_times, row[:i], found))) / row[i])
    return found


def _solve_upper(root: Matrix, target: Sequence[float]) -> list[float]:
    """Solve for the factor's transpose."""
    size = len(root)
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (target[i] - sum(root[j][i] * found[j] for j in range(i + 1, size))) / root[i][i]
    return found


def _times(a: float, b: float) -> float:
    return a * b
