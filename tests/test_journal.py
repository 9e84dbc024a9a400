"""The journal of answers: none is lost, none is paid for twice, whatever a crash leaves in the file."""

import math

import pytest

from mipro_nb.events import KEY, Usage
from mipro_nb.journal import Journal


def answer(text, cost=0.5):
    return {"text": text, "finish": "stop", "prompt": 3, "completion": 2, "cost": cost}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


@pytest.fixture
def opened(path):
    made = []

    def open_it():
        for journal in made:
            journal.close()
        made.append(Journal(path))
        return made[-1]

    yield open_it
    for journal in made:
        journal.close()


@pytest.fixture
def filled(opened):
    def fill(*pairs):
        journal = opened()
        for key, text in pairs:
            journal.keep(key, answer(text))
        return opened()

    return fill


def test_what_was_kept_is_given_once(filled):
    journal = filled(("a", "first"), ("a", "second"))
    assert [journal.take("a", False) for _ in range(3)] == [(answer("first"), False), (answer("second"), False), None]


def test_an_lm_with_a_cache_gets_it_again_at_no_cost(filled):
    journal = filled(("a", "first"))
    assert [journal.take("a", True)[1] for _ in range(3)] == [False, True, True]
    assert journal.take("a", False) is None


def test_it_knows_what_was_spent(filled):
    assert filled(("a", "x"), ("b", "y")).spent == Usage(2, 0, 6, 4, 1.0)


def test_an_unknown_price_stays_unknown(opened):
    opened().keep("a", answer("x", None))
    again = opened()
    assert again.spent.cost is None
    assert again.take("a", False) == (answer("x", None), False)


@pytest.mark.parametrize("left", ['{"key": "b", "te', "\0\0\0", "[1, 2]", "null", '{"key": "b"}', "[" * 100_000])
def test_what_a_crash_leaves_is_skipped_and_nothing_is_lost_after_it(path, opened, filled, left):
    filled(("a", "x"))
    with path.open("a") as file:
        file.write(left)
    opened().keep("c", answer("z"))
    again = opened()
    assert [again.take(key, False) is not None for key in "abc"] == [True, False, True]


def test_texts_come_back_as_they_were(filled):
    text = 'line\u2028 "quoted" \ud800 \x00\n{"key"'
    assert filled(("a", text)).take("a", False)[0]["text"] == text


def test_a_full_disk_is_said_and_the_run_goes_on(opened, caplog):
    with open("/dev/full", "w") as full:
        journal = opened()
        journal.close()
        journal._file = full
        journal.keep("a", answer("x"))
        journal.keep("b", answer("y"))
        assert "No space" in journal.broken
        assert len(caplog.records) == 1
        journal.close()


def test_an_answer_that_comes_after_the_end_is_no_error(path):
    journal = Journal(path)
    journal.close()
    journal.keep("a", answer("x"))


def test_what_was_begun_and_never_settled_is_known_after_a_crash(path, opened):
    journal = opened()
    first, second, third = (journal.begin(100 + number, 0.5) for number in range(3))
    journal.begin(7, math.inf)
    journal.keep("a", answer("x"))
    journal.settle(first)
    journal.settle(third)
    again = opened()
    assert again.doubtful == [(101, 0.5), (7, math.inf)]
    assert (again.spent, again.take("a", False)) == (Usage(1, 0, 3, 2, 0.5), (answer("x"), False))
    again.settle(second)
    assert again.begin(8, 0.0) > 4, "numbers are never given twice"
    assert opened().doubtful == [(7, math.inf), (8, 0.0)]


def test_a_call_that_is_begun_takes_a_short_line(path, opened):
    opened().begin(1234, 0.000123)
    assert path.stat().st_size < 60


def test_a_journal_that_is_opened_again_in_the_same_process_gives_no_answer_twice(filled, opened):
    journal = filled(("a", "first"), ("b", "second"))
    journal.take("a", False)
    journal.keep("c", answer("third"))
    again = opened()
    again.go_on_from(journal)
    assert again.take("a", True) == (answer("first"), True), "as an LM with a cache has it"
    assert [again.take(key, False) for key in "abc"] == [None, (answer("second"), False), None]


def test_answers_whose_results_are_known_are_passed_over(filled, opened):
    key, other = "a" * 64, "b" * 64
    filled((key, "first"), (key, "second"), (other, "third"))
    journal = opened()
    journal.pass_over([key[:KEY], "0" * KEY])
    assert journal.take(key, True) == (answer("second"), False)
    journal.pass_over([other[:KEY]])
    assert journal.take(other, False) is None
    assert journal.take(other, True) == (answer("third"), True)
