"""The account of LM calls: who opens one is told what all calls inside it used."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from mipro_nb.events import Listener, LMUsed, Noted, Usage


@dataclass(slots=True)
class Account:
    """What the LM calls inside a ``with track_usage()`` block used, and what there was to say.

    Attributes:
        answers: the requests' keys, of those answers that are in a run's journal and weren't free.
    """

    usage: Usage = field(default_factory=Usage)
    answers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, usage: Usage, answer: str = "") -> None:
        """Book what one call used."""
        with self._lock:
            self.usage = self.usage + usage
            self.answers += [answer] if answer else []

    def note(self, message: str) -> None:
        """Keep a remark for the person at the screen."""
        with self._lock:
            self.notes.append(message)


_accounts: contextvars.ContextVar[tuple[Account, ...]] = contextvars.ContextVar("mipro_nb_accounts", default=())


@contextlib.contextmanager
def track_usage() -> Iterator[Account]:
    """Account for all LM calls made inside, in this context (threads started with a copied context included)."""
    account = Account()
    token = _accounts.set((*_accounts.get(), account))
    try:
        yield account
    finally:
        _accounts.reset(token)


def book(usage: Usage, answer: str = "") -> None:
    """Add what one call used to every account that is open, and the key of its answer, see ``Account``."""
    for account in _accounts.get():
        account.add(usage, answer)


def note(message: str) -> None:
    """Leave a remark for the person at the screen, in every account that is open."""
    for account in _accounts.get():
        account.note(message)


@contextlib.contextmanager
def reported(stage: str, tell: Listener) -> Iterator[None]:
    """Tell what all LM calls made inside used, and what there was to say, as events; also when something raises."""
    with track_usage() as account:
        try:
            yield
        finally:
            tell(LMUsed(stage, account.usage))
            for message in account.notes:
                tell(Noted(stage, message))
