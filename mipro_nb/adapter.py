"""Between values and text: signature + demos + inputs -> messages; reply -> typed fields. Pure.

The format is one line per field, ``name: value``, because a tiny model keeps to it after two
demos (measured on SmolLM2-135M: exact match 0.00 without demos, 0.7 with four; bare values
reach 0.4), and large ones do so at once. Lists, dicts and models go as one JSON object.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

import pydantic
import pydantic_core

from mipro_nb import fieldtypes
from mipro_nb.errors import ParseError, nearest
from mipro_nb.signature import Field, Signature

Message = dict[str, str]

NOT_GIVEN = "(not given)"
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")
FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)
RUNAWAY = re.compile(r"(?:[\[{]\s*){50}")  # a model that doesn't stop; mending that takes minutes
MARKS = "\"'`* "  # what a model puts around a value
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def needs_json(signature: Signature) -> bool:
    """Whether an output doesn't fit on one line, so that the reply is one JSON object."""
    return any(not fieldtypes.is_scalar(field.type) for field in signature.output_fields.values())


def json_schema(signature: Signature) -> dict[str, Any] | None:
    """Return the strict JSON schema of the outputs, or None where a strict schema can't say it (dict, Any)."""
    definitions: dict[str, Any] = {  # by alias: a field may have the name of a pydantic method
        f"output_{place}": (f.type, pydantic.Field(alias=f.name, description=f.desc or None))
        for place, f in enumerate(signature.output_fields.values())
    }
    schema = pydantic.create_model("Reply", **definitions).model_json_schema()
    return schema if _close(schema) else None


def _close(node: dict[str, Any]) -> bool:
    """Make a schema strict throughout; False if some part of it is open by nature."""
    for word in ("default", "uniqueItems", *(("description",) if "$ref" in node else ())):
        node.pop(word, None)  # what strict schemas don't take
    if node.get("type") == "object" or "properties" in node:
        node["additionalProperties"] = False
        node["required"] = list(node.get("properties", ()))
    closed = bool(node.get("properties") or node.get("items") or {"$ref", "anyOf", "enum", "const"} & node.keys())
    if not closed and node.get("type") not in ("string", "integer", "number", "boolean", "null"):
        return False
    inner = [node.get("items"), *node.get("anyOf", ()), *node.get("properties", {}).values()]
    return all(_close(part) for part in (*inner, *node.get("$defs", {}).values()) if part)


def messages(signature: Signature, demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]) -> list[Message]:
    """Return the chat messages of one call: the instruction, each demo as two turns, the inputs.

    Args:
        signature: of the step.
        demos: field values by name; a demo without any input or any output is left out.
        inputs: a value for each input field.
    """
    as_json = needs_json(signature)
    turns = [{"role": "system", "content": _system(signature, as_json)}]
    for demo in demos:
        given = [field for field in signature.input_fields.values() if field.name in demo]
        wanted = [field for field in signature.output_fields.values() if field.name in demo]
        if given and wanted:
            turns.append({"role": "user", "content": _lines(given, demo)})
            turns.append({"role": "assistant", "content": _answer(signature, demo, as_json)})
    turns.append({"role": "user", "content": _lines(signature.input_fields.values(), inputs)})
    return turns


def _system(signature: Signature, as_json: bool) -> str:
    described = [f"{f.name}: {f.desc}" for f in signature.input_fields.values() if f.desc]
    parts = [signature.instructions]
    if described:
        parts.append("Given:\n" + "\n".join(described))
    outputs = signature.output_fields.values()
    if as_json:
        form = "\n".join(f"- {f.name}: {_form(f)}" for f in outputs)
        parts.append(f"Reply with one JSON object that has these keys:\n{form}")
    else:
        form = "\n".join(f"{f.name}: <{_form(f)}>" for f in outputs)
        parts.append(f"Reply with one line for each field, in this form:\n{form}")
    return "\n\n".join(parts)


def _form(field: Field) -> str:
    """Say in words what a value of the field looks like."""
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if field.type in words:
        kind = words[field.type]
    elif typing.get_origin(field.type) is Literal:
        kind = "one of: " + ", ".join(str(value) for value in typing.get_args(field.type))
    elif fieldtypes.is_scalar(field.type):
        inner = [part for part in typing.get_args(field.type) if part is not type(None)]
        kind = " or ".join(_form(Field(field.name, field.kind, part)) for part in inner)
        kind += ", or none" if type(None) in typing.get_args(field.type) else ""
    else:
        kind = f"JSON of this schema: {json.dumps(fieldtypes.adapter(field.type).json_schema(), ensure_ascii=False)}"
    return f"{field.desc} ({kind})" if field.desc else kind


def render(value: Any) -> str:
    """Write a value as text: strings as they are, the rest as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    plain = pydantic_core.to_jsonable_python(value, fallback=str)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _lines(fields: Any, values: Mapping[str, Any]) -> str:
    return "\n".join(f"{field.name}: {render(values[field.name])}" for field in fields)


def _answer(signature: Signature, demo: Mapping[str, Any], as_json: bool) -> str:
    outputs = signature.output_fields.values()
    filled = {field.name: demo.get(field.name, NOT_GIVEN) for field in outputs}
    if not as_json:
        return _lines(outputs, filled)
    return json.dumps(pydantic_core.to_jsonable_python(filled, fallback=str), ensure_ascii=False)


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
                raise ParseError(f"the field {field.name!r} is missing; {_form(field)} is needed.", reply)
            found[field.name] = None
        try:
            values[field.name] = _coerce(field.type, found[field.name])
        except (ValueError, TypeError, RecursionError) as error:
            told = f"{field.name} is {found[field.name]!r:.200}; {_form(field)} is needed."
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
