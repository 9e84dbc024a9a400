"""Metrics that users expect."""

from __future__ import annotations

from typing import Any

from mipro_nb.errors import ConfigError
from mipro_nb.example import Example, fields_of, input_keys_of


def exact_match(example: Example, prediction: Any, trace: Any = None) -> bool:
    """Whether every label of the example is in the prediction, equal; text is compared without case and outer space.

    Raises:
        ConfigError: the example has no label that the prediction has too.

    >>> exact_match(Example(q="1+1", a="Two").with_inputs("q"), {"a": " two "})
    True
    """
    keys = input_keys_of(example) or frozenset()
    labels = {name: value for name, value in fields_of(example).items() if name not in keys}
    shared = [name for name in labels if name in prediction]
    if not shared:
        raise ConfigError(
            f"exact_match: labels {sorted(labels)} and outputs {sorted(prediction)} have no name in common."
        )
    return all(_plain(labels[name]) == _plain(prediction[name]) for name in shared)


def _plain(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value
