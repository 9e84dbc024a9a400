"""Whether work goes on: what workers look at before they begin something, set by the pool that they work for."""

from __future__ import annotations

import contextvars
import threading

cancelled: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("mipro_nb_cancelled", default=None)
go_ahead: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("mipro_nb_go_ahead", default=None)


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
        raise Stopped("the work was ended")
