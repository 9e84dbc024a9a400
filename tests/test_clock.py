"""The clock of a recording."""

import math
import threading

import pytest

from mipro_nb.clock import LONGEST_WAIT, Clock, checked_speed
from mipro_nb.errors import ConfigError


@pytest.mark.slow
def test_nobody_waits_for_a_night_that_the_run_was_paused():
    clock = Clock(0.0, 10.0)
    clock.set(held=False)
    night = 10.0 * 3600
    assert not clock.reach(night) or clock.now() >= night
    assert clock.now() >= night - LONGEST_WAIT * 10.0


def test_a_clock_at_once_jumps_from_event_to_event():
    clock = Clock(5.0, math.inf)
    clock.set(held=False)
    assert clock.reach(9.0)
    assert clock.now() == 9.0
    assert clock.reach(7.0)
    assert clock.now() == 9.0


def test_it_is_held_at_first_and_whoever_waits_looks_again_when_it_is_set():
    clock, told = Clock(5.0, 1.0), []
    waiting = threading.Thread(target=lambda: told.append(clock.reach(5.0)))
    waiting.start()
    while waiting.is_alive():
        clock.set()
    assert told == [False]
    clock.set(held=False)
    assert clock.reach(5.0)


def test_it_keeps_its_time_when_its_speed_changes():
    clock = Clock(5.0, 1e-9)
    clock.set(held=False)
    clock.set(speed=2e-9)
    assert 5.0 <= clock.now() < 5.1
    assert clock.speed == 2e-9


@pytest.mark.parametrize("speed", [0, -1, math.nan, "fast", None, True])
def test_a_speed_that_is_none_is_refused(speed):
    with pytest.raises(ConfigError, match="above 0"):
        checked_speed(speed)
