"""What results on some examples say of every combination: the model of the paired search."""

import numpy as np
import pytest

from mipro_nb.posterior import BLAS, COMMON, Posterior, Scales, variances

FOUR = (0.02, 0.01, 0.004, 0.003)
DESIGN = np.array([[0, 0], [0, 1], [1, 0], [2, 1]])
UNTRIED = np.array([[2, 0], [1, 1], [0, 0]])


def results(combinations=4, examples=6, seed=0, missing=0.3, graded=True):
    rng = np.random.default_rng(seed)
    scores = rng.random((combinations, examples)) if graded else (rng.random((combinations, examples)) < 0.6) * 1.0
    seen = rng.random((combinations, examples)) > missing
    seen[:, 0] = True
    return np.where(seen, scores, 0.0), seen


def prior(rows, columns, parts, demos=True):
    """The covariance of two combinations, in plain words."""
    found = np.zeros((len(rows), len(columns)))
    step = 2 if demos else 1
    for n, row in enumerate(rows):
        for m, column in enumerate(columns):
            places = [(tuple(row[at : at + step]), tuple(column[at : at + step])) for at in range(0, len(row), step)]
            instruction = np.mean([one[0] == other[0] for one, other in places])
            demo = np.mean([one[1] == other[1] for one, other in places]) if demos else instruction
            both = np.mean([one == other for one, other in places])
            same = tuple(row) == tuple(column)
            found[n, m] = COMMON + parts @ np.array([instruction, demo, both, same])
    return found


def dense(design, scores, seen, rows, parts, noise, difficulty, demos=True):
    """Condition one Gaussian of all results, difficulties of the examples and all."""
    where = np.argwhere(seen)
    met, example = design[where[:, 0]], where[:, 1]
    covariance = prior(met, met, parts, demos) + noise * np.eye(len(where))
    covariance += difficulty * (example[:, None] == example[None, :])
    across = prior(rows, met, parts, demos)
    gain = np.linalg.solve(covariance, across.T).T
    mean = 0.5 + gain @ (scores[seen] - 0.5)
    return mean, prior(rows, rows, parts, demos) - gain @ across.T


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_gaussian_with_a_difficulty_of_each_example(seed):
    scores, seen = results(seed=seed)
    model = Posterior(DESIGN, scores, seen, True, [Scales(FOUR, 1.0)])
    rows = np.vstack([DESIGN, UNTRIED])
    mean, covariance = dense(DESIGN, scores, seen, rows, np.array(FOUR), model.noise, model.difficulty)
    belief = model.believed(rows)
    assert belief.mean == pytest.approx(mean, abs=1e-6)
    assert belief.covariance == pytest.approx(covariance, abs=1e-6)


def test_instructions_alone_and_several_predictors():
    design, rows = np.array([[0, 0, 1], [1, 0, 0], [1, 2, 0]]), np.array([[0, 2, 1], [1, 0, 0]])
    scores, seen = results(3)
    parts = (0.02, 0.01, 0.004, 0.003)
    model = Posterior(design, scores, seen, False, [Scales(parts, 1.0)])
    belief = model.believed(rows)
    mean, covariance = dense(design, scores, seen, rows, np.array(parts), model.noise, model.difficulty, demos=False)
    assert belief.mean == pytest.approx(mean, abs=1e-6)
    assert np.diag(belief.covariance) == pytest.approx(np.diag(covariance), abs=1e-6)


def test_points_of_the_grid_are_averaged_over():
    scores, seen = results()
    apart = [Posterior(DESIGN, scores, seen, True, [Scales(parts, 1.0)]) for parts in (FOUR, (0.001,) * 4)]
    both = Posterior(DESIGN, scores, seen, True, [Scales(FOUR, 0.25), Scales((0.001,) * 4, 0.75)])
    means = [model.believed(UNTRIED).mean for model in apart]
    belief = both.believed(UNTRIED)
    assert belief.mean == pytest.approx(0.25 * means[0] + 0.75 * means[1])
    within = [np.diag(model.believed(UNTRIED).covariance) for model in apart]
    spread = 0.25 * within[0] + 0.75 * within[1] + 0.25 * 0.75 * (means[0] - means[1]) ** 2
    assert np.diag(belief.covariance) == pytest.approx(spread)


def test_the_outlook_is_what_is_believed_without_the_covariances():
    scores, seen = results()
    model = Posterior(DESIGN, scores, seen, True)
    belief, outlook = model.believed(UNTRIED), model.outlook(UNTRIED)
    assert outlook.mean == pytest.approx(belief.mean)
    assert outlook.variance == pytest.approx(np.diag(belief.covariance))


def test_an_awaited_result_shrinks_the_variances_as_if_it_were_known():
    scores, seen = results()
    model = Posterior(DESIGN, scores, seen, True, [Scales(FOUR, 1.0)])
    outlook, belief = model.outlook(UNTRIED), model.believed(UNTRIED)
    for place in (0, 2):
        outlook.await_result(place, 0.05)
    noise = np.diag([0.05, 0.05])
    across = belief.covariance[:, [0, 2]]
    left = belief.covariance - across @ np.linalg.solve(across[[0, 2]] + noise, across.T)
    assert outlook.variance == pytest.approx(np.diag(left), abs=1e-6)


def test_easy_examples_do_not_make_a_combination_better():
    """Two combinations met different examples, which two others met too: the first had the easy ones."""
    rng = np.random.default_rng(0)
    order = rng.permutation(80)
    scores, seen = np.tile(np.linspace(0.95, 0.05, 80), (4, 1))[:, order], np.ones((4, 80), dtype=bool)
    scores[1] += 0.1
    seen[0], seen[1] = order < 50, order >= 30
    design = np.array([[n, n] for n in range(4)])
    first, second, *_ = Posterior(design, np.where(seen, scores, 0.0), seen, True).believed(design).mean
    assert scores[0][seen[0]].mean() > scores[1][seen[1]].mean() + 0.15
    assert second > first


@pytest.mark.parametrize("graded", [False, True])
def test_the_variances_are_those_of_the_data(graded):
    rng = np.random.default_rng(1)
    easy = rng.normal(0, 0.2, 300)
    means = 0.5 + rng.normal(0, 0.1, 20)[:, None] + easy
    scores = means + rng.normal(0, 0.1, means.shape) if graded else (rng.random(means.shape) < means) * 1.0
    seen = rng.random(means.shape) > 0.5
    noise, difficulty = variances(np.where(seen, scores, 0.0), seen)
    assert difficulty == pytest.approx(0.04, rel=0.25)
    expected = 0.01 if graded else float((np.clip(means, 0, 1) * (1 - np.clip(means, 0, 1))).mean())
    assert noise == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_scores_leave_some_doubt(value):
    scores, seen = np.full((2, 5), value), np.ones((2, 5), dtype=bool)
    belief = Posterior(np.array([[0, 0], [1, 1]]), scores, seen, True).believed(np.array([[0, 0], [1, 1]]))
    assert belief.mean == pytest.approx([value, value], abs=0.05)
    assert (np.diag(belief.covariance) > 0).all()


def test_one_result_alone():
    belief = Posterior(np.array([[0, 0]]), np.array([[1.0]]), np.ones((1, 1), dtype=bool), True).believed(DESIGN)
    assert 0.5 < belief.mean[0] < 1.0
    assert np.isfinite(belief.covariance).all()


def test_a_lucky_start_is_shrunk_towards_what_else_is_known():
    rng = np.random.default_rng(0)
    scores, seen = (rng.random((6, 40)) < 0.6) * 1.0, np.ones((6, 40), dtype=bool)
    seen[5, 4:], scores[5, 4:], scores[5, :4] = False, 0.0, 1.0
    design = np.array([[n, n] for n in range(6)])
    mean = Posterior(design, scores, seen, True).believed(design).mean
    assert 0.55 < mean[5] < 0.8


def test_it_leaves_the_processor_to_the_program(monkeypatch):
    counts, reckon = [], np.linalg.cholesky

    def watched(matrix):
        counts.append({one["num_threads"] for one in BLAS.info() if one["user_api"] == "blas"})
        return reckon(matrix)

    scores, seen = results()
    with BLAS.limit(limits=2, user_api="blas"):
        monkeypatch.setattr(np.linalg, "cholesky", watched)
        Posterior(DESIGN, scores, seen, True)
        after = {one["num_threads"] for one in BLAS.info() if one["user_api"] == "blas"}
    assert after == {2}
    assert set().union(*counts) == {1}
