"""What runs learnt about proposing, in a file that later runs begin with: approaches and gains, and no text of anybody.

Reading never changes the file, and writing merges: a run adds its results to whatever is there by then. What isn't
such a file is refused and left as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.learning import HOTTEST, KINDS, Approach, Result

FORMAT, FORMAT_VERSION = "mipro_nb.memory", 1
FADE = 0.8  # what a run counts beside the one after it; the newest counts so much beside the run that reads it
MOST_RUNS = 30  # are kept, the newest; the oldest of them counts for 0.1%
ABANDONED = 5.0  # seconds without any change after which a half-written file is one that a crash left
LONGEST = 100  # characters of a name in it


def read_memory(path: str | os.PathLike[str], but: str = "") -> list[Result]:
    """Return the results of earlier runs, older ones with less weight; none if the file doesn't exist.

    Args:
        path: of the file.
        but: the id of a run that is left out: the one that reads.

    Raises:
        ConfigError: what is given can't be the path of a file.
        LoadError: the file is damaged, or something else.
    """
    runs = [run for run in _read(_target(path)) if run["run"] != but]
    found: list[Result] = []
    for age, run in enumerate(reversed(runs), 1):
        for one in run["results"]:
            approach = Approach(one["kind"], one["tip"], one["temperature"], one["summary"], one["demos"])
            group = f"{run['run']}/{one['group']}"
            found.append(Result(approach, one["gain"], one["error"], group, FADE**age))
    return found


def write_memory(path: str | os.PathLike[str], results: Sequence[Result], run: str) -> None:
    """Add a run's results; those that it had written before are replaced, other runs' are kept.

    Args:
        path: of the file; it is made if it doesn't exist, its directory too.
        results: as of ``learning.results``; if there are none, nothing is written.
        run: the run's id.

    Raises:
        ConfigError, LoadError: as ``read_memory``; the file stays as it is.
        OSError: it can't be written.
    """
    target = _target(path)
    told = [
        {**dataclasses.asdict(one.approach), "gain": one.gain, "error": one.error, "group": one.group}
        for one in results
    ]
    if not told:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(target.name + ".part")
    with _alone(scratch) as file:
        runs = [other for other in _read(target) if other["run"] != run]
        kept = [*runs, {"run": run, "results": told}][-MOST_RUNS:]
        json.dump({"format": FORMAT, "format_version": FORMAT_VERSION, "runs": kept}, file, indent=1)
        file.close()
        os.replace(scratch, target)


@contextlib.contextmanager
def _alone(scratch: Path) -> Iterator[IO[str]]:
    """Open the half-written file that one writer at a time can have: it is the lock too, and gone when it is in place.

    What a crash left there is taken away.
    """
    seen, since = None, time.monotonic()
    while True:
        try:
            file = scratch.open("x", encoding="utf-8")
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):  # it has just been put in place
                now = scratch.stat()
                if seen != (now.st_ino, now.st_mtime_ns):
                    seen, since = (now.st_ino, now.st_mtime_ns), time.monotonic()
                elif time.monotonic() - since > ABANDONED:
                    scratch.unlink()
            time.sleep(0.01)
    try:
        with file:
            yield file
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _target(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"memory={path!r:.200}: the path of a file is needed, there already or to be made.")
    try:
        target = Path(path).expanduser()
        if "\0" in str(target):
            raise ValueError("no name of a file holds a null character")
        if target.name and not target.is_dir():
            return target
    except (ValueError, RuntimeError) as error:  # or a home that isn't known
        raise ConfigError(f"memory={os.fspath(path)!r:.200}: {error}.") from error
    raise ConfigError(f"memory={os.fspath(path)!r:.200} is a directory: the path of a file is needed.")


def _read(target: Path) -> list[dict[str, Any]]:
    """Return the runs in a file, the oldest first, checked."""
    try:
        saved = json.loads(target.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return []
    except (ValueError, OSError, RecursionError) as error:
        raise LoadError(f"memory: {target} can't be read as JSON, and is left as it is: {error}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise LoadError(f"memory: {target} was not written by mipro_nb (its 'format' isn't {FORMAT!r}).")
    version, runs = saved.get("format_version"), saved.get("runs")
    if version != FORMAT_VERSION:
        raise LoadError(f"memory: {target} has format version {version!r}; this mipro_nb reads {FORMAT_VERSION}.")
    if not isinstance(runs, list) or not all(map(_is_run, runs)):
        raise LoadError(f"memory: {target} is damaged: not all of it are results of runs.")
    return runs


def _is_run(run: Any) -> bool:
    named = isinstance(run, dict) and _is_name(run.get("run"))
    return named and isinstance(run.get("results"), list) and all(map(_is_result, run["results"]))


def _is_result(one: Any) -> bool:
    wanted = {"kind", "tip", "temperature", "summary", "demos", "gain", "error", "group"}
    if not isinstance(one, dict) or set(one) != wanted:
        return False
    limits = {"temperature": (0.0, HOTTEST), "gain": (-1.0, 1.0), "error": (0.0, math.inf)}
    numbers = all(_is_number(one[name]) and low <= one[name] <= high for name, (low, high) in limits.items())
    flags = isinstance(one["summary"], bool) and isinstance(one["demos"], bool)
    return numbers and flags and one["kind"] in KINDS and _is_name(one["tip"]) and _is_name(one["group"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST
