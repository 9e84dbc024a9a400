"""What a run puts between its LM calls and the LM: a journal of answers, and guards around each try."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mipro_nb.lm import LM


@dataclass(slots=True)
class Attempt:
    """One try of a call, about to be sent.

    Attributes:
        lm: the LM that is asked.
        messages, sampling: what is sent.
        answer: once it is there: ``text``, ``finish``, ``prompt`` and ``completion`` (tokens), ``cost`` (US dollars, or
            None where the price isn't known).
    """

    lm: LM
    messages: Sequence[Mapping[str, str]]
    sampling: Mapping[str, Any]
    answer: dict[str, Any] | None = None


class Guard(Protocol):
    """Stands around every try of every call of a run. Called from the threads that make the calls."""

    def around(self, attempt: Attempt) -> AbstractContextManager[None]:
        """Enter before the try is sent: it may wait, or raise. On leaving, the answer or the error is there."""


class Answers(Protocol):
    """Answers that a run has paid for before, and those that it pays for now."""

    def take(self, key: str, shared: bool) -> tuple[dict[str, Any], bool] | None:
        """Return an answer to the request of this key, and whether it is free; None: the LM is to be asked.

        Args:
            shared: whether the LM has a cache: then an answer that was taken before is there again, at no cost.
        """

    def keep(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer that was paid for, at once."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What stands between a run and its LMs.

    Attributes:
        guards: entered in this order around each try.
        answers: looked up before the LM's cache, and told of each answer that was paid for; None: there are none.
    """

    guards: tuple[Guard, ...] = ()
    answers: Answers | None = None


NONE = Traffic()
_traffic: contextvars.ContextVar[Traffic] = contextvars.ContextVar("mipro_nb_traffic", default=NONE)


def traffic() -> Traffic:
    """Return what stands between the calls made here and their LM."""
    return _traffic.get()


@contextlib.contextmanager
def through(traffic: Traffic) -> Iterator[None]:
    """Put this between all calls made inside (threads started with a copied context included) and their LM."""
    token = _traffic.set(traffic)
    try:
        yield
    finally:
        _traffic.reset(token)


@contextlib.contextmanager
def guarded(attempt: Attempt) -> Iterator[None]:
    """Stand around a try with every guard in force."""
    with ExitStack() as stack:
        for guard in traffic().guards:
            stack.enter_context(guard.around(attempt))
        yield
