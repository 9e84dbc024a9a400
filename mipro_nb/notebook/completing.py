"""What can stand at the cursor in the line of a magic. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.notebook.cellnames import MODELS, Namespace, is_kind, named
from mipro_nb.notebook.celloptions import BY_NAME, OPTIONS, Option
from mipro_nb.notebook.runbook import COMMANDS
from mipro_nb.signature import Signature

IPYTHONS = ("In", "Out", "exit", "quit", "open", "get_ipython")  # names that every notebook has


def in_cell_line(before: str, symbol: str, namespace: Namespace) -> list[str]:
    """Return completions in the line of ``%%mipro``.

    Args:
        before: the line up to the cursor.
        symbol: the word at the cursor, as IPython cuts it; may be empty.
        namespace: the notebook's.

    >>> in_cell_line("%%mipro tickets --au", "--au", {})
    ['--auto']
    >>> in_cell_line("%%mipro --auto ", "", {})
    ['light', 'medium', 'heavy']
    """
    words = before.removesuffix(symbol).replace("=", " ").split()[1:]
    last = BY_NAME.get(words[-1]) if words else None
    if last is not None and last.value:
        return [text for text in _values(last, namespace) if text.startswith(symbol)]
    open_ = [option.name for option in OPTIONS if option.name not in words]
    has_data = "--trainset" in words or _positional(words)
    found = [*([] if has_data else data_names(namespace)), *open_]
    return [text for text in found if text.startswith(symbol)]


def in_command(before: str, symbol: str, namespace: Namespace, runs: list[str]) -> list[str]:
    """Return completions in the line of ``%mipro``: a command, then a run; options as in the cell."""
    words = before.removesuffix(symbol).split()[1:]
    if symbol.startswith("-") or (words and words[0] not in COMMANDS):
        return in_cell_line(before, symbol, namespace)
    found = COMMANDS if not words else tuple(name for name in runs if name) if len(words) == 1 else ()
    return [text for text in found if text.startswith(symbol)]


def models(namespace: Namespace) -> list[str]:
    """Return the notebook's LMs by name, then a few well-known models."""
    return [*_names(namespace, (LM,)), *MODELS]


def data_names(namespace: Namespace) -> list[str]:
    """Return the names of what may be data: tables first, then lists, then texts that may be paths."""
    return [
        *_names(namespace, ("DataFrame",)),
        *_names(namespace, (list, tuple)),
        *(name for name in _names(namespace, (str, Path)) if _may_be_path(namespace[name])),
    ]


def _may_be_path(text: str | Path) -> bool:
    try:
        return bool(Path(text).suffix)
    except Exception:  # noqa: BLE001 (a text of an odd class; the other names are still to be found)
        return False


def _values(option: Option, namespace: Namespace) -> list[str]:
    match option.kind:
        case "choice":
            return option.choices
        case "data":
            return data_names(namespace)
        case "model":
            return models(namespace)
        case "program":
            return [*_names(namespace, (Module,)), *_names(namespace, (Signature,))]
        case "metric":
            functions = [name for name in _names(namespace, ("function",)) if name != "exact_match"]
            return [*functions, "exact_match"]
    return []


def _names(namespace: Namespace, kinds: tuple[Any, ...]) -> list[str]:
    return [name for name, value in named(namespace) if name not in IPYTHONS and is_kind(value, kinds)]


def _positional(words: list[str]) -> bool:
    """Whether DATA is given: a word that is neither an option nor an option's value."""
    values = [BY_NAME[word].value if word in BY_NAME else "" for word in ["", *words]]
    return any(word not in BY_NAME and not value for word, value in zip(words, values, strict=False))
