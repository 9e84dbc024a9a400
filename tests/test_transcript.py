"""The messages that a view shows are those that were sent."""

import json
from typing import Literal

import pydantic
import pytest
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import LMUnavailable
from mipro_nb.frames import results_of
from mipro_nb.testing import FakeLM
from mipro_nb.transcript import calls


def finished(lm, program=None, data=None, **options):
    history = mn.History()
    settings = [name for name in options if name.startswith(("max_", "num_threads"))]
    own = {"num_candidates": 4, "seed": 1, **{name: options.pop(name) for name in settings}}
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


def plain_rows(count=30):
    return mn.examples([{"q": f"{i}", "a": "1"} for i in range(count)], inputs=["q"])


class Closed(pydantic.BaseModel):
    """Nothing else."""

    model_config = pydantic.ConfigDict(extra="forbid")
    n: int = pydantic.Field(examples=[3], title="How many")


class Made(pydantic.BaseModel):
    """A schema that the log's form of a model can't keep."""

    model_config = pydantic.ConfigDict(json_schema_extra=lambda schema: schema.update(note="by a function"))
    n: int


class Picky(pydantic.BaseModel):
    n: str

    @pydantic.field_validator("n")
    @classmethod
    def no_bad(cls, n):
        if n == "bad":
            raise ValueError("not this one")
        return n


def of_type(kind):
    field = mn.OutputField()
    return mn.Predict(mn.Signature("q -> b").append("a", field, kind))


def all_were_sent(history, lm):
    known, found = set(sent(lm)), list(rebuilt(history))
    assert found
    return [messages for messages, _ in found if messages not in known] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Closed, Made])
def test_schemas_are_shown_as_they_were_sent(kind, tmp_path):
    lm = FakeLM(lambda m: json.dumps({"b": "x", "a": {"n": 1}}))
    history = finished(lm, of_type(kind), plain_rows(), metric=lambda e, p: True, run_dir=tmp_path)
    assert all_were_sent(history, lm)
    assert all_were_sent(mn.History.read(tmp_path), lm)


def test_a_reply_that_a_validator_refused_shows_both_turns(tmp_path):
    def replies(messages):
        word = "good" if "can't be read" in messages[-1]["content"] else "bad"
        return json.dumps({"b": "x", "a": {"n": word}})

    lm = FakeLM(replies)
    finished(lm, of_type(Picky), plain_rows(), metric=lambda e, p: True, run_dir=tmp_path)
    history = mn.History.read(tmp_path)
    assert all_were_sent(history, lm)
    for messages, call in rebuilt(history):
        assert "can't be read" in messages[-1][1]
        assert "bad" in messages[-2][1]
        assert "good" in call.reply


def test_a_second_call_without_an_answer_shows_no_reply():
    def replies(messages):
        if "can't be read" in messages[-1]["content"] and messages[-3]["content"].endswith(" 7"):
            raise LMUnavailable("down")
        return "a: 1" if "can't be read" in messages[-1]["content"] else "a: none"

    data = mn.examples([{"q": f"no {i}", "a": 1} for i in range(30)], inputs=["q"])
    lm = FakeLM(replies, num_retries=0)
    history = finished(lm, mn.Predict("q -> a: int"), [*data[8:], *data[:8]], metric=mn.exact_match)
    lost = [call for messages, call in rebuilt(history) if messages[-3][1].endswith(" 7")]
    assert lost
    assert {call.reply for call in lost} == {""}


class Nearest(mn.Module):
    """Sets its demos itself, for each question."""

    def __init__(self):
        self.step = mn.Predict("q -> a")

    def forward(self, q):
        self.step.demos = [mn.Example(q=f"near {q}", a="n")] * (1 + int(q) % 3)
        return self.step(q=q)


class Fly(mn.Module):
    """Makes a predictor for each question, and asks the one that is optimized on a copy."""

    def __init__(self):
        self.step = mn.Predict("q -> a")

    def forward(self, q):
        mn.Predict("q -> hint")(q=q)
        return self.step.deepcopy()(q=q)


class Swap(mn.Module):
    """Changes the signature of its predictor."""

    def __init__(self):
        self.step = mn.Predict("q -> a")

    def forward(self, q):
        self.step.signature = mn.Signature("other -> a")
        return self.step(other=q)


@pytest.mark.parametrize("program", [Nearest, Fly, Swap])
def test_a_program_that_makes_its_prompts_itself_is_shown_as_it_was(program, tmp_path):
    lm = FakeLM(lambda m: "hint: h" if "hint: <" in m[0]["content"] else "a: 1")
    history = finished(lm, program(), plain_rows(), num_threads=1, run_dir=tmp_path)
    assert all_were_sent(history, lm)
    assert all_were_sent(mn.History.read(tmp_path), lm)


def test_the_demos_are_not_written_again_for_every_example():
    lm = FakeLM(lambda m: "a: 1")
    data = mn.examples([{"q": f"{i} " + "long " * 200, "a": "1"} for i in range(30)], inputs=["q"])
    history = finished(lm, data=data)
    told = [call for trial in history.trials for result in trial.scored.values() for call in result.calls]
    assert told
    assert not any("messages" in call for call in told)
    assert all(len(json.dumps(call)) < 1_300 for call in told)


def test_a_long_reply_is_cut_and_says_so():
    history = finished(FakeLM(lambda m: "a: " + "z" * 30_000), data=plain_rows())
    call = next(call for _, call in rebuilt(history))
    assert call.reply.endswith("[cut here by mipro_nb: 30,003 characters in all]")


def test_messages_of_the_program_s_own_are_cut_and_say_so():
    class Long(Nearest):
        def forward(self, q):
            self.step.demos = [mn.Example(q="x" * 50_000, a="n")]
            return self.step(q=q)

    history = finished(FakeLM(lambda m: "a: 1"), Long(), plain_rows(), num_threads=1)
    messages, _ = next(rebuilt(history))
    assert "[cut here by mipro_nb: 50,003 characters in all]" in messages[1][1]


def test_a_log_whose_messages_are_rebuilt_otherwise_says_so():
    history = finished(fake())
    event = next(e for e in history.events if isinstance(e, ev.InstructionProposed) and e.index == 0)
    other = mn.History([ev.InstructionProposed("self", 0, "Another text.", "original") if e is event else e
                        for e in history.events])  # fmt: skip
    messages, _ = next(rebuilt(other))
    assert messages[0][0] == "note"
    assert "differ" in messages[0][1]


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
