"""Metrics that users expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_nb.errors import ConfigError
from mipro_nb.example import Example, fields_of, input_keys_of


def exact_match(example: Example, prediction: Any, trace: Any = None) -> bool:
    """Whether the labels that the prediction has too are equal in it; texts without case and outer space.

    A number or boolean equals its text, since a table may hold 7 where the program writes "7".

    Args:
        example: an Example with named inputs; its other fields are the labels.
        prediction: what the program returned, a Prediction or another mapping.
        trace: not looked at.

    Raises:
        ConfigError: the prediction is no mapping, or the example has no label that it has too.

    >>> import mipro_nb as mn
    >>> mn.exact_match(mn.Example(q="1 + 1?", a="Two").with_inputs("q"), mn.Prediction(a=" two "))
    True
    """
    if not isinstance(prediction, Mapping):
        raise ConfigError(f"exact_match: a Prediction is needed, {type(prediction).__name__} given.")
    keys = input_keys_of(example) or frozenset()
    labels = {name: value for name, value in fields_of(example).items() if name not in keys}
    shared = [name for name in labels if name in prediction]
    if not shared:
        raise ConfigError(
            f"exact_match: labels {sorted(labels)} and outputs {sorted(prediction)} have no name in common."
        )
    return all(_same(labels[name], prediction[name]) for name in shared)


def _same(label: Any, value: Any) -> bool:
    if isinstance(label, str) or isinstance(value, str):
        return str(label).strip().casefold() == str(value).strip().casefold()
    return bool(label == value)
