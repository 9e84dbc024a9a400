"""Saved programs: self-contained JSON, checked when read. No code, no key and no pickle is in the file."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipro_nb.errors import LoadError, nearest
from mipro_nb.example import Example
from mipro_nb.signature import Signature

FORMAT, FORMAT_VERSION = "mipro_nb.program", 1
KINDS = ("Predict", "ChainOfThought")


def write_program(
    path: str | os.PathLike[str], program: str, lm: str | None, predictors: Mapping[str, Mapping[str, Any]]
) -> Path:
    """Write a program's state; ``.json`` is added to the path where it is missing. Returns the path."""
    target = Path(path)
    target = target if target.suffix == ".json" else target.with_name(target.name + ".json")
    saved = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program": program,
        "lm": lm,
        "versions": versions(),
        "predictors": predictors,
    }
    text = json.dumps(saved, ensure_ascii=False, indent=2) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(target.name + ".part")
    scratch.write_bytes(text.encode("utf-8", "backslashreplace"))  # half a character becomes its JSON escape
    os.replace(scratch, target)
    return target


def read_program(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check a saved program's JSON."""
    target = Path(path)
    if not target.is_file() and target.suffix != ".json":
        target = target.with_name(target.name + ".json")
    try:
        saved = json.loads(target.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        close = nearest(target.name, [p.name for p in target.parent.glob("*.json")])
        raise LoadError(f"{target} doesn't exist.{close}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise LoadError(f"{target} can't be read as JSON: {error}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise LoadError(f"{target} is no program saved by mipro_nb (its 'format' isn't {FORMAT!r}).")
    if saved.get("format_version") != FORMAT_VERSION:
        raise LoadError(
            f"{target} has format version {saved.get('format_version')!r}; this mipro_nb reads {FORMAT_VERSION}."
        )
    if not isinstance(saved.get("program"), str):
        raise LoadError(f"{target} is damaged: the program's name is missing.")
    _check_states(target, saved.get("predictors"))
    return saved


def _check_states(target: Path, states: Any) -> None:
    needed = {"kind", "signature", "demos", "lm"}
    whole = isinstance(states, dict) and all(isinstance(s, dict) and set(s) == needed for s in states.values())
    if not whole:
        raise LoadError(f"{target} is damaged: each predictor needs exactly {sorted(needed)}.")
    for name, state in states.items():
        if state["kind"] not in KINDS:
            raise LoadError(f"{target} is damaged: predictor {name!r} is a {state['kind']!r}; accepted: {KINDS}.")
        try:
            Signature.from_json(state["signature"])
            [Example(demo) for demo in state["demos"]]
        except Exception as error:  # pydantic raises many kinds for a model that was tampered with
            raise LoadError(f"{target} is damaged: predictor {name!r} can't be rebuilt ({error}).") from error


def versions() -> dict[str, str]:
    """Return the versions that a saved program or run was made with."""
    found = ((package, _version(package)) for package in ("mipro_nb", "litellm", "optuna", "pydantic"))
    return {"python": platform.python_version(), **{package: version for package, version in found if version}}


@functools.cache  # reading it takes milliseconds, and a run saves its best program often
def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None
