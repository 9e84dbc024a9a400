"""What the log of a run tells, given out again while the run is repeated: resuming is replaying.

A run is a pure function of data, program, settings, seed and replies. So a resumed run begins at the beginning: what
its log holds isn't evaluated again, and what its journal holds isn't asked again, until both are used up.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mipro_nb import events as ev
from mipro_nb.eventlog import to_line
from mipro_nb.scoring import ExampleResult
from mipro_nb.search import Choice

Key = tuple[bool, tuple[int, ...], tuple[int, ...], int]  # on the test set or not, instructions, demos, example
OF_A_MOMENT = (ev.RunPaused, ev.ConcurrencyChanged)  # what doesn't come again when a run is repeated
FINISHED = "finished"
BY_HAND, BY_A_LIMIT = ("stopped: ", "interrupted"), "stopped: max_"  # beginnings of a run's reason
LATE = ExampleResult(-1, None, error="The run was stopped before it came in.")  # of a stopped search: not to be run
AROUND = (ev.LMUsed, ev.Noted)  # told just before an ExampleScored, they belong to it


@dataclasses.dataclass(frozen=True, slots=True)
class _Stop:
    """Where a run was stopped that was extended then: after so many results, at a turn, after so many extensions.

    There are two of a stop after which the best was evaluated: before that and after it.
    """

    results: int
    turn: int
    extension: int


class Past:
    """The events of a run's log.

    Args:
        events: in their order; none: the run is a new one.

    Attributes:
        started: the run's first event, or None.
        left_behind: whether something was told that isn't in the log.
        ahead: whether the log holds results and nothing else was asked for yet: what it tells is more than the run.
        usage: of all calls that the log tells of, but for those of a stopped run's evaluation of its best.
        retold_usage: of those calls that were told of again.
        seconds: that the run has gone on, the times between its processes not counted.
        ended: the reason of the run's end, if the log ends with it, or an empty text.
    """

    def __init__(self, events: Iterable[ev.Event] = ()) -> None:
        self.started: ev.RunStarted | None = None
        self.left_behind, self.ended = False, ""
        self.usage, self.retold_usage = ev.Usage(), ev.Usage()
        self.seconds, self._since = 0.0, 0.0
        self._told: dict[str, deque[ev.Event]] = defaultdict(deque)
        self._billed: dict[str, ev.Usage] = {}  # by stage: of the calls that the log tells of apart from examples
        self._own: dict[int, ev.Event] = {}  # by identity: those that the log holds
        self._results: dict[Key, deque[tuple[ev.Event, ...]]] = defaultdict(deque)
        self._spare: dict[Key, tuple[ev.Event, ...]] = {}  # of what was best at a stop: the run itself may not need it
        self._wishes: deque[ev.Wished] = deque()
        self._stops: deque[_Stop] = deque()
        self._rank: dict[int, int] = {}  # by identity: how many results the log tells before this one
        self._extended = 0
        self._read(events)
        self.ahead = bool(self._results)

    def _read(self, events: Iterable[ev.Event]) -> None:
        trials: dict[int, ev.TrialStarted] = {}
        lost: dict[int, list[tuple[Key, tuple[ev.Event, ...]]]] = defaultdict(list)
        before: list[ev.Event] = []
        aside: list[ev.Event] = []
        beside: dict[int, ev.TrialStarted] = {}
        stopped, settled, extensions = False, None, 0
        for event, spare in _parted(events):
            self.own(event)
            self._count(event)
            self.ended = event.reason if isinstance(event, ev.RunFinished) else ""
            if spare:
                aside = self._set_aside(event, aside, trials, beside)
                continue
            if isinstance(event, ev.LMUsed) and event.stage != ev.CUT_OFF:
                self.usage = self.usage + event.usage
            if isinstance(event, ev.ExampleScored):
                key = _key(trials[event.trial], event)
                block = (*before, event)
                self._rank[id(event)] = len(self._rank)
                self._results[key].append(block)
                if event.score is None:
                    lost[event.trial].append((key, block))
                before = []
                continue
            if isinstance(event, AROUND):
                if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
                    settled = len(self._rank)
                before.append(event)
                continue
            if isinstance(event, ev.RunResumed):  # it may part an example from what was told before it
                continue
            self._keep(before)
            before = []
            self._keep([event])
            match event:
                case ev.RunStarted():
                    self.started = event
                case ev.TrialStarted():
                    trials[event.trial] = event
                case ev.TrialFinished(failed=failed) if failed:
                    lost.pop(event.trial, None)  # the search was told that they failed
                case ev.Wished():
                    self._wishes.append(event)
                    if not _extends(event):
                        continue
                    if stopped:
                        ends = (len(self._rank),) if settled is None else (settled, len(self._rank))
                        self._stops += [_Stop(results, event.turn, extensions) for results in ends]
                    settled, extensions = None, extensions + 1
                case ev.RunFinished():
                    stopped = event.reason.startswith(BY_HAND) and not event.reason.startswith(BY_A_LIMIT)
        self._keep(before)
        self._spare = {key: block for key, block in self._spare.items() if key not in self._results}
        for key, block in (one for blocks in lost.values() for one in blocks):
            self._results[key].remove(block)  # to be tried again
            self._keep(event for event in block if isinstance(event, ev.LMUsed))

    def _set_aside(
        self,
        event: ev.Event,
        before: list[ev.Event],
        trials: Mapping[int, ev.TrialStarted],
        beside: dict[int, ev.TrialStarted],
    ) -> list[ev.Event]:
        """Take what a stopped run told of its best; return what belongs to the next event."""
        if isinstance(event, AROUND):
            return [*before, event]
        if isinstance(event, ev.TrialStarted):
            beside[event.trial] = event
        if isinstance(event, ev.ExampleScored) and event.score is not None:
            self._spare[_key(beside.get(event.trial) or trials[event.trial], event)] = (*before, event)
        return []

    def _count(self, event: ev.Event) -> None:
        if not isinstance(event, ev.RunResumed | ev.RunExtended) and self._since:
            self.seconds += max(0.0, event.at - self._since)
        self._since = 0.0 if isinstance(event, ev.RunFinished) else event.at  # until it goes on no time is its own

    def _keep(self, events: Iterable[ev.Event]) -> None:
        for event in events:
            if isinstance(event, OF_A_MOMENT) or (isinstance(event, ev.LMUsed) and event.stage == ev.CUT_OFF):
                continue
            self._told[_line(event)].append(event)
            if isinstance(event, ev.LMUsed):
                self._billed[event.stage] = self._billed.get(event.stage, ev.Usage()) + event.usage

    @property
    def answers(self) -> Iterator[str]:
        """What the results that are known stand on, of the journal's answers: see ``events.ExampleScored``."""
        for blocks in (*self._results.values(), self._spare.values()):
            for block in blocks:
                yield from (key for event in block if isinstance(event, ev.ExampleScored) for key in event.answers)

    def retold(self, event: ev.Event) -> ev.Event:
        """Return the log's own record of an event, with its time, where it holds one; each once."""
        if not self._told or id(event) in self._own:
            return event
        line = _line(event)
        known = self._told.get(line)
        if not known:
            return event
        found = known.popleft()
        if not known:
            del self._told[line]
        return found

    def bills(self, event: ev.LMUsed) -> list[ev.Event]:
        """Return what to tell of LM calls: as the log has it, as far as it tells of them, and the rest of them.

        Which of two that asked the same at once was told to have paid for it, may be another one this time.
        """
        if self.holds(event) or not _amount(event.usage):
            return [self.retold(event)]
        billed = self._billed.get(event.stage, ev.Usage())
        rest = event.usage.beyond(billed)
        known = event.usage.beyond(rest)
        if not _amount(known):
            return [event]
        self._billed[event.stage] = billed.beyond(known)
        if not _amount(rest) and self.holds(found := self.retold(event)):
            return [found]
        told = dataclasses.replace(event, usage=known)
        self.own(told)
        return [told, dataclasses.replace(event, usage=rest)] if _amount(rest) else [told]

    def own(self, event: ev.Event) -> None:
        """Take an event for one that the log holds: it isn't logged."""
        self._own[id(event)] = event

    def holds(self, event: ev.Event) -> bool:
        """Whether the log holds this very record."""
        return id(event) in self._own

    def result(self, tested: bool, choice: Choice, example: int) -> ExampleResult | None:
        """Return what came of an example under a combination, each time it was run.

        None: it is to be run. ``LATE``: it isn't, the search was stopped before.

        Args:
            tested: whether it is one of the test set.
        """
        key = tested, choice.instructions, choice.demos, example
        known = self._results.get(key)
        if not tested and self.stopped and not (known and self._rank[id(known[0][-1])] < self._stops[0].results):
            return LATE
        if not known:
            self.ahead = False
        if not known and key not in self._spare:
            return None
        told = known.popleft() if known else tuple(_anew(event) for event in self._spare.pop(key))
        scored = told[-1]
        assert isinstance(scored, ev.ExampleScored)
        return ExampleResult(example, scored.score, error=scored.error, feedback=scored.feedback, told=told)

    @property
    def stopped(self) -> bool:
        """Whether the search, as far as it is repeated, was stopped by somebody and extended then."""
        return bool(self._stops) and self._stops[0].extension == self._extended

    def stopped_at(self, turn: int) -> bool:
        """Whether that was at this turn (see ``events.Wished``)."""
        return self.stopped and self._stops[0].turn <= turn

    def pass_stop(self) -> None:
        """Go on to what came after the stop: an extension, or the evaluation of the best up to the next stop."""
        self._stops.popleft()

    def has(self, tested: bool, choice: Choice, example: int) -> bool:
        """Whether ``result`` would give one."""
        key = tested, choice.instructions, choice.demos, example
        return bool(self._results.get(key)) or key in self._spare

    def wishes(self, turn: int) -> Iterator[Mapping[str, Any]]:
        """Give the wishes that were granted while the search went on, up to a turn (see ``events.Wished``)."""
        while self._wishes and not self._wishes[0].ended and self._wishes[0].turn <= turn:
            yield self._wishes.popleft().wish

    @property
    def extends(self) -> bool:
        """Whether the log tells of an extension that wasn't told again yet."""
        return any(map(_extends, self._wishes))

    def extensions(self) -> Iterator[list[ev.Wished]]:
        """Give what each extension of the run after its end was told with: wishes since the end, and itself at last."""
        since: list[ev.Wished] = []
        while self._wishes:
            wished = self._wishes.popleft()
            if wished.ended:
                since.append(wished)
            if _extends(wished):
                self._extended += 1
                yield since
                since = []


def _parted(events: Iterable[ev.Event]) -> Iterator[tuple[ev.Event, bool]]:
    """Give events, and whether each tells of the best of a stopped run alone: one that wasn't extended then."""
    held: list[ev.Event] | None = None
    for event in events:
        if held is not None and isinstance(event, ev.RunResumed | ev.RunExtended):
            yield from _held(held, spare=isinstance(event, ev.RunResumed))
            held = None
        if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
            held = held or []
        if held is None:
            yield event, False
        else:
            held.append(event)
    yield from _held(held or [], spare=True)


def _held(events: Iterable[ev.Event], *, spare: bool) -> Iterator[tuple[ev.Event, bool]]:
    for event in events:
        yield event, spare and not isinstance(event, ev.RunFinished)


def _key(trial: ev.TrialStarted, scored: ev.ExampleScored) -> Key:
    return trial.kind.startswith("test"), trial.instructions, trial.demos, scored.example


def _extends(wished: ev.Wished) -> bool:
    """Whether it let a run that had ended go on."""
    return wished.ended and wished.wish["kind"] == "extend"


def _amount(usage: ev.Usage) -> int:
    """Return how much there is to tell; 0: nothing."""
    return usage.calls + usage.cached_calls + usage.prompt_tokens + usage.completion_tokens


def _anew(event: ev.Event) -> ev.Event:
    return dataclasses.replace(event, at=time.time())


class Retelling(ev.Emitter):
    """An Emitter for a run that may be a resumed one: what the log holds is told as the log has it.

    Attributes:
        past: what the log holds.
    """

    past = Past()

    def __call__(self, event: ev.Event) -> None:
        for found in self._found(event):
            if self.past.started is not None and not self.past.holds(found):
                self.go_on()
            if isinstance(found, ev.LMUsed) and found.stage != ev.CUT_OFF and self.past.holds(found):
                self.past.retold_usage = self.past.retold_usage + found.usage
            super().__call__(found)

    def _found(self, event: ev.Event) -> list[ev.Event]:
        if isinstance(event, ev.LMUsed):
            return self.past.bills(event)
        return [self._end(event) if isinstance(event, ev.RunFinished) else self.past.retold(event)]

    def go_on(self) -> None:
        """Tell, once, that the run goes on from its log."""
        if not self.past.left_behind:
            self.past.left_behind = True
            super().__call__(ev.RunResumed())

    def _end(self, event: ev.RunFinished) -> ev.Event:
        """Return what to tell of the end; where nothing new came of a run that had ended, its log stays as it is."""
        news = self.past.left_behind or (event.reason == FINISHED and self.past.ended != FINISHED)
        if news or not self.past.ended:
            return event
        found = self.past.retold(event)
        self.past.own(found)
        return found


def _line(event: ev.Event) -> str:
    return to_line(dataclasses.replace(event, at=0.0))
