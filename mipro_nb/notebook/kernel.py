"""What only a running Jupyter kernel can do: call back later, and tell of its end."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any


def _shell() -> Any:
    """Return IPython's shell if it is a Jupyter kernel's, else None."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


def present() -> bool:
    """Whether this is a Jupyter kernel, and not a terminal."""
    return _shell() is not None


def soon(seconds: float, call: Callable[[], None]) -> None:
    """Call back in the main thread, once it is free and the seconds have passed twice.

    So what came in meanwhile is heard first. Without a kernel nothing is called.
    """
    loop = getattr(getattr(_shell(), "kernel", None), "io_loop", None)
    if loop is not None:
        loop.add_callback(lambda: loop.call_later(seconds, lambda: loop.call_later(seconds, call)))


def at_shutdown(call: Callable[[], None]) -> None:
    """Call a bound method when the kernel is asked to end, or to restart; it doesn't keep its object alive."""
    shell = _shell()
    if shell is None:
        return
    reference = weakref.WeakMethod(call)

    def ending(change: Any) -> None:
        living = reference()
        if change["new"] and living is not None:
            with contextlib.suppress(Exception):  # the kernel is going; nobody is left to be told
                living()

    shell.observe(ending, "exit_now")
