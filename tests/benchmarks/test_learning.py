"""Proposals that learn against a single round, at equal LM calls, in a few simulated worlds. Prints; asserts no score.

pytest -m benchmark -s tests/benchmarks/test_learning.py; for an interval that says something:
python -m tests.benchmarks.learning --seeds 50
"""

import pytest

from .learning import duel, told


@pytest.mark.benchmark
def test_learning_against_a_single_round():
    print("\n" + told(duel(seed, trials=20) for seed in range(4)))
