import dataclasses
import json
import math
from enum import Enum
from typing import Any, Literal, Optional, Union

import pydantic
import pytest

from mipro_nb import fieldtypes
from mipro_nb.errors import SignatureError


class Part(pydantic.BaseModel):
    name: str = pydantic.Field(description="as on the invoice")
    count: int = 1
    tags: list[str] = pydantic.Field(default_factory=list)


class Order(pydantic.BaseModel):
    main: Part
    spare: Optional[Part] = None  # noqa: UP045 (the old spelling is what is tested)
    speed: Literal["slow", "fast"] = "slow"
    first: Part = Part(name="screw")


class Tree(pydantic.BaseModel):
    value: int
    children: list["Tree"] = []


class Renamed(pydantic.BaseModel):
    """A model whose docstring the LM reads."""

    kind: str = pydantic.Field(alias="class", pattern="^[a-z]+$")
    share: float = pydantic.Field(0.5, ge=0, lt=1)


class Strict(pydantic.BaseModel):
    """What more a schema can say."""

    model_config = pydantic.ConfigDict(extra="forbid", title="A strict one", json_schema_extra={"examples": [{"n": 1}]})

    n: int = pydantic.Field(examples=[3], title="How many")
    unit: str = pydantic.Field("kg", json_schema_extra={"x-hint": "SI"})


class Colour(Enum):
    RED = "red"


TYPES = [
    (str, "str"),
    (int, "int"),
    (float, "float"),
    (bool, "bool"),
    (Any, "Any"),
    (list, "list"),
    (dict, "dict"),
    (list[str], "list[str]"),
    (dict[str, list[int]], "dict[str, list[int]]"),
    (tuple[int, ...], "tuple[int, ...]"),
    (set[int], "set[int]"),
    (Optional[int], "int | None"),  # noqa: UP045
    (Union[int, str], "int | str"),  # noqa: UP007
    (int | None, "int | None"),
    (Literal["a", "it's", 'say "x"'], """Literal['a', "it's", 'say "x"']"""),
    (Literal[1, -2, True, None], "Literal[1, -2, True, None]"),
    (list[Literal["x -> y"]], "list[Literal['x -> y']]"),
    (list[Part], "list[Part]"),
]


@pytest.mark.parametrize(("kind", "text"), TYPES, ids=[text for _, text in TYPES])
def test_a_type_is_written_as_text_and_read_back(kind, text):
    assert fieldtypes.to_text(kind) == text
    assert fieldtypes.from_text(text, {"Part": Part}) == kind
    fieldtypes.check_type("field", kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Optional[str]", str | None),
        ("Union[int, None]", int | None),
        ("List[int]", list[int]),
        ("Dict[str, int]", dict[str, int]),
        ("typing.Literal['a']", Literal["a"]),
        ("'list[int]'", list[int]),
        (" list [ int ] ", list[int]),
    ],
)
def test_other_spellings_are_read_too(text, kind):
    assert fieldtypes.from_text(text) == kind


WRONG = [
    "sting",
    "",
    "__import__('os')",
    "print(1)",
    "lambda: 0",
    "(int",
    "3",
    "list[",
    "list[str, int]",
    "dict[str]",
    "Optional[str, int]",
    "str[int]",
    "Literal[x]",
    "Literal[[1]]",
    "Literal[{}]",
    "Literal[()]",
    "Literal[open('x')]",
    "[int for int in x]",
    "int if 1 else str",
    "f'{1}'",
    "(" * 500 + ")" * 500,
    "int\0",
    "os.system",
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_type_is_refused_and_never_run(text, monkeypatch):
    monkeypatch.setattr("builtins.eval", None)
    monkeypatch.setattr("builtins.exec", None)
    with pytest.raises(SignatureError, match=r"accepted: str, int|a Literal holds plain values") as caught:
        fieldtypes.from_text(text)
    assert len(str(caught.value)) < 600


def test_a_misspelt_type_says_the_nearest():
    with pytest.raises(SignatureError, match="Did you mean 'Part'"):
        fieldtypes.from_text("list[Prat]", {"Part": Part, "other": 3})


def test_a_type_is_found_in_a_module_of_the_caller():
    scope = {"schemas": type("schemas", (), {"Part": Part})}
    assert fieldtypes.from_text("list[schemas.Part]", scope) == list[Part]


@pytest.mark.parametrize(
    "kind", [None, type(None), Colour, bytes, complex, object(), Literal, Optional, dict[str], ...]
)
def test_a_type_that_no_reply_can_hold_or_no_file_can_keep_is_refused(kind):
    with pytest.raises(SignatureError, match=r"field 'team': type .* can't be used.*accepted: str, int"):
        fieldtypes.check_type("team", kind)


def test_a_model_with_such_a_field_is_refused_when_it_is_declared_not_when_it_is_saved():
    class Painted(pydantic.BaseModel):
        colour: Colour

    with pytest.raises(SignatureError, match=r"type Painted can't be used \(type 'Colour' is not known\); accepted"):
        fieldtypes.check_type("x", Painted)


def test_two_models_of_one_name_cannot_stand_together():
    other = pydantic.create_model("Part", size=(int, ...))
    with pytest.raises(SignatureError, match="'Part' stands for two types"):
        fieldtypes.models_in(list[Part], other)
    shadow = pydantic.create_model("List", size=(int, ...))
    with pytest.raises(SignatureError, match="'List' stands for two types"):
        fieldtypes.models_in(shadow)


def rebuilt(model):
    written = fieldtypes.models_to_json(fieldtypes.models_in(model))
    found = fieldtypes.models_from_json(json.loads(json.dumps(written)))
    assert fieldtypes.models_to_json(found) == written
    return found[model.__name__]


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Part, {"name": "nut"}),
        (Order, {"main": {"name": "nut", "tags": ["a"]}}),
        (Order, {"main": {"name": "nut"}, "spare": {"name": "bolt"}, "speed": "fast"}),
        (Tree, {"value": 1, "children": [{"value": 2, "children": [{"value": 3}]}]}),
        (Renamed, {"class": "x"}),
        (Strict, {"n": 2}),
    ],
)
def test_a_model_is_rebuilt_from_json_without_its_class(model, values):
    twin = rebuilt(model)
    assert twin.model_validate(values).model_dump() == model.model_validate(values).model_dump()
    assert twin.model_json_schema() == model.model_json_schema()


def test_a_rebuilt_model_refuses_what_the_model_refuses():
    with pytest.raises(pydantic.ValidationError):
        rebuilt(Order).model_validate({"main": {"name": "nut"}, "speed": "warp"})
    with pytest.raises(pydantic.ValidationError):
        rebuilt(Tree).model_validate({"value": 1, "children": [{"value": "x"}]})
    with pytest.raises(pydantic.ValidationError):
        rebuilt(Renamed).model_validate({"class": "x", "share": 1})
    with pytest.raises(pydantic.ValidationError, match="Extra inputs are not permitted"):
        rebuilt(Strict).model_validate({"n": 1, "m": 2})


def test_what_a_schema_makes_by_a_function_stays_behind():
    class Made(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(json_schema_extra=lambda schema: schema.update(x=1))
        n: int = pydantic.Field(json_schema_extra={"x": object})

    assert json.loads(json.dumps(fieldtypes.models_to_json({"Made": Made})))["Made"]["doc"] is None


def test_a_model_of_an_older_file_is_read():
    assert fieldtypes.models_from_json({"A": {"doc": None, "fields": {"x": {"type": "int"}}}})["A"](x=1)


def test_rebuilt_defaults_are_not_shared():
    twin = rebuilt(Part)
    twin(name="a").tags.append("x")
    assert twin(name="b").tags == []


def test_a_forged_model_runs_nothing():
    forged = {"A": {"doc": None, "fields": {"x": {"type": "__import__('os').system('echo')"}}}}
    with pytest.raises(SignatureError):
        fieldtypes.models_from_json(forged)
    with pytest.raises(SignatureError):
        fieldtypes.models_from_json({"A": {"doc": None, "fields": {"x": {"type": "print(1)"}}}, "print(1)": {}})


@pytest.mark.parametrize("kind", [str, int, float, bool, Literal["a"], int | None, Literal["a"] | None, int | str])
def test_what_fits_on_one_line_is_scalar(kind):
    assert fieldtypes.is_scalar(kind)


@pytest.mark.parametrize("kind", [list, list[str], dict, Part, Part | None, Any, list[int] | str])
def test_what_needs_json_is_not(kind):
    assert not fieldtypes.is_scalar(kind)


@dataclasses.dataclass
class Scan:
    image: bytes = b"\xff\xd8"
    sharpness: float = math.nan


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"text", "text"),
        (b"\xff\xd8", "_9g="),
        ([b"\xff", {"a": bytearray(b"\xfe")}], ["_w==", {"a": "_g=="}]),
        (Scan(), {"image": "_9g=", "sharpness": "NaN"}),
    ],
)
def test_bytes_that_are_no_text_are_written_in_base64(value, wanted):
    assert fieldtypes.plain(value) == wanted


def test_what_is_no_number_in_json_is_written_as_text():
    value = {"a": [math.nan, math.inf, (-math.inf, 1.5)], "b": math.nan}
    assert fieldtypes.plain(value) == {"a": ["NaN", "Infinity", ["-Infinity", 1.5]], "b": "NaN"}
    json.dumps(fieldtypes.plain(value), allow_nan=False)
