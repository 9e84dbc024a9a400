import pytest

from mipro_nb.control import Control
from mipro_nb.errors import ConfigError


def test_the_first_reason_to_stop_counts():
    control = Control()
    control.stop("one")
    control.stop("two")
    assert control.stop_reason == "one"


def test_the_second_time_it_is_to_stop_at_once():
    control = Control()
    control.stop("one")
    assert not control.at_once
    control.stop("two")
    assert control.at_once
    control.extend(1)
    assert not control.at_once


def test_a_stop_may_be_at_once_the_first_time():
    control = Control()
    control.stop("one", evaluate=False)
    assert (control.stop_reason, control.at_once) == ("one", True)


def test_what_the_run_asks_for_itself_is_not_the_second_time():
    control = Control()
    control.stop("one")
    control.suggest("two")
    assert (control.stop_reason, control.at_once) == ("one", False)
    other = Control()
    other.suggest("enough")
    other.stop("one")
    assert (other.stop_reason, other.at_once) == ("enough", True)


def test_pause_and_unpause():
    control = Control()
    control.pause()
    assert control.paused
    control.unpause()
    assert not control.paused


def test_more_trials_add_up_and_are_taken_once():
    control = Control()
    control.extend(3)
    control.extend(4)
    assert (control.take_more(), control.take_more()) == (7, 0)


def test_more_trials_take_back_a_stop():
    control = Control()
    control.stop("as asked")
    control.extend(1)
    assert control.stop_reason is None


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "10", True, None])
def test_more_trials_are_a_whole_number(wrong):
    with pytest.raises(ConfigError, match="num_trials"):
        Control().extend(wrong)
