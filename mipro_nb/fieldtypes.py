"""Field types as text and back: ``Literal["a", "b"]``, ``list[int]``, ``Optional[str]``, pydantic models.

A saved program must be rebuilt without the code that made it, so a type is written as an
expression over a small vocabulary; pydantic models travel as their name and fields.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union

import pydantic
import pydantic_core

from mipro_nb.errors import SignatureError, nearest

SCALARS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool}
VOCABULARY: dict[str, Any] = {
    **SCALARS,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "Any": Any,
    "None": type(None),
    "Literal": Literal,
    "Optional": Optional,
    "Union": Union,
    "List": list,
    "Dict": dict,
    "Tuple": tuple,
    "Set": set,
}
ACCEPTED = "accepted: str, int, float, bool, Literal['a', 'b'], list[...], dict[...], Optional[...], pydantic models"
RULES = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")  # of a model's fields
SHOWN: dict[str, Any] = {"title": str, "examples": list, "json_schema_extra": dict}  # what schemas say besides
EXTRAS = ("allow", "ignore", "forbid")  # what a model does with fields that it doesn't have
TAKES = {list: 1, set: 1, dict: 2, Optional: 1}  # how many types stand between the brackets


def is_model(kind: Any) -> bool:
    """Whether ``kind`` is a pydantic model class."""
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def is_scalar(kind: Any) -> bool:
    """Whether a value of ``kind`` fits on one line of plain text: str, int, float, bool, Literal, Optional of these."""
    if kind in (str, int, float, bool, type(None)) or typing.get_origin(kind) is Literal:
        return True
    if typing.get_origin(kind) in (Union, types.UnionType):
        return all(is_scalar(part) for part in typing.get_args(kind))
    return False


def check_type(field: str, kind: Any) -> None:
    """Raise SignatureError unless values of ``kind`` can be read from a reply, and ``kind`` from a saved file."""
    try:
        if kind is None or kind is type(None) or isinstance(kind, str):
            raise TypeError("no type of a value")
        adapter(kind).json_schema()
        models = models_in(kind)
        for part in (kind, *(info.annotation for model in models.values() for info in model.model_fields.values())):
            from_text(to_text(part), models)
    except (pydantic.errors.PydanticUserError, TypeError, SignatureError) as error:
        shown = kind.__name__ if is_model(kind) else to_text(kind)
        why = f" ({str(error).split(';')[0]})" if isinstance(error, SignatureError) else ""
        raise SignatureError(f"field {field!r}: type {shown:.200} can't be used{why}; {ACCEPTED}.") from error


@functools.lru_cache(maxsize=512)
def _cached_adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


def adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    """Return pydantic's validator of ``kind``."""
    try:
        return _cached_adapter(kind)
    except TypeError:  # an unhashable Literal value
        return pydantic.TypeAdapter(kind)


def to_text(kind: Any) -> str:
    """Write a type as an expression; a pydantic model as its name."""
    if kind is Any:
        return "Any"
    if kind in (type(None), None):
        return "None"
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"Literal[{', '.join(repr(value) for value in args)}]"
    if origin in (Union, types.UnionType):
        return " | ".join(to_text(part) for part in args)
    if origin is not None:
        inner = ", ".join("..." if part is Ellipsis else to_text(part) for part in args)
        return f"{origin.__name__}[{inner}]"
    return str(getattr(kind, "__name__", kind))


def models_in(*kinds: Any) -> dict[str, type[pydantic.BaseModel]]:
    """Return every pydantic model that ``kinds`` mention, by name; SignatureError if two share a name."""
    found: dict[str, type[pydantic.BaseModel]] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop(0)
        if not is_model(kind):
            waiting += typing.get_args(kind) if typing.get_origin(kind) is not Literal else ()
            continue
        if kind.__name__ in VOCABULARY or found.get(kind.__name__, kind) is not kind:
            raise SignatureError(f"the name {kind.__name__!r} stands for two types; give the model another name.")
        if kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += [info.annotation for info in kind.model_fields.values()]
    return found


def models_to_json(models: Mapping[str, type[pydantic.BaseModel]]) -> dict[str, Any]:
    """Write models as plain values: all that shapes their JSON schema. Their validators and methods stay behind."""
    return {name: _model_to_json(model) for name, model in models.items()}


def _model_to_json(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    fields = {field: _field_to_json(info) for field, info in model.model_fields.items()}
    config = _config(model.model_config)
    return {"doc": model.__doc__, "fields": fields, **({"config": config} if config else {})}


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    return _shown(given) | ({"extra": given["extra"]} if given.get("extra") in EXTRAS else {})


def _shown(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(given[name]) for name, kind in SHOWN.items() if isinstance(given.get(name), kind)}


def _field_to_json(info: pydantic.fields.FieldInfo) -> dict[str, Any]:
    written: dict[str, Any] = {"type": to_text(info.annotation), "description": info.description}
    written |= _shown({name: getattr(info, name) for name in SHOWN})
    if info.alias is not None:
        written["alias"] = info.alias
    rules = {name: getattr(rule, name) for rule in info.metadata for name in RULES if hasattr(rule, name)}
    if rules:
        written["rules"] = rules
    if not info.is_required():
        default = info.get_default(call_default_factory=True, validated_data={})
        word = "default" if info.default_factory is None else "made"
        written[word] = plain(adapter(info.annotation).dump_python(default, mode="json", warnings=False))
    return written


def models_from_json(saved: Mapping[str, Any]) -> dict[str, type[pydantic.BaseModel]]:
    """Rebuild models from ``models_to_json``'s values; they may mention each other, and themselves."""
    named = {name: typing.ForwardRef(name) for name in saved if name.isidentifier()}
    built: dict[str, type[pydantic.BaseModel]] = {}
    for name, model in saved.items():
        fields: dict[str, Any] = {field: _field_from_json(spec, named) for field, spec in model["fields"].items()}
        config: Any = _config(model.get("config", {}))
        built[name] = pydantic.create_model(name, __doc__=model["doc"], __config__=config, **fields)
    for kind in built.values():
        kind.model_rebuild(_types_namespace=built)
    return built


def _field_from_json(spec: Mapping[str, Any], named: Mapping[str, Any]) -> tuple[Any, Any]:
    rules: dict[str, Any] = {name: value for name, value in spec.get("rules", {}).items() if name in RULES}
    rules |= {"description": spec.get("description"), "alias": spec.get("alias"), **_shown(spec)}
    if "made" in spec:
        rules |= {"default_factory": functools.partial(copy.deepcopy, spec["made"]), "validate_default": True}
    elif "default" in spec:
        rules |= {"default": spec["default"], "validate_default": True}
    return from_text(spec["type"], named), pydantic.Field(**rules)


def from_text(text: str, extra: Mapping[str, Any] | None = None) -> Any:
    """Read a type expression. Nothing is executed: only names of the vocabulary and of ``extra`` count.

    Raises:
        SignatureError: a name or form that isn't in the vocabulary.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SignatureError(f"type {text!r:.200} can't be read; {ACCEPTED}.") from error
    return from_node(tree, extra or {})


def from_node(node: ast.expr, extra: Mapping[str, Any]) -> Any:
    """Read a type from a syntax tree; see ``from_text``."""
    if isinstance(node, ast.Constant):
        return _constant(node, extra)
    if isinstance(node, ast.Name):
        return _named(node.id, extra)
    if isinstance(node, ast.Attribute):  # typing.Literal, schemas.Ticket
        home = extra.get(node.value.id) if isinstance(node.value, ast.Name) else None
        inside = getattr(home, "__dict__", {}).get(node.attr)
        return inside if is_model(inside) else _named(node.attr, {})
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[from_node(node.left, extra), from_node(node.right, extra)]  # noqa: UP007 (built, not written)
    if isinstance(node, ast.Subscript):
        return _subscript(node, extra)
    raise SignatureError(f"type {ast.unparse(node)!r:.200} can't be read; {ACCEPTED}.")


def _named(name: str, extra: Mapping[str, Any]) -> Any:
    if name in VOCABULARY:
        return VOCABULARY[name]
    if name in extra:
        return extra[name]
    models = [known for known, value in extra.items() if is_model(value)]
    raise SignatureError(f"type {name!r} is not known; {ACCEPTED}.{nearest(name, [*VOCABULARY, *models])}")


def _constant(node: ast.Constant, extra: Mapping[str, Any]) -> Any:
    if node.value is None:
        return type(None)
    if node.value is Ellipsis:
        return Ellipsis
    if isinstance(node.value, str):  # a quoted forward reference
        return from_text(node.value, extra)
    raise SignatureError(
        f"type {node.value!r:.200} can't be read; {ACCEPTED}. Did you mean Literal[{node.value!r:.200}]?"
    )


def _subscript(node: ast.Subscript, extra: Mapping[str, Any]) -> Any:
    origin = from_node(node.value, extra)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if origin is Literal:
        return _literal(node, parts)
    inner = tuple(from_node(part, extra) for part in parts)
    if origin not in (Union, tuple) and TAKES.get(origin) != len(inner):
        raise SignatureError(f"type {ast.unparse(node)!r:.200} can't be read; {ACCEPTED}.")
    return origin[inner if len(inner) > 1 else inner[0]]


def _literal(node: ast.Subscript, parts: list[ast.expr]) -> Any:
    try:
        values = tuple(ast.literal_eval(part) for part in parts)
    except ValueError:
        values = ()
    if not values or not all(isinstance(value, str | int | float | None) for value in values):
        raise SignatureError(
            f"type {ast.unparse(node)!r:.200} can't be read: a Literal holds plain values, text in quotes."
        )
    return Literal[values]


def plain(value: Any) -> Any:
    """Return a value as JSON's kinds.

    Models become dicts, sets are sorted (their own order differs between processes), bytes that are no text are written
    in base64, and NaN and the infinities, which JSON doesn't have, as text.
    """
    if isinstance(value, pydantic.BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): plain(part) for key, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(part) for part in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    try:
        made = pydantic_core.to_jsonable_python(value, fallback=str)
    except UnicodeDecodeError:
        made = pydantic_core.to_jsonable_python(value, fallback=str, bytes_mode="base64")
    if isinstance(made, dict | list):
        return plain(made)
    return json.dumps(made) if isinstance(made, float) and not math.isfinite(made) else made
