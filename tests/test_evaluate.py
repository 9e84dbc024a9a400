import dataclasses
import json
import math
import threading

import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LMRefused, LMUnavailable, MetricError, PromptRefused, TooManyErrors
from mipro_nb.testing import EventRecorder


def right(messages):
    return f"a: answer {messages[-1]['content'].split()[-1]}"


def evaluate(replies, count=6, **options):
    given_metric = options.pop("metric", metric)
    program = mn.Predict("q -> a", lm=fake(replies=replies, num_retries=0))
    return mn.Evaluate(rows(count), given_metric, **options)(program)


def test_the_score_is_the_unrounded_mean_in_dataset_order():
    result = evaluate(lambda m: right(m) if "item 1" in m[-1]["content"] else "a: no", count=3)
    assert result.score == 1 / 3
    assert [r.score for r in result.results] == [0.0, 1.0, 0.0]
    assert [r.example for r in result.results] == [0, 1, 2]
    assert repr(result) == "EvaluationResult(score 33.3% on 3 examples)"


def test_results_keep_dataset_order_however_they_arrive():
    gate = threading.Event()

    def replies(messages):
        if messages[-1]["content"].endswith(" 0"):
            assert gate.wait(30)
        if messages[-1]["content"].endswith(" 5"):
            gate.set()
        return right(messages)

    result = evaluate(replies, num_threads=8)
    assert [r.prediction.a for r in result.results] == [f"answer {i}" for i in range(6)]


def test_an_outage_is_missing_data_and_not_a_zero():
    def replies(messages):
        if messages[-1]["content"].endswith(" 2"):
            raise LMUnavailable("down")
        return right(messages)

    result = evaluate(replies)
    assert (result.score, result.examples, result.failed) == (1.0, 5, 1)
    assert result.results[2].score is None
    assert "down" in result.results[2].error
    assert "1 failed" in repr(result)


def test_a_failed_example_is_tried_again_at_the_end():
    failures = iter([True, False])

    def replies(messages):
        if messages[-1]["content"].endswith(" 2") and next(failures):
            raise LMUnavailable("down for a moment")
        return right(messages)

    assert evaluate(replies).failed == 0


def test_too_many_outages_end_the_evaluation():
    def replies(messages):
        raise LMUnavailable("down")

    with pytest.raises(TooManyErrors, match=r"max_errors=2.*down"):
        evaluate(replies, max_errors=2)


def test_a_program_that_fails_on_a_reply_scores_0_with_its_error():
    class Buggy(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a", lm=fake(replies=right))

        def forward(self, q):
            if q.endswith(" 1"):
                raise KeyError("index lost")
            return self.step(q=q)

    result = mn.Evaluate(rows(4), metric)(Buggy())
    assert (result.failed, result.results[1].score) == (0, 0.0)
    assert "KeyError" in result.results[1].error


def test_an_outage_of_what_else_the_program_asks_is_missing_data():
    class Search(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a", lm=fake(replies=right))

        def forward(self, q):
            if q.endswith(" 1"):
                raise ConnectionError("the index is down")
            return self.step(q=q)

    result = mn.Evaluate(rows(4), metric)(Search())
    assert (result.failed, result.results[1].score) == (1, None)


def test_an_outage_of_the_metrics_own_lm_is_missing_data_and_loses_nothing():
    judge = mn.Predict("answer -> ok: bool", lm=fake(replies=lambda m: "perhaps"))
    result = evaluate(right, count=3, metric=lambda e, p: judge(answer=p.a).ok)
    assert (result.examples, result.failed) == (0, 3)
    assert "in the metric: ParseError" in result.results[0].error


def test_an_assertion_in_the_program_is_a_failure_of_one_example():
    class Strict(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a", lm=fake(replies=right))

        def forward(self, q):
            assert not q.endswith(" 1"), "not this one"
            return self.step(q=q)

    result = mn.Evaluate(rows(4), metric)(Strict())
    assert result.score == 0.75
    assert "not this one" in result.results[1].error


def test_a_prompt_that_the_fake_does_not_know_fails_the_test():
    program = mn.Predict("q -> a", lm=fake(replies={"item 0": "a: x"}))
    with pytest.raises(AssertionError, match="item 1"):
        mn.Evaluate(rows(2), metric)(program)


def test_a_prediction_whose_repr_raises_is_no_end():
    class Odd:
        a = "answer 0"

        def __repr__(self):
            raise ValueError

    class Program(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a", lm=fake(replies=right))

        def forward(self, q):
            self.step(q=q)
            return Odd()

    recorder = EventRecorder()
    mn.Evaluate(rows(1), metric, listeners=[recorder])(Program())
    assert "whose repr raised ValueError" in recorder.of(ev.ExampleScored)[0].output


def test_an_array_is_no_score():
    import numpy as np

    with pytest.raises(MetricError, match="ndarray"):
        evaluate(right, metric=lambda e, p: np.array([0.1, 0.2]))
    assert evaluate(right, count=1, metric=lambda e, p: np.float32(0.5)).score == 0.5


def test_an_unreadable_reply_scores_0_with_its_error():
    program = mn.Predict("q -> a: int", lm=fake(replies=lambda m: "no number"))
    result = mn.Evaluate(rows(2), metric)(program)
    assert (result.score, result.failed) == (0.0, 0)
    assert "ParseError" in result.results[0].error
    assert "'no number'" in result.results[0].error


def test_a_prompt_that_the_lm_refuses_scores_0_with_its_error():
    def replies(messages):
        raise PromptRefused("too long for the context")

    result = evaluate(replies, count=2)
    assert (result.score, result.failed) == (0.0, 0)
    assert "too long" in result.results[0].error


def test_a_refused_key_ends_it_at_once():
    lm = fake(replies=lambda m: (_ for _ in ()).throw(LMRefused("refuses the key")))
    with pytest.raises(LMRefused):
        mn.Evaluate(rows(50), metric, num_threads=1)(mn.Predict("q -> a", lm=lm))
    assert lm.calls < 50


def test_a_bug_in_the_metric_raises_at_once_with_the_example():
    with pytest.raises(MetricError, match=r"item \d"):
        evaluate(right, metric=lambda e, p: 1 / 0)


def test_metrics_may_leave_out_the_trace_and_may_give_feedback():
    result = evaluate(right, count=1, metric=lambda example, prediction: mn.Score(0.5, "half"))
    assert (result.results[0].score, result.results[0].feedback) == (0.5, "half")
    assert evaluate(right, count=1, metric=lambda *arguments: len(arguments) == 3 and arguments[2] is None).score == 1.0


def test_a_callable_object_is_a_metric():
    class Exact:
        def __call__(self, example, prediction, trace=None):
            return example.a == prediction.a

    assert evaluate(right, metric=Exact()).score == 1.0


def test_progress_is_told_as_events():
    recorder = EventRecorder()
    evaluate(right, count=3, listeners=[recorder])
    assert [type(e).__name__ for e in recorder.events if not isinstance(e, ev.LMUsed)] == [
        "TrialStarted",
        *["ExampleScored"] * 3,
        "TrialFinished",
    ]
    assert sum(e.usage.calls for e in recorder.of(ev.LMUsed)) == 3


def told(program, inputs, given_metric=metric):
    """What the events say of one example."""
    recorder = EventRecorder()
    example = mn.Example(**inputs, a="answer 1").with_inputs(*inputs)
    mn.Evaluate([example], given_metric, listeners=[recorder])(program)
    return recorder.of(ev.ExampleScored)[0]


def one(spec, reply="a: answer 1"):
    return mn.Predict(spec, lm=fake(replies=lambda m: reply))


def test_what_is_told_of_a_long_list_stays_small_and_says_that_it_was_cut():
    passages = [f"passage {n} " * 1000 for n in range(20)]
    event = told(one("q, passages: list[str] -> a"), {"q": "which?", "passages": passages})
    inputs = event.calls[0]["inputs"]
    assert inputs["q"] == "which?"  # the short one is whole
    assert inputs["passages"][0] == passages[0]
    assert "cut here by mipro_nb" in str(inputs["passages"])
    assert "18 more of 20" in inputs["passages"][-1]
    assert len(json.dumps(dataclasses.asdict(event))) < 25_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        {"a": {"b": ["x" * 100_000]}},
        {f"key {n}": n for n in range(100_000)},
        {"k" * 100_000: 1},
        [[]] * 100_000,
        list(range(100_000)),
        {"a": "x" * 15_000, "b": "y" * 15_000},
    ],
    ids=["text", "nested", "keys", "long key", "empty lists", "numbers", "two texts"],
)
def test_any_long_input_is_cut_and_says_so(value):
    event = told(one("q: Any -> a"), {"q": value})
    text = json.dumps(event.calls[0]["inputs"])
    assert len(text) < 50_000
    assert "cut here by mipro_nb" in text


def test_several_long_inputs_share_the_room():
    event = told(one("q, b, c -> a"), {"q": "x" * 50_000, "b": "y" * 50_000, "c": "short"})
    inputs = event.calls[0]["inputs"]
    assert inputs["c"] == "short"
    assert 9_000 < len(inputs["q"]) < 11_000
    assert 9_000 < len(inputs["b"]) < 11_000


def test_long_feedback_replies_and_outputs_are_cut_and_say_so():
    event = told(one("q -> a", "a: " + "z" * 30_000), {"q": "1"}, lambda e, p: mn.Score(0.5, feedback="f" * 1_000_000))
    assert len(event.feedback) < 2_100
    assert "[cut here by mipro_nb: 1,000,000 characters in all]" in event.feedback
    assert "30,003 characters in all" in event.calls[0]["replies"][0]
    assert "cut here by mipro_nb" in event.output


def test_what_json_does_not_have_is_told_as_text():
    event = told(one("q: list, b: float -> a"), {"q": [math.nan, {"x": math.inf}], "b": -math.inf})
    assert event.calls[0]["inputs"] == {"q": ["NaN", {"x": "Infinity"}], "b": "-Infinity"}


def test_bytes_are_an_input():
    assert told(one("q: Any -> a"), {"q": b"\xff\xd8"}).calls[0]["inputs"] == {"q": "_9g="}


def test_usage_and_steps_come_with_each_result():
    result = evaluate(right, count=1).results[0]
    assert result.usage.calls == 1
    assert result.steps[0].outputs == {"a": "answer 0"}


def test_an_interrupt_ends_the_evaluation():
    def replies(messages):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(replies)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_errors": -1}, "max_errors=-1"), ({"num_threads": 0}, "num_threads=0"), ({"metric": 3}, "metric=3")],
)
def test_wrong_arguments_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        evaluate(right, **options)
