"""A directory that turns read-only under a process that holds files in it open, as when a disk has errors.

Tests may run as root, whom no permission stops; and a file system with open files isn't remounted. So open files are
exchanged for such that can only be read, and what opens or renames in the directory is refused as the system would.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

HELD = "lock"  # a lock is held whatever becomes of the directory


class ReadOnly:
    """Makes a directory read-only until ``undo``, or only the files of some names."""

    def __init__(self, directory: Path, names: tuple[str, ...] = ()) -> None:
        self.directory, self.names, self._patch = directory, names, pytest.MonkeyPatch()

    def _concerns(self, path: Any) -> bool:
        if isinstance(path, int):
            return False
        inside = Path(os.fsdecode(path)).absolute()
        return inside.is_relative_to(self.directory) and (not self.names or inside.name in self.names)

    def __call__(self) -> None:
        for descriptor in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                if self._concerns(path) and Path(path).is_file() and Path(path).name != HELD:
                    readable = os.open(path, os.O_RDONLY)
                    os.dup2(readable, int(descriptor), inheritable=False)
                    os.close(readable)
        for module, name in ((io, "open"), (builtins, "open"), (os, "open"), (os, "replace"), (os, "mkdir")):
            self._patch.setattr(module, name, self._guarded(getattr(module, name), name))

    def _guarded(self, original: Any, name: str) -> Any:
        def guarded(path: Any, *rest: Any, **more: Any) -> Any:
            how = rest[0] if rest else more.get("mode", more.get("flags", "r"))
            reads = name == "open" and (not set("wax+") & set(how) if isinstance(how, str) else how & 3 == os.O_RDONLY)
            if not reads and any(self._concerns(one) for one in (path, *rest[: name == "replace"])):
                raise OSError(errno.EROFS, "Read-only file system", os.fspath(path))
            return original(path, *rest, **more)

        return guarded

    def undo(self) -> None:
        """Let it be written again; files that were open stay as they are."""
        self._patch.undo()
