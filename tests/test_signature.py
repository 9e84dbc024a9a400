from __future__ import annotations

import copy
import json
import pickle
from typing import Any, Literal, Optional

import pydantic
import pytest

from mipro_nb import InputField, OutputField, Signature
from mipro_nb.errors import ConfigError, SignatureError
from mipro_nb.signature import Field, as_signature


class Part(pydantic.BaseModel):
    name: str
    spare: Optional[Part] = None  # noqa: UP045


class Order(pydantic.BaseModel):
    parts: list[Part]
    note: str | None = None


class Route(Signature):
    """Route the customer message
    to the team.
    """

    message: str = InputField(desc="as it was sent")
    team: Literal["billing", "bug"] = OutputField("who solves it")


# ---- two forms, one value


def test_class_and_string_form_are_equal():
    class Answer(Signature):
        """Answer it."""

        question: str = InputField()
        hints: list[str] = InputField()
        n: int = OutputField()
        why: str = OutputField()

    text = Signature("question, hints: list[str] -> n: int, why: str", "Answer it.", name="Answer")
    assert text == Answer
    assert hash(text) == hash(Answer)
    assert Answer.spec == "question: str, hints: list[str] -> n: int, why: str"
    assert Answer != text.with_instructions("Other.")


def test_a_class_is_a_value_with_its_docstring_as_the_instruction():
    assert isinstance(Route, Signature)
    assert (Route.name, Route.instructions) == ("Route", "Route the customer message\nto the team.")
    assert list(Route.input_fields) == ["message"]
    assert Route.output_fields["team"] == Field("team", "output", Literal["billing", "bug"], "who solves it")
    assert Route.input_fields["message"].desc == "as it was sent"


def test_without_a_docstring_the_instruction_names_the_fields():
    class Answer(Signature):
        a = InputField()
        b = InputField()
        c = OutputField()

    assert Answer.instructions == "Given the fields `a`, `b`, produce the fields `c`."
    assert Answer.spec == "a: str, b: str -> c: str"


def test_annotations_written_as_text_are_read():
    class Answer(Signature):
        q: str = InputField()
        order: Order = OutputField()
        maybe: Optional[list[Part]] = OutputField()  # noqa: UP045
        quoted: Literal["a"] = OutputField()

    assert Answer.output_fields["order"].type is Order
    assert Answer.output_fields["maybe"].type == list[Part] | None


def test_a_model_of_a_local_scope_is_found():
    class Local(pydantic.BaseModel):
        x: int

    class Answer(Signature):
        q: str = InputField()
        a: list[Local] = OutputField()

    assert Answer.output_fields["a"].type == list[Local]
    assert Signature("q -> a: Local | None").output_fields["a"].type == Local | None


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("q -> a", str),
        ("q -> a: int", int),
        ("q -> a: float", float),
        ("q -> a: bool", bool),
        ("q -> a: Literal['x', 'y']", Literal["x", "y"]),
        ('q -> a: Literal["it\'s -> here"]', Literal["it's -> here"]),
        ("q -> a: Literal['two  spaces']", Literal["two  spaces"]),
        ("q -> a: Literal['a, b']", Literal["a, b"]),
        ("q -> a: list[str]", list[str]),
        ("q -> a: dict[str, float]", dict[str, float]),
        ("q -> a: Optional[int]", int | None),
        ("q -> a: int | None", int | None),
        ("q -> a: Order", Order),
        ("q -> a: list[Part] | None", list[Part] | None),
        ("q -> a: Any", Any),
        ("q,\n  # a remark\n -> \n a: list[\n str]", list[str]),
        ("q->a:int", int),
    ],
)
def test_types_are_read_from_text(spec, kind):
    assert Signature(spec).output_fields["a"].type == kind


def test_an_arrow_in_a_quoted_input_is_no_arrow():
    assert Signature("q: Literal['a -> b'] -> a").input_fields["q"].type == Literal["a -> b"]


# ---- subclasses


def test_a_subclass_adds_fields_and_keeps_the_instruction():
    class Reasoned(Route):
        why: str = OutputField()

    assert Reasoned.spec == "message: str -> team: Literal['billing', 'bug'], why: str"
    assert (Reasoned.name, Reasoned.instructions) == ("Reasoned", Route.instructions)


def test_a_subclass_replaces_fields_and_instruction():
    class Wider(Route):
        """Route it anywhere."""

        team: str = OutputField()

    assert Wider.spec == "message: str -> team: str"
    assert Wider.instructions == "Route it anywhere."
    assert Route.output_fields["team"].type == Literal["billing", "bug"]


def test_an_instruction_that_names_the_fields_is_made_anew_for_a_subclass():
    class Short(Signature):
        q: str = InputField()
        a: str = OutputField()

    class Long(Short):
        why: str = OutputField()

    assert Long.instructions == "Given the fields `q`, produce the fields `a`, `why`."


# ---- changes are copies


def test_a_signature_is_frozen():
    with pytest.raises(AttributeError, match=r"frozen; use \.with_instructions"):
        Route.instructions = "x"
    with pytest.raises(AttributeError):
        Route.output_fields["team"].type = str
    assert copy.deepcopy(Route) is Route
    assert pickle.loads(pickle.dumps(Route)) == Route


def test_with_instructions_append_and_prepend_make_copies():
    assert Route.with_instructions("Do.").instructions == "Do."
    longer = Route.append("why", OutputField("in a sentence")).prepend("order", InputField(), Order)
    assert list(longer.fields) == ["order", "message", "team", "why"]
    assert longer.output_fields["why"].desc == "in a sentence"
    assert longer.fields["order"].type is Order
    assert longer.instructions == Route.instructions
    assert list(Route.fields) == ["message", "team"]
    assert Route.append("tags", OutputField(), "list[str]").fields["tags"].type == list[str]


@pytest.mark.parametrize(
    ("name", "marker", "kind", "said"),
    [
        ("team", OutputField(), str, "'team' stands twice"),
        ("x", "text", str, r"InputField\(\) or OutputField\(\) is needed"),
        ("_x", OutputField(), str, "doesn't start with '_'"),
        ("class", OutputField(), str, "a Python name"),
        ("two words", OutputField(), str, "a Python name"),
        ("x", OutputField(), "sting", "type 'sting' is not known"),
        ("x", OutputField(3), str, "a text as desc"),
    ],
)
def test_a_wrong_field_is_refused(name, marker, kind, said):
    with pytest.raises(SignatureError, match=said):
        Route.append(name, marker, kind)


# ---- what can't be read

MALFORMED = [
    "",
    "->",
    "a",
    "a ->",
    "-> b",
    "a -> b -> c",
    "a -> a",
    "a, a -> b",
    "a b -> c",
    "1 -> c",
    "class -> c",
    "_a -> b",
    "a, , b -> c",
    "a → b",
    "q -> a: foo",
    "q -> a:",
    "q -> a: 3",
    "q -> a = 3",
    "q -> a: str = 'x'",
    "q -> *a",
    "q, / -> a",
    "q, *, b -> a",
    "q -> **a",
    "q -> a: list[",
    "q -> a: list[str, int]",
    "q -> a: str[int]",
    "q -> a: Literal",
    "q -> a: Literal[]",
    "q -> a: Literal[x]",
    "q -> a: None",
    "q -> a: __import__('os')",
    "q -> a: print('run')",
    "q): print('run') #-> a",
    "q): 0 #-> a",
    "q) -> a",
    "q): 0\nimport os\ndef f(x -> a",
    "q): (x -> a",
    "q: (x := 3) -> a",
    "q\0 -> a",
    "q -> a: " + "(" * 500,
    "q -> a: " + "[" * 300 + "]" * 300,
]


@pytest.mark.parametrize("spec", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_text_is_one_error_and_runs_nothing(spec, capsys):
    with pytest.raises(SignatureError) as caught:
        Signature(spec)
    said = str(caught.value)
    words = ["accepted: ", "stands twice", "one of each kind is needed", "is needed", "a Literal holds plain values"]
    assert any(word in said for word in words)
    assert len(said) < 700
    assert capsys.readouterr().out == ""


def test_the_error_says_what_is_accepted():
    with pytest.raises(SignatureError) as caught:
        Signature("question, answer")
    assert str(caught.value) == (
        "signature 'question, answer': exactly one '->' between inputs and outputs is needed; "
        "accepted: text such as \"question, n: int -> answer: Literal['yes', 'no']\"."
    )
    with pytest.raises(SignatureError, match=r"type 'flaot' is not known; accepted: str, int.*Did you mean 'float'\?"):
        Signature("q -> a: flaot")
    assert issubclass(SignatureError, ConfigError)


@pytest.mark.parametrize("given", [None, 3, b"q -> a", ["q -> a"], int, Signature])
def test_what_is_no_text_is_refused(given):
    with pytest.raises(SignatureError, match="question"):
        Signature(given)
    with pytest.raises(SignatureError, match="a Signature, or text such as 'question -> answer', is needed"):
        as_signature(given)


def test_a_class_with_a_field_not_marked_is_refused():
    with pytest.raises(SignatureError, match=r"Answer.a: add = InputField\(\) or = OutputField\(\)"):

        class Answer(Signature):
            q: str = InputField()
            a: str

    with pytest.raises(SignatureError, match="'a' is set to 'text'"):

        class Other(Signature):
            q: str = InputField()
            a: str = "text"

    with pytest.raises(SignatureError, match="has no output field"):

        class Half(Signature):
            q: str = InputField()


@pytest.mark.parametrize("instructions", [3, b"x", ["x"]])
def test_an_instruction_is_text(instructions):
    with pytest.raises(SignatureError, match="text is needed"):
        Signature("q -> a", instructions)


def test_an_instruction_may_be_empty_and_hold_any_text():
    for text in ("", "a -> b: __import__('os')", "line\u2028break \ud800", "{braces}"):
        assert Signature("q -> a", text).instructions == text


# ---- JSON

SAVED = [
    Route,
    Signature("q -> a"),
    Signature("q: list[str], n: int -> a: float, b: bool, c: Optional[Literal['x -> y', 'é']]"),
    Signature("q: dict[str, Any] -> a: Order"),
    Signature("q -> a: list[Part] | None, b: dict[str, Order]", "Füge zusammen.\n\nGenau."),
    Signature("keys, items -> copy, json: int"),
]


@pytest.mark.parametrize("signature", SAVED, ids=[s.spec for s in SAVED])
def test_a_signature_goes_through_json(signature):
    twin = Signature.from_json(json.loads(json.dumps(signature.to_json())))
    assert twin == signature
    assert hash(twin) == hash(signature)
    assert twin.to_json() == signature.to_json()


def test_a_rebuilt_signature_reads_models_without_their_classes():
    twin = Signature.from_json(json.loads(json.dumps(Signature("q -> a: Order").to_json())))
    kind = twin.output_fields["a"].type
    assert kind is not Order
    order = kind.model_validate({"parts": [{"name": "nut", "spare": {"name": "bolt"}}]})
    assert order.parts[0].spare.name == "bolt"


def changed(**changes):
    saved = json.loads(json.dumps(Route.to_json()))
    saved["fields"][1] |= changes
    return saved


@pytest.mark.parametrize(
    "changes",
    [{"kind": "both"}, {"type": "__import__('os')"}, {"name": "__class__"}, {"name": 3}, {"desc": None}],
)
def test_a_forged_signature_is_refused(changes):
    with pytest.raises(SignatureError):
        Signature.from_json(changed(**changes))
