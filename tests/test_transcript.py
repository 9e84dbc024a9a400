"""The messages that a view shows are those that were sent."""

from typing import Literal

import pytest
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.frames import results_of
from mipro_nb.testing import FakeLM
from mipro_nb.transcript import calls


def finished(lm, program=None, data=None, **options):
    history = mn.History()
    own = {"num_candidates": 4, "seed": 1, **{k: options.pop(k) for k in list(options) if k.startswith("max_")}}
    optimizer = mn.MIPROv2(metric=options.pop("metric", metric), task_model=lm, prompt_model=lm, **own)
    data = data or rows(30)
    optimizer.compile(
        program or mn.Predict("q -> a"), trainset=data[:12], valset=data[12:], num_trials=4, minibatch_size=6,
        listeners=[history], **options,
    )  # fmt: skip
    return history


def sent(lm):
    """What reached the LM: pairs of messages and how often."""
    return [tuple((m["role"], m["content"]) for m in prompt) for prompt in lm.prompts]


def rebuilt(history):
    for trial in history.trials:
        for result in trial.scored.values():
            for call in calls(history, trial, result):
                yield tuple((m["role"], m["content"]) for m in call.messages), call


@pytest.mark.parametrize(
    ("program", "replies", "options"),
    [
        (mn.Predict("q -> a"), None, {}),
        (mn.ChainOfThought("q -> a"), lambda m: "reasoning: it follows\na: answer 3", {}),
        (TwoSteps(), two_step_reply, {}),
        (mn.Predict("q -> a"), None, {"max_bootstrapped_demos": 0, "max_labeled_demos": 0}),
        (mn.Predict("q -> a", demos=[mn.Example(q="own", a="demo")]), None, {}),
        (mn.Predict("q -> a", demos=[mn.Example(q="own", a="demo")]), None,
         {"max_bootstrapped_demos": 0, "max_labeled_demos": 0}),
    ],
    ids=["predict", "reasoning", "two steps", "zero-shot", "with demos", "zero-shot with demos"],
)  # fmt: skip
def test_what_is_rebuilt_was_sent(program, replies, options):
    lm = fake(**({"replies": replies} if replies else {}))
    history = finished(lm, program, **options)
    known = set(sent(lm))
    found = list(rebuilt(history))
    assert len(found) >= 18
    assert all(messages in known for messages, _ in found)
    assert all(call.reply for _, call in found)


def test_of_a_log_that_was_read_too(tmp_path):
    lm = fake(replies=two_step_reply)
    finished(lm, TwoSteps(), run_dir=tmp_path)
    known = set(sent(lm))
    assert all(messages in known for messages, _ in rebuilt(mn.History.read(tmp_path)))


def test_types_are_written_as_they_were_sent():
    rows_ = mn.examples([{"n": i, "tags": ["a", str(i)], "kind": "odd" if i % 2 else "even"} for i in range(30)],
                        inputs=["n", "tags"])  # fmt: skip

    class Sort(mn.Signature):
        """Sort."""

        n: int = mn.InputField(desc="a number")
        tags: list[str] = mn.InputField()
        kind: Literal["odd", "even"] = mn.OutputField()

    lm = FakeLM(lambda messages: "kind: odd")
    history = finished(lm, mn.Predict(Sort), rows_, metric=mn.exact_match)
    known = set(sent(lm))
    assert all(messages in known for messages, _ in rebuilt(history))


def test_a_reply_that_had_to_be_mended_shows_both_turns():
    lm = FakeLM(lambda m: "team: bug" if "can't be read" in m[-1]["content"] else "a chat about nothing")
    data = mn.examples([{"q": str(i), "team": "bug"} for i in range(30)], inputs=["q"])
    history = finished(lm, mn.Predict("q -> team: Literal['bug', 'billing']"), data, metric=mn.exact_match)
    known = set(sent(lm))
    found = [pair for pair in rebuilt(history) if len(pair[0]) > 3]
    assert found
    for messages, call in found:
        assert messages in known
        assert messages[-2] == ("assistant", "a chat about nothing")
        assert call.reply == "team: bug"


def test_an_unreadable_reply_is_shown_with_its_messages():
    lm = FakeLM(lambda m: "no idea what to say")
    data = mn.examples([{"q": str(i), "team": "bug"} for i in range(30)], inputs=["q"])
    history = finished(lm, mn.Predict("q -> team: Literal['bug', 'billing']"), data, metric=mn.exact_match)
    baseline = results_of(history, history.baseline)
    assert all(one.error.startswith("ParseError") for one in baseline.values())
    assert all(calls(history, history.baseline, one)[0].reply == "no idea what to say" for one in baseline.values())


def test_a_long_input_is_cut_and_says_so():
    long = "x" * 50_000
    data = mn.examples([{"q": f"{i} {long}", "a": "1"} for i in range(30)], inputs=["q"])
    history = finished(FakeLM(lambda m: "a: 1"), data=data)
    call = next(call for _, call in rebuilt(history))
    assert "characters in all" in call.messages[-1]["content"]
    assert len(call.messages[-1]["content"]) < 30_000


def test_a_log_without_signatures_still_shows_the_inputs():
    lm = fake()
    history = finished(lm)
    bare = mn.History([
        ev.RunStarted(e.run_id, e.program, e.predictors, e.settings, e.plan, e.sizes, e.versions)
        if isinstance(e, ev.RunStarted) else e
        for e in history.events
    ])  # fmt: skip
    messages, call = next(rebuilt(bare))
    assert "can't be rebuilt" in messages[0][1]
    assert "item" in messages[-1][1]
    assert call.reply
