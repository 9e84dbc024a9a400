"""How many calls to an LM may be in flight, and whether it answers at all: two small machines without a clock.

Calls in flight follow additive increase and multiplicative decrease (Chiu and Jain, 1989): a rate limit or a timeout
halves how many there may be, answers raise it one by one. Failures in a row are an outage: the calls wait, one at a
time goes through at growing intervals, and when one is answered the others follow.
"""

from __future__ import annotations

FIRST_WAIT = 1.0  # seconds from the beginning of an outage to the first probe; doubles with each
LONGEST_WAIT = 60.0  # seconds between two probes, unless the server asks for more
RESTART = 4  # after an outage one in so many of the calls goes on at first


class Throttle:
    """How many calls to an LM may be in flight.

    Args:
        most: at first, and at most; 1 or more.

    Attributes:
        limit: how many may be now.
        generation: grows each time the limit is lowered. What was in flight then says nothing about the new limit.
    """

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.generation = self._answers = 0

    def answered(self) -> None:
        """Take an answer: after as many as the limit it is raised by one."""
        self._answers += 1
        if self._answers >= self.limit:
            self.limit, self._answers = min(self.most, self.limit + 1), 0

    def strained(self, generation: int) -> None:
        """Take a rate limit or timeout of a call that began in this generation: halve the limit, once."""
        if generation == self.generation:
            self._lower(self.limit // 2)

    def restart(self) -> None:
        """Begin low after an outage: a server that comes back is not to meet everybody at once."""
        self._lower(min(self.limit, self.most // RESTART))

    def _lower(self, limit: int) -> None:
        self.limit, self._answers = max(1, limit), 0
        self.generation += 1


class Breaker:
    """Tells an outage from failures of single calls, and says when to try again. Times are seconds of any one clock.

    Args:
        row: failures in a row that are an outage, if not all are of the same call: a prompt that breaks the server
            fails alone.
        longest: seconds that an outage may last.

    Attributes:
        reason: what to tell people during an outage; empty: there is none.
        over: whether it has lasted too long.
    """

    def __init__(self, row: int, longest: float) -> None:
        self._enough, self._longest = row, longest
        self.answered()

    @property
    def down(self) -> bool:
        """Whether there is an outage."""
        return bool(self.reason)

    def answered(self) -> None:
        """Take an answer: there is no outage (any more)."""
        self.reason, self.over = "", False
        self._row, self._calls = 0, set[int]()
        self._since = self._due = 0.0
        self._wait, self._probing = FIRST_WAIT, False

    def failed(self, call: int, now: float, asked: float) -> bool:
        """Take a failure; return whether it is the outage's, and not the call's own.

        Args:
            call: tells calls apart.
            asked: seconds that the server asked to wait, or 0.
        """
        if not self.down:
            self._row += 1
            self._calls.add(call)
            if self._row < self._enough or len(self._calls) < 2:
                return False
            self._since = now
            self._plan(now, asked)
        return True

    def probe(self, now: float) -> bool:
        """Whether a call may go through now, to see if the LM answers; it must be told how that went."""
        if self._probing or self.over or now < self._due:
            return False
        self._probing = True
        return True

    def probed(self, now: float, asked: float) -> None:
        """Take a probe's failure."""
        self._probing = False
        self.over = now - self._since >= self._longest
        self._wait = min(LONGEST_WAIT, 2 * self._wait)
        self._plan(now, asked)

    def dropped(self) -> None:
        """Take a probe that ended without saying anything of the LM."""
        self._probing = False

    def hurry(self, now: float) -> None:
        """Let the next probe go now."""
        self._due = min(self._due, now)

    def _plan(self, now: float, asked: float) -> None:
        left = max(0.0, self._since + self._longest - now)  # the last try comes at the very end
        wait = min(left, max(self._wait, asked))
        self._due = now + wait
        self.reason = f"the LM doesn't answer; next try in {span(wait)}"


def span(seconds: float) -> str:
    """Write seconds as whole minutes where they are, else as seconds: ``60 min``, ``90 s``, ``0.5 s``."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 and seconds % 60 == 0 else f"{float(f'{seconds:.2g}'):g} s"
