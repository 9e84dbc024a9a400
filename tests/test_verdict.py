import pytest

from mipro_nb.verdict import interval, judge, mcnemar, spread_of, student


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
        (0.4, 6, 0.1, (0.295, 0.505)),  # Student's, as scipy's t.interval gives it
        (0.01, 4, 0.5, (0.0, 0.806)),
    ],
)
def test_the_interval_of_a_mean_score(mean, examples, spread, wanted):
    assert interval(mean, examples, spread) == pytest.approx(wanted, abs=0.0011)


@pytest.mark.parametrize("scores", [[1 / 3] * 3, [0.7] * 3, [2 / 3, 1 / 3, 0.5], [0.1] * 7, [0.0, 1.0, 0.0], [1.0]])
def test_an_interval_holds_its_mean(scores):
    mean = sum(scores) / len(scores)
    low, high = interval(mean, len(scores), spread_of(scores))
    assert 0 <= low < mean <= high <= 1


def test_one_score_that_is_no_boolean_says_nothing():
    assert interval(0.5, 1, spread_of([0.5])) == (0.0, 1.0)


def test_a_few_equal_scores_are_not_certain():
    low, high = interval(0.7, 3, spread_of([0.7] * 3))
    assert high - low > 0.5
    assert interval(0.7, 3, 1e-9) == (low, high)  # the rounding of a sum


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (6, 2.4469), (10, 2.2281), (30, 2.0423),
     (120, 1.9799), (100_000, 1.9600)],
)  # fmt: skip
def test_the_quantiles_are_those_of_students_table(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=4e-4)


def test_the_spread_tells_booleans_from_numbers():
    assert spread_of([0.0, 1.0, 1.0]) is None
    assert spread_of([0.25, 0.75, 0.5]) == pytest.approx(0.25)  # the sample's, with n - 1
    assert spread_of([0.1] * 7) == spread_of([0.5]) == 0.0
