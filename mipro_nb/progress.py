"""The terminal's view of a run: a listener that draws from the same History as everything else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

from mipro_nb import events as ev
from mipro_nb import outcome
from mipro_nb.console import console
from mipro_nb.history import History
from mipro_nb.text import cut, visible

STAGE_NAMES = {
    "bootstrap": "1/3 bootstrap demo sets",
    "propose": "2/3 propose instructions",
    "search": "3/3 search",
    "verdict": "verdict on the test set",
}


def steps_done(history: History) -> int:
    """Return how many of the present stage's steps are done: demo sets, instructions, trials or evaluations."""
    predictors = len(history.started.predictors) if history.started else 1
    match history.stage:
        case "bootstrap":
            return len(history.demo_sets) // max(1, predictors)
        case "propose":
            return len(history.instructions)
        case "search":
            return history.searched[0]
        case "verdict":
            tests = [t for t in list(history.trials_by_number.values()) if t.kind.startswith("test")]
            return sum(trial.finished for trial in tests)
    return 0


def seconds_left(history: History, now: float) -> float | None:
    """Return the present stage's seconds to go, by its pace so far; None before its first step is done."""
    stage = history.stages.get(history.stage or "")
    done = steps_done(history)
    if stage is None or not done:
        return None
    return history.working_seconds(now) / done * max(0, stage.total - done)


def score_text(score: float | None, examples: int) -> str:
    """Write a score with what it stands on: ``71.0% on 100 examples``."""
    return "no score yet" if score is None else f"{score:.1%} on {examples} examples"


def usage_text(usage: ev.Usage) -> str:
    """Write calls, cached calls, tokens and dollars."""
    dollars = "price unknown" if usage.cost is None else f"${usage.cost:,.4f}"
    tokens = f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    return f"{usage.calls:,} calls, {usage.cached_calls:,} cached, {tokens}, {dollars}"


def duration_text(seconds: float | None) -> str:
    """Write seconds as ``2 min 05 s``."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def summary_lines(history: History, now: float) -> list[str]:
    """Return what the eye looks for, one line each: where it is, what it found, what it spent."""
    stage = history.stages.get(history.stage or "")
    where = STAGE_NAMES.get(history.stage or "", "preparing")
    unit = " evaluations" if history.counts_examples and history.stage == "search" else ""
    count = f", {steps_done(history):,} of {stage.total:,}{unit}" if stage else ""
    lines = [f"{where}{count}; this stage: {duration_text(seconds_left(history, now))} left"]
    if history.pause_reason:
        lines.append(f"paused: {history.pause_reason}")
    if history.posterior is not None:
        lines += [f"best {outcome.best_text(history)}", outcome.gain_text(history)]
    elif history.baseline is not None and history.best is not None:
        baseline, best = history.baseline, history.best
        lines.append(
            f"best {score_text(best.score, best.examples)}; baseline {score_text(baseline.score, baseline.examples)}"
        )
    lines.append(usage_text(history.usage))
    return lines


class TerminalProgress:
    """Draws a live panel on a terminal; elsewhere (a file, a pipe, a plain notebook cell) writes a line per step.

    Args:
        target: a rich Console; None is ``console()``.
        past: what the run has told already: it counts, and is not written. Its ``History``, if it is fed before this
            is told, is read and not copied.
    """

    def __init__(self, target: Any = None, *, past: Iterable[ev.Event] | History = ()) -> None:
        self._console = target or console()
        self._own = not isinstance(past, History)
        self._history = past if isinstance(past, History) else History()
        self._live: Any = None
        self._waits = False  # whether it was said that the run pauses by itself
        if not isinstance(past, History):
            for event in past:
                self._fold(event)
        if self._history.started is not None and self._history.reason is None:
            self._open()

    def __call__(self, event: ev.Event) -> None:
        self._fold(event)
        if isinstance(event, ev.RunStarted | ev.RunExtended):
            self._open()
        line = self._line(event)
        if isinstance(event, ev.RunFinished):
            self.close()
        if line:
            self._console.print(line, markup=False, emoji=False)

    def _fold(self, event: ev.Event) -> None:
        if self._own:
            with contextlib.suppress(KeyError):  # of a trial, or a search, whose start was told before
                self._history(event)

    def _open(self) -> None:
        """Put the panel on the screen, if it is a terminal's and isn't there."""
        if self._live is None and self._console.is_terminal:
            from rich.live import Live

            self._live = Live(get_renderable=self._panel, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def _panel(self) -> Any:
        from rich.panel import Panel
        from rich.text import Text

        return Panel(Text("\n".join(summary_lines(self._history, time.time()))), title="MIPROv2", title_align="left")

    def close(self) -> None:
        """Take the panel off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, event: ev.Event) -> str | None:
        """Return the line that stays on the screen for an event, or None."""
        match event:
            case ev.StageStarted():
                return STAGE_NAMES.get(event.stage, event.stage)
            case ev.DemosBootstrapped():
                return f"  {event.predictor}, demo set {event.index}: {event.origin}, {len(event.demos)} demos"
            case ev.InstructionProposed():
                return f"  {event.predictor}, instruction {event.index}: {cut(event.text, 100)}"
            case ev.TrialFinished():
                return self._trial_line(event)
            case ev.PosteriorUpdated():
                return self._posterior_line(event)
            case ev.Noted():
                return f"  note: {_in_a_line(event.message)}"
            case ev.RunPaused():
                return self._pause_line(event)
            case ev.VerdictReached():
                return f"verdict: {event.verdict}"
            case ev.RunFinished():
                spent = f"{usage_text(self._history.usage)}; {duration_text(self._history.seconds)}"
                return f"{_in_a_line(event.reason)}; {spent}"
        return None

    def _pause_line(self, event: ev.RunPaused) -> str | None:
        """Say once that an LM doesn't answer, and once that it does again."""
        said, self._waits = self._waits, bool(event.reason)
        if said == self._waits:
            return None
        return f"paused: {_in_a_line(event.reason)}" if self._waits else "the run goes on" if not event.paused else None

    def _posterior_line(self, event: ev.PosteriorUpdated) -> str:
        """One line a round: its trials, which go on again and again, have none of their own."""
        history = self._history
        chosen = f"instructions {list(event.instructions)}" + (f", demos {list(event.demos)}" if event.demos else "")
        left = f"; {duration_text(seconds_left(history, event.at))} left"
        found = f"{outcome.best_text(history)}, {outcome.gain_text(history)}"
        return f"  {event.evaluations:,} evaluations: best ({chosen}) {found}{left}"

    def _trial_line(self, event: ev.TrialFinished) -> str | None:
        trial = self._history.trials_by_number.get(event.trial)
        if trial is not None and trial.kind == "partial":
            return None
        failed = f", {event.failed} failed" if event.failed else ""
        best = self._history.best
        found = f"; best {score_text(best.score, best.examples)}" if best and self._history.posterior is None else ""
        score = score_text(event.score, event.examples)
        if trial is None:
            return f"  trial {event.trial}: {score}{failed}{found}"
        chosen = f"instructions {list(trial.instructions)}" + (f", demos {list(trial.demos)}" if trial.demos else "")
        left = (
            f"; {duration_text(seconds_left(self._history, event.at))} left"
            if not trial.kind.startswith("test")
            else ""
        )
        return f"  trial {event.trial} {trial.kind} ({chosen}): {score}{failed}{found}{left}"


def _in_a_line(text: str) -> str:
    """Return a text that may come from an LM or a dataset as one line that can't command the terminal."""
    return " ".join(visible(text).split())
