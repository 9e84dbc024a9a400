"""The answer cache: same model, messages and sampling give the same answer, at no cost.

Values are JSON text in SQLite, through the well-kept fork of ``diskcache`` (no pickle: a
row that holds one is refused). In front of the disk stands a dict, and two identical calls
in flight are one call.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import json
import logging
import os
import sqlite3
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

IN_MEMORY = 10_000  # answers kept in the front; some 10 MB at 1 kB each


def request_key(
    model: str, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], rollout: int | None = None
) -> str:
    """Return the SHA-256 of a request, in hex. Nothing of the request can be read back from it.

    Args:
        model: the LM's full identity (name, and what else decides who answers).
        messages: role and content of each message.
        sampling: everything else that shapes the answer: temperature, max_tokens, schema, ...
        rollout: number that tells apart repeated draws at temperature > 0.
    """
    request = [model, [dict(message) for message in messages], dict(sampling), rollout]
    text = json.dumps(request, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def default_directory() -> Path:
    """Return the user's cache directory of this package; the variable MIPRO_NB_CACHE names another."""
    import platformdirs

    return Path(os.environ.get("MIPRO_NB_CACHE") or platformdirs.user_cache_path("mipro_nb"))


class Cache:
    """A store of answers (dicts of plain values) by request key. Safe with threads and processes.

    Pickled, it is a handle: in another process it stands for a store in that process's memory.

    Attributes:
        token: tells this store from others, in other processes too; a new one once it was cleared.

    Args:
        directory: where the database lies; None keeps answers in memory only.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory = Path(directory) if directory is not None else None
        self._front: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._in_flight: dict[str, Future[dict[str, Any]]] = {}
        self._disk: Any = _open_disk(self.directory) if self.directory is not None else None
        self._rename(uuid.uuid4().hex)

    def __reduce__(self) -> tuple[Any, ...]:
        return same_cache, (self.token,)

    def _rename(self, token: str) -> None:
        self.token = token
        _here[os.getpid(), token] = self

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the answer, or None."""
        with self._lock:
            if key in self._front:
                self._front.move_to_end(key)
                return self._front[key]
        text = self._on_disk("read", lambda disk: disk.get(key))
        if not isinstance(text, str):
            return None
        try:
            answer = json.loads(text)
        except json.JSONDecodeError:
            return None
        if not isinstance(answer, dict):
            return None
        self.remember(key, answer)
        return answer

    def set(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer. A disk that fails is logged; the answer stays in memory."""
        self.remember(key, answer)
        if (noted := _noted.get()) is not None:
            noted.append((self.token, key, answer))
        text = json.dumps(answer)
        self._on_disk("write", lambda disk: disk.set(key, text))

    def get_or_call(self, key: str, call: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
        """Return (answer, whether it was free). Concurrent callers with one key share one call.

        If the call raises, the caller that made it gets the error, and those who waited try themselves.
        """
        while True:
            found = self.get(key)
            if found is not None:
                return found, True
            with self._lock:
                pending = self._in_flight.get(key)
                if pending is None and key in self._front:  # answered since we looked
                    continue
                if pending is None:
                    mine: Future[dict[str, Any]] = Future()
                    self._in_flight[key] = mine
            if pending is None:
                return self._call(key, call, mine), False
            if pending.exception() is None:
                return pending.result(), True

    def _call(self, key: str, call: Callable[[], dict[str, Any]], mine: Future[dict[str, Any]]) -> dict[str, Any]:
        try:
            answer = call()
            self.set(key, answer)
        except BaseException as error:
            with self._lock:
                del self._in_flight[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._in_flight[key]
        mine.set_result(answer)
        return answer

    def clear(self) -> None:
        """Forget every answer, on disk too."""
        with self._lock:
            self._front.clear()
        self._rename(uuid.uuid4().hex)  # what other processes remember is forgotten with it
        self._on_disk("clear", lambda disk: disk.clear())

    def remember(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer in memory only."""
        with self._lock:
            self._front[key] = answer
            if len(self._front) > IN_MEMORY:
                self._front.popitem(last=False)

    def _on_disk(self, what: str, act: Callable[[Any], Any]) -> Any:
        """Use the disk; when it is full, locked or damaged the run goes on without it."""
        disk = self._disk
        if disk is None:
            return None
        import diskcache_community as diskcache

        try:
            return act(disk)
        except ValueError as error:
            logger.warning("answer cache %s: %s failed (%s)", self.directory, what, error)
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            with self._lock:
                first, self._disk = self._disk is not None, None
            if first:
                told = "answer cache %s: %s failed (%s); answers are kept in memory only from here on"
                logger.warning(told, self.directory, what, error)
        return None


_here: weakref.WeakValueDictionary[tuple[int, str], Cache] = weakref.WeakValueDictionary()  # a fork has its own
_noted: contextvars.ContextVar[list[tuple[str, str, dict[str, Any]]] | None] = contextvars.ContextVar(
    "mipro_nb_noted", default=None
)


@contextlib.contextmanager
def noting() -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """Collect (the cache's token, key, answer) of all answers that are put into caches inside."""
    noted: list[tuple[str, str, dict[str, Any]]] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def same_cache(token: str) -> Cache:
    """Return the cache of a token: this process's own, or what stands for another's in this one's memory."""
    return _here.get((os.getpid(), token)) or _away(os.getpid(), token)


@functools.lru_cache(maxsize=16)
def _away(process: int, token: str) -> Cache:
    cache = Cache()
    cache._rename(token)
    return cache


@functools.cache
def shared_cache(directory: Path) -> Cache:
    """Return this process's one Cache of a directory, so that all LMs share its front."""
    return Cache(directory)


def _open_disk(directory: Path) -> Any:
    import diskcache_community as diskcache

    class TextDisk(diskcache.Disk):
        """Text only: a value of another kind (a planted pickle) is refused instead of loaded."""

        def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
            if mode == diskcache.core.MODE_PICKLE:
                raise ValueError("a pickled value in the answer cache is refused")
            return super().fetch(mode, filename, value, read)

    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return diskcache.Cache(
            str(directory), disk=TextDisk, eviction_policy="none", size_limit=2**40, cull_limit=0, timeout=30
        )
    except (sqlite3.Error, OSError) as error:
        logger.warning("answer cache %s can't be opened (%s); answers are kept in memory only", directory, error)
        return None
