import json
import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from mipro_nb import Example, Prediction, Signature, examples, split
from mipro_nb.data import split_counts
from mipro_nb.errors import DataError
from mipro_nb.example import fields_of, input_keys_of


def values(source, **options):
    return [fields_of(example) for example in examples(source, **options)]


def labelled(*labels):
    return examples([{"n": n, "team": team} for n, team in enumerate(labels)], inputs=["n"])


# ---- DataFrames and lists


def test_a_dataframe_becomes_examples_with_python_values():
    frame = pd.DataFrame(
        {
            "text": ["a", None],
            "number": [1.5, float("nan")],
            "whole": pd.array([1, None], dtype="Int64"),
            "flag": [True, False],
            "class": pd.Categorical(["x", None]),
            "day": pd.to_datetime(["2026-01-01", None]),
            "array": [np.array([1, 2]), None],
            "list": [["x"], None],
        }
    )
    first, second = values(frame, inputs=["text"])
    assert [type(value).__name__ for value in first.values()] == [
        *("str", "float", "int", "bool", "str", "Timestamp", "list", "list")
    ]
    assert second == {**dict.fromkeys(frame), "flag": False}
    assert [type(row["n"]) for row in values(pd.DataFrame({"n": np.array([1, 2], dtype="int8")}))] == [int, int]


def test_the_index_of_a_dataframe_is_no_field_and_columns_may_have_any_name():
    assert values(pd.DataFrame({"my text": ["a"], 2026: [1]}, index=["x"])) == [{"my text": "a", "2026": 1}]


@pytest.mark.parametrize("columns", [["a", "a"], [1, "1"]])
def test_columns_of_one_name_are_refused(columns):
    with pytest.raises(DataError, match=r"columns \['.'\] stand twice"):
        examples(pd.DataFrame([[1, 2]], columns=columns))


def test_dicts_and_examples_are_taken():
    assert values([{"q": "1", "n": np.int64(3), "gap": float("nan")}]) == [{"q": "1", "n": 3, "gap": None}]
    assert values(iter([{"q": 1}])) == [{"q": 1}]
    kept = examples([Example(q=1, a=2).with_inputs("q"), Prediction(q=3, a=4)])
    assert [input_keys_of(row) for row in kept] == [{"q"}, None]
    assert input_keys_of(examples([Example(q=1, a=2).with_inputs("q")], inputs=["a"])[0]) == {"a"}


def test_inputs_may_be_one_name_and_a_row_may_lack_a_label():
    rows = examples([{"q": 1, "a": 2}, {"q": 3}], inputs="q")
    assert [input_keys_of(row) for row in rows] == [{"q"}, {"q"}]


@pytest.mark.parametrize(
    ("source", "inputs", "said"),
    [
        (
            [{"mesage": 1}],
            ["message"],
            r"'message' is no column in row 0; columns: \['mesage'\]. Did you mean 'mesage'",
        ),
        ([{"q": 1}, {"x": 1}], ["q"], "'q' is no column in row 1"),
        ([{"q": 1}], 3, "inputs=3: a list of column names is needed"),
        ([{"q": 1}], [1], r"inputs=\[1\]: a list of column names is needed"),
        ([{"q": 1}], Signature("q -> a"), "a list of column names is needed"),
        ([], None, "holds no rows"),
        (pd.DataFrame({"a": []}), None, "holds no rows"),
        (["text"], None, "row 0: a dict or Example is needed, str given"),
        ([{"q": 1}, [2]], None, "row 1: a dict or Example is needed, list given"),
        ([{"_id": 1}], None, "row 0: field name '_id'"),
        ({"q": [1, 2]}, None, "source of type dict: a DataFrame, a list of dicts"),
        (None, None, "source of type NoneType"),
        (3, None, "source of type int"),
        (b"q,a", None, "source of type bytes"),
        (pd.Series([1]), None, "a dict or Example is needed"),
    ],
)
def test_what_is_no_dataset_is_said_plainly(source, inputs, said):
    with pytest.raises(DataError, match=said):
        examples(source, inputs=inputs)


# ---- files

ROWS = [{"message": "My kettle leaks", "team": "bug"}, {"message": "Zwei\nZeilen, é 🫖", "team": "billing"}]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".CSV"])
def test_the_same_rows_from_every_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"tickets{suffix}"
    frame = pd.DataFrame(ROWS)
    write = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".json": lambda: frame.to_json(path, orient="records"),
        ".parquet": lambda: frame.to_parquet(path),
    }
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    write.get(suffix.lower(), lambda: path.write_text(lines, encoding="utf-8"))()
    assert values(path, inputs=["message"]) == values(str(path)) == ROWS


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["NA", "null", "None", "nan"], ["NA", "null", "None", "nan"]),
        (["NA", "", "x"], ["NA", None, "x"]),
        (["1", "2", ""], [1, 2, None]),
        (["1", "2.5", "-3e2"], [1.0, 2.5, -300.0]),
        (["007", "12"], ["007", "12"]),
        (["1", "two"], ["1", "two"]),
        (["True", "false", ""], [True, False, None]),
        (["yes", "no"], ["yes", "no"]),
        (["inf", "1"], ["inf", "1"]),
        (["+49 30", "1"], ["+49 30", "1"]),
        (["12345678901234567890123"], [12345678901234567890123]),
        (["", ""], [None, None]),
        (['"1, 2"', '"a\nb"', '"say ""x"""'], ["1, 2", "a\nb", 'say "x"']),
    ],
)
def test_cells_of_a_csv_are_what_they_look_like(tmp_path, cells, expected):
    path = file(tmp_path, "a.csv", "q,label\n" + "".join(f"x,{cell}\n" for cell in cells))
    found = [row["label"] for row in values(path)]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_csv_from_a_spreadsheet_is_read(tmp_path):
    text = "\ufeffmessage, team\r\nhi,bug\r\n\r\nho,\r\n"
    assert values(file(tmp_path, "a.csv", text)) == [{"message": "hi", "team": "bug"}, {"message": "ho", "team": None}]
    assert list(values(file(tmp_path, "b.csv", ",a\n0,x\n"))[0]) == ["column 1", "a"]


def test_json_lines_may_have_blank_lines_a_bom_and_any_text(tmp_path):
    text = '\ufeff{"q": "a\u2028b\u0085c"}\r\n\r\n{"q": null}\n'
    assert values(file(tmp_path, "a.jsonl", text)) == [{"q": "a\u2028b\u0085c"}, {"q": None}]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"q": 1}\n\n{"q": \n', "a.jsonl, line 3 is no JSON: Expecting value"),
        ("a.jsonl", '{"q": 1}\n[1]\n', "row 1: a dict or Example is needed, list given"),
        ("a.jsonl", "\n", "holds no rows"),
        ("a.json", '{"data": []}', "a.json holds dict; a list of objects is needed"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", "[{", "a.json, line 1 is no JSON"),
        ("a.json", '{"q": 1}\n{"q": 2}\n', "JSON lines belong in a .jsonl file"),
        ("a.csv", "", "can't be read: No columns"),
        ("a.csv", "q,a\n", "holds no rows"),
        ("a.csv", "q,q\n1,2\n", r"columns \['q'\] stand twice"),
        ("a.csv", "q,a\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        ("a.csv", "q;a\n1;2\n", "columns: .'q;a'"),
        ("a.csv", "q,a\nh\xe9,2\n".encode("latin-1"), "no UTF-8 text; save it as UTF-8"),
        ("a.jsonl", '{"q": "\xe9"}'.encode("latin-1"), "no UTF-8 text; save it as UTF-8"),
        ("a.parquet", "q,a\n1,2\n", "a.parquet can't be read"),
        ("a.xlsx", "PK", "a.xlsx ends with '.xlsx'; accepted: .csv, .tsv, .jsonl"),
        ("a.jsom", "[]", "Did you mean '.json'"),
        ("data", "q,a", "ends with ''"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_once(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said) as caught:
        examples(file(tmp_path, name, text), inputs=["q"])
    assert str(caught.value).count("source:") <= 1


def test_a_missing_file_says_the_nearest(tmp_path):
    file(tmp_path, "tickets.csv", "q\n1\n")
    with pytest.raises(DataError, match=r"tikcets.csv' doesn't exist. Did you mean 'tickets.csv'\?"):
        examples(tmp_path / "tikcets.csv")


@pytest.mark.parametrize("source", ["/no/such/folder/a.csv", "q,a\n1,2\n", "x" * 5000, "a\0.csv", "."])
def test_a_text_that_is_no_file_is_refused_shortly(source):
    with pytest.raises(DataError, match="doesn't exist") as caught:
        examples(source)
    assert len(str(caught.value)) < 300


# ---- split


def test_parts_are_seeded_disjoint_complete_and_of_the_sizes_asked_for():
    rows = labelled(*"ab" * 25)
    parts = split(rows, 0.2, 0.4, 0.4, seed=0)
    assert [len(part) for part in parts] == [10, 20, 20]
    assert sorted(row["n"] for part in parts for row in part) == list(range(50))
    assert parts == split(rows, 0.2, 0.4, 0.4, seed=0)
    assert parts != split(rows, 0.2, 0.4, 0.4, seed=1)
    assert [row["n"] for row in parts[0]] != sorted(row["n"] for row in parts[0])
    assert input_keys_of(parts[0][0]) == {"n"}


@pytest.mark.parametrize(
    ("fractions", "sizes"),
    [((1,), [10]), ((0.5,), [5]), ((0.1, 0.2), [1, 2]), ((1 / 3, 1 / 3, 1 / 3), [3, 4, 3]), ((0.25, 0.75), [2, 8])],
)
def test_sizes_are_the_rounded_shares(fractions, sizes):
    assert [len(part) for part in split(labelled(*"a" * 10), *fractions)] == sizes


@pytest.mark.parametrize(("fractions", "most"), [((0.5, 0.5), 1), ((0.2, 0.8), 1), ((0.2, 0.4, 0.4), 1.5)])
def test_strata_are_shared_out_within_about_one(fractions, most):
    rng = random.Random(0)
    for seed in range(30):
        rows = labelled(*rng.choices("abcd", weights=[8, 4, 2, 1], k=rng.randint(30, 90)))
        all_of = Counter(row.team for row in rows)
        for part in split(rows, *fractions, stratify="team", seed=seed):
            found = Counter(row.team for row in part)
            assert all(abs(found[label] - len(part) / len(rows) * all_of[label]) <= most for label in all_of)


def test_two_equal_halves_hold_every_class_alike():
    rows = labelled(*"a" * 10, *"b" * 6, *"c" * 4)
    for part in split(rows, 0.5, 0.5, stratify="team", seed=3):
        assert Counter(row.team for row in part) == {"a": 5, "b": 3, "c": 2}


def test_labels_that_cannot_be_hashed_are_shared_out_too():
    rows = examples([{"n": n, "tags": [n % 2]} for n in range(8)], inputs=["n"])
    for part in split(rows, 0.5, 0.5, stratify="tags"):
        assert sorted(row.tags[0] for row in part) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "fractions", [(), (0, 1), (-0.5,), (0.5, 0.6), (1.5,), (True,), ("0.5",), (float("nan"),), (20, 10), ([0.5, 0.5],)]
)
def test_fractions_out_of_range_are_refused(fractions):
    with pytest.raises(DataError, match=r"numbers in \(0, 1\] that sum to at most 1 are needed"):
        split(labelled(*"ab" * 10), *fractions)


@pytest.mark.parametrize(("count", "told"), [(0, "0 examples are"), (1, "1 example is"), (3, "3 examples are")])
def test_too_few_examples_are_refused(count, told):
    with pytest.raises(DataError, match=f"{told} too few for parts of .*no part may be empty"):
        split([Example(n=n) for n in range(count)], 0.1, 0.9)


def test_a_field_that_is_missing_cannot_be_stratified():
    with pytest.raises(DataError, match=r"stratify='tem' is no field; fields: \['n', 'team'\]. Did you mean 'team'"):
        split(labelled(*"ab"), 0.5, 0.5, stratify="tem")


@pytest.mark.parametrize("data", ["rows.csv", None, pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}], {"a": 1}])
def test_only_examples_are_split(data):
    with pytest.raises(DataError, match=r"a list of Examples is needed; mipro_nb.examples\(..., inputs=\[...\]\)"):
        split(data, 0.5, 0.5)


def test_split_counts_takes_numbers_of_examples():
    rows = labelled(*"ab" * 5)
    parts = split_counts(rows, [3, 4], stratify="team", seed="x")
    assert [len(part) for part in parts] == [3, 4]
    assert len({row["n"] for part in parts for row in part}) == 7
    for counts in ([], [0, 3], [8, 3]):
        with pytest.raises(DataError, match="10 examples are too few for parts of"):
            split_counts(rows, counts)


# ---- the label, and the checks before money is spent
