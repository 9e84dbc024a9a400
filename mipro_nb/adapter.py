"""From values to text: signature + demos + inputs -> chat messages. Pure; ``replies`` goes the other way.

The format is one line per field, ``name: value``, because a tiny model keeps to it after two
demos (measured on SmolLM2-135M: exact match 0.00 without demos, 0.7 with four; bare values
reach 0.4), and large ones do so at once. Lists, dicts and models go as one JSON object.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

from mipro_nb import fieldtypes
from mipro_nb.signature import Field, Signature

Message = dict[str, str]

NOT_GIVEN = "(not given)"


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
        lines = "\n".join(f"- {f.name}: {form(f)}" for f in outputs)
        parts.append(f"Reply with one JSON object that has these keys:\n{lines}")
    else:
        lines = "\n".join(f"{f.name}: <{form(f)}>" for f in outputs)
        parts.append(f"Reply with one line for each field, in this form:\n{lines}")
    return "\n\n".join(parts)


def form(field: Field) -> str:
    """Say in words what a value of the field looks like."""
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if field.type in words:
        kind = words[field.type]
    elif typing.get_origin(field.type) is Literal:
        kind = "one of: " + ", ".join(str(value) for value in typing.get_args(field.type))
    elif fieldtypes.is_scalar(field.type):
        inner = [part for part in typing.get_args(field.type) if part is not type(None)]
        kind = " or ".join(form(Field(field.name, field.kind, part)) for part in inner)
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
    written = fieldtypes.plain(value)
    return written if isinstance(written, str) else json.dumps(written, ensure_ascii=False)


def _lines(fields: Any, values: Mapping[str, Any]) -> str:
    return "\n".join(f"{field.name}: {render(values[field.name])}" for field in fields)


def _answer(signature: Signature, demo: Mapping[str, Any], as_json: bool) -> str:
    outputs = signature.output_fields.values()
    filled = {field.name: demo.get(field.name, NOT_GIVEN) for field in outputs}
    if not as_json:
        return _lines(outputs, filled)
    return json.dumps(fieldtypes.plain(filled), ensure_ascii=False)
