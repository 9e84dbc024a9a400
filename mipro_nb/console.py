"""Where lines for people go."""

from __future__ import annotations

import sys
from typing import Any


def console() -> Any:
    """Return a rich Console: standard error on a terminal, else standard output as plain lines (a pipe, a notebook)."""
    from rich.console import Console

    live = sys.stderr.isatty() and not in_kernel()
    options: dict[str, Any] = {} if live else {"force_terminal": False, "no_color": True}
    target = sys.stderr if live else sys.stdout
    return Console(file=target, force_jupyter=False, highlight=False, soft_wrap=True, **options)


def in_kernel() -> bool:
    """Whether the standard streams are a Jupyter kernel's, which call themselves terminals but can't move a cursor."""
    return type(sys.stderr).__module__.startswith("ipykernel")
