"""From text to values: an LM's reply -> the output fields of a signature, typed. Pure."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal, Union

from mipro_nb import fieldtypes
from mipro_nb.adapter import Message, form, needs_json, render
from mipro_nb.errors import ParseError, nearest
from mipro_nb.signature import Field, Signature

TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")
FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)
RUNAWAY = re.compile(r"(?:[\[{]\s*){50}")  # a model that doesn't stop; mending that takes minutes
MARKS = "\"'`* "  # what a model puts around a value
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def repair(turns: Sequence[Message], error: ParseError) -> list[Message]:
    """Return the messages of a second attempt: the unreadable reply and what was wrong with it."""
    told = f"That can't be read: {error}\nReply again, in exactly the form that was asked for and with nothing else."
    return [*turns, {"role": "assistant", "content": error.reply or "(empty)"}, {"role": "user", "content": told}]


def parse(signature: Signature, reply: str) -> dict[str, Any]:
    """Read a reply.

    Returns:
        A value of its type for every output field.

    Raises:
        ParseError: a field is missing or its value isn't of its type; the error keeps the reply.
    """
    found = _from_json(signature, reply) or _from_lines(signature, reply)
    values: dict[str, Any] = {}
    for field in signature.output_fields.values():
        if field.name not in found:
            if type(None) not in typing.get_args(field.type):
                raise ParseError(f"the field {field.name!r} is missing; {form(field)} is needed.", reply)
            found[field.name] = None
        try:
            values[field.name] = _coerce(field.type, found[field.name])
        except (ValueError, TypeError, RecursionError) as error:
            told = f"{field.name} is {found[field.name]!r:.200}; {form(field)} is needed."
            raise ParseError(told + _closest(field, found[field.name]), reply) from error
    return values


def _from_json(signature: Signature, reply: str) -> dict[str, Any] | None:
    text = reply.strip()
    fenced = FENCED.search(text)
    text = fenced.group(1).strip() if fenced else text
    start = text.find("{")
    if start < 0 or (start > 0 and not needs_json(signature) and _marker(signature).search(reply)):
        return None
    try:
        loaded = _mended(text[start:])
    except ValueError:
        return None
    by_lower = {name.lower(): name for name in signature.output_fields}
    pairs = loaded.items() if isinstance(loaded, dict) else ()
    found = {name if name in signature.output_fields else by_lower.get(name.lower()): value for name, value in pairs}
    return {name: value for name, value in found.items() if name} or None


def _mended(text: str) -> Any:
    """Read JSON, mending what a model breaks (quotes, commas, an end that was cut off); ValueError if it can't be."""
    if RUNAWAY.search(text):
        raise ValueError("brackets without an end")
    import json_repair

    try:
        return json_repair.loads(text)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _marker(signature: Signature) -> re.Pattern[str]:
    """Match a field's name and colon at the start of a line, in whatever Markdown or quotes."""
    names = "|".join(re.escape(name) for name in signature.fields)
    # no two repetitions that match the same text stand side by side, so that long replies take linear time
    return re.compile(rf"^[ \t>*#\-`\"']*({names})[ \t*`\"']*:(?:\*\*)?[ \t]*", re.MULTILINE | re.IGNORECASE)


def _from_lines(signature: Signature, reply: str) -> dict[str, Any]:
    """Cut the reply at lines that begin with a field's name; text without any is the value of a lone output."""
    outputs = list(signature.output_fields)
    text = reply.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") : -3]
    by_lower = {name.lower(): name for name in signature.fields}
    cuts = list(_marker(signature).finditer(text))
    found: dict[str, Any] = {}
    ends = [*(cut.start() for cut in cuts[1:]), len(text)]
    for cut, end in zip(cuts, ends, strict=False):
        name = cut.group(1) if cut.group(1) in signature.fields else by_lower[cut.group(1).lower()]
        if name in outputs and name not in found:
            found[name] = _bare(text[cut.end() : end])
    lone = _bare(text[: cuts[0].start()] if cuts else reply)
    if not found and len(outputs) == 1 and (lone or not cuts):
        found[outputs[0]] = lone
    return found


def _bare(text: str) -> str:
    """Strip space, and quotes or Markdown marks that enclose the whole."""
    text = text.strip()
    for mark in ("**", '"', "'", "`"):
        inner = text[len(mark) : -len(mark)]
        if text.startswith(mark) and text.endswith(mark) and inner and mark not in inner:
            return inner.strip()
    return text


def _coerce(kind: Any, value: Any) -> Any:
    """Return ``value`` (text, or what JSON gave) as ``kind``; ValueError if it isn't one."""
    if kind is str and value is not None:
        return value if isinstance(value, str) else render(value)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _coerce_union(args, value)
    if origin is Literal:
        return _coerce_literal(args, value)
    if not isinstance(value, str):
        return fieldtypes.adapter(kind).validate_python(value)
    text = value.strip().strip(MARKS)
    if kind is bool:
        if text.lower().rstrip(".") not in (*TRUE, *FALSE):
            raise ValueError(text)
        return text.lower().rstrip(".") in TRUE
    if kind in (int, float):
        return fieldtypes.adapter(kind).validate_python(THOUSANDS.sub("", text.rstrip(".")))
    if kind is Any and text[:1] not in ("{", "["):
        return value
    return fieldtypes.adapter(kind).validate_python(_mended(text))


def _coerce_union(parts: tuple[Any, ...], value: Any) -> Any:
    empty = value is None or (isinstance(value, str) and value.strip().lower().rstrip(".") in ("", "none", "null"))
    if type(None) in parts and empty:
        return None
    for part in (part for part in parts if part is not type(None)):
        try:
            return _coerce(part, value)
        except (ValueError, TypeError):
            continue
    raise ValueError(value)


def _coerce_literal(options: tuple[Any, ...], value: Any) -> Any:
    text = render(value).strip()
    inner = text.strip(MARKS)
    for written in (
        text,
        inner,
        inner.rstrip(".!").strip(MARKS),
    ):  # as it stands first: options may differ in case or marks alone
        for same in (str, _folded):
            for option in options:
                if same(written) == same(render(option)):
                    return option
    raise ValueError(text)


def _folded(text: str) -> str:
    return text.casefold()


def _closest(field: Field, value: Any) -> str:
    options = typing.get_args(field.type) if typing.get_origin(field.type) is Literal else ()
    return nearest(value, [str(option) for option in options])
