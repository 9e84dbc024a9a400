"""What a run may spend and has spent, over all its sittings: its limits, what is kept of them, what its log tells."""

from __future__ import annotations

import dataclasses

from mipro_nb import events as ev
from mipro_nb.funds import Funds, budget_of, doubt, doubt_told
from mipro_nb.history import History
from mipro_nb.journal import Journal
from mipro_nb.past import FINISHED, Past, Retelling
from mipro_nb.plan import Job
from mipro_nb.rundir import RunDirectory


class Spending:
    """The account of a run. A listener of it.

    Attributes:
        budget: the limits, and what was taken of them.
        funds: what is kept for later stages.
    """

    def __init__(self, job: Job, history: History, emit: Retelling) -> None:
        self._job, self._history, self._emit = job, history, emit
        self._doubt = ""  # to be told of, once a resumed run is further than before
        self.budget = budget_of(job.options)
        self.funds = Funds(job, history, self.budget)

    def __call__(self, event: ev.Event) -> None:
        self.funds(event)

    def resume(self, journal: Journal, seconds: float) -> None:
        """Take over what a resumed run has spent before.

        Raises:
            ConfigError: a limit can't be kept, as it isn't known what was spent.
        """
        doubtful = doubt(journal.doubtful)
        self.budget = budget_of(self._job.options, journal.spent, doubtful, seconds)
        self.funds = Funds(self._job, self._history, self.budget)
        self._doubt = doubt_told(doubtful) if doubtful.calls else ""

    def tell_doubt(self) -> None:
        """Say, once, what else may have been billed for a run that was killed."""
        if self._doubt and self._emit.past.left_behind:
            told, self._doubt = self._doubt, ""
            if told not in (note.message for note in self._history.notes):
                self._emit(ev.Noted("run", told))

    def close(self, reason: str, home: RunDirectory | None) -> None:
        """Tell of the calls for examples that the end cut off: they were paid for.

        A run that goes on tells of them again, with their examples; so they are booked apart, see ``events.CUT_OFF``.

        Args:
            reason: why the run ends.
            home: its directory; its log alone is told what the run will tell when it has come as far as before.
        """
        past, paid = self._emit.past, self.budget.paid
        self.budget.rest()
        retold = past.started is not None and not past.left_behind
        if past.ahead and home is not None and not (retold and past.ended):
            self._emit.go_on()
            untold = _more(paid, past.usage)
            if untold.calls:
                home(ev.LMUsed(ev.CUT_OFF, untold))
        if past.ahead or (retold and reason != FINISHED):
            return  # what was paid for isn't all told yet
        self._retell(past)
        missing = _more(paid, self._history.usage)
        if missing.calls:
            cut_off = ev.LMUsed(ev.CUT_OFF, missing)
            if retold and past.ended == reason:
                past.own(cut_off)
            self._emit(cut_off)

    def _retell(self, past: Past) -> None:
        """Tell what the log tells of and this time wasn't asked for, such as the end that a limit had brought on."""
        logged, missing = _more(past.usage, past.retold_usage), _more(self.budget.paid, self._history.usage)
        usage = _more(logged, logged.beyond(missing))  # as much of it as is missing
        if usage.calls:
            known = ev.LMUsed(ev.CUT_OFF, usage)
            past.own(known)
            past.retold_usage = past.usage
            self._emit(known)


def _more(whole: ev.Usage, part: ev.Usage) -> ev.Usage:
    """Return what the whole is more than a part of it; cached calls aside."""
    return dataclasses.replace(whole.beyond(part), cached_calls=0)
