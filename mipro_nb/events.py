"""What happens in a run, as frozen records of plain values.

Events are the truth: every table, chart, total and saved run is derived from them (see
``history``). They hold numbers, strings and ids; no objects, no keys, no exceptions.

Score is a fraction in [0, 1] everywhere; ``None`` means missing (a failed call), never 0.
Times are seconds since the epoch, cost is in US dollars and ``None`` when a price is unknown.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mipro_nb.errors import LoadError, nearest
from mipro_nb.verdict import Verdict

logger = logging.getLogger(__name__)

LATEST = 1e11  # seconds since the epoch: what is no time of a run
CUT_OFF = "cut off"  # instead of a stage: calls of examples that a stop cut off; a resumed run tells of them anew
KEY = 16  # characters of a request's key (hex digits) that tell it from all others of a run
SETTLING = "stopping"  # as stage of a Noted: from here to its end a stopped run evaluates its best; resumed it doesn't
FULL = ("baseline", "full")  # kinds of trials that stand on the whole validation set


@dataclass(frozen=True, slots=True)
class Usage:
    """What LM calls used. Adds up with ``+``; an unknown cost stays unknown.

    Attributes:
        calls: calls that reached the LM.
        cached_calls: calls answered from the cache, at no cost.
        prompt_tokens, completion_tokens: of the calls that reached the LM.
        cost: US dollars; None when some price is unknown.
    """

    calls: int = 0
    cached_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        known = self.cost is not None and other.cost is not None
        return Usage(
            self.calls + other.calls,
            self.cached_calls + other.cached_calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            (self.cost or 0.0) + (other.cost or 0.0) if known else None,
        )

    def beyond(self, part: Usage) -> Usage:
        """Return what this is more than a part of it; nothing of it is less than 0."""
        known = self.cost is not None and part.cost is not None
        return Usage(
            max(0, self.calls - part.calls),
            max(0, self.cached_calls - part.cached_calls),
            max(0, self.prompt_tokens - part.prompt_tokens),
            max(0, self.completion_tokens - part.completion_tokens),
            max(0.0, (self.cost or 0.0) - (part.cost or 0.0)) if known else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events; ``at`` is when it happened and doesn't count for equality."""

    at: float = field(default_factory=time.time, compare=False)


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins: its identity, settings (``MIPROv2.get_params()``), plan and data sizes.

    ``signatures`` holds each predictor's signature as plain values, so that prompts can be rebuilt from the events.
    """

    run_id: str
    program: str
    predictors: tuple[str, ...]
    settings: Mapping[str, Any]
    plan: Mapping[str, Any]
    sizes: Mapping[str, int]
    versions: Mapping[str, str]
    signatures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A stage begins: bootstrap, propose, search or verdict; ``total`` counts its sets, instructions, evaluations."""

    stage: str
    total: int


@dataclass(frozen=True, slots=True)
class LMUsed(Event):
    """LM calls were made in a stage: an increment, not a total."""

    stage: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class ExampleBootstrapped(Event):
    """The teacher tried a training example; ``kept`` says whether its trace became a demo, ``why`` why not."""

    example: int
    score: float | None
    kept: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class DemosBootstrapped(Event):
    """A demo set of one predictor is ready.

    Attributes:
        origin: ``none``, ``student``, ``labeled``, ``bootstrapped``, ``shuffled``; ``recombined`` from the traces of
            other sets; ``harder``, of examples that only the best program so far solved.
        demos: the fields of each demo; ``bootstrapped`` counts those that are the teacher's traces.
    """

    predictor: str
    index: int
    origin: str
    demos: tuple[Mapping[str, Any], ...]
    bootstrapped: int


@dataclass(frozen=True, slots=True)
class InstructionProposed(Event):
    """A candidate instruction of one predictor.

    Attributes:
        origin: ``original``; ``proposed``, ``rewritten``, ``combined`` or ``fixed`` by an LM; ``added`` by a person.
        round: 0 before the search; those of the search are counted from 1.
        kind, tip, temperature, summary, demos: how the LM was asked, see ``learning.Approach``; of an instruction that
            no LM wrote, and in logs of older versions, they are empty or None.
        parents: indices of the instructions that it was made from.
    """

    predictor: str
    index: int
    text: str
    origin: str
    tip: str = ""
    round: int = 0
    kind: str = ""
    temperature: float | None = None
    summary: bool | None = None
    demos: bool | None = None
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialStarted(Event):
    """A combination goes to evaluation, or on with it.

    Attributes:
        trial: number from 0, in order of start.
        kind: ``baseline``, ``minibatch``, ``full``, ``test_baseline`` or ``test_best``; ``partial``, of a trial that
            may be started again with more examples, in which case it has the same number.
        instructions, demos: one index per predictor; ``demos`` is empty in a zero-shot run.
        examples: how many examples the score will stand on; ``new`` how many of them must be run.
    """

    trial: int
    kind: str
    instructions: tuple[int, ...]
    demos: tuple[int, ...]
    examples: int
    new: int


@dataclass(frozen=True, slots=True)
class ExampleScored(Event):
    """One example of a trial was run; ``score`` None means that the call failed for good.

    Attributes:
        output: what the program returned, as text.
        calls: per LM call of the program its ``predictor``, ``inputs``, ``replies`` (two after a repair), the
            ``digest`` of its messages, and ``messages`` where they can't be rebuilt.
        answers: which answers of the run's journal these calls took, of those that weren't free: the first ``KEY``
            characters of the requests' keys.
    """

    trial: int
    example: int
    score: float | None
    error: str = ""
    feedback: str = ""
    output: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialFinished(Event):
    """A trial's score: the mean over ``examples`` examples; ``failed`` are missing from it."""

    trial: int
    score: float | None
    examples: int
    failed: int


@dataclass(frozen=True, slots=True)
class PosteriorUpdated(Event):
    """What ``search="paired"`` makes of all results so far; means with 95% intervals, of scores as fractions.

    Attributes:
        instructions, demos: the leader: the combination that would be returned now.
        score, baseline: of the leader, and of the program as it was given: ``mean``, ``low``, ``high``.
        gain: the same of their difference, and ``better``, the probability that it is above 0.
        sources: the gain of the leader's instructions alone (``instructions``), its demos alone (``demos``), and of
            both (``both``): ``mean``, ``low``, ``high``; empty when nothing of the kind was changed.
        candidates: of each part ``place`` (of its predictor), ``kind`` (instruction or demos), ``index``, and the
            score of the leader with this part put in, tried or not: ``mean``, ``low``, ``high``; ``gain`` over the
            part that the program was given, with its standard ``error``.
        simplest: a combination with a shorter prompt whose score is within the noise of the leader's, or empty:
            ``instructions``, ``demos``, ``score`` (as above), ``loss`` (the leader's score minus its own: mean, low,
            high), ``tokens`` and ``best_tokens``, of its prompts and the leader's, about.
        evaluations: how many results it stands on.
    """

    instructions: tuple[int, ...]
    demos: tuple[int, ...]
    score: Mapping[str, float]
    baseline: Mapping[str, float]
    gain: Mapping[str, float]
    sources: Mapping[str, Mapping[str, float]]
    candidates: tuple[Mapping[str, Any], ...]
    simplest: Mapping[str, Any]
    evaluations: int


@dataclass(frozen=True, slots=True)
class CandidateBanned(Event):
    """A person took an instruction or demo set (``kind``) of a predictor out of the search."""

    predictor: str
    kind: str
    index: int


@dataclass(frozen=True, slots=True)
class VerdictReached(Event):
    """The judgement on the sealed test set."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something that a person should know: a proposal dropped, a parameter refused, a sample taken."""

    stage: str
    message: str


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """No new call is made from now on (``paused``), or work goes on (not ``paused``).

    ``reason`` says in words why a run pauses by itself, again and again as that changes; a person's pause has none.
    """

    paused: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConcurrencyChanged(Event):
    """So many calls to a model (``limit``, 1 or more) may be in flight from now on; at first as many as threads."""

    limit: int
    model: str = ""


@dataclass(frozen=True, slots=True)
class RunExtended(Event):
    """More combinations are tried than planned; a run that had ended goes on.

    ``evaluations`` is what the search's stage counts more, at most, see ``StageStarted``.
    """

    num_trials: int
    evaluations: int


@dataclass(frozen=True, slots=True)
class Wished(Event):
    """What a person asked for in mid-run was granted.

    Attributes:
        turn: rounds of the search that had begun or ended by then, and rounds of proposals that had ended; a resumed
            run grants it at the same turn.
        wish: ``kind`` (extend, add or ban), and its values: ``num_trials``; ``predictor`` and ``text``;
            ``predictor``, ``what`` and ``index``.
        ended: whether the run had ended, and goes on with it.
    """

    turn: int
    wish: Mapping[str, Any]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """A run that had ended, or whose process did, goes on from its run directory."""


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A run ends; ``reason`` is ``finished``, ``stopped: ...``, ``interrupted`` or ``failed: ...``."""

    reason: str


class Listener(Protocol):
    """Anything that can be called with an event. It must return soon; if it raises it is dropped."""

    def __call__(self, event: Event, /) -> None: ...


class Emitter:
    """Hands every event to every listener, in order. A listener that raises is logged once and dropped."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = list(listeners)
        self.lock = threading.RLock()  # held while an event is told: who joins can know what was before

    def add(self, listener: Listener) -> None:
        """Hand it all further events."""
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Hand it no more events."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def __call__(self, event: Event) -> None:
        with self.lock:
            for listener in list(self._listeners):
                try:
                    listener(event)
                except Exception:
                    logger.exception("a listener failed and gets no more events; the run goes on: %r", listener)
                    self.remove(listener)


KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}


def to_json(event: Event) -> dict[str, Any]:
    """Return plain values, with the event's name under ``"event"``."""
    return {"event": type(event).__name__, **dataclasses.asdict(event)}


def from_json(saved: Mapping[str, Any]) -> Event:
    """Rebuild an event; LoadError for a name or field that isn't known."""
    if not isinstance(saved, Mapping):
        raise LoadError(f"an event is a JSON object; {type(saved).__name__} given.")
    values = dict(saved)
    name = values.pop("event", None)
    if not isinstance(name, str) or name not in KINDS:
        raise LoadError(f"event {name!r} is not known; accepted: {', '.join(KINDS)}.{nearest(name, KINDS)}")
    at = values.get("at", 0.0)
    if not isinstance(at, int | float) or not 0 <= at < LATEST:
        raise LoadError(f"event {name!r} has no time: at={at!r:.80}; seconds since the epoch are needed.")
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        if name == LMUsed.__name__:
            frozen["usage"] = Usage(**values["usage"])
        if name == VerdictReached.__name__:
            frozen["verdict"] = Verdict(**values["verdict"])
        kind: Any = KINDS[name]
        found: Event = kind(**frozen)
        return found
    except (TypeError, KeyError) as error:
        raise LoadError(f"event {name!r} has other fields than this version knows: {error}.") from error
