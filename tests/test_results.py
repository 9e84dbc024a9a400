"""Scores by combination and example: nothing is asked for twice, what failed is asked for once more."""

import pytest

from mipro_nb.results import Results, choice_of, row_of
from mipro_nb.search import Choice

ONE, TWO = Choice((0,), (1,)), Choice((1,), (0,))
ORDER = [3, 0, 2, 1]


@pytest.mark.parametrize("choice", [Choice((1, 2), (3, 4)), Choice((1, 2)), ONE])
def test_a_combination_is_written_as_numbers_and_read_back(choice):
    assert choice_of(row_of(choice), bool(choice.demos)) == choice


def test_every_combination_meets_the_examples_in_the_same_order():
    results = Results(ORDER)
    assert results.open(ONE, 3, 4) == results.open(TWO, 3, 4) == (3, 0, 2)
    results.begin(ONE, (3, 0))
    assert results.open(ONE, 3, 4) == (2, 1)
    assert results.open(ONE, 3, 3) == (2,)
    assert results.met(ONE) == (3, 0)
    assert results.open(TWO, 9, 4) == (3, 0, 2, 1)


def test_what_is_known():
    results = Results(ORDER)
    results.begin(ONE, (3, 0))
    assert results.known(ONE) == {}
    assert results.total == 0
    results.add(ONE, (3, 0), {3: 1.0, 0: 0.25})
    assert results.known(ONE) == {3: 1.0, 0: 0.25}
    assert results.known(TWO) == {}
    assert results.total == 2


def test_what_failed_is_open_once_more():
    results = Results(ORDER)
    for opened in ((3, 0), (0, 2)):
        assert results.open(ONE, 2, 4) == opened
        results.begin(ONE, opened)
        results.add(ONE, opened, {n: 1.0 for n in opened if n != 0})
    assert results.open(ONE, 2, 4) == (1,)
    assert results.known(ONE) == {3: 1.0, 2: 1.0}
    results.begin(ONE, (1,))
    results.add(ONE, (1,), {1: 1.0})
    assert results.exhausted(ONE)
    assert not results.exhausted(TWO)


def test_what_failed_has_a_last_try():
    results = Results(ORDER)
    assert results.missing(ONE) == ()
    results.begin(ONE, (3, 0, 1))
    results.add(ONE, (3, 0, 1), {0: 1.0})
    assert results.missing(ONE) == (3, 1)
    results.begin_last(ONE, (3, 1))
    assert results.missing(ONE) == (), "under way"
    results.add(ONE, (3, 1), {1: 0.5})
    assert results.missing(ONE) == (), "3 is lost, 1 is known"
    assert results.known(ONE) == {0: 1.0, 1: 0.5}
    assert results.open(ONE, 9, 4) == (2,)


def test_what_was_never_run_is_no_failure():
    results = Results(ORDER)
    for _ in range(5):
        results.begin(ONE, (3,))
        results.forget(ONE, (3,))
    assert results.open(ONE, 1, 4) == (3,)


def test_the_table_has_what_has_a_result_only():
    results = Results(ORDER)
    results.begin(TWO, (3,))
    results.begin(ONE, (3, 0))
    results.add(ONE, (3, 0), {0: 0.5})
    choices, rows, scores, seen = results.arrays()
    assert choices == [ONE]
    assert rows.tolist() == [[0, 1]]
    assert scores.tolist() == [[0.5]]
    assert seen.tolist() == [[True]]


def test_many_combinations():
    results = Results(ORDER)
    choices = [Choice((n,), (n,)) for n in range(50)]
    assert [results.place(choice) for choice in choices] == list(range(50))
    assert [results.place(choice) for choice in choices] == list(range(50))
    results.add(choices[40], (1,), {1: 1.0})
    assert results.arrays()[0] == [choices[40]]
