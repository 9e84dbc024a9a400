import json

import pytest
from signatures import Open, Order, Part, Route, Tree  # noqa: F401 (some are named in string signatures)

from mipro_nb import Example, InputField, OutputField, Signature
from mipro_nb import adapter as ad


def test_the_messages_are_the_instruction_the_demos_as_turns_and_the_inputs():
    demos = [Example(message="Refund?", year=2026, team="billing", urgent=False)]
    assert ad.messages(Route, demos, {"message": "It\nleaks", "year": 2027}) == [
        {
            "role": "system",
            "content": "Route the message.\n\nGiven:\nmessage: as it was sent\n\n"
            "Reply with one line for each field, in this form:\n"
            "team: <who solves it (one of: billing, bug)>\nurgent: <true or false>",
        },
        {"role": "user", "content": "message: Refund?\nyear: 2026"},
        {"role": "assistant", "content": "team: billing\nurgent: false"},
        {"role": "user", "content": "message: It\nleaks\nyear: 2027"},
    ]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("str", "a: <text>"),
        ("int", "a: <whole number>"),
        ("float", "a: <number>"),
        ("Literal['x', 1]", "a: <one of: x, 1>"),
        ("Optional[int]", "a: <whole number, or none>"),
        ("int | bool | None", "a: <whole number or true or false, or none>"),
        ("int | str", "a: <whole number or text>"),
        ("list[str]", '- a: JSON of this schema: {"items": {"type": "string"}, "type": "array"}'),
    ],
)
def test_the_form_of_every_type_is_said_in_words(kind, said):
    assert ad.messages(Signature(f"q -> a: {kind}"), [], {"q": ""})[0]["content"].endswith(said)


def test_demos_that_lack_fields_show_what_they_have():
    demos = [
        {"year": 2026, "team": "bug"},
        {"message": "no output"},
        {"team": "bug"},
        {"other": 1},
        {"message": "both", "year": 1, "team": "bug", "urgent": True, "reasoning": "more"},
    ]
    turns = [turn["content"] for turn in ad.messages(Route, demos, {"message": "", "year": 0})[1:-1]]
    assert turns == [
        "year: 2026",
        "team: bug\nurgent: (not given)",
        "message: both\nyear: 1",
        "team: bug\nurgent: true",
    ]


def test_outputs_that_need_json_are_shown_as_one_object():
    signature = Signature("q -> parts: list[Part], n: int")
    demos = [{"q": "x", "parts": [Part(name="nut")], "n": 1}, {"q": "y", "n": 2}]
    turns = ad.messages(signature, demos, {"q": "é"})
    assert "Reply with one JSON object that has these keys:\n- parts: JSON of this schema" in turns[0]["content"]
    assert json.loads(turns[2]["content"]) == {"parts": [{"name": "nut", "tags": []}], "n": 1}
    assert json.loads(turns[4]["content"]) == {"parts": "(not given)", "n": 2}
    assert turns[-1]["content"] == "q: é"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "none"),
        (True, "true"),
        (1.5, "1.5"),
        (["é", 1], '["é", 1]'),
        (Part(name="nut"), '{"name": "nut", "tags": []}'),
        ({"a": {1}}, '{"a": [1]}'),
        (object, str(object)),
    ],
)
def test_values_are_rendered(value, text):
    assert ad.render(value) == text


# ---- schemas and second attempts


def closed(schema):
    """Every object of a schema lists all its properties as required and takes no others."""
    if isinstance(schema, list):
        return all(closed(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        names = list(schema["properties"])
        return (
            schema["additionalProperties"] is False
            and schema["required"] == names
            and all(closed(schema["properties"][name]) for name in names)
        )
    return "default" not in schema and all(closed(part) for part in schema.values())


@pytest.mark.parametrize(
    "spec",
    [
        "q -> a: list[str]",
        "q -> a: list[list[int]], b: bool",
        "q -> a: Part",
        "q -> a: Order, b: Literal['x', 1]",
        "q -> a: Optional[list[Part]]",
        "q -> a: Tree",
        "q -> a: set[int]",
        "q -> schema: list[str], json: int, model_dump: str",
        "q -> properties: list[str], required: int, enum: str, default: bool, type: str",
    ],
)
def test_the_schema_is_strict(spec):
    signature = Signature(spec)
    schema = ad.json_schema(signature)
    assert list(schema["properties"]) == schema["required"] == list(signature.output_fields)
    assert closed({name: part for name, part in schema.items() if name != "$defs"})
    assert all(closed(part) for part in schema.get("$defs", {}).values())
    assert json.loads(json.dumps(schema)) == schema


def test_descriptions_stand_in_the_schema():
    class Answer(Signature):
        q: str = InputField()
        a: list[str] = OutputField("short ones")

    assert ad.json_schema(Answer)["properties"]["a"]["description"] == "short ones"


@pytest.mark.parametrize(
    "kind",
    ["dict", "dict[str, int]", "Any", "list", "list[Any]", "Open", "list[Open]", "tuple[int, str]", "tuple", "set"],
)
def test_what_a_strict_schema_cannot_say_has_none(kind):
    assert ad.json_schema(Signature(f"q -> b: list[str], a: {kind}")) is None


@pytest.mark.parametrize(
    ("spec", "needed"),
    [("q: list[str] -> a", False), ("q -> a: Optional[Literal['x']], b: bool", False), ("q -> a, b: list", True)],
)
def test_json_is_asked_for_only_when_an_output_does_not_fit_on_a_line(spec, needed):
    assert ad.needs_json(Signature(spec)) is needed
