import pytest
from programs import TwoSteps, fake, metric, rows

import mipro_nb as mn
from mipro_nb.errors import ConfigError, DataError


def right(messages):
    return f"a: answer {messages[-1]['content'].split()[-1]}"


def test_a_program_gets_traces_and_labels():
    student = mn.Predict("q -> a", lm=fake(replies=right))
    best = mn.BootstrapFewShot(metric, max_bootstrapped_demos=2, max_labeled_demos=5).compile(student, trainset=rows(9))
    assert [dict(demo) for demo in best.demos[:2]] == [{"q": f"item {i}", "a": f"answer {i}"} for i in range(2)]
    assert len(best.demos) == 5
    assert student.demos == []


def test_labeled_only_costs_no_call():
    lm = fake(replies=right)
    best = mn.BootstrapFewShot(metric, max_bootstrapped_demos=0, max_labeled_demos=3).compile(
        mn.Predict("q -> a", lm=lm), trainset=rows(9)
    )
    assert (len(best.demos), lm.calls) == (3, 0)


def test_without_a_metric_every_trace_is_kept():
    student = mn.Predict("q -> a", lm=fake(replies=lambda m: "a: whatever"))
    best = mn.BootstrapFewShot(max_bootstrapped_demos=1, max_labeled_demos=0).compile(student, trainset=rows(3))
    assert best.demos[0]["a"] == "whatever"


def test_a_teacher_lm_makes_the_traces():
    student = mn.Predict("q -> a", lm=fake(replies=lambda m: "a: no"))
    best = mn.BootstrapFewShot(metric, max_bootstrapped_demos=1, max_labeled_demos=0).compile(
        student, teacher=fake(replies=right), trainset=rows(3)
    )
    assert best.demos[0]["a"] == "answer 0"


def test_a_teacher_of_another_shape_is_refused():
    optimizer = mn.BootstrapFewShot(metric)
    with pytest.raises(ConfigError, match="teacher has the predictors"):
        optimizer.compile(mn.Predict("q -> a"), teacher=TwoSteps(), trainset=rows(3))
    with pytest.raises(ConfigError, match="other fields"):
        optimizer.compile(mn.Predict("q -> a"), teacher=mn.Predict("x -> a"), trainset=rows(3))


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_bootstrapped_demos": -1},
        {"max_rounds": 0},
        {"metric": "exact"},
        {"metric_threshold": 7},
        {"metric_threshold": "high"},
        {"max_errors": -1},
    ],
)
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        mn.BootstrapFewShot(**arguments)


def test_an_empty_trainset_is_refused():
    with pytest.raises(DataError, match="trainset is empty"):
        mn.BootstrapFewShot(metric).compile(mn.Predict("q -> a"), trainset=[])
