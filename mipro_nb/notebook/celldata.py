"""The datasets of a ``%%mipro`` cell: from names and paths to Examples, split where they aren't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mipro_nb import checks
from mipro_nb.data import examples, split
from mipro_nb.errors import DataError, nearest
from mipro_nb.example import Example, input_keys_of
from mipro_nb.metrics import exact_match
from mipro_nb.module import Module
from mipro_nb.notebook.cellnames import Namespace, look_up
from mipro_nb.notebook.cellspec import CellSpec, Word
from mipro_nb.predict import Predict

SHARES = (0.2, 0.4, 0.4)  # training, validation, test


def datasets_of(
    spec: CellSpec, namespace: Namespace, program: Module, metric: Callable[..., Any]
) -> tuple[dict[str, list[Example]], str]:
    """Return train, validation and test set as given or as split from DATA, and a line that tells their sizes."""
    inputs = program.input_names()
    if spec.data is not None:
        everything = _examples("", spec.data, namespace, inputs)
        label = checks.label_field(everything)
        try:
            parts = split(everything, *SHARES, stratify=label, seed=0)
        except DataError as error:
            raise DataError(f"{spec.data}: {error}") from error
        sets = dict(zip(("trainset", "valset", "testset"), parts, strict=True))
        sizes = [f"{len(part)} {name}" for name, part in zip(("training", "validation", "test"), parts, strict=True)]
        said = f"{spec.data}: {', '.join(sizes)} examples{f', {label!r} shared out evenly' if label else ''}."
    else:
        given = {name: getattr(spec, name) for name in ("trainset", "valset", "testset")}
        sets = {
            name: _examples(f"--{name} ", word, namespace, inputs) for name, word in given.items() if word is not None
        }
        said = "; ".join(f"{name}: {len(part)} examples" for name, part in sets.items()) + "."
    if metric is exact_match and isinstance(program, Predict):
        for name, part in sets.items():
            _check_labels(spec.data or f"--{name}", part, program)
    return sets, said


def _examples(option: str, word: Word, namespace: Namespace, inputs: list[str] | None) -> list[Example]:
    source: Any = str(word)
    if word.is_name:
        source = look_up(f"{option}{word}", word, namespace, (list, tuple, str, Path, "DataFrame"))
    elif "/" not in word and "." not in word and not word.quoted:
        raise DataError(f"{option}{word}: a name of the notebook, or a path in quotes, is needed.")
    try:
        made = examples(source) if _named(source) else examples(source, inputs=inputs)
        return checks.prepare(str(word), made, inputs)
    except DataError as error:
        told = str(error)
        named = told.startswith(str(word))
        message = (
            told if named else f"{word}{told.removeprefix('source')}" if told[:6] == "source" else f"{word}: {told}"
        )
        raise DataError(f"{option}{message}") from error


def _named(source: Any) -> bool:
    """Whether these are Examples that know their inputs."""
    return isinstance(source, list | tuple) and all(
        isinstance(e, Example) and input_keys_of(e) is not None for e in source
    )


def _check_labels(where: str, data: list[Example], program: Predict) -> None:
    outputs, columns = list(program.signature.output_fields), sorted(data[0])
    if not any(name in columns for name in outputs):
        close = nearest(outputs[-1], columns)
        raise DataError(
            f"{where} has no column {outputs[-1]!r} to compare the output with; columns: {columns}.{close} "
            "Rename one, or write a function metric(example, prediction) in the cell."
        )
