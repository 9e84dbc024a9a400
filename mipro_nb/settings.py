"""Settings: the only global state, set by ``configure``, and what a ``with`` block overrides."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mipro_nb.errors import ConfigError, check_range, nearest
from mipro_nb.lm import LM


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``configure`` sets.

    Attributes:
        lm: the LM of every program that has none of its own.
        num_threads: examples evaluated at the same time; None follows the LM (2 embedded, else 16).
        progress: whether ``compile`` shows progress in the terminal.
    """

    lm: LM | None = None
    num_threads: int | None = None
    progress: bool = True


_configured = Settings()
_overridden: contextvars.ContextVar[Settings | None] = contextvars.ContextVar("mipro_nb_settings", default=None)


def settings() -> Settings:
    """Return the settings in force here."""
    return _overridden.get() or _configured


def configure(**changes: Any) -> None:
    """Set defaults for the whole process; a setting that isn't given stays as it is.

    Args:
        **changes: any of
            ``lm``: the LM of every program that has none of its own: an LM, a model's name, or None;
            ``num_threads``: examples evaluated at the same time, 1 or more; None follows the LM (2 embedded, else 16);
            ``progress``: whether ``compile`` and ``wait`` show progress, True or False.

    Raises:
        ConfigError: an unknown setting, or a value that is out of range.

    >>> import mipro_nb as mn
    >>> mn.configure(lm=mn.LM("openai/gpt-5-mini"), num_threads=4)
    >>> mn.configure(lm=None, num_threads=None)  # as at first
    """
    global _configured
    _configured = _changed(_configured, changes)


@contextlib.contextmanager
def context(**changes: Any) -> Iterator[None]:
    """Like ``configure``, inside a ``with`` block and for this thread alone.

    Args:
        **changes: the settings of ``configure``.

    Raises:
        ConfigError: as ``configure``.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> with mn.context(lm=FakeLM(["Paris"])):
    ...     mn.Predict("question -> answer")(question="What is the capital of France?").answer
    'Paris'
    """
    token = _overridden.set(_changed(settings(), changes))
    try:
        yield
    finally:
        _overridden.reset(token)


def _changed(base: Settings, changes: Mapping[str, Any]) -> Settings:
    known = list(Settings.__slots__)
    for name in changes:
        if name not in known:
            raise ConfigError(f"setting {name!r} is not known; accepted: {', '.join(known)}.{nearest(name, known)}")
    if changes.get("num_threads") is not None:
        check_range("num_threads", changes["num_threads"], 1)
    if "lm" in changes:
        changes = {**changes, "lm": as_lm(changes["lm"])}
    return replace(base, **changes)


def as_lm(given: Any) -> LM | None:
    """Return the LM that ``given`` (an LM, a model's name or None) stands for."""
    if isinstance(given, str):
        return LM(given)
    if given is not None and not isinstance(given, LM):
        raise ConfigError(
            f"lm={given!r}: an LM or a model's name is needed, as in lm=mipro_nb.LM('openai/gpt-5-mini')."
        )
    return given


_sampling: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar("mipro_nb_sampling", default=None)


@contextlib.contextmanager
def sampling(**options: Any) -> Iterator[None]:
    """Add options of ``LM.complete`` (temperature, rollout) to every call made inside."""
    token = _sampling.set({**sampling_in_force(), **options})
    try:
        yield
    finally:
        _sampling.reset(token)


def sampling_in_force() -> Mapping[str, Any]:
    """Return the options that ``sampling`` blocks add here."""
    return _sampling.get() or {}
