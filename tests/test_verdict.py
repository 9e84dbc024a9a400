import pytest

from mipro_nb.verdict import interval, judge, mcnemar, spread_of


def test_many_fixed_examples_are_an_improvement():
    verdict = judge([0.0] * 40 + [1.0] * 10, [1.0] * 30 + [0.0] * 10 + [1.0] * 10)
    assert verdict.word == "improved"
    assert verdict.low > 0
    assert (verdict.fixed, verdict.broken, verdict.examples) == (30, 0, 50)
    assert verdict.difference == pytest.approx(0.6)


def test_a_lucky_point_is_not_shown():
    verdict = judge([1.0, 0.0] * 20, [1.0, 0.0] * 19 + [1.0, 1.0])
    assert verdict.word == "not shown"
    assert verdict.low <= 0 <= verdict.high


def test_three_examples_prove_nothing_even_when_all_are_fixed():
    assert judge([0.0] * 3, [1.0] * 3).word == "not shown"


def test_worse_is_called_worse():
    assert judge([1.0] * 20, [0.0] * 20).word == "worse"


def test_the_same_program_makes_no_difference():
    verdict = judge([0.25, 1.0, 0.0], [0.25, 1.0, 0.0])
    assert (verdict.word, verdict.difference, verdict.p_value) == ("not shown", 0.0, 1.0)


def test_numeric_scores_are_judged_by_permutation():
    before = [0.1 * (i % 5) for i in range(30)]
    verdict = judge(before, [score + 0.2 for score in before])
    assert verdict.word == "improved"
    assert verdict.difference == pytest.approx(0.2)


def test_mcnemar_is_the_exact_binomial():
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 0) == 1.0


def test_the_same_seed_gives_the_same_interval():
    before, after = [0.0, 1.0] * 10, [1.0, 1.0] * 10
    assert judge(before, after, seed=1) == judge(before, after, seed=1)


def test_the_sentence_names_examples_and_interval():
    text = str(judge([0.0] * 12, [1.0] * 12))
    assert text.startswith("improved: 0.0% -> 100.0% on 12 test examples, +100.0 points")


@pytest.mark.parametrize(
    ("mean", "examples", "spread", "wanted"),
    [
        (0.0, 10, None, (0.0, 0.278)),  # Wilson's intervals as statsmodels' proportion_confint gives them
        (1.0, 10, None, (0.722, 1.0)),
        (0.5, 100, None, (0.404, 0.596)),
        (0.5, 100, 0.1, (0.48, 0.52)),
        (0.01, 4, 0.5, (0.0, 0.5)),
    ],
)
def test_the_interval_of_a_mean_score(mean, examples, spread, wanted):
    assert interval(mean, examples, spread) == pytest.approx(wanted, abs=0.001)


def test_the_spread_tells_booleans_from_numbers():
    assert spread_of([0.0, 1.0, 1.0]) is None
    assert spread_of([0.25, 0.75]) == 0.25
