"""What a run stands on, as JSON, and how two of them differ, in words."""

import json

import numpy as np
import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb.errors import LoadError
from mipro_nb.jobrecord import code_of, data_of, differences, memory_of, record_of
from mipro_nb.learning import Approach, Result
from mipro_nb.options import Options
from mipro_nb.plan import make_job

PATIENCE = 60


def job(program=None, data=None, settings=None, **options):
    optimizer = mn.MIPROv2(metric, **(settings or {}))
    with mn.context(lm=fake()):
        given = Options.read({"trainset": data or rows(20), **options})
        return make_job(optimizer._params, program or mn.Predict("q -> a"), given)


def record(**changes):
    return json.loads(json.dumps(record_of(job(**changes))))


def test_the_same_job_has_no_difference():
    assert differences(record(), record()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"settings": {"seed": 1}}, "seed: 9 then, 1 now"),
        ({"keep": ["JSON"]}, 'keep: [] then, ["JSON"] now'),
        ({"data": rows(21)}, "trainset: 20 examples then, 21 now"),
        ({"valset": rows(8)}, "valset: null then, 8 examples now"),
        ({"program": mn.ChainOfThought("q -> a")}, 'program: "Predict" then, "ChainOfThought" now'),
        ({"settings": {"teacher": mn.Predict("q -> a", "Be brief.")}}, "teacher: null then"),
    ],
)
def test_a_difference_is_told_in_words(changes, told):
    assert told in "\n".join(differences(record(), record(**changes)))


@pytest.mark.parametrize(
    "changes", [{"settings": {"num_threads": 3}}, {"settings": {"max_errors": 1}}, {"max_cost": 3.0}]
)
def test_what_no_decision_hangs_on_may_change(changes):
    assert differences(record(), record(**changes)) == []


def test_data_comes_back_as_it_was_given():
    data = mn.examples([{"q": "1", "a": [1, {"x": None}], "z": 0.5}, {"q": "2", "a": [], "z": True}], inputs=["q"])
    assert data_of(record(data=data))["trainset"] == data
    assert [row.inputs() for row in data_of(record(data=data))["trainset"]] == [row.inputs() for row in data]


@pytest.mark.parametrize("value", [{1}, (1, 2), float("nan"), b"x", {1: 2}])
def test_data_that_json_changes_is_not_passed_off_as_the_same(value):
    data = [mn.Example(q=str(n), a="x", extra=value).with_inputs("q") for n in range(4)]
    with pytest.raises(LoadError, match="again"):
        data_of(record(data=data))


def test_a_number_of_numpys_is_an_argument_like_another():
    assert record(token_price=np.float64(0.25))["arguments"]["token_price"] == 0.25


def test_memory_comes_back():
    known = [Result(Approach("plain", "none", 0.5, True, False), 0.1, 0.02, "g", 0.8)]
    import dataclasses

    made = record_of(dataclasses.replace(job(), memory=known))
    assert memory_of(json.loads(json.dumps(made))) == known


def test_code_is_told_without_its_layout_or_not_at_all():
    def commented(example, prediction):
        # a comment
        return (example ==
                prediction)  # fmt: skip

    assert code_of(commented) == "def commented(example, prediction):\n    return example == prediction"
    assert code_of(eval("lambda example, prediction: True")) is None
    assert code_of(mn.exact_match) == "exact_match"
    assert code_of(len) is None


class Callable:
    def __call__(self, example, prediction):
        return True


def test_of_an_object_that_is_called_the_class_counts():
    assert "__call__" in code_of(Callable())
