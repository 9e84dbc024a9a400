"""The account of calls: who opens one is told what the calls inside used, in threads too."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from mipro_nb.events import Usage
from mipro_nb.usage import book, note, track_usage

ONE = Usage(calls=1, prompt_tokens=10, completion_tokens=2, cost=0.5)


def test_usage_adds_up() -> None:
    assert ONE + ONE + Usage(cached_calls=3) == Usage(2, 3, 20, 4, 1.0)
    assert sum([ONE, ONE], Usage()) == ONE + ONE


def test_an_unknown_cost_stays_unknown() -> None:
    unknown = Usage(calls=1, cost=None)
    assert (ONE + unknown).cost is None
    assert (unknown + ONE).cost is None
    assert (Usage() + unknown + ONE).calls == 2


def test_only_calls_inside_are_booked() -> None:
    book(ONE)
    with track_usage() as account:
        book(ONE)
    book(ONE)
    assert account.usage == ONE


def test_accounts_nest() -> None:
    with track_usage() as outer:
        book(ONE)
        with track_usage() as inner:
            book(ONE)
            note("temperature was dropped")
    assert (outer.usage, inner.usage) == (ONE + ONE, ONE)
    assert outer.notes == inner.notes == ["temperature was dropped"]


def test_an_account_is_closed_when_its_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), track_usage() as account:
        book(ONE) or 1 / 0  # type: ignore[func-returns-value]
    book(ONE)
    assert account.usage == ONE


def test_threads_with_a_copied_context_are_booked() -> None:
    with track_usage() as account, ThreadPoolExecutor(8) as threads:
        for _ in range(200):
            threads.submit(contextvars.copy_context().run, book, ONE)
    assert account.usage == Usage(200, 0, 2000, 400, 100.0)


def test_threads_of_their_own_are_not() -> None:
    with track_usage() as account, ThreadPoolExecutor(1) as threads:
        threads.submit(book, ONE).result()
    assert account.usage == Usage()
