import copy
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from mipro_nb import Example, Prediction, Score
from mipro_nb.errors import ConfigError
from mipro_nb.example import as_number, fields_of, input_keys_of

METHODS = ["keys", "items", "values", "get", "inputs", "labels", "copy", "without", "with_inputs"]
ROW = Example(message="My kettle leaks", team="bug").with_inputs("message")


def test_fields_are_read_by_attribute_and_by_key():
    assert (ROW.team, ROW["team"], ROW.get("team"), ROW.get("tema", "none")) == ("bug", "bug", "bug", "none")
    assert ("team" in ROW, "tema" in ROW, len(ROW), list(ROW)) == (True, False, 2, ["message", "team"])
    assert dict(ROW) == {"message": "My kettle leaks", "team": "bug"}


def test_a_misspelt_field_says_the_nearest():
    with pytest.raises(AttributeError, match=r"no field 'tema'; fields: \['message', 'team'\]. Did you mean 'team'\?"):
        _ = ROW.tema
    assert not hasattr(ROW, "tema")
    with pytest.raises(KeyError):
        ROW["tema"]


def test_an_example_never_changes():
    with pytest.raises(AttributeError, match=r"immutable; use .copy\(team=...\)"):
        ROW.team = "billing"
    with pytest.raises(AttributeError, match=r"immutable; use .without\('team'\)"):
        del ROW.team
    with pytest.raises(TypeError):
        ROW["team"] = "billing"
    source = {"team": "bug"}
    example = Example(source)
    source["team"] = "billing"
    fields_of(example)["team"] = "billing"
    assert example.team == "bug"


def test_copies_have_other_fields_and_the_same_inputs():
    changed = ROW.copy(team="billing", urgent=True)
    assert dict(changed) == {"message": "My kettle leaks", "team": "billing", "urgent": True}
    assert input_keys_of(changed) == {"message"}
    assert ROW.team == "bug"
    assert dict(ROW.without("message", "unknown")) == {"team": "bug"}
    assert input_keys_of(ROW.without("message")) == set()


def test_inputs_and_labels_share_out_the_fields():
    assert dict(ROW.inputs()) == {"message": "My kettle leaks"}
    assert dict(ROW.labels()) == {"team": "bug"}
    assert isinstance(Prediction(ROW).with_inputs("team").inputs(), Prediction)
    assert repr(ROW) == "Example(message='My kettle leaks', team='bug').with_inputs(message)"


def test_inputs_that_were_not_named_cannot_be_told():
    with pytest.raises(ConfigError, match=r"not named; call .with_inputs\(...\) on Example\(q=1\)"):
        Example(q=1).inputs()


@pytest.mark.parametrize(("name", "said"), [("mesage", "Did you mean 'message'"), (["message"], "is no field")])
def test_an_unknown_input_is_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        ROW.with_inputs(name)


@pytest.mark.parametrize("name", METHODS)
def test_a_field_may_have_the_name_of_a_method(name):
    example = Example({name: 7, "other": 1})
    assert (getattr(example, name), example[name], fields_of(example)) == (7, 7, {name: 7, "other": 1})
    assert copy.deepcopy(example) == example == pickle.loads(pickle.dumps(example))
    assert hash(example) == hash(copy.copy(example))
    assert name in repr(example)


def test_fields_may_have_the_names_of_all_methods_at_once():
    example = Example(dict.fromkeys(METHODS, 1))
    assert fields_of(example) == dict.fromkeys(METHODS, 1)
    assert Prediction(example) == example


def test_equal_examples_are_one_in_a_set():
    rows = [Example(a=1, b=2), Example(b=2, a=1), Example(a=True, b=2.0), Example(a=1, b=2).with_inputs("a")]
    assert len(set(rows)) == 1
    assert Example(a=1) != Example(a=2)
    assert Example(a=1) != {"a": 1}
    assert len({Example(a={"x": 1, "y": [2]}), Example(a={"y": [2], "x": 1})}) == 1


@pytest.mark.parametrize("value", [[1, {"x": [2]}], {"a": {1, 2}}, np.array([1, 2]), float("nan"), None, {1: 2}])
def test_any_value_can_be_held_hashed_and_copied(value):
    example = Example(a=value, b="x").with_inputs("b")
    assert len({example, copy.copy(example)}) == 1
    for twin in (copy.deepcopy(example), pickle.loads(pickle.dumps(example))):
        assert (repr(twin), input_keys_of(twin)) == (repr(example), {"b"})


@pytest.mark.parametrize("base", [3, "abc", [("a", 1)], [1]])
def test_what_is_no_mapping_makes_no_example(base):
    with pytest.raises(ConfigError, match="made from a mapping or from name=value"):
        Example(base)


@pytest.mark.parametrize("name", [1, "_a", "__len__", None])
def test_a_field_needs_a_public_name(name):
    with pytest.raises(ConfigError, match="don't start with '_'"):
        Example({name: 1})


def test_a_row_of_a_dataframe_makes_an_example():
    row = next(pd.DataFrame({"q": ["1+1"], "a": ["2"]}).iterrows())[1]
    assert Example(row, source="web") == Example(q="1+1", a="2", source="web")


def test_a_prediction_is_an_example():
    prediction = Prediction(team="bug")
    assert isinstance(prediction, Example)
    assert (repr(prediction), prediction.team) == ("Prediction(team='bug')", "bug")
    with pytest.raises(AttributeError, match="Prediction has no field 'tema'"):
        _ = prediction.tema


@pytest.mark.parametrize(
    ("raw", "value", "boolean"),
    [
        (True, 1.0, True),
        (False, 0.0, True),
        (np.bool_(True), 1.0, True),
        (0, 0.0, False),
        (1, 1.0, False),
        (0.25, 0.25, False),
        (np.float32(0.5), 0.5, False),
        (np.int64(1), 1.0, False),
        (np.array(0.5), 0.5, False),
        (sum([0.1] * 10) + 1e-12, 1.0, False),
        (-1e-12, 0.0, False),
    ],
)
def test_what_counts_as_a_score(raw, value, boolean):
    assert (Score(raw).value, Score(raw).boolean) == (pytest.approx(value), boolean)
    assert 0.0 <= as_number(raw)[0] <= 1.0


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (7, "a score of 7; accepted: a bool, a number in [0, 1], or mipro_nb.Score. Nearest valid: 1.0."),
        (-0.5, "Nearest valid: 0.0."),
        (np.int64(7), "a score of 7;"),
        (float("nan"), "a score of nan; accepted: a bool, a number in [0, 1], or mipro_nb.Score."),
        (np.float64("nan"), "a score of nan;"),
        (float("inf"), "Nearest valid: 1.0."),
        (None, "a score of None (a missing return?); accepted: a bool,"),
        ("0.5", "a score of type str, '0.5'; accepted:"),
        ("x" * 1000, "a score of type str, 'xxx"),
        ([1], "type list"),
        ((0.5, "why"), "type tuple"),
        (pd.NA, "type NAType"),
        (Decimal("0.5"), "type Decimal"),
    ],
)
def test_what_is_no_score_is_said_plainly(raw, said):
    with pytest.raises(ConfigError) as caught:
        Score(raw)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_score_carries_its_reason():
    score = Score(0.5, feedback="half right")
    assert (float(score), bool(score), bool(Score(0.0, "wrong"))) == (0.5, True, False)
    assert repr(score) == "Score(0.5, feedback='half right')"
    assert Score(1, None).feedback == ""


def test_a_score_never_changes_and_can_be_sent():
    score = Score(True, "right")
    with pytest.raises(AttributeError, match="immutable"):
        score.value = 0.0
    for twin in (copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert (twin, twin.boolean, hash(twin)) == (score, True, hash(score))
    assert score != Score(True, "lucky")
