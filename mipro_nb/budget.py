"""The hard limits of a run: each try of a call sets its worst case aside before it is sent, and is settled after it.

So calls side by side can't overshoot. A try that doesn't fit waits until others are settled; if there are none, the run
is at its limit. What the run needs for its end is kept from the search.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol, cast

from mipro_nb.errors import ConfigError, LMError, LMUnavailable, UnknownPrompt
from mipro_nb.events import Usage
from mipro_nb.flow import ENDED, Stopped, ended, refuse
from mipro_nb.lm import LM
from mipro_nb.traffic import Attempt
from mipro_nb.usage import note

PER_CALL, PER_MESSAGE = 100, 16  # tokens that a server may put around prompts and messages
PER_SCHEMA = 600  # and around a schema: some make a tool of it
ROUNDING = 1e-9  # a share of an amount that adding up may cost
UNIT = {"max_calls": "{:,.0f}", "max_tokens": "{:,.0f}", "max_cost": "${:,.4f}", "max_seconds": "{:,.1f} s"}


@dataclass(frozen=True, slots=True)
class Amount:
    """Calls, tokens (prompt and completion), US dollars and seconds. Adds, and multiplies with a number."""

    calls: float = 0.0
    tokens: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return self.joined(other, lambda one, two: one + two)

    def __sub__(self, other: Amount) -> Amount:
        return self.joined(other, lambda one, two: one - two)

    def __mul__(self, times: float) -> Amount:
        return self.joined(self, lambda one, _: one * times)

    def joined(self, other: Amount, join: Callable[[float, float], float]) -> Amount:
        """Join two amounts part by part."""
        return Amount(*map(join, astuple(self), astuple(other)))


NAMES = ("max_calls", "max_tokens", "max_cost", "max_seconds")  # of the limits, in the order of an amount's parts


class OutOfBudget(Stopped):
    """A call was refused: a limit is reached. ``str()`` gives the reason.

    Attributes:
        share: whether something is left, which is kept for the end of the run.
    """

    def __init__(self, reason: str, *, share: bool = False) -> None:
        super().__init__(reason)
        self.share = share


def amount_of(usage: Usage) -> Amount:
    """Return what was used; an unknown cost counts as none."""
    return Amount(usage.calls, usage.prompt_tokens + usage.completion_tokens, usage.cost or 0.0)


def worst_case(
    lm: LM,
    messages: Sequence[Mapping[str, str]],
    sampling: Mapping[str, Any] | None = None,
    dearest: Callable[[LM], tuple[float, float, float] | None] = lambda lm: lm.dearest(),
) -> Amount:
    """Return what one try can use at most; infinite where that is unknown.

    A tokenizer that knows every byte makes no more tokens than there are bytes.

    Args:
        sampling: what is sent beside the messages; None: what the LM sends without a schema.
        dearest: gives the LM's prices.
    """
    sent = json.dumps(dict(sampling or {}), default=str)
    prompt = PER_CALL + len(sent) + (PER_SCHEMA if "response_format" in sent else 0)
    for message in messages:
        prompt += PER_MESSAGE + sum(len(text.encode("utf-8", "surrogatepass")) for text in message.values())
    longest, prices = lm.longest_answer(sampling), dearest(lm)
    most = math.inf if longest is None else longest
    cost = math.inf
    if prices is not None:
        cost = prices[0] + prompt * prices[1] + (most * prices[2] if prices[2] else 0.0)
    return Amount(1, prompt + most, cost)


class Ledger(Protocol):
    """Where it is kept, should the process be killed, what may have been billed: see ``journal.Journal``."""

    def begin(self, tokens: float, cost: float) -> int:
        """Note that a try is about to be sent, and what it may take at most; return its number."""

    def settle(self, number: int) -> None:
        """Note that it is known what a try has taken."""


class Budget:
    """Stands around every try of a run, see ``mipro_nb.traffic.Guard``, and keeps the run within its limits.

    Args:
        max_cost: US dollars, above 0.
        max_calls: 1 or more; tries that were surely not billed don't count.
        max_tokens: of prompts and answers together, 1 or more.
        max_seconds: of wall time, pauses included, above 0; no call begins later.
        before: what the run used in earlier sittings, which counts.
        doubtful: what else may have been billed in them, which counts too.
        seconds: how long these took.
        clock: gives seconds.

    Raises:
        ConfigError: there is a limit, and what was used before isn't known.

    Attributes:
        limits: what may be used, infinite where there is no limit.
        largest: the largest worst case of a try so far.
        ledger: told of each try, or None.
    """

    def __init__(
        self,
        max_cost: float | None = None,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_seconds: float | None = None,
        *,
        before: Usage | None = None,
        doubtful: Amount | None = None,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = (max_calls, max_tokens, max_cost, max_seconds)
        self.limits = Amount(*(math.inf if most is None else float(most) for most in given))
        self.limited = any(most is not None for most in given)
        self._paid = before if before is not None else Usage()
        doubtful = self._within(doubtful or Amount())
        unknown = Amount(cost=math.inf if self._paid.cost is None else 0.0) + doubtful
        for name, most, part in zip(NAMES, astuple(self.limits), astuple(unknown), strict=True):
            if math.isfinite(most) and not math.isfinite(part):
                raise ConfigError(f"{name}={most:g}: what the run has spent before isn't known; drop {name}.")
        self.largest, self.ledger = Amount(), cast("Ledger | None", None)
        self._spent, self._reserved, self._kept = amount_of(self._paid) + doubtful, Amount(), Amount()
        self._purpose = ""
        self._flying = 0
        self._changed = threading.Condition()
        self._beyond: dict[str, float] = {}  # by model: how many times its worst case an answer has taken
        self._said_doubtful = False
        self._dearest = functools.cache(lambda lm: lm.dearest())  # looking it up takes a tenth of a call's own time
        self._clock, self._seconds = clock, seconds
        self._since: float | None = None

    @property
    def paid(self) -> Usage:
        """What calls have used for sure, those of earlier sittings included; cached answers are not told."""
        return self._paid

    @property
    def spent(self) -> Amount:
        """What counts against the limits: what was paid, what may have been billed, and the time."""
        return Amount(self._spent.calls, self._spent.tokens, self._spent.cost, self.seconds)

    @property
    def seconds(self) -> float:
        """How long the run has gone on."""
        return self._seconds + (self._clock() - self._since if self._since is not None else 0.0)

    def begin(self) -> None:
        """Let the time run."""
        if self._since is None:
            self._since = self._clock()

    def rest(self) -> None:
        """Hold the time: the run has ended, and may be extended."""
        self._seconds, self._since = self.seconds, None

    def keep(self, amount: Amount, purpose: str = "later") -> None:
        """Keep so much for later: tries that would touch it are refused until less is kept."""
        with self._changed:
            self._kept, self._purpose = amount, purpose
            self._changed.notify_all()

    def lacking(self, amount: Amount) -> str | None:
        """Return why an amount doesn't fit any more, whatever is kept, or None."""
        with self._changed:
            short = self._short(amount, Amount())
            return self._told(short, amount, Amount(), "what is left to do") if short is not None else None

    def late(self) -> str | None:
        """Return the reason to end if the time is over."""
        return self._told(3, Amount(), Amount()) if self.seconds > self.limits.seconds else None

    @contextlib.contextmanager
    def around(self, attempt: Attempt) -> Iterator[None]:
        """Set aside what the try may use, or wait for it; settle what it has used.

        Raises:
            OutOfBudget: it can't fit any more.
            ConfigError: how much it may use isn't known.
        """
        most = self._need(attempt)
        need = self._within(most)
        self._reserve(need)
        ledger = self.ledger  # of a call that is left alone: that of an extension won't have its answer
        begun = ledger.begin(most.tokens, most.cost) if ledger is not None else 0
        used, settled = need, False
        try:
            yield
            used, settled = self._answered(attempt, need), True
        except (LMError, UnknownPrompt) as error:
            doubtful = isinstance(error, LMUnavailable) and error.perhaps_billed
            used, settled = (need, False) if doubtful else (Amount(), True)
            if doubtful:
                self._say_doubtful(attempt.lm, need)
            raise
        finally:
            if ledger is not None and settled:
                ledger.settle(begun)
            with self._changed:
                self._flying -= 1
                self._reserved = self._reserved - need if self._flying else Amount()
                self._spent += used
                self._changed.notify_all()

    def _need(self, attempt: Attempt) -> Amount:
        """The worst case of a try; larger if the LM has gone beyond it before."""
        if not self.limited and self.ledger is None:
            return Amount()
        most = worst_case(attempt.lm, attempt.messages, attempt.sampling, self._dearest)
        try:
            self.check(attempt.lm, most)
        except ConfigError as error:
            raise refuse(error) from None
        times = self._beyond.get(attempt.lm.model, 1.0)
        most = Amount(1, most.tokens * times, most.cost * times)
        self.largest = self.largest.joined(self._within(most), max)
        return most

    def _within(self, amount: Amount) -> Amount:
        """The parts of an amount for which there are limits."""
        return amount.joined(self.limits, lambda part, limit: part if math.isfinite(limit) else 0.0)

    def check(self, lm: LM, most: Amount) -> None:
        """Raise ConfigError where a limit can't be kept, because the worst case of a call isn't known."""
        for name, limit, part in zip(NAMES, astuple(self.limits), astuple(most), strict=True):
            if not math.isfinite(limit) or math.isfinite(part):
                continue
            if name == "max_cost" and lm.dearest() is None:
                told = f"the price of {lm.model!r} is unknown; drop max_cost. (max_calls and max_tokens need no price.)"
            else:
                told = (
                    f"the longest answer of {lm.model!r} is unknown; set it, as in mipro_nb.LM({lm.model!r}, "
                    "max_tokens=1000)."
                )
            raise ConfigError(f"{name}={limit:g}: {told}")

    def _reserve(self, need: Amount) -> None:
        with self._changed:
            while True:
                if ended():
                    raise refuse(Stopped(ENDED))
                short = self._short(need, self._kept)
                if short is None:
                    self._flying += 1
                    self._reserved += need
                    return
                if not self._flying or NAMES[short] == "max_seconds":
                    share = self._short(need, Amount()) is None
                    kept = self._kept if share else Amount()
                    raise refuse(OutOfBudget(self._told(short, need, kept), share=share))
                self._changed.wait(0.1)

    def _short(self, need: Amount, kept: Amount) -> int | None:
        """Return the place of the first limit that a need would go beyond, or None."""
        parts = astuple(self.spent + self._reserved + need + kept)
        limits = enumerate(zip(parts, astuple(self.limits), strict=True))
        return next((place for place, (part, limit) in limits if part > limit), None)

    def _told(self, place: int, need: Amount, kept: Amount, what: str = "the next call") -> str:
        name, limit = NAMES[place], astuple(self.limits)[place]
        spent, more, rest = (UNIT[name].format(astuple(one)[place]) for one in (self.spent, need, kept))
        told = f"{name}={'$' if name == 'max_cost' else ''}{limit:,g} is reached: {spent} "
        told += {"max_cost": "is spent", "max_seconds": "have passed"}.get(name, "so far")
        if name in ("max_cost", "max_tokens"):
            told += f", and {what} may {'cost' if name == 'max_cost' else 'take'} {more}"
        return told + (f", with {rest} kept for {self._purpose}" if astuple(kept)[place] else "")

    def _answered(self, attempt: Attempt, need: Amount) -> Amount:
        """Return what an answered try has used; what it doesn't tell counts as its worst case."""
        answer = attempt.answer
        if answer is None:  # a parameter was refused
            return Amount()
        calls = int(answer.get("calls", 1))  # of an example that a worker elsewhere ran
        used = Usage(calls, 0, answer["prompt"], answer["completion"], answer["cost"])
        tokens = used.prompt_tokens + used.completion_tokens
        with self._changed:
            self._paid = self._paid + used
        amount = Amount(calls, tokens or (need.tokens if calls else 0), need.cost if used.cost is None else used.cost)
        pairs = ((amount.tokens, need.tokens), (amount.cost, need.cost))
        times = max((part / most for part, most in pairs if most), default=1.0)
        if times > 1 + ROUNDING:
            self._say_beyond(attempt.lm, times)
        return amount

    def _say_beyond(self, lm: LM, times: float) -> None:
        with self._changed:
            first = lm.model not in self._beyond
            self._beyond[lm.model] = times * self._beyond.get(lm.model, 1.0)
        if first:
            note(
                f"an answer of {lm.model} took {times:.2g} times what its prompt and longest answer allow: from now on "
                "so much more is set aside for each call, but a limit may already be overshot."
            )

    def _say_doubtful(self, lm: LM, need: Amount) -> None:
        with self._changed:
            first, self._said_doubtful = not self._said_doubtful, True
        if first and self.limited:
            most = f"${need.cost:,.4f}" if math.isfinite(self.limits.cost) else f"{need.tokens:,.0f} tokens"
            note(
                f"a call to {lm.model} broke off without an answer and may be billed: its worst case, {most}, counts "
                "as used, here and whenever that happens."
            )
