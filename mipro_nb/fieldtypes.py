"""Field types as text and back: ``Literal["a", "b"]``, ``list[int]``, ``Optional[str]``, pydantic models.

A saved program must be rebuilt without the code that made it, so a type is written as an
expression over a small vocabulary; pydantic models travel as their name and fields.
"""

from __future__ import annotations

import ast
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union

import pydantic

from mipro_nb.errors import LoadError, SignatureError, nearest

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
}


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
    """Raise SignatureError unless pydantic can validate values of ``kind``."""
    try:
        adapter(kind).json_schema()
    except (pydantic.errors.PydanticUserError, TypeError) as error:
        raise SignatureError(
            f"field {field!r}: type {kind!r} can't be read from a reply. Accepted: {', '.join(VOCABULARY)} "
            "and pydantic models."
        ) from error


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


def models_in(kind: Any) -> dict[str, type[pydantic.BaseModel]]:
    """Return every pydantic model that ``kind`` mentions, by name."""
    if is_model(kind):
        found = {kind.__name__: kind}
        for info in kind.model_fields.values():
            found |= {name: model for name, model in models_in(info.annotation).items() if name not in found}
        return found
    nested: dict[str, type[pydantic.BaseModel]] = {}
    for part in typing.get_args(kind):
        nested |= models_in(part)
    return nested


def models_to_json(models: Mapping[str, type[pydantic.BaseModel]]) -> dict[str, Any]:
    """Write models as plain values: per model its fields' types, descriptions and defaults."""
    return {
        name: {
            field: {
                "type": to_text(info.annotation),
                "description": info.description,
                **({} if info.is_required() else {"default": info.get_default(call_default_factory=True)}),
            }
            for field, info in model.model_fields.items()
        }
        for name, model in models.items()
    }


def models_from_json(saved: Mapping[str, Any]) -> dict[str, type[pydantic.BaseModel]]:
    """Rebuild models from ``models_to_json``'s values; a model may mention those of the same file."""
    built: dict[str, type[pydantic.BaseModel]] = {}
    waiting = dict(saved)
    while waiting:
        ready = {name for name, fields in waiting.items() if not _mentions(fields) & (set(waiting) - {name})}
        if not ready:
            raise LoadError(f"the models {sorted(waiting)} mention each other in a circle; that can't be rebuilt.")
        for name in ready:
            definitions: dict[str, Any] = {
                field: (
                    from_text(spec["type"], built),
                    pydantic.Field(spec.get("default", ...), description=spec.get("description")),
                )
                for field, spec in waiting.pop(name).items()
            }
            built[name] = pydantic.create_model(name, **definitions)
    return built


def _mentions(fields: Mapping[str, Any]) -> set[str]:
    trees = [ast.parse(spec["type"], mode="eval") for spec in fields.values()]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def from_text(text: str, extra: Mapping[str, Any] | None = None) -> Any:
    """Read a type expression. Nothing is executed: only names of the vocabulary and of ``extra`` count.

    Raises:
        SignatureError: a name or form that isn't in the vocabulary.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise SignatureError(f"type {text!r} can't be read: {error.msg}.") from error
    return from_node(tree, extra or {})


def from_node(node: ast.expr, extra: Mapping[str, Any]) -> Any:
    """Read a type from a syntax tree; see ``from_text``."""
    if isinstance(node, ast.Constant):
        return _constant(node, extra)
    if isinstance(node, ast.Name):
        if node.id in extra and (node.id not in VOCABULARY):
            return extra[node.id]
        if node.id not in VOCABULARY:
            names = [*VOCABULARY, *(name for name, value in extra.items() if is_model(value))]
            raise SignatureError(
                f"type {node.id!r} is not known; accepted: {', '.join(names)}.{nearest(node.id, names)}"
            )
        return VOCABULARY[node.id]
    if isinstance(node, ast.Attribute):  # typing.Literal, t.Optional
        return from_node(ast.Name(node.attr), extra)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[from_node(node.left, extra), from_node(node.right, extra)]  # noqa: UP007 (built, not written)
    if isinstance(node, ast.Subscript):
        return _subscript(node, extra)
    raise SignatureError(f"type {ast.unparse(node)!r} can't be read; accepted: {', '.join(VOCABULARY)}.")


def _constant(node: ast.Constant, extra: Mapping[str, Any]) -> Any:
    if node.value is None:
        return type(None)
    if node.value is Ellipsis:
        return Ellipsis
    if isinstance(node.value, str):  # a quoted forward reference
        return from_text(node.value, extra)
    raise SignatureError(f"type {node.value!r} can't be read; did you mean Literal[{node.value!r}]?")


def _subscript(node: ast.Subscript, extra: Mapping[str, Any]) -> Any:
    origin = from_node(node.value, extra)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if origin is Literal:
        try:
            return Literal[tuple(ast.literal_eval(part) for part in parts)]
        except ValueError as error:
            raise SignatureError(f"{ast.unparse(node)!r}: a Literal holds plain values (text in quotes).") from error
    inner = tuple(from_node(part, extra) for part in parts)
    return origin[inner if len(inner) > 1 else inner[0]]
