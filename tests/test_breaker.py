"""The throttle and the breaker: how many calls are in flight, what is an outage, when it is tried again."""

import pytest

from mipro_nb.breaker import Breaker, Throttle, span

# --- how many calls are in flight


def test_a_rate_limit_halves_the_limit_and_answers_raise_it_one_by_one():
    throttle = Throttle(8)
    throttle.strained(throttle.generation)
    assert throttle.limit == 4
    seen = []
    for _ in range(4 + 5 + 6 + 7 + 20):
        throttle.answered()
        seen.append(throttle.limit)
    assert [seen.index(limit) + 1 for limit in (5, 6, 7, 8)] == [4, 9, 15, 22]
    assert max(seen) == 8, "never more than the run's threads"


def test_calls_that_were_in_flight_when_the_limit_fell_do_not_lower_it_again():
    throttle = Throttle(64)
    together = throttle.generation
    for _ in range(64):
        throttle.strained(together)
    assert throttle.limit == 32
    throttle.strained(throttle.generation)
    assert throttle.limit == 16


def test_one_call_is_always_let_through():
    throttle = Throttle(3)
    for _ in range(9):
        throttle.strained(throttle.generation)
    assert throttle.limit == 1


def test_after_an_outage_it_begins_low():
    throttle = Throttle(16)
    throttle.restart()
    assert throttle.limit == 4
    throttle.strained(throttle.generation)
    throttle.restart()
    assert throttle.limit == 2, "and no higher than it was"


# --- what is an outage, and when to try again


def fallen(row=4, longest=3600.0, now=100.0):
    breaker = Breaker(row, longest)
    for call in range(row):
        breaker.failed(call, now, 0)
    return breaker


def test_failures_in_a_row_of_several_calls_are_an_outage():
    breaker = Breaker(4, 3600)
    assert [breaker.failed(call, 0.0, 0) for call in range(4)] == [False, False, False, True]
    assert breaker.reason == "the LM doesn't answer; next try in 1 s"


def test_an_answer_in_between_means_that_there_is_none():
    breaker = Breaker(4, 3600)
    for call in range(20):
        assert not breaker.failed(call, 0.0, 0)
        if call % 3 == 2:
            breaker.answered()
    assert not breaker.down


def test_a_prompt_that_breaks_the_server_fails_alone():
    breaker = Breaker(4, 3600)
    assert not any(breaker.failed(7, 0.0, 0) for _ in range(50))
    assert breaker.failed(8, 0.0, 0), "until another call fails too"


def test_probes_go_one_at_a_time_at_growing_intervals():
    breaker, now, waits = fallen(now=0.0), 0.0, []
    for _ in range(9):
        began = now
        while not breaker.probe(now):
            now += 0.5
        assert not breaker.probe(now), "one at a time"
        waits.append(now - began)
        breaker.probed(now, 0)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert breaker.reason == "the LM doesn't answer; next try in 60 s"


def test_what_the_server_asks_for_is_waited():
    breaker = fallen(now=0.0)
    assert breaker.probe(1.0)
    breaker.probed(1.0, asked=30)
    assert not breaker.probe(30.5)
    assert breaker.probe(31.0)


def test_an_answer_ends_the_outage_and_the_next_begins_anew():
    breaker = fallen()
    assert breaker.probe(101.0)
    breaker.answered()
    assert (breaker.down, breaker.reason) == (False, "")
    assert [breaker.failed(call, 200.0, 0) for call in range(4)] == [False, False, False, True]
    assert breaker.reason.endswith("next try in 1 s")


def test_the_last_probe_comes_at_the_very_end():
    breaker, now = fallen(longest=10.0, now=0.0), 0.0
    tries = []
    while not breaker.over:
        now += 0.5
        if breaker.probe(now):
            tries.append(now)
            breaker.probed(now, asked=0)
    assert tries == [1, 3, 7, 10]
    assert not breaker.probe(now + 1000)


def test_a_person_can_have_it_tried_at_once():
    breaker = fallen(now=0.0)
    assert not breaker.probe(0.5)
    breaker.hurry(0.5)
    assert breaker.probe(0.5)
    breaker.dropped()
    assert breaker.probe(0.5), "a probe that said nothing is made again"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3600, "60 min"), (90, "90 s"), (60.0, "60 s"), (120, "2 min"), (0.25, "0.25 s")],
)
def test_times_are_written_for_people(seconds, said):
    assert span(seconds) == said
