"""The journal: every answer that a run has paid for, in its run directory, so that none is paid for twice.

What a call may take at most is written before it is sent, and settled when that is known. So of a run that is killed it
is known what else may have been billed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mipro_nb.events import KEY, Usage

logger = logging.getLogger(__name__)

ANSWERS = "answers.jsonl"  # in a run directory
INDEX = "index"  # as ``finish`` of what is no answer: the keys of what an example asked on a worker, see ``remote``
KEPT = {"text": str, "finish": str, "prompt": int, "completion": int}


class Journal:
    """Answers by request key (see ``cache.request_key``), appended and flushed as they come. Safe with threads.

    What is no answer in the file, such as the half line that a crash leaves, is skipped.

    Args:
        path: of the file; it is made if it doesn't exist.

    Attributes:
        spent: what the answers in the file have cost when it was opened.
        doubtful: tokens and US dollars of each call that was begun, and neither answered nor settled; infinite where
            unknown.
        broken: why nothing is written any more, such as a full disk; empty: it is.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.broken, self.spent = "", Usage()
        self._begun, self._open = 0, dict[int, tuple[float, float]]()
        self._lock = threading.Lock()
        self._known: dict[str, deque[dict[str, Any]]] = {}
        self._taken: dict[str, dict[str, Any]] = {}
        whole = self._read(path) if path.exists() else True
        self.doubtful = list(self._open.values())
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        if not whole:
            self._file.write("\n")  # closes the half line

    def _read(self, path: Path) -> bool:
        """Take in what is there; return whether the last line is whole."""
        text = path.read_bytes().decode("utf-8", "replace")
        for line in text.split("\n"):
            with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
                saved = json.loads(line)
                if "begun" in saved:
                    self._begun = max(self._begun, int(saved["begun"]))
                    self._open[int(saved["begun"])] = (_most(saved["tokens"]), _most(saved["cost"]))
                    continue
                if "settled" in saved:
                    self._open.pop(int(saved["settled"]), None)
                    continue
                key, answer = saved["key"], {name: kind(saved[name]) for name, kind in KEPT.items()}
                answer["cost"] = None if saved["cost"] is None else float(saved["cost"])
                self._known.setdefault(str(key)[:KEY], deque()).append(answer)
                if answer["finish"] != INDEX:
                    self.spent = self.spent + Usage(1, 0, answer["prompt"], answer["completion"], answer["cost"])
        return not text or text.endswith("\n")

    def take(self, key: str, shared: bool) -> tuple[dict[str, Any], bool] | None:
        """Return an answer of the file, each once, and whether it is free: see ``traffic.Answers``."""
        short = key[:KEY]
        with self._lock:
            left = self._known.get(short)
            if left:
                self._taken[short] = left.popleft()
                return self._taken[short], False
            if shared and short in self._taken:
                return self._taken[short], True
        return None

    def pass_over(self, keys: Iterable[str]) -> None:
        """Take answers that nobody asks for again, as the log tells what came of them; keys as of ``ExampleScored``."""
        for key in keys:
            self.take(key, False)

    def go_on_from(self, before: Journal) -> None:
        """Give no answer that an earlier journal of this file has given, or was told of, in the same process."""
        with before._lock:
            self._known, self._taken = before._known, before._taken

    def keep(self, key: str, answer: Mapping[str, Any]) -> None:
        """Append an answer. A file that can't be written is logged once; the run goes on without."""
        line = json.dumps({"key": key, **{name: answer[name] for name in (*KEPT, "cost")}}, ensure_ascii=False)
        with self._lock:
            self._write(line)

    def begin(self, tokens: float, cost: float) -> int:
        """Note that a call is about to be sent, and what it may take at most; return its number."""
        most = {"tokens": _told(tokens), "cost": _told(cost)}
        with self._lock:
            self._begun += 1
            self._write(json.dumps({"begun": self._begun, **most}))
            return self._begun

    def settle(self, number: int) -> None:
        """Note that it is known what a call has taken: its answer was kept, or it was surely not billed."""
        with self._lock:
            self._write(json.dumps({"settled": number}))

    def _write(self, line: str) -> None:
        if self.broken or self._file.closed:  # a call that was left alone at the run's end
            return
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            self.broken = str(error)
            logger.warning("%s can't be written (%s): answers are kept in memory only", self._file.name, error)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, contextlib.suppress(OSError):
            self._file.close()


def _told(most: float) -> float | None:
    return most if math.isfinite(most) else None


def _most(told: float | None) -> float:
    return math.inf if told is None else float(told)
