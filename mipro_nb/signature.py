"""Signatures: what a step of a program takes and gives, with the instruction between them.

The class form and the string form give the same frozen value::

    class Route(Signature):
        '''Route the customer message.'''
        message: str = InputField()
        team: Literal["billing", "bug"] = OutputField()

    Route == Signature("message -> team: Literal['billing', 'bug']", "Route the customer message.", name="Route")

The vocabulary is DSPy's.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mipro_nb import fieldtypes
from mipro_nb.errors import SignatureError

FORM = "accepted: text such as \"question, n: int -> answer: Literal['yes', 'no']\""
ARROW = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(->)""")  # the arrow, but for those in quotes


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a signature.

    Attributes:
        name: a Python identifier that doesn't start with an underscore.
        kind: ``"input"`` or ``"output"``.
        type: str, int, float, bool, Literal, list, dict, Optional, a pydantic model, ...
        desc: what it means, for the LM; may be empty.
    """

    name: str
    kind: str
    type: Any = str
    desc: str = ""

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and self.name.isidentifier() and not keyword.iskeyword(self.name)
        if not named or self.name.startswith("_"):
            raise SignatureError(f"field name {self.name!r}: a Python name that doesn't start with '_' is needed.")
        if self.kind not in ("input", "output") or not isinstance(self.desc, str):
            raise SignatureError(f"field {self.name!r}: kind 'input' or 'output' and a text as desc are needed.")
        fieldtypes.check_type(self.name, self.type)


@dataclass(frozen=True, slots=True)
class _Marker:
    kind: str
    desc: str


def InputField(desc: str = "") -> Any:
    """Mark an input field in the class form of a signature.

    Args:
        desc: tells the LM what the field means; may be empty.

    >>> import mipro_nb as mn
    >>> class Route(mn.Signature):
    ...     '''Route the customer message to the team that can solve it.'''
    ...     message: str = mn.InputField(desc="as the customer wrote it")
    ...     team: str = mn.OutputField()
    >>> Route.input_fields["message"].desc
    'as the customer wrote it'
    """
    return _Marker("input", desc)


def OutputField(desc: str = "") -> Any:
    """Mark an output field in the class form of a signature; its type is what the LM is held to.

    Args:
        desc: tells the LM what the field means; may be empty.

    >>> from typing import Literal
    >>> import mipro_nb as mn
    >>> class Route(mn.Signature):
    ...     message: str = mn.InputField()
    ...     team: Literal["billing", "bug"] = mn.OutputField(desc="who can solve it")
    >>> Route.spec
    "message: str -> team: Literal['billing', 'bug']"
    """
    return _Marker("output", desc)


class _SignatureMeta(type):
    def __new__(meta, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(meta, name, bases, namespace)
        frame = sys._getframe(1)
        return _from_class(name, namespace, {**frame.f_globals, **frame.f_locals})


class Signature(metaclass=_SignatureMeta):
    """A frozen signature: name, instruction and fields.

    Made of text, or as a class whose docstring is the instruction and whose annotated attributes, set to
    ``InputField()`` or ``OutputField()``, are the fields. Types: str, int, float, bool, Literal, list, dict,
    Optional, pydantic models.

    Args:
        spec: ``"input, other: int -> output: Literal['a', 'b']"``; a type left out is ``str``.
        instructions: the instruction; None is one that names the fields.
        name: a name for people.

    Attributes:
        fields: every field by name, the inputs first; each has ``name``, ``kind``, ``type`` and ``desc``.
        instructions, name: as given.

    Raises:
        SignatureError: the text can't be read, a name stands twice, or a side is empty.

    >>> import mipro_nb as mn
    >>> qa = mn.Signature("question -> answer: int")
    >>> qa.instructions
    'Given the fields `question`, produce the fields `answer`.'
    >>> list(qa.with_instructions("Add.").output_fields)
    ['answer']
    """

    __slots__ = ("fields", "instructions", "name")

    name: str
    instructions: str
    fields: Mapping[str, Field]

    def __init__(self, spec: str, instructions: str | None = None, *, name: str = "Signature") -> None:
        frame = sys._getframe(1)
        parsed = _from_string(spec, {**frame.f_globals, **frame.f_locals})
        _set(self, name, instructions, parsed)

    @property
    def input_fields(self) -> dict[str, Field]:
        """The input fields by name, in order."""
        return {name: field for name, field in self.fields.items() if field.kind == "input"}

    @property
    def output_fields(self) -> dict[str, Field]:
        """The output fields by name, in order."""
        return {name: field for name, field in self.fields.items() if field.kind == "output"}

    @property
    def spec(self) -> str:
        """The string form: ``"message: str -> team: Literal['billing', 'bug']"``."""
        sides = (self.input_fields, self.output_fields)
        written = [", ".join(f"{f.name}: {fieldtypes.to_text(f.type)}" for f in side.values()) for side in sides]
        return " -> ".join(written)

    def with_instructions(self, instructions: str) -> Signature:
        """Return a copy with another instruction."""
        return _build(self.name, instructions, self.fields.values())

    def append(self, name: str, field: Any, type: Any = str) -> Signature:
        """Return a copy with a field added behind the others of its kind.

        Args:
            name: of the new field.
            field: ``InputField()`` or ``OutputField()``.
            type: of its values, as a type or as text.

        Raises:
            SignatureError: the name is taken or no Python name, or values of the type can't be read from a reply.
        """
        return _build(self.name, self.instructions, [*self.fields.values(), _marked(name, field, type)])

    def prepend(self, name: str, field: Any, type: Any = str) -> Signature:
        """Return a copy with a field added before the others of its kind; the arguments are those of ``append``."""
        return _build(self.name, self.instructions, [_marked(name, field, type), *self.fields.values()])

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which ``from_json`` rebuilds this signature."""
        models = fieldtypes.models_in(*(field.type for field in self.fields.values()))
        rows = [
            {"name": f.name, "kind": f.kind, "type": fieldtypes.to_text(f.type), "desc": f.desc}
            for f in self.fields.values()
        ]
        return {
            "name": self.name,
            "instructions": self.instructions,
            "fields": rows,
            "models": fieldtypes.models_to_json(models),
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Signature:
        """Rebuild a signature from ``to_json``'s values."""
        models = fieldtypes.models_from_json(saved["models"])
        fields = [
            Field(row["name"], row["kind"], fieldtypes.from_text(row["type"], models), row["desc"])
            for row in saved["fields"]
        ]
        return _build(saved["name"], saved["instructions"], fields)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (Signature,)  # so that `class B(A)` works although A is a value; see _from_class

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Signature is frozen; use .with_instructions(...) or .append(...) to change {name!r}")

    def __deepcopy__(self, memo: Any) -> Signature:
        return self

    def __reduce__(self) -> Any:
        return _build, (self.name, self.instructions, tuple(self.fields.values()))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Signature) and self.to_json() == other.to_json())

    def __hash__(self) -> int:
        return hash((self.name, self.instructions, self.spec))

    def __repr__(self) -> str:
        return f"Signature({self.spec!r}, {self.instructions!r}, name={self.name!r})"


def as_signature(given: Any, instructions: str | None = None) -> Signature:
    """Return the signature that ``given`` (Signature or string form) stands for."""
    if isinstance(given, str):
        frame = sys._getframe(2)
        signature = Signature.__new__(Signature)
        _set(signature, "Signature", instructions, _from_string(given, {**frame.f_globals, **frame.f_locals}))
        return signature
    if isinstance(given, Signature):
        return given if instructions is None else given.with_instructions(instructions)
    raise SignatureError(
        f"signature={given!r}: a Signature, or text such as 'question -> answer', is needed"
        f" ({type(given).__name__} given)."
    )


def _build(name: str, instructions: str | None, fields: Iterable[Field]) -> Signature:
    signature = Signature.__new__(Signature)
    _set(signature, name, instructions, fields)
    return signature


def _set(signature: Signature, name: str, instructions: str | None, fields: Iterable[Field]) -> None:
    rows = list(fields)
    names = [field.name for field in rows]
    for field in rows:
        if names.count(field.name) > 1:
            raise SignatureError(f"field {field.name!r} stands twice in signature {name!r}.")
    fieldtypes.models_in(*(field.type for field in rows))  # two models of one name can't be told apart when saved
    inputs = [field for field in rows if field.kind == "input"]
    outputs = [field for field in rows if field.kind == "output"]
    if not inputs or not outputs:
        missing = "input" if not inputs else "output"
        raise SignatureError(
            f"signature {name!r} has no {missing} field; one of each kind is needed, as in 'question -> answer'."
        )
    if instructions is None:
        instructions = _default_instructions(rows)
    if not isinstance(instructions, str):
        raise SignatureError(f"instructions={instructions!r}: text is needed.")
    object.__setattr__(signature, "name", name)
    object.__setattr__(signature, "instructions", instructions)
    object.__setattr__(signature, "fields", {field.name: field for field in [*inputs, *outputs]})


def _default_instructions(fields: Iterable[Field]) -> str:
    rows = list(fields)
    inputs, outputs = (", ".join(f"`{f.name}`" for f in rows if f.kind == kind) for kind in ("input", "output"))
    return f"Given the fields {inputs}, produce the fields {outputs}."


def _marked(name: str, marker: Any, kind: Any) -> Field:
    if not isinstance(marker, _Marker):
        raise SignatureError(f"field {name!r} is set to {marker!r}; InputField() or OutputField() is needed.")
    kind = fieldtypes.from_text(kind) if isinstance(kind, str) else kind
    return Field(name, marker.kind, kind, marker.desc)


def _from_class(name: str, namespace: dict[str, Any], scope: Mapping[str, Any]) -> Signature:
    plain = type(name, (), {k: v for k, v in namespace.items() if k not in ("__slots__", "__classcell__")})
    annotations = inspect.get_annotations(plain)
    parents = [base for base in namespace.get("__orig_bases__", ()) if isinstance(base, Signature)]
    fields: dict[str, Field] = {}
    for parent in parents:
        fields |= parent.fields
    own = {key: value for key, value in namespace.items() if not key.startswith("__")}
    for key in [*annotations, *(key for key in own if key not in annotations)]:
        if key not in own:
            raise SignatureError(f"{name}.{key}: add = InputField() or = OutputField().")
        kind = annotations.get(key, str)
        kind = fieldtypes.from_text(kind, scope) if isinstance(kind, str) else kind
        fields[key] = _marked(key, own[key], kind)
    written = inspect.cleandoc(namespace["__doc__"]) if namespace.get("__doc__") else None
    if written is None and parents and parents[0].instructions != _default_instructions(parents[0].fields.values()):
        written = parents[0].instructions
    return _build(name, written, fields.values())


def _from_string(spec: str, scope: Mapping[str, Any]) -> list[Field]:
    if not isinstance(spec, str):
        raise SignatureError(f"signature {spec!r:.200} can't be read; {FORM}.")
    arrows = [found for found in ARROW.finditer(spec) if found.group(1)]
    if len(arrows) != 1:
        raise SignatureError(f"signature {spec!r:.200}: exactly one '->' between inputs and outputs is needed; {FORM}.")
    fields: list[Field] = []
    for kind, side in (("input", spec[: arrows[0].start()]), ("output", spec[arrows[0].end() :])):
        for argument in _arguments(spec, side):
            annotated = argument.annotation
            resolved = fieldtypes.from_node(annotated, scope) if annotated is not None else str
            fields.append(Field(argument.arg, kind, resolved))
    return fields


def _arguments(spec: str, side: str) -> list[ast.arg]:
    """Read ``"a, b: int"`` with Python's own parser, as the parameters of a function."""
    try:
        tree = ast.parse(f"def _(\n{side}\n): 0")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SignatureError(f"signature {spec!r:.200}: {side.strip()!r:.200} can't be read; {FORM}.") from error
    names = [node for node in ast.walk(tree) if isinstance(node, ast.arg)]
    if ast.unparse(tree) != f"def _({', '.join(map(ast.unparse, names))}):\n    0":  # a default, a star, code
        raise SignatureError(f"signature {spec!r:.200}: only names and their types are read; {FORM}.")
    return names
