"""Example, Prediction and Score: the values that datasets, programs and metrics exchange."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar

from mipro_nb.errors import ConfigError, nearest

_OWN = ("_fields", "_input_keys")
ROUNDING = 1e-9  # a weighted sum of scores may miss 0 or 1 by this much


class Example(Mapping[str, Any]):
    """One row of a dataset: named fields, of which some are inputs.

    Immutable. Fields are read as attributes or by key; a field that has the name of a
    method (``keys``, ``items``, ``inputs``, ...) wins over the method when read as an
    attribute, so ``example.keys`` is the field if there is one.

    Args:
        base: a mapping to take fields from; of an Example the inputs too.
        **fields: fields by name; they replace those of ``base``.

    Raises:
        ConfigError: ``base`` is no mapping, or a field's name is no string or starts with an underscore.

    >>> import mipro_nb as mn
    >>> row = mn.Example(question="1 + 1?", answer="2").with_inputs("question")
    >>> row.answer, row.inputs()["question"]
    ('2', '1 + 1?')
    """

    __slots__ = _OWN

    def __init__(self, base: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        if base is not None and not hasattr(type(base), "keys"):
            raise ConfigError(f"an Example is made from a mapping or from name=value; {type(base).__name__} given.")
        store = {**(fields_of(base) if base is not None else {}), **fields}
        for name in store:
            if not isinstance(name, str) or name.startswith("_"):
                raise ConfigError(f"field name {name!r}: field names are strings that don't start with '_'.")
        inherited = object.__getattribute__(base, "_input_keys") if isinstance(base, Example) else None
        object.__setattr__(self, "_fields", store)
        object.__setattr__(self, "_input_keys", inherited)

    def with_inputs(self, *names: str) -> Self:
        """Return a copy whose inputs are ``names``; ConfigError if one is no field."""
        own: dict[str, Any] = object.__getattribute__(self, "_fields")
        for name in names:
            if not isinstance(name, str) or name not in own:
                raise ConfigError(f"input {name!r} is no field; fields: {sorted(own)}.{nearest(name, own)}")
        copy = type(self)(own)
        object.__setattr__(copy, "_input_keys", frozenset(names))
        return copy

    def inputs(self) -> Self:
        """Return an Example of the input fields alone; ConfigError if none were named."""
        return _select(self, True)

    def labels(self) -> Self:
        """Return an Example of the fields that aren't inputs; ConfigError if no inputs were named."""
        return _select(self, False)

    def copy(self, **fields: Any) -> Self:
        """Return a copy with ``fields`` replaced or added."""
        return type(self)(self, **fields)

    def without(self, *names: str) -> Self:
        """Return a copy without the fields ``names``."""
        own: dict[str, Any] = object.__getattribute__(self, "_fields")
        keys = input_keys_of(self)
        kept = {name: value for name, value in own.items() if name not in names}
        return _rebuild(type(self), kept, keys if keys is None else keys & kept.keys())

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            own = object.__getattribute__(self, "_fields")
            if name in own:
                return own[name]
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        own = object.__getattribute__(self, "_fields")
        raise AttributeError(f"{type(self).__name__} has no field {name!r}; fields: {sorted(own)}.{nearest(name, own)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use .copy({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use .without({name!r})")

    def __getitem__(self, name: str) -> Any:
        return object.__getattribute__(self, "_fields")[name]

    def __iter__(self) -> Iterator[str]:
        return iter(object.__getattribute__(self, "_fields"))

    def __len__(self) -> int:
        return len(object.__getattribute__(self, "_fields"))

    def __contains__(self, name: object) -> bool:
        return name in object.__getattribute__(self, "_fields")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Example):
            return False
        try:
            return fields_of(self) == fields_of(other)
        except ValueError:  # arrays have no truth value
            return repr(sorted(fields_of(self).items())) == repr(sorted(fields_of(other).items()))

    def __hash__(self) -> int:
        return hash(_hashable(fields_of(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), fields_of(self), input_keys_of(self))

    def __repr__(self) -> str:
        body = ", ".join(f"{name}={value!r}" for name, value in fields_of(self).items())
        marked = input_keys_of(self)
        return f"{type(self).__name__}({body})" + (f".with_inputs({', '.join(sorted(marked))})" if marked else "")


class Prediction(Example):
    """What a program returns: an Example of the output fields (and, for a ChainOfThought, ``reasoning``).

    A ``forward`` of one's own may make one.

    >>> import mipro_nb as mn
    >>> prediction = mn.Prediction(team="billing", urgent=True)
    >>> prediction.team, dict(prediction)
    ('billing', {'team': 'billing', 'urgent': True})
    """

    __slots__ = ()


class Score:
    """A score with the reason for it, for metrics that can say why.

    Args:
        value: a bool, or a number in [0, 1].
        feedback: text for people: it stands with the example in the view and in the events.

    Attributes:
        value: the score as a float.
        boolean: whether it was given as a bool.
        feedback: as given.

    Raises:
        ConfigError: ``value`` isn't a score.

    >>> import mipro_nb as mn
    >>> def metric(example, prediction, trace=None):
    ...     return mn.Score(example.a in prediction.a, feedback="the answer must be named")
    >>> metric(mn.Example(a="Paris"), mn.Prediction(a="It is Paris."))
    Score(1.0, feedback='the answer must be named')
    >>> float(mn.Score(0.5)), bool(mn.Score(0.0))
    (0.5, False)
    """

    __slots__ = ("boolean", "feedback", "value")

    value: float
    boolean: bool
    feedback: str

    def __init__(self, value: Any, feedback: str = "") -> None:
        number, boolean = as_number(value)
        object.__setattr__(self, "value", number)
        object.__setattr__(self, "boolean", boolean)
        object.__setattr__(self, "feedback", "" if feedback is None else str(feedback))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Score is immutable; make another one to change {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Score, (bool(self.value) if self.boolean else self.value, self.feedback)

    def __float__(self) -> float:
        return self.value

    def __bool__(self) -> bool:
        return self.value > 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Score) and (self.value, self.feedback) == (other.value, other.feedback)

    def __hash__(self) -> int:
        return hash((self.value, self.feedback))

    def __repr__(self) -> str:
        return f"Score({self.value!r}, feedback={self.feedback!r})"


def as_number(raw: Any) -> tuple[float, bool]:
    """Return (value in [0, 1], whether it was a boolean); ConfigError for anything else.

    NumPy's scalars count as the Python values they hold.
    """
    scalar = type(raw).__module__ == "numpy" and getattr(raw, "size", 0) == 1
    value = raw.item() if scalar else raw
    accepted = "accepted: a bool, a number in [0, 1], or mipro_nb.Score"
    if value is None:
        raise ConfigError(f"a score of None (a missing return?); {accepted}.")
    if isinstance(value, bool):
        return float(value), True
    if not isinstance(value, int | float):
        raise ConfigError(f"a score of type {type(value).__name__}, {value!r:.80}; {accepted}.")
    if math.isnan(value) or not -ROUNDING <= value <= 1.0 + ROUNDING:
        hint = "" if math.isnan(value) else f" Nearest valid: {0.0 if value < 0 else 1.0}."
        raise ConfigError(f"a score of {value!r}; {accepted}.{hint}")
    return min(1.0, max(0.0, float(value))), False


def fields_of(example: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as a new dict, whatever their names."""
    if isinstance(example, Example):
        return dict(object.__getattribute__(example, "_fields"))
    return {name: example[name] for name in example.keys()}  # noqa: SIM118 (a pandas row is no Mapping)


def input_keys_of(example: Example) -> frozenset[str] | None:
    """Return the names of the input fields, or None if they weren't named."""
    keys: frozenset[str] | None = object.__getattribute__(example, "_input_keys")
    return keys


E = TypeVar("E", bound=Example)


def _hashable(value: Any) -> Any:
    """Return something hashable that is equal for equal values."""
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(_hashable(part) for part in value)
    try:
        hash(value)
    except TypeError:
        return type(value).__name__
    return value


def _select(example: E, wanted: bool) -> E:
    keys = input_keys_of(example)
    if keys is None:
        raise ConfigError(f"the inputs of this example were not named; call .with_inputs(...) on {example!r:.120}")
    part = {name: value for name, value in fields_of(example).items() if (name in keys) is wanted}
    return _rebuild(type(example), part, keys if wanted else frozenset())


def _rebuild(kind: type[E], fields: dict[str, Any], keys: frozenset[str] | None) -> E:
    copy = kind(fields)
    object.__setattr__(copy, "_input_keys", keys)
    return copy
