"""The checks made on datasets before money is spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mipro_nb.errors import DataError, nearest
from mipro_nb.example import Example, fields_of, input_keys_of

FEW = 5  # fewer examples than this in a set is said to be few
MOST_CLASSES = 20  # a field with more distinct values is no class label


def label_field(data: Sequence[Example]) -> str | None:
    """Return the first label field that looks like a class (2 to 20 values, each met twice on average), or None."""
    keys = input_keys_of(data[0]) if data else None
    for name in fields_of(data[0]) if data else ():
        values = {repr(example[name]) if name in example else None for example in data}
        if name not in (keys or ()) and None not in values and 2 <= len(values) <= min(MOST_CLASSES, len(data) // 2):
            return name
    return None


def prepare(argument: str, data: Any, inputs: Sequence[str] | None, *, required: bool = True) -> list[Example]:
    """Check a dataset against the inputs that a program takes, naming its inputs where they weren't.

    Args:
        argument: the dataset's name, for the message.
        inputs: what the program takes, or None if that isn't known.
        required: whether an empty dataset is an error.

    Raises:
        DataError: not a list of Examples, empty, or an input is missing.
    """
    checked = []
    for number, example in enumerate(as_examples(argument, data)):
        keys = input_keys_of(example)
        if keys is None and inputs is None:
            raise DataError(f"{argument}[{number}]: its inputs aren't named; use mipro_nb.examples(..., inputs=[...]).")
        known = sorted(fields_of(example) if keys is None else keys)
        missing = [name for name in inputs or () if name not in known]
        if missing:
            close = nearest(missing[0], known)
            if missing[0] in example:
                close = " It is a field, but not named as an input; see .with_inputs(...)."
            raise DataError(f"{argument}[{number}] lacks the program's input {missing[0]!r}; it has {known}.{close}")
        checked.append(example.with_inputs(*inputs) if keys is None and inputs is not None else example)
    if required and not checked:
        raise DataError(f"{argument} is empty; at least one example is needed.")
    return checked


def as_examples(argument: str, data: Any) -> list[Example]:
    """Return ``data`` as a list; DataError unless it holds Examples."""
    table = isinstance(data, str | bytes | Mapping) or hasattr(data, "columns") or not isinstance(data, Iterable)
    rows = [] if table else list(data)
    wrong = next(((place, row) for place, row in enumerate(rows) if not isinstance(row, Example)), None)
    if table or wrong is not None:
        given = (
            f"{argument}[{wrong[0]}] is {type(wrong[1]).__name__}" if wrong else f"{argument} is {type(data).__name__}"
        )
        raise DataError(f"{given}: a list of Examples is needed; mipro_nb.examples(..., inputs=[...]) makes it.")
    return rows


def remarks(sets: Mapping[str, Sequence[Example]]) -> list[str]:
    """Return plain sentences on what may spoil a run: overlap, one class, too few examples.

    Args:
        sets: examples by the name of their set, the empty ones left out.
    """
    said = []
    names = [name for name in sets if sets[name]]
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            shared = len(set(sets[first]) & set(sets[second]))
            if shared:
                stand = "1 example stands" if shared == 1 else f"{shared} examples stand"
                said.append(f"{stand} in {first} and in {second}: scores on {second} will flatter.")
    everything = [example for name in names for example in sets[name]]
    label = label_field(everything)
    for name in names:
        if len(sets[name]) < FEW:
            count = "1 example" if len(sets[name]) == 1 else f"{len(sets[name])} examples"
            said.append(f"{name} has only {count}: its scores say little.")
        elif (
            label
            and all(label in example for example in sets[name])
            and len({repr(example[label]) for example in sets[name]}) == 1
        ):
            said.append(
                f"{name} holds one value of {label!r} only, {sets[name][0][label]!r}: shuffle before splitting."
            )
    return said
