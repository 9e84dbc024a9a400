"""Replies as models write them, read into typed fields."""

import contextlib
import time

import pytest
from signatures import PRODUCT, Order, Part, Route

from mipro_nb import Signature, adapter, replies
from mipro_nb.errors import ParseError


def parse(spec, reply):
    signature = spec if isinstance(spec, Signature) else Signature(spec)
    values = replies.parse(signature, reply)
    assert list(values) == list(signature.output_fields)
    return next(iter(values.values())) if len(values) == 1 else values


LONG = 100_000


def test_what_is_rendered_is_read_back():
    signature = Signature("q -> s, i: int, f: float, b: bool, c: Literal['X', 'x'], o: int | None, n: Optional[str]")
    values = {"s": "two\nlines", "i": -3, "f": 0.5, "b": False, "c": "x", "o": None, "n": "é"}
    assert replies.parse(signature, adapter.messages(signature, [{"q": 1, **values}], {"q": 1})[2]["content"]) == values
    rich = Signature("q -> order: Order, parts: list[Part]")
    values = {"order": Order(main=Part(name="a")), "parts": [Part(name="b", tags=["c"])]}
    assert replies.parse(rich, adapter.messages(rich, [{"q": 1, **values}], {"q": 1})[2]["content"]) == values


@pytest.mark.parametrize(
    "reply",
    [
        "product: kettle",
        "kettle",
        '"kettle"',
        "  kettle\n",
        "Product: kettle",
        "PRODUCT : kettle",
        "product:kettle",
        'product: "kettle"',
        "product: `kettle`",
        "product: **kettle**",
        "**product:** kettle",
        "**Product**: kettle",
        "- product: kettle",
        "> product: kettle",
        "`product`: kettle",
        '"product": "kettle"',
        "## product: kettle",
        "Sure! Here is what I found.\n\nproduct: kettle",
        "product: kettle\nmessage: My pan leaks",
        "kettle\nmessage: My pan leaks",
        "product: kettle\n\nproduct: pan",
        "message: My kettle leaks\nproduct: kettle",
        '{"product": "kettle"}',
        '{"Product": "kettle"}',
        "{'product': 'kettle',}",
        '{"product": "kettle"',
        '```json\n{"product": "kettle"}\n```',
        "```\nproduct: kettle\n```",
        "```text\nproduct: kettle```",
        'Here you go:\n```json\n{"product": "kettle"}\n```\nAnything else?',
        'The answer is {"product": "kettle"}.',
        "product: kettle\r\n",
    ],
)
def test_one_text_in_whatever_form_it_comes(reply):
    assert parse(PRODUCT, reply) == "kettle"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("product: note: this", "note: this"),
        ("product: two\nlines, é 🫖", "two\nlines, é 🫖"),
        ("product: {not json}", "{not json}"),
        ("product: say \"a\" or 'b'", "say \"a\" or 'b'"),
        ('"a" and "b"', '"a" and "b"'),
        ("The product: kettle", "The product: kettle"),
        ("{x: 1}", "{x: 1}"),
        ("product: don't", "don't"),
        ("product:", ""),
        ("", ""),
        ("a ** b ** c", "a ** b ** c"),
    ],
)
def test_a_text_is_left_as_it_is(reply, value):
    assert parse(PRODUCT, reply) == value


@pytest.mark.parametrize(
    "reply",
    [
        "team: bug\nurgent: yes",
        "urgent: true\nteam: bug",
        "Here:\n\n**Team**: Bug.\n**Urgent**: Yes.\n\nHope it helps",
        '{"urgent": true, "team": "bug"}',
        '```json\n{"team": "BUG", "urgent": "yes"}\n```',
        "team: bug\nurgent: true\nmessage: next\nyear: 3\nteam: billing\nurgent: false",
    ],
)
def test_several_fields_in_any_order(reply):
    expected = {"team": "bug", "urgent": True}
    if "Hope" in reply:  # what follows belongs to the last field, and is no boolean
        with pytest.raises(ParseError, match="urgent is"):
            replies.parse(Route, reply)
    else:
        assert replies.parse(Route, reply) == expected


def test_names_that_begin_alike_or_differ_in_case_are_told_apart():
    assert parse("q -> a, a_b", "a_b: 1\na: 2") == {"a": "2", "a_b": "1"}
    assert parse("q -> Answer, answer", "Answer: 1\nanswer: 2") == {"Answer": "1", "answer": "2"}
    assert parse("q -> Answer, answer", '{"answer": "2", "Answer": "1"}') == {"Answer": "1", "answer": "2"}


@pytest.mark.parametrize(
    ("kind", "reply", "value"),
    [
        ("int", "a: 3", 3),
        ("int", "3", 3),
        ("int", "a: -1,200.", -1200),
        ("int", "**3**", 3),
        ("int", '{"a": "3"}', 3),
        ("float", "a: 1,234,567.5", 1234567.5),
        ("float", "a: 1e3", 1000.0),
        ("bool", "a: Yes.", True),
        ("bool", "a: FALSE", False),
        ("bool", "no", False),
        ("bool", '{"a": true}', True),
        ("bool", '{"a": "no"}', False),
        ("Literal['x', 'y z']", "a: Y Z.", "y z"),
        ("Literal['x', 'y z']", "'x'!", "x"),
        ("Literal['Bug', 'bug']", "a: bug", "bug"),
        ("Literal['C.', 'C']", "a: C.", "C."),
        ("Literal[1, 2]", "a: 2", 2),
        ("Literal[1, 2]", '{"a": 2}', 2),
        ("Literal['1', '2']", '{"a": 2}', "2"),
        ("Literal['true', 'false']", '{"a": true}', "true"),
        ("Literal[True, 'maybe']", "a: True", True),
        ("Optional[int]", "a: none", None),
        ("Optional[int]", "a: 3", 3),
        ("Optional[int]", '{"a": null}', None),
        ("Optional[str]", "a:", None),
        ("Optional[Literal['x']]", "a: X", "x"),
        ("int | str", "a: three", "three"),
        ("str", '{"a": 3}', "3"),
        ("str", '{"a": ["x"]}', '["x"]'),
        ("list[str]", '{"a": ["x", "y",],}', ["x", "y"]),
        ("list[str]", '["x", "y"]', ["x", "y"]),
        ("list[str]", 'a: ["x", "y"]', ["x", "y"]),
        ("list[str]", 'Sure: {"A": ["x"]} Bye', ["x"]),
        ("list[int]", '{"a": ["1", 2]}', [1, 2]),
        ("set[str]", '{"a": ["x", "x"]}', {"x"}),
        ("tuple[int, str]", '{"a": [1, "x"]}', (1, "x")),
        ("dict[str, int]", '{"a": {"k": "1"}}', {"k": 1}),
        ("dict[str, int]", '{"k": 1}', {"k": 1}),
        ("Part", '{"a": {"name": "nut"}}', Part(name="nut")),
        ("Part", '{"name": "nut"}', Part(name="nut")),
        ("Part", 'a: {"name": "nut"}', Part(name="nut")),
        ("Part", '```json\n{"a": {"name": "nut", "tags": ["b"]}}\n```', Part(name="nut", tags=["b"])),
        ("Order", '{"a": {"main": {"name": "nut"}, "spare": null}}', Order(main=Part(name="nut"))),
        ("Optional[list[int]]", "none", None),
        ("Optional[Part]", '{"a": null}', None),
        ("Any", "a: hi", "hi"),
        ("Any", '{"a": [1, "x"]}', [1, "x"]),
    ],
)
def test_every_type_is_read(kind, reply, value):
    found = parse(f"q -> a: {kind}", reply)
    assert found == value
    assert type(found) is type(value)


def test_an_optional_field_may_be_left_out():
    assert parse("q -> a, b: Optional[int]", "a: x") == {"a": "x", "b": None}


@pytest.mark.parametrize(
    ("spec", "reply", "said"),
    [
        ("q -> a, b: int", "a: x", "the field 'b' is missing; whole number is needed."),
        ("q -> a, b: int", "", "the field 'a' is missing; text is needed."),
        ("q -> a", "q: what it was asked", "the field 'a' is missing"),
        ("q -> a: int", "a: three", "a is 'three'; whole number is needed."),
        ("q -> a: int", "a: 1,2", "a is '1,2'"),
        ("q -> a: int", "a: 3.5", "a is '3.5'"),
        ("q -> a: float", "a: 1.200,5", "a is '1.200,5'"),
        ("q -> a: bool", "a: maybe", "true or false is needed"),
        ("q -> a: Literal['billing', 'bug']", "a: biling", "one of: billing, bug is needed. Did you mean 'billing'?"),
        ("q -> a: Literal['x']", "", "a is ''; one of: x is needed."),
        ("q -> a: Optional[int]", "a: x", "whole number, or none is needed"),
        ("q -> a: list[str]", '{"a": "x"}', 'JSON of this schema: {"items"'),
        ("q -> a: list[str]", "x, y", "a is 'x, y'"),
        ("q -> a: Part", '{"a": {"nam": "x"}}', "a is {'nam': 'x'}"),
        ("q -> a", '{"a": null}', "a is None; text is needed."),
    ],
)
def test_a_reply_that_cannot_be_read_is_kept_and_the_field_named(spec, reply, said):
    with pytest.raises(ParseError) as caught:
        parse(spec, reply)
    assert said in str(caught.value)
    assert caught.value.reply == reply


def test_a_long_reply_makes_no_long_message():
    with pytest.raises(ParseError) as caught:
        parse("q -> a: int", "a: " + "x" * 100_000)
    assert len(str(caught.value)) < 300
    assert len(caught.value.reply) > 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        "x" * LONG,
        "a: " + "é🫖" * (LONG // 2),
        "a" + " " * LONG + "b",
        "a" + "*" * LONG + " " * LONG + "b",
        "a:" + " " * LONG,
        "*" * LONG + "a",
        ">" * LONG,
        "- " * LONG,
        "\n" * LONG,
        " \n" * LONG,
        "a: 1\n" * (LONG // 5),
        '"' * LONG,
        "{" * LONG,
        "[{" * LONG,
        "{\n" * LONG,
        '{"a": ' * (LONG // 6),
        '{"a": "' + "x" * LONG,
        '{"a": "' + "x" * LONG + '"}',
        "```" * LONG,
        "```" + "\n" * LONG,
        "```json\n" * (LONG // 8),
        "1," * LONG,
        "1,111" * (LONG // 5),
    ],
    ids=range(23),
)
@pytest.mark.parametrize("kind", ["str", "int", "list[str]"])
def test_a_long_reply_is_read_or_refused_at_once(kind, reply):
    signature = Signature(f"q -> a: {kind}, b: int | None")
    began = time.process_time()
    with contextlib.suppress(ParseError):
        replies.parse(signature, reply)
    assert time.process_time() - began < 2  # seconds; a regular expression that goes wild takes minutes


def test_the_second_attempt_shows_the_reply_and_what_was_wrong():
    turns = adapter.messages(PRODUCT, [], {"message": "x"})
    again = replies.repair(turns, ParseError("no product.", "hm"))
    assert again[:2] == turns
    assert again[2] == {"role": "assistant", "content": "hm"}
    assert again[3]["role"] == "user"
    assert "no product." in again[3]["content"]
    assert len(turns) == 2
    assert replies.repair(turns, ParseError("empty", ""))[2]["content"]  # some LMs refuse an empty turn
