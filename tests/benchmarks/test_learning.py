"""Proposals that learn against a single round, at equal LM calls, in a few simulated worlds.

pytest -m benchmark -s tests/benchmarks/test_learning.py; for an interval that says something:
python -m tests.benchmarks.learning --seeds 50
"""

from statistics import fmean

import pytest

from .learning import duel, told


@pytest.mark.benchmark
def test_learning_against_a_single_round():
    duels = [duel(seed, trials=20) for seed in range(8)]
    print("\n" + told(duels))
    calls = [fmean(pair[place].calls for pair in duels) for place in (0, 1)]
    assert 0.9 < calls[0] / calls[1] < 1.1
    assert fmean(learnt.score - once.score for learnt, once in duels) > -0.05  # +0.1 over 50 worlds
