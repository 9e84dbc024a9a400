"""Keyboard interrupts: what Ctrl-C, or a kernel's Interrupt, means while a run goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def _handled(handle: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Hand interrupts to a function, with what they did before; only in the main thread, which alone gets them.

    Where they are ignored, as in what a shell runs in the background, they stay so.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    def handler(number: int, frame: Any) -> None:
        handle(lambda: before(number, frame) if callable(before) else None)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """Give a list that gets an entry for each interrupt that comes meanwhile; they are handled as before."""
    seen: list[int] = []

    def handle(as_before: Callable[[], None]) -> None:
        seen.append(signal.SIGINT)
        as_before()

    with _handled(handle):
        yield seen


@contextlib.contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Let an interrupt ask a run to stop; what comes after is handled as before: it raises.

    Args:
        stop: asks.

    Raises:
        KeyboardInterrupt: there were several interrupts, whatever became of those that were raised inside.
    """
    seen: list[int] = []

    def handle(as_before: Callable[[], None]) -> None:
        seen.append(signal.SIGINT)
        if len(seen) == 1:
            stop()
        else:
            as_before()

    with _handled(handle):
        yield
    if len(seen) > 1:
        raise KeyboardInterrupt
