"""One example at a time; whole datasets are in test_evaluate.py."""

import pytest
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb.errors import ConfigError
from mipro_nb.scoring import check_metric, check_threshold, run_example


def once(replies, *, given=metric, program=None, trace=False, **options):
    with mn.context(lm=fake(replies=replies)):
        return run_example(program or mn.Predict("q -> a"), 7, rows(1, 3)[0], given, trace=trace, **options)


def test_a_result_names_its_example_and_what_was_used():
    result = once(lambda m: "a: answer 3")
    assert (result.example, result.score, result.boolean, result.error) == (7, 1.0, True, "")
    assert result.usage.calls == 1


def test_every_step_is_kept_with_its_inputs_and_outputs():
    result = once(two_step_reply, program=TwoSteps())
    assert result.steps[0].outputs == {"hint": "3"}
    assert result.steps[1].inputs == {"q": "item 3", "hint": "3"}


def test_the_metric_gets_the_trace_only_when_it_is_asked_for():
    seen = []

    def spy(example, prediction, trace=None):
        seen.append(trace)
        return True

    once(lambda m: "a: x", given=spy)
    once(lambda m: "a: x", given=spy, trace=True)
    assert seen[0] is None
    assert len(seen[1]) == 1


def test_options_reach_the_programs_calls_and_not_the_metrics():
    lm = fake(replies=lambda m: "a: x")

    def judge(example, prediction):
        mn.Predict("text -> a")(text=prediction.a)
        return True

    with mn.context(lm=lm):
        run_example(mn.Predict("q -> a"), 0, rows(1)[0], judge, trace=False, options={"temperature": 1.0, "rollout": 2})
    assert [sampling["temperature"] for sampling in lm.sampling] == [1.0, 0.0]


@pytest.mark.parametrize("threshold", [2, -0.1, "high", True])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ConfigError, match="metric_threshold="):
        check_threshold(threshold)
    check_threshold(None)
    check_threshold(0.5)


def test_a_metric_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigError, match="metric=None"):
        check_metric(None)
