"""The paired search beside MIPROv2's, in simulated worlds; wide bounds that no change of luck can break.

pytest -m benchmark -s tests/benchmarks/test_search.py; figures that say something:
python -m tests.benchmarks.search
"""

import numpy as np
import pytest

from .search import SIZES, free, mipro, own_time, paired, regrets
from .surfaces import FAMILIES

SEEDS = 20
LIGHT = SIZES[0]


@pytest.mark.benchmark
def test_regret_among_the_same_candidates():
    sums = np.zeros(2)
    for family in FAMILIES:
        for graded in (False, True):
            theirs, ours = (100 * np.mean(found) for found in regrets(family, LIGHT, graded, SEEDS))
            print(f"{family:<12} graded={graded!s:<5} regret {theirs:.2f} with mipro, {ours:.2f} with paired")
            sums += theirs, ours
    assert sums[1] < 0.75 * sums[0]


@pytest.mark.benchmark
def test_true_score_at_equal_calls():
    gains = []
    for seed in range(SEEDS):
        world = LIGHT.world("additive", seed, False)
        one = mipro(world, LIGHT)
        gains.append(free("additive", LIGHT, False, seed, one.evaluations + 3) - world.true(one.choice))
    print(f"{100 * np.mean(gains):+.1f} points at equal calls")
    assert np.mean(gains) > 0.02


@pytest.mark.benchmark
def test_what_is_reported_is_true():
    off = []
    for family in FAMILIES:
        for seed in range(SEEDS):
            world = LIGHT.world(family, seed, False)
            found = paired(world, 100, 508, 100)
            off.append(found.reported - world.true(found.choice) - world.luck(found.choice, 100))
    print(f"reported - true: {100 * np.mean(off):+.2f} points")
    assert abs(np.mean(off)) < 0.025


@pytest.mark.benchmark
def test_the_searchs_own_time():
    own_time(1900, tell=lambda text: print(text))
