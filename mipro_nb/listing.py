"""The list of runs: what the run directories on this machine hold, newest first."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro_nb.errors import ConfigError, LoadError, nearest
from mipro_nb.eventlog import EVENTS
from mipro_nb.history import History
from mipro_nb.rundir import SUMMARY, is_held, runs_directory, summary_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("when", "program", "status", "best", "trials", "calls", "cost", "path")
LARGEST = 2**26  # bytes of a log that is read where there is no summary


def runs(directory: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Return a table of the runs in a directory, newest first; ``Run.open`` and ``Run.resume`` take their ``path``.

    Args:
        directory: one that holds run directories, or is one; None: that of the runs that weren't given any.

    Returns:
        ``when`` it began (UTC), ``program``, ``status`` (running, finished, stopped, failed; ``cut off``: its process
        ended before it did; ``unreadable``), ``best`` score (a fraction), ``trials``, LM ``calls``, ``cost`` (US
        dollars), ``path``; empty if there are none.

    Raises:
        ConfigError: no such directory.

    >>> import tempfile
    >>> import mipro_nb as mn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     list(mn.runs(folder).columns)
    ['when', 'program', 'status', 'best', 'trials', 'calls', 'cost', 'path']
    """
    import pandas as pd

    root = runs_directory() if directory is None else Path(directory).expanduser()
    if directory is not None and not root.is_dir():
        close = nearest(root.name, [path.name for path in root.parent.glob("*") if path.is_dir()])
        raise ConfigError(f"directory={os.fspath(directory)!r}: a directory that exists is needed.{close}")
    found = [root] if (root / EVENTS).is_file() else [path.parent for path in root.glob(f"*/{EVENTS}")]
    rows = [_row(path) for path in found]
    rows.sort(key=lambda row: row["when"] or 0.0, reverse=True)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["when"] = pd.to_datetime(frame["when"], unit="s", utc=True).dt.floor("s")
    return frame


def _row(path: Path) -> dict[str, Any]:
    told = _summary(path)
    if told is None:
        return {"when": (path / EVENTS).stat().st_mtime, "status": "unreadable", "path": str(path)}
    reason = told["reason"]
    status = reason.split(":")[0] if reason is not None else "running" if is_held(path) else "cut off"
    return {**told, "status": "stopped" if status == "interrupted" else status, "path": str(path)}


def _summary(path: Path) -> dict[str, Any] | None:
    """Return how a run stands as it was last written, or by its log; None if neither can be read."""
    try:
        told = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
        if isinstance(told, dict) and {"when", "program", "reason", "best", "trials", "calls", "cost"} <= set(told):
            return told
    except (OSError, ValueError):
        pass
    try:
        return summary_of(History.read(path)) if (path / EVENTS).stat().st_size <= LARGEST else None
    except (LoadError, OSError):
        return None
