"""An executor of the user's own: whether it is one, how much it takes at a time, the wait for what it brings."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

from mipro_nb.errors import ConfigError, WorkersLost
from mipro_nb.flow import Stopped, ended

T = TypeVar("T")
R = TypeVar("R")

USUAL = 16  # examples in flight where an executor doesn't say how many it can work on
# names of what comes when a worker has died, and when a client is closed: Dask isn't imported for them
LOST, CLOSED = ("CancelledError", "KilledWorker"), ("ClosedClientError",)


class Lost(Exception):
    """The worker that had a task died, or can't be reached."""


class Elsewhere:
    """An executor as the threads of a pool see it. It is never shut down: it is the user's.

    Attributes:
        name: of its kind, for messages.

    Args:
        executor: takes the tasks.
        left: once it is set nobody waits any more for what is under way.
    """

    def __init__(self, executor: futures.Executor, left: threading.Event) -> None:
        self._executor, self._left = executor, left
        self.name = type(executor).__name__

    def bring(self, work: Callable[[T], R], task: T) -> R:
        """Run ``work(task)`` on the executor and wait for its result.

        Raises:
            WorkersLost: the executor takes nothing more.
            Lost: the worker died.
            Stopped: nobody waits any more, or the work was ended and the cluster has no workers.
            Exception: whatever else the executor raises, as when a task can't be pickled.
        """
        try:
            future = self._executor.submit(work, task)
        except Exception as error:
            if isinstance(error, RuntimeError | OSError) or _is(error, CLOSED):  # broken, shut down, out of reach
                raise WorkersLost(f"executor={self.name} takes no more work: {_told(error)}") from error
            raise
        while not futures.wait([future], timeout=0.5).done:
            if self._left.is_set() or (ended() and _threads(self._executor) == 0):
                future.cancel()
                raise Stopped("nobody waits for this any more")
            if getattr(_client(self._executor), "status", "") == "closed":
                raise Lost("the cluster is gone")  # Dask leaves what was under way as it was
        try:
            return future.result()
        except Exception as error:
            if isinstance(error, futures.BrokenExecutor | OSError) or _is(error, LOST):
                raise Lost(f"the worker died or was lost: {_told(error)}") from error
            raise


outside: contextvars.ContextVar[Elsewhere | None] = contextvars.ContextVar("mipro_nb_outside", default=None)


def check_executor(executor: Any) -> None:
    """Raise ConfigError unless ``executor`` is None or a ``concurrent.futures.Executor``."""
    if executor is None or isinstance(executor, futures.Executor):
        return
    hint = " Nearest valid: client.get_executor()." if hasattr(executor, "get_executor") else ""
    raise ConfigError(
        f"executor={executor!r:.100}: a concurrent.futures.Executor, or None for threads of one's own, is needed.{hint}"
    )


def size_of(executor: futures.Executor) -> int:
    """Return how many tasks an executor works on at the same time; 16 if it doesn't say."""
    most = getattr(executor, "_max_workers", None) or _threads(executor)
    return most if isinstance(most, int) and most > 0 else USUAL


def _client(executor: futures.Executor) -> Any:
    """Return Dask's client behind an executor, or None."""
    return getattr(executor, "_client", None)


def _threads(executor: futures.Executor) -> int | None:
    """Return how many threads a Dask cluster has; None if that can't be told."""
    client = _client(executor)
    if getattr(client, "status", "") != "running":
        return None
    try:
        threads: int = sum(client.nthreads().values())
        return threads
    except Exception:  # noqa: BLE001 (no such client, or out of reach: its first task will tell)
        return None


def _is(error: Exception, names: tuple[str, ...]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
