import json
from typing import Optional

import pydantic
import pytest

from mipro_nb import (
    ChainOfThought,
    Example,
    InputField,
    OutputField,
    Predict,
    Prediction,
    Signature,
    configure,
    context,
    load,
)
from mipro_nb.errors import ConfigError, LMRefused, LoadError, ParseError, SignatureError
from mipro_nb.settings import sampling
from mipro_nb.testing import FakeLM


class Part(pydantic.BaseModel):
    name: str
    spare: Optional["Part"] = None


class Order(Signature):
    """Read the order."""

    text: str = InputField()
    parts: list[Part] = OutputField("one for each line")


def test_one_step_is_one_call():
    lm = FakeLM(["team: bug"])
    prediction = Predict("message -> team", lm=lm)(message="It leaks")
    assert isinstance(prediction, Prediction)
    assert (prediction.team, lm.calls) == ("bug", 1)
    assert lm.prompts[0][-1] == {"role": "user", "content": "message: It leaks"}


def test_the_signature_may_be_a_class_a_value_or_text():
    assert Predict(Order).signature is Order
    assert Predict(Order, "Do it.").signature.instructions == "Do it."
    assert Predict("q -> a: list[Part]").signature.output_fields["a"].type == list[Part]
    assert ChainOfThought("q -> a: Part").signature.output_fields["a"].type is Part
    assert repr(Predict("q -> a", demos=[Example(q=1)])) == "Predict('q: str -> a: str', demos=1)"
    with pytest.raises(SignatureError, match="a Signature, or text such as"):
        Predict(None)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, r"input 'message' is missing; inputs: \['message', 'year'\]"),
        ({"message": "x"}, "input 'year' is missing"),
        ({"mesage": "x", "year": 1}, "input 'mesage' is not in the signature; .* Did you mean 'message'"),
        ({"message": "x", "year": 1, "team": "bug"}, "input 'team' is not in the signature"),
    ],
)
def test_wrong_inputs_are_refused_before_a_call(inputs, said):
    lm = FakeLM([])
    with pytest.raises(ConfigError, match=said):
        Predict("message, year: int -> team", lm=lm)(**inputs)
    assert lm.calls == 0


def test_without_an_lm_it_is_said_how_to_configure_one():
    with pytest.raises(ConfigError, match=r"no LM is configured: call mipro_nb.configure\(lm=mipro_nb.LM\("):
        Predict("q -> a")(q="x")


def test_the_own_lm_goes_before_the_configured_one():
    configured, own = FakeLM(lambda m: "a: configured"), FakeLM(lambda m: "a: own")
    configure(lm=configured)
    assert Predict("q -> a")(q="x").a == "configured"
    assert Predict("q -> a", lm=own)(q="x").a == "own"
    with context(lm=own):
        assert Predict("q -> a")(q="x").a == "own"
    assert Predict("q -> a", lm="openai/gpt-5-mini").lm.model == "openai/gpt-5-mini"
    with pytest.raises(ConfigError, match="lm=3"):
        Predict("q -> a", lm=3)


def test_fields_may_have_the_names_of_methods():
    prediction = Predict("items, get -> keys, copy", lm=FakeLM(["keys: 1\ncopy: 2"]))(items="x", get="y")
    assert (prediction.keys, prediction.copy) == ("1", "2")


# ---- replies that can't be read


def test_an_unreadable_reply_is_asked_for_once_more_with_the_error():
    lm = FakeLM(["hm", "n: 3"])
    assert Predict("q -> n: int", lm=lm)(q="x").n == 3
    assert lm.calls == 2
    assert lm.prompts[1][:2] == lm.prompts[0]
    assert lm.prompts[1][2] == {"role": "assistant", "content": "hm"}
    assert "n is 'hm'; whole number is needed" in lm.prompts[1][3]["content"]


def test_two_unreadable_replies_are_an_error_that_keeps_the_first():
    lm = FakeLM(["hm", "well"])
    with pytest.raises(ParseError, match="n is 'hm'") as caught:
        Predict("q -> n: int", lm=lm)(q="x")
    assert (caught.value.reply, lm.calls) == ("hm", 2)


def test_a_refusal_is_no_unreadable_reply():
    def refuse(messages):
        raise LMRefused("no such model")

    lm = FakeLM(refuse)
    with pytest.raises(LMRefused):
        Predict("q -> n: int", lm=lm)(q="x")
    assert lm.calls == 1


# ---- what is sent


@pytest.mark.parametrize(
    ("spec", "reply", "supported", "sent"),
    [
        ("q -> a: list[str]", '{"a": ["x"]}', True, True),
        ("q -> a: list[str]", '{"a": ["x"]}', False, False),
        ("q -> a: Literal['x']", "a: x", True, False),
        ("q -> a: dict", '{"a": {"k": 1}}', True, False),
    ],
)
def test_a_schema_is_sent_only_when_needed_sayable_and_supported(spec, reply, supported, sent):
    lm = FakeLM([reply], supports_schema=supported)
    Predict(spec, lm=lm)(q="x")
    assert ("response_format" in lm.sampling[0]) is sent
    if sent:
        schema = lm.sampling[0]["response_format"]["json_schema"]["schema"]
        assert list(schema["properties"]) == ["a"]


def test_the_second_attempt_is_sent_as_the_first():
    lm = FakeLM(["hm", '{"a": []}'], supports_schema=True)
    with sampling(temperature=0.7):
        assert Predict("q -> a: list[str]", lm=lm)(q="x").a == []
    assert lm.sampling[0] == lm.sampling[1]
    assert lm.sampling[0]["temperature"] == 0.7


def test_messages_are_exactly_what_is_sent():
    lm = FakeLM(["a: 1"])
    program = Predict("q -> a", lm=lm, demos=[Example(q="1", a="2"), Example(q="3")])
    shown = program.messages(q="x")
    assert lm.calls == 0
    program(q="x")
    assert lm.prompts == [shown]
    assert len(shown) == 4  # the demo without an output is left out


# ---- ChainOfThought


def test_a_chain_of_thought_reasons_first():
    lm = FakeLM(["reasoning: it drips\nteam: bug"])
    program = ChainOfThought("message -> team", "Route.", lm=lm)
    prediction = program(message="x")
    assert list(program.signature.output_fields) == ["reasoning", "team"]
    assert (prediction.reasoning, prediction.team) == ("it drips", "bug")
    assert program.signature.instructions == "Route."
    assert list(ChainOfThought(program.signature).signature.fields) == ["message", "reasoning", "team"]


# ---- save and load


@pytest.mark.parametrize(
    "program",
    [
        Predict("q -> a", "Do: é 🫖 \u2028 \ud800 \0", demos=[Example(q="1", a="ü\u2029")]),
        ChainOfThought(
            "message -> team: Literal['a -> b', 'c'], n: Optional[int]", demos=[Example(message="x", n=None)]
        ),
        ChainOfThought(Order),
        Predict("keys, items -> copy, get", demos=[Example({"keys": 1, "items": [2], "copy": {"x": 3}})]),
    ],
    ids=repr,
)
def test_a_predictor_is_rebuilt_without_its_class(tmp_path, program):
    path = program.save(tmp_path / "best")
    twin = load(tmp_path / "best")
    assert path.name == "best.json"
    assert type(twin) is type(program)
    assert twin.signature == program.signature
    assert twin.demos == program.demos
    inputs = dict.fromkeys(program.signature.input_fields, "x")
    assert twin.messages(**inputs) == program.messages(**inputs)


def test_a_rebuilt_predictor_reads_models(tmp_path):
    twin = load(Predict(Order).save(tmp_path / "order"))
    lm = FakeLM(['{"parts": [{"name": "nut", "spare": {"name": "bolt"}}]}'])
    twin.set_lm(lm)
    assert twin(text="x").parts[0].spare.name == "bolt"


def test_a_program_that_loads_keeps_its_own_types(tmp_path):
    saved = Predict(Order, "Read it well.")
    saved.demos = [Example(text="x", parts=[Part(name="nut")])]
    program = Predict(Order, lm=FakeLM(['{"parts": [{"name": "nut"}]}'])).load(saved.save(tmp_path / "order"))
    assert program.signature.instructions == "Read it well."
    assert program(text="x").parts == [Part(name="nut")]
    assert program.messages(text="x") == saved.messages(text="x")
    other = Predict("text -> parts").load(tmp_path / "order")  # other fields: the file's count
    assert other.signature == saved.signature


def test_demos_hold_values_that_json_does_not_know(tmp_path):
    program = Predict("q -> a", demos=[Example(q={1}, a=Part(name="nut"), x=object)])
    demo = load(program.save(tmp_path / "a")).demos[0]
    assert (demo.q, demo.a, demo.x) == ([1], {"name": "nut", "spare": None}, str(object))


def test_a_composed_program_cannot_be_rebuilt_without_its_code(tmp_path):
    saved = json.loads(Predict("q -> a").save(tmp_path / "a").read_text())
    saved |= {"program": "Answer", "predictors": {"x": saved["predictors"]["self"]}}
    (tmp_path / "a.json").write_text(json.dumps(saved))
    with pytest.raises(LoadError, match=r"holds Answer with the predictors \['x'\].*call program.load\("):
        load(tmp_path / "a.json")
