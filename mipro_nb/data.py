"""Datasets in: ``examples``, ``split``, and the checks made before money is spent."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mipro_nb.checks import as_examples
from mipro_nb.errors import ConfigError, DataError, nearest
from mipro_nb.example import Example, fields_of

READERS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
WHOLE = re.compile(r"-?(0|[1-9]\d*)")  # a leading zero makes it a code, not a number
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
BOOLEANS = {"True": True, "False": False, "true": True, "false": False}


def examples(source: Any, inputs: Sequence[str] | None = None) -> list[Example]:
    """Make Examples from a table.

    Args:
        source: a pandas DataFrame, a list of dicts or Examples, or the path of a CSV, TSV,
            JSON-lines, JSON or Parquet file.
        inputs: names of the columns that the program takes (one may be a text alone); the others are labels.
            None leaves Examples' own inputs as they are, and names none for other rows.

    Returns:
        One Example per row. Empty cells are None; text stays text (``"NA"`` and ``"007"`` too).

    Raises:
        DataError: the source can't be read, is empty, or lacks an input column.

    >>> import mipro_nb as mn
    >>> mn.examples([{"message": "My kettle leaks", "team": "bug"}], inputs=["message"])
    [Example(message='My kettle leaks', team='bug').with_inputs(message)]
    """
    if isinstance(inputs, str):
        inputs = [inputs]
    if inputs is not None and not (isinstance(inputs, Iterable) and all(isinstance(name, str) for name in inputs)):
        raise DataError(f"inputs={inputs!r}: a list of column names is needed.")
    rows = _rows(source)
    if not rows:
        raise DataError("source holds no rows; at least one is needed.")
    found: list[Example] = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"source, row {number}: a dict or Example is needed, {type(row).__name__} given.")
        columns = [str(name) for name in (fields_of(row) if isinstance(row, Example) else row)]
        missing = [name for name in inputs or () if name not in columns]
        if missing:
            close = nearest(missing[0], columns)
            raise DataError(f"input {missing[0]!r} is no column in row {number}; columns: {columns}.{close}")
        try:
            example = row if isinstance(row, Example) else Example({str(key): _cell(row[key]) for key in row})
        except ConfigError as error:
            raise DataError(f"source, row {number}: {error}") from error
        found.append(example.with_inputs(*inputs) if inputs is not None else example)
    return found


def _rows(source: Any) -> list[Any]:
    if isinstance(source, str | os.PathLike):
        return _file_rows(Path(source))
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        _check_columns("source", [str(name) for name in source.columns])
        return list(source.to_dict("records"))
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise DataError(
            f"source of type {type(source).__name__}: a DataFrame, a list of dicts or Examples, "
            "or the path of a file is needed."
        )
    return list(source)


def _cell(value: Any) -> Any:
    """Turn pandas' and NumPy's scalars into Python's, and every kind of missing value into None."""
    if value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.tolist() if type(value).__module__ == "numpy" else value


def _check_columns(source: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{source}: the columns {repeated} stand twice; each needs a name of its own.")


def _file_rows(path: Path) -> list[Any]:
    try:
        found, near = path.is_file(), [p.name for p in path.parent.glob("*") if p.is_file()]
    except (OSError, ValueError):  # a text too long for a name, or with a character that none can have
        found, near = False, []
    if not found:
        raise DataError(f"source: the file {str(path)!r:.200} doesn't exist.{nearest(path.name, near)}")
    kind = path.suffix.lower()
    if kind not in READERS:
        raise DataError(
            f"source: {path.name} ends with {kind!r}; accepted: {', '.join(READERS)}.{nearest(kind, READERS)}"
        )
    try:
        if kind in (".jsonl", ".ndjson", ".json"):
            return _json_rows(path, kind)
        import pandas as pd

        if kind == ".parquet":
            return _rows(pd.read_parquet(path))
        # as text, header included: pandas would rename columns, drop cells that stand over and guess types
        separator = "\t" if kind == ".tsv" else ","
        cells = pd.read_csv(path, sep=separator, header=None, dtype=str, keep_default_na=False)
        return _table_rows(path, cells.to_numpy(dtype=object).tolist())
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"source: {path} is no UTF-8 text; save it as UTF-8 ({error}).") from error
    except (ValueError, OSError, ImportError) as error:
        raise DataError(f"source: {path} can't be read: {str(error).strip()}") from error


def _table_rows(path: Path, cells: list[list[Any]]) -> list[dict[str, Any]]:
    head = [str(name).strip() or f"column {place}" for place, name in enumerate(cells[0], 1)]
    _check_columns(f"source: {path}", head)
    columns = [_typed([_cell(value) or None for value in column]) for column in zip(*cells[1:], strict=True)]
    return [dict(zip(head, row, strict=True)) for row in zip(*columns, strict=True)]


def _typed(column: list[str | None]) -> list[Any]:
    """Turn a column into numbers or booleans if every cell that isn't empty is one; else leave it text."""
    filled = [cell for cell in column if cell is not None]
    read: Any = str
    if all(cell in BOOLEANS for cell in filled):
        read = BOOLEANS.__getitem__
    elif all(WHOLE.fullmatch(cell) for cell in filled):
        read = int
    elif all(NUMBER.fullmatch(cell) for cell in filled):
        read = float
    return [None if cell is None else read(cell) for cell in column]


def _json_rows(path: Path, kind: str) -> list[Any]:
    text = path.read_text(encoding="utf-8-sig")
    if kind == ".json":
        try:
            loaded = json.loads(text)
        except json.JSONDecodeError as error:
            hint = " JSON lines belong in a .jsonl file." if error.msg == "Extra data" else ""
            raise DataError(f"source: {path}, line {error.lineno} is no JSON: {error.msg}.{hint}") from error
        if not isinstance(loaded, list):
            raise DataError(f"source: {path} holds {type(loaded).__name__}; a list of objects is needed.")
        return loaded
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # a text may hold other ends of lines, such as U+2028
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DataError(f"source: {path}, line {number} is no JSON: {error.msg}.") from error
    return rows


def split(
    data: Sequence[Example], *fractions: float, stratify: str | None = None, seed: int = 0
) -> tuple[list[Example], ...]:
    """Split a dataset at random into parts that don't overlap.

    Args:
        data: the examples.
        *fractions: the share of each part, in (0, 1]; together at most 1.
        stratify: a field whose values are to be shared out evenly over the parts.
        seed: of the shuffle, a whole number; the same seed gives the same parts.

    Returns:
        One list per fraction.

    Raises:
        DataError: ``data`` holds no Examples, a fraction is out of range, a part would be empty, or ``stratify``
            is no field.

    >>> import mipro_nb as mn
    >>> rows = mn.examples([{"n": n, "odd": n % 2} for n in range(10)], inputs=["n"])
    >>> [len(part) for part in mn.split(rows, 0.2, 0.8, stratify="odd")]
    [2, 8]
    """
    wrong = [f for f in fractions if isinstance(f, bool) or not isinstance(f, int | float) or not 0 < f <= 1]
    if not fractions or wrong or sum(fractions) > 1 + 1e-9:
        raise DataError(f"fractions={fractions}: numbers in (0, 1] that sum to at most 1 are needed.")
    data = as_examples("data", data)
    ends = [round(sum(fractions[: i + 1]) * len(data)) for i in range(len(fractions))]
    counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return split_counts(data, counts, stratify=stratify, seed=seed)


def split_counts(
    data: Sequence[Example], counts: Sequence[int], *, stratify: str | None = None, seed: Any = 0
) -> tuple[list[Example], ...]:
    """Like ``split``, with the number of examples of each part instead of its share."""
    if not counts or min(counts) < 1 or sum(counts) > len(data):
        size = "1 example is" if len(data) == 1 else f"{len(data)} examples are"
        raise DataError(f"{size} too few for parts of {list(counts)}: no part may be empty.")
    if stratify is not None:
        for example in data:
            if stratify not in example:
                known = sorted(fields_of(example))
                raise DataError(f"stratify={stratify!r} is no field; fields: {known}.{nearest(stratify, known)}")
    rng = random.Random(f"split/{seed}")
    order = rng.sample(range(len(data)), len(data))
    if stratify is not None:
        order.sort(key=lambda i: repr(data[i][stratify]))
    sizes = [*counts, len(data) - sum(counts)]  # what is left over is a part of its own, given to nobody
    parts: list[list[int]] = [[] for _ in sizes]
    for place, index in enumerate(order, 1):  # to the part that lags furthest behind its share
        open_parts = [p for p in range(len(sizes)) if len(parts[p]) < sizes[p]]
        behind = max(open_parts, key=lambda p: sizes[p] * place / len(data) - len(parts[p]))
        parts[behind].append(index)
    return tuple([data[i] for i in rng.sample(part, len(part))] for part in parts[:-1])
