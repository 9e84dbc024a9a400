"""The report of a run, in one file that needs nothing else: an HTML page, or Markdown."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from mipro_nb.errors import ConfigError, nearest
from mipro_nb.history import History
from mipro_nb.notebook import account, markdown, page
from mipro_nb.notebook.sections import Room

LARGEST = 2_500_000  # bytes
FORMATS = {".html": page.rendered, ".htm": page.rendered, ".md": markdown.rendered, ".markdown": markdown.rendered}
ROOMS = (
    Room(60_000, 160, 100, 200, full=8_000, trials=300, closeups=25),
    Room(20_000, 160, 60, 60, full=2_000, trials=300, closeups=15),
    Room(8_000, 120, 30, 20, full=600, trials=100, closeups=8),
    Room(2_000, 80, 10, 5, full=200, trials=30, closeups=2),
)


def text(history: History, format: str = ".html") -> str:
    """Return the report of a run, finished or not.

    Args:
        format: ``.html``, ``.htm``, ``.md`` or ``.markdown``.

    Raises:
        ConfigError: another format.
    """
    if format not in FORMATS:
        raise ConfigError(f"format={format!r} is not known; accepted: {', '.join(FORMATS)}.{nearest(format, FORMATS)}")
    made = ""
    for room in ROOMS:
        made = FORMATS[format](account.written(history, room))
        if len(made.encode()) <= LARGEST:
            break
    return made


def write(history: History, path: str | os.PathLike[str]) -> Path:
    """Write the report of a run; the end of the file's name says in which format. Return where it is.

    The file is there whole or not at all: an older one stays until the new one is written.

    Raises:
        ConfigError: another ending, a folder in place of a file, or a folder that doesn't exist.
        OSError: the file can't be written.
    """
    target = _target(path)
    made = text(history, target.suffix.lower())
    scratch = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        scratch.write_text(made, encoding="utf-8", newline="\n")
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
    return Path(path).expanduser()


def _target(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"path={path!r:.200}: the path of a file is needed, as in 'report.html'.")
    try:
        target = Path(path).expanduser().resolve()  # a link stays one, and what it leads to is written
        parent, folder = target.parent.is_dir(), target.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"path={str(path)!r:.200}: no file can have this name: {error}") from error
    if target.suffix.lower() not in FORMATS:
        accepted = ", ".join(FORMATS)
        close = nearest(target.suffix.lower(), FORMATS)
        raise ConfigError(f"path={str(path)!r}: a name that ends in one of {accepted} is needed.{close}")
    if not parent:
        raise ConfigError(f"path={str(path)!r}: the folder {str(target.parent)!r} doesn't exist.")
    if folder:
        raise ConfigError(f"path={str(path)!r}: this is a folder; the path of a file is needed.")
    return target
