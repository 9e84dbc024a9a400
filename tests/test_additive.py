import math
import random

import pytest

from mipro_nb.additive import CENTRE, Row, fit

LEVELS = [("tip", "a"), ("tip", "b"), ("heat", 1)]


def rows(effect=0.1, count=40, shift=0.0, error=0.02, group=0, seed=0):
    rng = random.Random(seed)
    gain = {"a": effect, "b": 0.0}
    tips = [("a", "b")[n % 2] for n in range(count)]
    return [Row((("tip", t), ("heat", 1)), gain[t] + shift + rng.gauss(0, error), error, group) for t in tips]


def difference(found):
    return found.estimate({("tip", "a"): 1.0, ("tip", "b"): -1.0})


def test_what_a_level_adds_is_found_with_its_uncertainty():
    mean, spread = difference(fit(rows(), LEVELS))
    assert abs(mean - 0.1) < 2 * spread < 0.06
    assert difference(fit(rows(count=4), LEVELS))[1] > spread


def test_nothing_is_believed_before_anything_was_seen():
    found = fit([], LEVELS)
    assert found.estimate({("tip", "a"): 1.0}) == (0.0, pytest.approx(0.03))
    assert found.estimate({CENTRE: 1.0}) == (0.0, pytest.approx(0.02**0.5))


def test_the_centre_is_that_of_the_groups_that_were_seen():
    """What they share is well known, though another group's shift isn't."""
    mean, spread = fit(rows(shift=0.2), LEVELS).estimate({CENTRE: 1.0, ("tip", "b"): 1.0, ("heat", 1): 1.0})
    assert abs(mean - 0.2) < 2 * spread < 0.04


def test_a_level_that_was_tried_once_is_shrunk_more():
    once = difference(fit([Row((("tip", "a"),), 0.2, 0.1, 0), *rows(0.0, 20)], LEVELS))[0]
    often = difference(fit([*[Row((("tip", "a"),), 0.2, 0.1, 0)] * 8, *rows(0.0, 20)], LEVELS))[0]
    assert 0 < once < often < 0.2


def test_a_groups_shift_is_not_a_levels_doing():
    """Level a was tried in a good round alone, with b; later rounds had b alone."""
    late = [Row((("tip", "b"), ("heat", 1)), -0.3, 0.02, "late") for _ in range(20)]
    mean, _ = difference(fit([*rows(0.0, shift=0.2, group="early"), *late], LEVELS))
    assert abs(mean) < 0.03


def test_half_the_weight_is_half_the_evidence():
    whole = fit([Row((("tip", "a"),), 0.1, 0.0, n) for n in range(4)], LEVELS)
    half = fit([Row((("tip", "a"),), 0.1, 0.0, n, 0.01) for n in range(4)], LEVELS)
    assert half.estimate({("tip", "a"): 1.0})[0] < whole.estimate({("tip", "a"): 1.0})[0]


def test_draws_have_the_mean_and_spread_that_are_believed():
    found, rng = fit(rows(), LEVELS), random.Random(0)
    draws = [found.draw(rng) for _ in range(2000)]
    differences = [one["tip", "a"] - one["tip", "b"] for one in draws]
    mean, spread = difference(found)
    drawn = sum(differences) / len(differences)
    around = math.sqrt(sum((one - drawn) ** 2 for one in differences) / len(differences))
    assert drawn == pytest.approx(mean, abs=4 * spread / math.sqrt(2000))
    assert around == pytest.approx(spread, rel=0.1)


def test_the_closed_form_is_that_of_the_normal_distribution():
    """Against NumPy: the covariance of all rows written out, groups' shifts and all."""
    np = pytest.importorskip("numpy")
    data = [*rows(0.05, 6, group=0), *rows(0.05, 5, shift=0.1, group=1, seed=1)]
    found = fit(data, LEVELS)
    places = found.places
    x = np.zeros((len(data), len(places)))
    for i, row in enumerate(data):
        x[i, [0, *(places[level] for level in row.levels)]] = 1.0
    same = np.array([[a.group == b.group for b in data] for a in data], dtype=float)
    y = np.array([row.value for row in data])
    best = None
    for scatter in (0.05, 0.02, 0.1, 0.2):
        for spread in (0.03, 0.01, 0.1):
            prior = np.diag([0.1**2, *[spread**2] * (len(places) - 1)])
            noise = np.diag([row.error**2 + scatter**2 for row in data]) + 0.1**2 * same
            total = x @ prior @ x.T + noise
            evidence = -np.linalg.slogdet(total)[1] / 2 - y @ np.linalg.solve(total, y) / 2
            mean = prior @ x.T @ np.linalg.solve(total, y)
            best = max(best or (-np.inf, None), (evidence, mean), key=lambda pair: pair[0])
    assert found.evidence == pytest.approx(best[0])
    assert list(found.mean) == pytest.approx(list(best[1]))


def test_the_mean_shift_of_the_groups_is_in_the_closed_form():
    np = pytest.importorskip("numpy")
    data = [*rows(0.05, 6, group=0), *rows(0.05, 2, shift=0.1, group=1, seed=1)]
    found = fit(data, LEVELS)
    # the same with a column for each group: what is asked for is a sum of columns then
    wide = [Row((*row.levels, ("group", row.group)), row.value, row.error, 0) for row in data]
    places = list(found.places)
    x = np.array([[float(p in (CENTRE, *row.levels)) for p in (*places, ("group", 0), ("group", 1))] for row in wide])
    y = np.array([row.value for row in data])
    told = found.estimate({CENTRE: 1.0, ("tip", "a"): 1.0})
    asked = np.array([float(p in (CENTRE, ("tip", "a"))) for p in places] + [6 / 8, 2 / 8])
    fits = []
    for scatter in (0.05, 0.02, 0.1, 0.2):
        for spread in (0.03, 0.01, 0.1):
            prior = np.diag([0.1**-2, *[spread**-2] * (len(places) - 1), 0.1**-2, 0.1**-2])
            noise = 1 / (0.02**2 + scatter**2)
            covariance = np.linalg.inv(prior + noise * x.T @ x)
            fits.append((asked @ covariance @ (noise * x.T @ y), float(asked @ covariance @ asked) ** 0.5))
    assert any(told == pytest.approx(one) for one in fits)
