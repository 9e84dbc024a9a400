"""History: the fold of a run's events into trials, candidates, best and cost.

The same History serves the terminal, the notebook, DataFrames, reports and resuming: feed it
events live (it is a Listener), or read a finished run with ``History.read``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mipro_nb import events as ev
from mipro_nb import frames, reading
from mipro_nb.errors import LoadError, nearest
from mipro_nb.eventlist import HELD, EventList, ExampleRecord
from mipro_nb.eventlog import EVENTS, SURROGATES, to_line
from mipro_nb.verdict import BOOLEANS, Verdict, interval, spread_of

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

DAMAGED = (ValueError, TypeError, AttributeError, RecursionError)  # what a line that is no event makes Python say
CUT = (
    "%s: the last line is cut off, as a crash or a full disk leaves it, or is being written; it is dropped. "
    "%s events before it are read."
)
Spent = dict[str, tuple[int, int, int, int, float | None]]  # fields of Usage, by stage
TURNS = (ev.StageStarted, ev.RunPaused, ev.RunFinished, ev.RunExtended, ev.RunResumed)
COVERAGE = 0.9  # share of the examples that two trials must both be scored on to be compared


Choice = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(slots=True)
class TrialRecord:
    """One trial as known so far.

    Attributes:
        number, kind, instructions, demos, planned (``examples`` there), new: as in ``events.TrialStarted``.
        score: mean over ``examples`` examples, or None while running or when all failed.
        low, high: the score's 95% interval, see ``verdict.interval``; ``spread`` as there.
        best_so_far: the score of the best full trial when this one finished; with a posterior, its leader's mean while
            this was the newest trial.
        graded: whether a score is neither 0 nor 1.
        scored: per example id this trial's latest result, an ``ExampleRecord``.
    """

    number: int
    kind: str
    instructions: tuple[int, ...]
    demos: tuple[int, ...]
    planned: int
    new: int = 0
    score: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    examples: int = 0
    failed: int = 0
    best_so_far: float | None = None
    finished: bool = False
    graded: bool = False
    scored: dict[int, ExampleRecord] = field(default_factory=dict, repr=False)

    @property
    def choice(self) -> Choice:
        """The combination: its instructions and demos."""
        return self.instructions, self.demos

    @property
    def tested(self) -> bool:
        """Whether it is one on the test set."""
        return self.kind.startswith("test")


@dataclass(slots=True)
class _Before:
    """How things stood before a stopped run evaluated its best: its trials as they were, None where there was none."""

    posterior: ev.PosteriorUpdated | None
    best: int | None
    baseline: int | None
    newest: int | None
    spent: Spent
    trials: dict[int, TrialRecord | None] = field(default_factory=dict)


class History:
    """Everything a run has told so far. One thread feeds it; any thread may read.

    A listener: ``compile(..., listeners=[history])``. ``run.history`` is a run's own, ``History.read`` a saved one's.

    Args:
        events: to begin with, see ``mipro_nb.events``.

    Attributes:
        events: all of them, in order; a list that reads those of long ago from the run's log.
        started, stages, bootstrap_attempts, demo_sets, instructions, notes, reason: as the events told.
        trials_by_number: every trial by its number, those on the test set too.
        baseline: the full evaluation of the program as it was given, a ``TrialRecord``, or None before it is finished.
        best: the best trial so far, a ``TrialRecord``, or None. With a ``posterior`` its leader. Else the best fully
            evaluated one; of equals the earliest, so that the baseline must be beaten. Trials that miss examples
            (failed calls) are compared on those that both were scored on.
        posterior: what the search makes of all results so far, a ``mipro_nb.events.PosteriorUpdated``, or None.
        concurrency: by model, how many calls may be in flight, once that isn't the number of threads any more.
        turns: the events at which work began, stopped or changed, each with ``latest`` as of before.
        latest: the latest time of an event, in seconds since the epoch.
        banned: what people took out of the search, see ``mipro_nb.events.CandidateBanned``.

    >>> import mipro_nb as mn
    >>> from mipro_nb import events as ev
    >>> history = mn.History([ev.StageStarted("search", 3), ev.TrialStarted(0, "baseline", (0,), (), 2, 2)])
    >>> history(ev.TrialFinished(0, 0.5, 2, 0))
    >>> history.best.score, history.stage
    (0.5, 'search')
    """

    def __init__(self, events: Iterable[ev.Event] = ()) -> None:
        self.events = EventList()
        self.started: ev.RunStarted | None = None
        self.stages: dict[str, ev.StageStarted] = {}
        self._spent: Spent = {}
        self.bootstrap_attempts: list[ev.ExampleBootstrapped] = []
        self.demo_sets: list[ev.DemosBootstrapped] = []
        self.instructions: list[ev.InstructionProposed] = []
        self.trials_by_number: dict[int, TrialRecord] = {}
        self._by_choice: dict[Choice, list[int]] = {}  # the search's trials, by number
        self._newest: int | None = None  # trial of the search
        self.baseline: TrialRecord | None = None
        self.best: TrialRecord | None = None
        self.posterior: ev.PosteriorUpdated | None = None
        self.banned: list[ev.CandidateBanned] = []
        self.notes: list[ev.Noted] = []
        self._verdict: tuple[Verdict, Choice | None] | None = None
        self.reason: str | None = None
        self._held: float | None = None
        self._why_held = ""
        self.concurrency: dict[str, int] = {}
        self._idle: dict[str, float] = {}
        self._away = 0.0  # seconds between its processes, and between an end and an extension
        self.latest = 0.0
        self.turns: list[tuple[ev.Event, float]] = []
        self._before_settling: _Before | None = None
        for event in events:
            self(event)

    def __call__(self, event: ev.Event) -> None:
        """Fold one event in. The start of another run begins anew."""
        if isinstance(event, ev.RunStarted) and self.started is not None:
            self.__init__()  # type: ignore[misc]
        self.events.append(event)
        self._fold(event, len(self.events) - 1)

    def become(self, other: History) -> None:
        """Tell from now on what another history tells; both then share all that they know."""
        vars(self).update(vars(other))

    def _fold(self, event: ev.Event, number: int) -> None:
        before, self.latest = self.latest, max(self.latest, event.at)
        if isinstance(event, TURNS):
            self.turns.append((event, before))
        match event:
            case ev.RunStarted():
                self.started = event
            case ev.StageStarted():
                self.stages[event.stage] = event
            case ev.LMUsed():
                used = event.usage
                tokens = used.prompt_tokens, used.completion_tokens
                self._spend(event.stage, used.calls, used.cached_calls, *tokens, used.cost)
            case ev.ExampleBootstrapped():
                self.bootstrap_attempts.append(event)
            case ev.DemosBootstrapped():
                self.demo_sets.append(event)
            case ev.InstructionProposed():
                self.instructions.append(event)
            case ev.ExampleScored():
                self._score(event.trial, event.example, event.score, number)
            case ev.TrialStarted():
                self._start_trial(event)
            case ev.TrialFinished():
                self._finish_trial(event)
            case ev.PosteriorUpdated():
                self._lead(event)
            case ev.CandidateBanned():
                self.banned.append(event)
            case ev.Noted():
                self.notes.append(event)
                self._settle(event)
            case ev.VerdictReached():
                self._verdict = event.verdict, self._chosen()
            case ev.RunFinished():
                self.reason = event.reason
                self._hold(event.at)
            case ev.RunPaused():
                self._why_held = event.reason
                self._hold(event.at) if event.paused else self._go_on(event.at)
            case ev.ConcurrencyChanged():
                self.concurrency[event.model] = event.limit
            case ev.RunExtended():
                self._before_settling = None
                self._away += max(0.0, event.at - before) if self.reason is not None else 0.0
                self._extend(event)
            case ev.RunResumed():
                self._unsettle()
                self._away += max(0.0, event.at - before) if number else 0.0
                self._hold(before if number else event.at)
                self._go_on(event.at)
                self.reason = None
                self._spent.pop(ev.CUT_OFF, None)

    def _hold(self, at: float) -> None:
        self._held = at if self._held is None else self._held

    def _go_on(self, at: float) -> None:
        if self._held is not None and self.stage is not None:
            self._idle[self.stage] = self._idle.get(self.stage, 0.0) + at - self._held
        self._held = None

    def _extend(self, event: ev.RunExtended) -> None:
        """The search goes on; what came after it doesn't count for its pace."""
        search, verdict = self.stages.pop("search"), self.stages.pop("verdict", None)
        self.stages["search"] = dataclasses.replace(search, total=search.total + event.evaluations)
        if self.reason is not None:  # it had ended; a pause goes on as it is
            self._held = verdict.at if verdict is not None else self._held
            self._go_on(event.at)
        self.reason = None

    @property
    def verdict(self) -> Verdict | None:
        """The judgement on the sealed test set, a ``mipro_nb.verdict.Verdict``; None unless about the best program."""
        return self._verdict[0] if self._verdict is not None and self._verdict[1] == self._chosen() else None

    def _chosen(self) -> Choice | None:
        return self.best.choice if self.best is not None else None

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return self._held is not None and self.reason is None

    @property
    def pause_reason(self) -> str:
        """Why the run has paused by itself, in words; empty while it works, and in a pause that a person asked for."""
        return self._why_held if self.paused else ""

    def working_seconds(self, now: float) -> float:
        """Seconds that the present stage has worked until ``now`` (since the epoch), pauses not counted.

        0 before the first stage.
        """
        stage = self.stages.get(self.stage or "")
        until = self._held if self._held is not None else now
        return max(0.0, until - stage.at - self._idle.get(stage.stage, 0.0)) if stage else 0.0

    def _spend(
        self, stage: str, calls: int, cached_calls: int, prompt_tokens: int, completion_tokens: int, cost: float | None
    ) -> None:
        """Add to a stage's use; as plain numbers, since a long run has millions of such additions."""
        a, b, c, d, dollars = self._spent.get(stage, (0, 0, 0, 0, 0.0))
        together = dollars + cost if dollars is not None and cost is not None else None
        self._spent[stage] = a + calls, b + cached_calls, c + prompt_tokens, d + completion_tokens, together

    def _score(self, trial: int, example: int, score: float | None, number: int) -> None:
        """Take the result of an example, which the event with this number told."""
        taken = self.trials_by_number[trial]
        taken.scored[example] = ExampleRecord(example, score, self.events, number)
        taken.graded = taken.graded or (score is not None and score not in BOOLEANS)

    def _settle(self, event: ev.Noted) -> None:
        """From here on a stopped run evaluates its best, which is not a part of the run if it is resumed."""
        if event.stage == ev.SETTLING and self._before_settling is None:
            best, baseline = (one.number if one is not None else None for one in (self.best, self.baseline))
            self._before_settling = _Before(self.posterior, best, baseline, self._newest, dict(self._spent))

    def _unsettle(self) -> None:
        """A run is resumed: it tells anew what it needs of the evaluation of its best at the stop."""
        before, self._before_settling = self._before_settling, None
        if before is None:
            return
        for number, trial in before.trials.items():
            if trial is None:
                self._drop(self.trials_by_number.pop(number))
            else:
                self.trials_by_number[number] = trial
        known = self.trials_by_number
        self.posterior, self._newest, self._spent = before.posterior, before.newest, before.spent
        self.best = known[before.best] if before.best is not None else None
        self.baseline = known[before.baseline] if before.baseline is not None else None

    def _start_trial(self, event: ev.TrialStarted) -> None:
        before = self.trials_by_number.get(event.trial)  # a trial that a stop cut off goes on
        if self._before_settling is not None and event.trial not in self._before_settling.trials:
            kept = dataclasses.replace(before, scored=dict(before.scored)) if before is not None else None
            self._before_settling.trials[event.trial] = kept
        trial = TrialRecord(event.trial, event.kind, event.instructions, event.demos, event.examples, event.new)
        if before is not None and (before.choice, before.tested) != (trial.choice, trial.tested):
            self._drop(before)
            before = None
        self.trials_by_number[event.trial] = trial
        if before is not None:
            self._go_on_with(trial, before)
        elif not trial.tested:
            self._by_choice.setdefault(trial.choice, []).append(trial.number)
            self._newest = trial.number
        self._mark_best(trial)

    def _drop(self, trial: TrialRecord) -> None:
        """Forget a trial: a resumed run that is allowed more than before has taken another way."""
        numbers = self._by_choice.get(trial.choice, [])
        if trial.number in numbers:
            numbers.remove(trial.number)
        self.baseline = None if self.baseline is trial else self.baseline
        if self.best is trial:
            self.best = None
            for one in self.trials:
                if one is not trial and one.finished:
                    self._crown(one)

    def _finish_trial(self, event: ev.TrialFinished) -> None:
        trial = self.trials_by_number[event.trial]
        if event.examples < trial.examples:  # a resumed run was stopped before it came as far again
            return
        trial.score, trial.examples, trial.failed = event.score, event.examples, event.failed
        if event.score is not None:
            trial.spread = self._spread(trial)
            trial.low, trial.high = interval(event.score, event.examples, trial.spread)
        if self.posterior is None:
            self._crown(trial)
        if trial.kind == "baseline" and trial.score is not None:
            self.baseline = trial
        self._mark_best(trial)
        trial.finished = True

    def _crown(self, trial: TrialRecord) -> None:
        """Take a trial for the best so far if it beats that one."""
        full = trial.kind in ev.FULL and trial.score is not None
        if full and (self.best is None or self._beats(trial, self.best)):
            self.best = trial

    def _spread(self, trial: TrialRecord) -> float | None:
        """Return the spread of the scores of a trial's combination; on the test set of the trial's own."""
        together = [trial] if trial.kind.startswith("test") else [*self.trials_of(trial.choice), trial]
        if not any(one.graded for one in together):  # most often so: then no score is looked at again
            return None
        return spread_of({example: score for one in together for example, score in _scores(one).items()}.values())

    def _go_on_with(self, trial: TrialRecord, before: TrialRecord) -> None:
        """A trial goes on, cut off by a stop or with more examples: what it has brought so far stays."""
        trial.scored, trial.graded = before.scored, before.graded
        trial.new += len(before.scored)
        trial.score, trial.low, trial.high, trial.spread = before.score, before.low, before.high, before.spread
        trial.examples, trial.failed, trial.best_so_far = before.examples, before.failed, before.best_so_far
        self.best = trial if self.best is before else self.best
        self.baseline = trial if self.baseline is before else self.baseline

    def _lead(self, event: ev.PosteriorUpdated) -> None:
        """The search names its leader: the best so far."""
        if self.posterior is not None and event.evaluations < self.posterior.evaluations:  # as in ``_fold_trial``
            return
        self.posterior = event
        trials = self.trials_of((event.instructions, event.demos))
        self.best = trials[0] if trials else self.best
        if self._newest is not None:
            self._mark_best(self.trials_by_number[self._newest])

    def _mark_best(self, trial: TrialRecord) -> None:
        if self.posterior is None:
            trial.best_so_far = self.best.score if self.best is not None else None
        elif trial.best_so_far is None or trial.number == self._newest:  # that an older trial goes on is no news of it
            trial.best_so_far = self.posterior.score["mean"]

    @property
    def counts_examples(self) -> bool:
        """Whether the search's steps are evaluations of one example, as its plan says; else they are trials."""
        return self.started is not None and self.started.plan.get("evaluations") is not None

    @property
    def searched(self) -> tuple[int, int]:
        """How many steps of the search are done, and of how many; evaluations not made when it is over don't count."""
        search = self.stages.get("search")
        total = search.total if search is not None else 0
        if not self.counts_examples:
            return sum(trial.finished for trial in self.trials), total
        done = sum(len(trial.scored) for trial in self.trials)
        over = search is not None and (self.stage != "search" or self.reason == "finished")
        return done, done if over else max(done, total)

    @property
    def stage(self) -> str | None:
        """The stage that runs, or the last one that ran; None before the first."""
        return next(reversed(self.stages), None)

    @property
    def trials(self) -> list[TrialRecord]:
        """The search's trials, each a ``TrialRecord``, in order; those on the test set are not among them."""
        return [trial for trial in list(self.trials_by_number.values()) if not trial.kind.startswith("test")]

    def _beats(self, new: TrialRecord, old: TrialRecord) -> bool:
        a, b = self.scores_of(new), self.scores_of(old)
        both = [example for example in a if example in b]
        if not both:
            return (new.score or 0.0) > (old.score or 0.0)
        enough = len(both) >= COVERAGE * min(new.planned, old.planned)
        return enough and fmean(a[example] for example in both) > fmean(b[example] for example in both)

    def scores_of(self, trial: TrialRecord) -> dict[int, float]:
        """Return the scores by example id of a trial's combination, from whichever trial they came."""
        return {example: score for one in self.trials_of(trial.choice) for example, score in _scores(one).items()}

    def trials_of(self, choice: Choice) -> list[TrialRecord]:
        """Return the search's trials of a combination, in order."""
        return [self.trials_by_number[number] for number in list(self._by_choice.get(choice, ()))]

    @property
    def usage_by_stage(self) -> dict[str, ev.Usage]:
        """LM calls, tokens and US dollars by stage, each a ``mipro_nb.events.Usage``."""
        return {stage: ev.Usage(*spent) for stage, spent in list(self._spent.items())}

    @property
    def usage(self) -> ev.Usage:
        """LM use of all stages together: calls, tokens, US dollars (None: a price isn't known)."""
        return sum(self.usage_by_stage.values(), ev.Usage())

    @property
    def seconds(self) -> float:
        """Seconds from the first event to the last, without those in which no process went on with the run."""
        return self.events[-1].at - self.events[0].at - self._away if self.events else 0.0

    def trials_frame(self) -> pd.DataFrame:
        """Return a table with one row per trial; its columns stand at ``mipro_nb.frames.trials``."""
        return frames.trials(self)

    def candidates_frame(self) -> pd.DataFrame:
        """Return a table with one row per instruction and demo set; columns: ``mipro_nb.frames.candidates``."""
        return frames.candidates(self)

    def approaches_frame(self) -> pd.DataFrame:
        """Return a table of which ways of asking for instructions worked; columns: ``mipro_nb.frames.approaches``."""
        return frames.approaches(self)

    def examples_frame(self, split: str = "validation") -> pd.DataFrame:
        """Return a table with one row per example of a split; columns: ``mipro_nb.frames.examples``."""
        return frames.examples(self, split)

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write all that is known so far into one file, and return its path.

        Args:
            path: ``.html`` for a page that opens offline, charts included; ``.md`` for Markdown. An older file is
                replaced.

        Raises:
            ConfigError: another suffix, or a folder that doesn't exist.
            OSError: the file can't be written.
        """
        from mipro_nb.notebook.report import write

        return write(self, path)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the events as JSON lines, which ``read`` reads; a file that is there is replaced."""
        target = Path(path)
        part = target.with_name(f"{target.name}.part") if self.events.lie_in(target) else target
        with part.open("w", encoding="utf-8", errors=SURROGATES) as file:
            file.writelines(to_line(event) for event in self.events)
        if part != target:
            part.replace(target)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> History:
        """Read a run directory, or the JSON lines in it; a half line at the end (a crash) is dropped, with a warning.

        Of a long log the texts of the examples stay in the file, and are read when somebody looks at them.

        Raises:
            LoadError: no such file, or a line that is no event, with its number.
        """
        source = _source(path)
        history = cls()
        take = history._take if source.stat().st_size <= HELD else history._skim
        parse = reading.parser()
        wrong: LoadError | None = None  # with a line; a resumed run's log holds what a crash left of one
        before = b""
        for number, (start, line) in enumerate(reading.lines(source), 1):
            if wrong is not None and not reading.cut_off(before, line):
                raise wrong
            wrong, before, whole = None, line, line.endswith(b"\n")
            try:
                take(parse(line), source, start, start + len(line))
            except (LoadError, KeyError, *DAMAGED) as error:
                if whole:
                    wrong = LoadError(f"{source}, line {number}: {history._wrong(error)}")
                    wrong.__cause__ = error
                elif line.strip():
                    logger.warning(CUT, source, f"{len(history.events):,}")
        if wrong is not None:
            raise wrong
        return history

    def _take(self, told: Any, path: Path, start: int, end: int) -> None:
        """Fold a line in, and keep its event."""
        self(ev.from_json(told))
        self.events.placed(path, start, end)

    def _skim(self, told: Any, path: Path, start: int, end: int) -> None:
        """Fold a line of a long log in, and leave its event there; of the commonest events none is made."""
        number = len(self.events)
        if reading.is_scored(told):
            self._score(told["trial"], told["example"], told["score"], number)
            self.latest = max(self.latest, told["at"])
        elif reading.is_used(told):
            self._spend(told["stage"], **told["usage"])
            self.latest = max(self.latest, told["at"])
        else:
            event = ev.from_json(told)
            if isinstance(event, ev.RunStarted) and self.started is not None:
                self.__init__()  # type: ignore[misc]
                number = 0
            self._fold(event, number)
        self.events.skip(path, start, end)

    def _wrong(self, error: Exception) -> str:
        """Say what is wrong with a line."""
        if isinstance(error, KeyError):
            return f"trial {error} was never started."
        if isinstance(error, LoadError):
            return f"{error}{reading.writer_text(self.started)}"
        return str(error) if isinstance(error, json.JSONDecodeError) else f"{type(error).__name__}: {error}"


def _source(path: str | os.PathLike[str]) -> Path:
    """Return the log that a path means, or raise LoadError."""
    if not isinstance(path, str | os.PathLike):
        raise LoadError(f"path={path!r:.200}: a run directory, or the {EVENTS} in it, is needed.")
    source = Path(path).expanduser()
    try:
        source = source / EVENTS if source.is_dir() else source
        there = source.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise LoadError(f"path={str(path)!r:.200} can't be read: {error}") from error
    if not there:
        close = nearest(source.name, [near.name for near in source.parent.glob("*")])
        raise LoadError(f"{source} doesn't exist: the events of a run are needed.{close}")
    return source


def _scores(trial: TrialRecord) -> dict[int, float]:
    return {number: one.score for number, one in trial.scored.items() if one.score is not None}
