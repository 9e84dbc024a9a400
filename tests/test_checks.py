"""The checks made before money is spent."""

import numpy as np
import pandas as pd
import pytest

from mipro_nb import Example, examples
from mipro_nb.checks import label_field, prepare, remarks
from mipro_nb.errors import DataError
from mipro_nb.example import fields_of, input_keys_of


def values(source, **options):
    return [fields_of(example) for example in examples(source, **options)]


def labelled(*labels):
    return examples([{"n": n, "team": team} for n, team in enumerate(labels)], inputs=["n"])


ROWS = [{"message": "My kettle leaks", "team": "bug"}, {"message": "Zwei\nZeilen, é 🫖", "team": "billing"}]


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([], None),
        ([{"n": n, "team": "ab"[n % 2]} for n in range(8)], "team"),
        ([{"n": n, "id": f"id{n}", "team": "ab"[n % 2]} for n in range(8)], "team"),
        ([{"n": n, "team": ["a"] if n % 2 else ["b"]} for n in range(8)], "team"),
        ([{"n": n, "team": "a"} for n in range(8)], None),
        ([{"n": n, "answer": str(n)} for n in range(80)], None),
        ([{"n": n, "answer": n % 21} for n in range(80)], None),
        ([{"n": 0, "team": "a"}, {"n": 1}, {"n": 2, "team": "b"}, {"n": 3, "team": "a"}], None),
    ],
)
def test_a_label_field_looks_like_a_class(rows, field):
    assert label_field([Example(row).with_inputs("n") for row in rows]) == field


def test_prepare_names_the_inputs_where_they_were_not_named():
    plain, named = Example(q=1, a=2), Example(q=1, a=2).with_inputs("q")
    assert [input_keys_of(row) for row in prepare("trainset", [plain, named], ["q"])] == [{"q"}, {"q"}]
    assert prepare("trainset", [named], None) == [named]
    assert prepare("testset", [], ["q"], required=False) == []
    assert input_keys_of(plain) is None


@pytest.mark.parametrize(
    ("data", "inputs", "said"),
    [
        ("x.csv", ["q"], "trainset is str: a list of Examples is needed"),
        (None, ["q"], "trainset is NoneType"),
        (pd.DataFrame({"q": [1]}), ["q"], "trainset is DataFrame: a list of Examples is needed; mipro_nb.examples"),
        ([Example(q=1), {"q": 1}], ["q"], r"trainset\[1\] is dict"),
        ([], ["q"], "trainset is empty; at least one example is needed"),
        ([Example(question=1)], ["questoin"], r"trainset\[0\] lacks .* 'questoin'; .*Did you mean 'question'"),
        ([Example(q=1)], None, r"trainset\[0\]: its inputs aren't named"),
        ([Example(q=1, a=2).with_inputs("a")], ["q"], "lacks .* 'q'; it has .*not named as an input"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused_before_a_call(data, inputs, said):
    with pytest.raises(DataError, match=said):
        prepare("trainset", data, inputs)


def test_a_sound_dataset_needs_no_remark():
    rows = labelled(*"ab" * 20)
    assert remarks({"trainset": rows[:20], "valset": rows[20:], "testset": []}) == []


def test_what_may_spoil_a_run_is_said_in_plain_sentences():
    rows = labelled(*"a" * 10, *"b" * 10)
    assert remarks({"trainset": rows[:12], "valset": rows[10:]}) == [
        "2 examples stand in trainset and in valset: scores on valset will flatter.",
        "valset holds one value of 'team' only, 'b': shuffle before splitting.",
    ]
    assert remarks({"trainset": rows, "valset": rows[:1]}) == [
        "1 example stands in trainset and in valset: scores on valset will flatter.",
        "valset has only 1 example: its scores say little.",
    ]
    assert remarks({"testset": rows[8:12]}) == ["testset has only 4 examples: its scores say little."]


def test_remarks_bear_values_that_cannot_be_hashed_and_rows_without_the_label():
    arrays = [Example(x=np.array([1, n]), y=[n]) for n in range(6)]
    assert remarks({"trainset": arrays, "valset": arrays[:5]}) == [
        "5 examples stand in trainset and in valset: scores on valset will flatter."
    ]
    assert remarks({"trainset": labelled(*"ab" * 5), "valset": [Example(n=n) for n in range(90, 96)]}) == []
