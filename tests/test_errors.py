import pickle

import pytest

from mipro_nb import errors


def test_every_error_of_the_package_is_a_mipro_error_and_stands_in_the_drawn_tree():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [kind for kind in kinds if not issubclass(kind, errors.MiproError)] == [errors.UnknownPrompt]
    assert [kind.__name__ for kind in kinds if kind.__name__ not in errors.__doc__] == []


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.SignatureError, errors.DataError])
def test_wrong_arguments_are_value_errors_too(kind):
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    "kind", [errors.LMUnavailable, errors.LMRefused, errors.PromptRefused, errors.WeightsError, errors.ParseError]
)
def test_a_failed_call_is_no_wrong_argument(kind):
    assert not issubclass(kind, errors.ConfigError)


def test_an_outage_asks_for_no_wait_unless_the_server_said_so():
    assert errors.LMUnavailable("down").retry_after == 0.0


def test_a_parse_error_keeps_the_reply_also_when_sent_between_processes():
    error = pickle.loads(pickle.dumps(errors.ParseError("no team", "the reply")))
    assert (str(error), error.reply) == ("no team", "the reply")


@pytest.mark.parametrize(
    ("given", "accepted", "said"),
    [
        ("tema", ["team", "message"], " Did you mean 'team'?"),
        ("zebra", ["team", "message"], ""),
        (12, ["123", "x"], " Did you mean '123'?"),
        ("1", [1, 2], " Did you mean '1'?"),
        ("x" * 100_000, ["x"], ""),
    ],
)
def test_nearest_names_what_was_probably_meant(given, accepted, said):
    assert errors.nearest(given, accepted) == said


def test_an_unknown_choice_says_what_is_accepted():
    errors.check_choice("auto", "light", ["light", "medium"])
    with pytest.raises(errors.ConfigError) as caught:
        errors.check_choice("auto", "lihgt", ["light", "medium"])
    assert str(caught.value) == "auto='lihgt' is not known; accepted: 'light', 'medium'. Did you mean 'light'?"


@pytest.mark.parametrize("given", [1, 3, 5])
def test_a_number_in_range_passes(given):
    errors.check_range("n", given, 1, 5)


@pytest.mark.parametrize(
    ("given", "close"),
    [(0, 1), (9, 5), (True, 1), (2.0, 2), (3.7, 3), ("4", 4), ("many", 1), (None, 1), (float("nan"), 1)],
)
def test_a_number_out_of_range_says_the_nearest_valid_one(given, close):
    with pytest.raises(errors.ConfigError) as caught:
        errors.check_range("n", given, 1, 5)
    assert str(caught.value) == f"n={given!r}: a whole number from 1 to 5 is needed. Nearest valid: {close}."


@pytest.mark.parametrize(("given", "close"), [(-1, 0), (float("inf"), 0), (2.5, 2)])
def test_a_range_may_have_no_upper_end(given, close):
    errors.check_range("n", 10**12, 0)
    with pytest.raises(errors.ConfigError, match=f"whole number of 0 or more is needed. Nearest valid: {close}"):
        errors.check_range("n", given, 0)
