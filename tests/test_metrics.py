import pytest

from mipro_nb import Example, Prediction, exact_match
from mipro_nb.errors import ConfigError

ROW = Example(q="1+1", answer="Two", number=2).with_inputs("q")


@pytest.mark.parametrize(
    ("answer", "number", "equal"),
    [
        ("Two", 2, True),
        (" tWO\n", 2, True),
        ("two.", 2, False),
        ("Two", 3, False),
        ("Two", "2", True),
        ("Two", 2.0, True),
        ("Two", None, False),
    ],
)
def test_all_labels_must_be_equal(answer, number, equal):
    assert exact_match(ROW, Prediction(answer=answer, number=number)) is equal


@pytest.mark.parametrize(
    ("label", "value", "equal"),
    [
        (7, "7", True),
        ("7", 7, True),
        (True, "true", True),
        ("STRASSE", "straße", True),
        (["a"], ["a"], True),
        (["a"], ["A"], False),
        (None, None, True),
        (None, "", False),
        (1, True, True),
    ],
)
def test_texts_are_compared_without_case_and_numbers_with_their_text(label, value, equal):
    assert exact_match(Example(a=label).with_inputs(), Prediction(a=value)) is equal


def test_inputs_and_what_only_one_side_has_do_not_count():
    assert exact_match(ROW.copy(source="web"), {"answer": "two", "number": 2, "q": "other", "reasoning": "r"})
    assert exact_match(ROW, Prediction(answer="two"), trace=[])


def test_nothing_in_common_is_an_error_and_no_score():
    with pytest.raises(
        ConfigError, match=r"labels \['answer', 'number'\] and outputs \['anwser'\] have no name in common"
    ):
        exact_match(ROW, Prediction(anwser="two"))


@pytest.mark.parametrize("prediction", [None, "answer", 3])
def test_what_is_no_prediction_is_an_error(prediction):
    with pytest.raises(ConfigError, match="a Prediction is needed"):
        exact_match(ROW, prediction)
