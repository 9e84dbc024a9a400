"""What can go wrong, as one tree.

::

    MiproError
    ├── ConfigError        an argument of the caller's is wrong (also a ValueError)
    │   ├── SignatureError     a signature can't be read
    │   └── DataError          a dataset doesn't fit the program
    ├── LoadError          a saved file isn't what it should be
    ├── MetricError        the user's metric raised or returned what can't be a score
    ├── ParseError         a reply that doesn't hold the output fields; keeps the reply
    ├── TooManyErrors      more failed examples than ``max_errors`` allows
    ├── WorkersLost        the ``executor`` takes no more work
    └── LMError            the language model gave no usable answer
        ├── LMUnavailable      an outage: retries were used up, trying later may help
        ├── LMRefused          no request can succeed (key, model name); retrying can't help
        │   └── WeightsError       the embedded LM's weights or engine are missing or damaged
        └── PromptRefused      this one prompt is refused (too long, filtered); others may pass

``UnknownPrompt``, an AssertionError, stands outside: a test's fake LM raises it.

Every message names the argument or object, what was given, and what is accepted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

RATE_LIMIT, TIMEOUT = "rate limit", "timeout"  # kinds of LMUnavailable


class MiproError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(MiproError, ValueError):
    """An argument is wrong."""


class SignatureError(ConfigError):
    """A signature can't be read."""


class DataError(ConfigError):
    """A dataset doesn't fit."""


class LoadError(MiproError):
    """A saved file isn't what it should be."""


class MetricError(MiproError):
    """The metric raised, or returned something that isn't a score."""


class ParseError(MiproError):
    """The LM's reply doesn't hold the output fields.

    Attributes:
        reply: the raw reply, as it came.
    """

    def __init__(self, message: str, reply: str = "") -> None:
        super().__init__(message)
        self.reply = reply


class UnknownPrompt(AssertionError):
    """A fake LM was asked what its script doesn't know: the test is wrong. Nothing in the package catches it."""


class TooManyErrors(MiproError):
    """More examples failed than ``max_errors`` allows."""


class WorkersLost(MiproError):
    """The executor takes no more work: it was shut down, or its workers died for good."""


class LMError(MiproError):
    """The language model gave no usable answer."""


class LMUnavailable(LMError):
    """Rate limit, server error, timeout or dropped connection, after all retries.

    Attributes:
        retry_after: seconds that the server asked to wait; 0 if it didn't.
        perhaps_billed: whether the server may have worked on the request, and may bill it: no answer came in time, or
            none that can be read.
        kind: ``RATE_LIMIT`` (429), ``TIMEOUT``, or empty for anything else.
    """

    retry_after: float = 0.0
    perhaps_billed: bool = False
    kind: str = ""


class LMRefused(LMError):
    """The LM refuses the request as such: wrong key, unknown model, malformed argument."""


class PromptRefused(LMError):
    """The LM refuses this prompt (too long for its context, filtered), but may take others."""


class WeightsError(LMRefused):
    """The embedded LM's weights or engine are missing or damaged."""


def nearest(given: object, accepted: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest accepted name, or an empty string."""
    close = difflib.get_close_matches(str(given), [str(name) for name in accepted], n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_choice(argument: str, given: object, accepted: Iterable[str]) -> None:
    """Raise ConfigError unless ``given`` is one of ``accepted``."""
    names = list(accepted)
    if given not in names:
        listed = ", ".join(repr(name) for name in names)
        raise ConfigError(f"{argument}={given!r} is not known; accepted: {listed}.{nearest(given, names)}")


def check_range(argument: str, given: object, low: int, high: int | None = None) -> None:
    """Raise ConfigError unless ``given`` is a whole number from ``low`` to ``high``."""
    whole = isinstance(given, int) and not isinstance(given, bool)
    if not whole or given < low or (high is not None and given > high):  # type: ignore[operator]
        span = f"from {low} to {high}" if high is not None else f"of {low} or more"
        try:
            close = max(low, int(given) if high is None else min(int(given), high))  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError):  # no number at all, NaN, infinity
            close = low
        raise ConfigError(f"{argument}={given!r}: a whole number {span} is needed. Nearest valid: {close}.")
