"""Whether work goes on: what workers look at before they begin something, set by the pool that they work for."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator

cancelled: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("mipro_nb_cancelled", default=None)
go_ahead: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("mipro_nb_go_ahead", default=None)
_refused: contextvars.ContextVar[list[Exception] | None] = contextvars.ContextVar("mipro_nb_refused", default=None)

ENDED = "the work was ended"


class Stopped(Exception):
    """Work was ended on purpose; ``str()`` gives the reason."""


def ended() -> bool:
    """Whether the work that this belongs to was ended."""
    event = cancelled.get()
    return event is not None and event.is_set()


def hold() -> None:
    """Wait here while the run is paused, and hasn't ended."""
    go = go_ahead.get()
    while go is not None and not go.wait(0.1) and not ended():
        pass


def checkpoint() -> None:
    """Wait here while the run is paused; raise Stopped in a worker whose run was ended."""
    hold()
    if ended():
        raise Stopped(ENDED)


def refuse(error: Exception) -> Exception:
    """Leave a mark that a call made here was refused by the run, not by its LM; return the error, to be raised."""
    marks = _refused.get()
    if marks is not None:
        marks.append(error)
    return error


@contextlib.contextmanager
def undisguised() -> Iterator[None]:
    """Raise the error of a call that was refused inside, whatever the program made of it: it may catch everything."""
    marks: list[Exception] = []
    token = _refused.set(marks)
    try:
        yield
    except Exception:
        if marks:
            raise marks[0] from None
        raise
    finally:
        _refused.reset(token)
    if marks:
        raise marks[0]
