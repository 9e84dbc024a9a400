"""The runs of a notebook: the results that ``%%mipro`` keeps current, and what ``%mipro`` tells, as plain text."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, nearest
from mipro_nb.history import History, TrialRecord
from mipro_nb.module import Module
from mipro_nb.notebook.cellnames import Namespace, is_kind, named
from mipro_nb.notebook.cellspec import python_name
from mipro_nb.progress import score_text, summary_lines
from mipro_nb.run import Run
from mipro_nb.text import visible

MISSING = object()
BETTER = (ev.TrialFinished, ev.PosteriorUpdated, ev.RunFinished)  # after which another program may be the best
COLUMNS = ("#", "name", "program", "status", "best", "baseline", "trials", "cost")
ASKED = {  # command: statuses of the runs that can be meant, what is told
    "stop": (
        ("running", "paused", "stopping", "waiting"),
        "stopping; the best so far is kept. Once more ends it at once.",
    ),
    "pause": (("running",), "paused; %mipro unpause goes on."),
    "unpause": (("paused",), "goes on."),
}
COMMANDS = ("list", "status", "diff", *ASKED, "help")
MARKS = {"same": ("", ""), "del": ("[-", "-]"), "add": ("{+", "+}")}


@dataclass(slots=True)
class Result:
    """A name of the notebook that follows a run: what was put there last, and which choice that was."""

    name: str
    run: Run
    value: Any = MISSING
    choice: Any = MISSING


class RunBook:
    """The runs of a notebook by number, and the names that hold their best programs.

    A run that has ended and that nobody holds any more is forgotten; the others keep their numbers.

    Args:
        namespace: of the notebook; read and written.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._numbers: weakref.WeakKeyDictionary[Run, int] = weakref.WeakKeyDictionary()
        self._last = 0
        self._results: dict[str, Result] = {}
        self._lock = threading.Lock()

    def follow(self, name: str, run: Run) -> None:
        """Put a run's best program under ``name`` and the run under ``name_run``; keep the first current.

        An earlier run that went by this name loses it, and goes on.
        """
        self._number(run)
        with self._lock:
            self._results[name] = Result(name, run)
            self._namespace[f"{name}_run"] = run
            self._put(self._results[name])
        run.listen(lambda event: self.refresh() if isinstance(event, BETTER) else None)
        self.refresh()  # it may have ended before the listener was there

    def _number(self, run: Run) -> None:
        if run not in self._numbers:
            self._last += 1
            self._numbers[run] = self._last

    def refresh(self, *_: Any) -> None:
        """Bring the names up to date; one that the user has bound anew, or deleted, is the user's from then on."""
        with self._lock:  # the run's thread calls this too, after each trial
            for result in list(self._results.values()):
                if self._is_users(result):
                    del self._results[result.name]
                elif _choice(result.run.history) != result.choice:
                    self._put(result)

    def _is_users(self, result: Result) -> bool:
        return self._namespace.get(result.name, MISSING) is not result.value

    def _put(self, result: Result) -> None:
        choice, program = _choice(result.run.history), result.run.program
        if result.value is MISSING or not self._is_users(result):  # a copy takes time, in which a cell goes on
            result.choice = choice
            self._namespace[result.name] = result.value = program

    def check_free(self, name: str) -> None:
        """Raise ConfigError if ``name`` holds something other than a program, or ``name_run`` other than a run."""
        for target, fits in ((name, _is_program), (f"{name}_run", _run_in)):
            value = self._namespace.get(target, MISSING)
            if value is not MISSING and not fits(value):
                kind = type(value).__name__
                raise ConfigError(
                    f"{target} is in use in this notebook ({kind}): choose another name with --into NAME."
                )

    def earlier(self, name: str) -> Run | None:
        """Return the run that goes by ``name`` and hasn't ended."""
        result = self._results.get(name)
        return result.run if result and is_active(result.run) else None

    def runs(self) -> list[tuple[int, str, Run]]:
        """Return (number, name, run); a name is empty where another run has taken it."""
        held: dict[Run, str] = {}
        for name, value in named(self._namespace):
            run = _run_in(value)
            if run is not None:
                held.setdefault(run, name)
                self._number(run)
        held |= {result.run: name for name, result in self._results.items()}
        return [(number, held.get(run, ""), run) for run, number in list(self._numbers.items())]

    def pick(self, name: str, statuses: Iterable[str] = ()) -> tuple[str, Run] | None:
        """Return the run meant, with its label.

        Args:
            name: NAME, NAME_run or the number in the table, 2 or #2; empty: the only one with one of ``statuses``, or
                without them the last one.

        Raises:
            ConfigError: no run has this name, or several could be meant.
        """
        numbered = {f"#{number}": (name or f"#{number}", run) for number, name, run in self.runs()}
        runs = list(numbered.values())
        if not name:
            fitting = [pair for pair in runs if not statuses or pair[1].status in statuses]
            if statuses and len(fitting) > 1:
                raise ConfigError(f"{len(fitting)} runs could be meant; name one: {', '.join(n for n, _ in fitting)}.")
            return fitting[-1] if fitting else None
        name = python_name(name)
        if (number := f"#{name.removeprefix('#')}") in numbered:
            return numbered[number]
        run = _run_in(self._namespace.get(name)) or next((r for label, r in runs if label == name), None)
        if run is None:
            known = [label for label, _ in runs]
            raise ConfigError(f"no run is called {name!r}; runs: {', '.join(known) or 'none'}.{nearest(name, known)}")
        return name, run


def is_active(run: Run) -> bool:
    """Whether a run hasn't ended."""
    return run.status in ("waiting", "running", "paused", "stopping")


def _run_in(value: Any) -> Run | None:
    """Return the run that a value is, or shows."""
    view = sys.modules.get("mipro_nb.notebook.view")
    if view is not None and is_kind(value, (view.RunView,)):
        value = value.run
    return value if is_kind(value, (Run,)) else None


def _is_program(value: Any) -> bool:
    return is_kind(value, (Module,))


def _choice(history: History) -> Any:
    best = history.best
    return (best.instructions, best.demos) if best else None


def table(runs: Sequence[tuple[int, str, Run]]) -> str:
    """Return the table of ``%mipro``."""
    if not runs:
        return "No run yet: %%mipro --help shows how to start one."
    rows = [COLUMNS, *(_row(*numbered) for numbered in runs)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _row(number: int, name: str, run: Run) -> tuple[str, ...]:
    history = run.history
    best, baseline = history.best, history.baseline
    done, total = history.searched  # grows with every extension
    if "search" not in history.stages:
        total = run.plan.trials_shown
    cost, model = history.usage.cost, history.posterior
    return (
        str(number),
        name or "(name taken)",
        run.name,
        run.status,
        _score_text(best, model.score if model is not None else None),
        _score_text(baseline, model.baseline if model is not None else None),
        f"{done} of {max(done, total)}",
        "unknown" if cost is None else f"${cost:,.4f}",
    )


def _score_text(trial: TrialRecord | None, estimate: Mapping[str, float] | None) -> str:
    """Write a trial's score; where there is a model of the results its estimate, said to be one."""
    if estimate is not None:
        return f"{estimate['mean']:.1%}, estimated"
    return score_text(trial.score, trial.examples) if trial else ""


def status_text(name: str, run: Run) -> str:
    """Return where a run is, what it found, what it spends, and how it ended."""
    history = run.history
    summary = summary_lines(history, time.time())
    lines = [f"{name} ({run.name}): {run.status}", *summary[0 if is_active(run) else 1 :]]
    if history.verdict is not None:
        lines.append(f"verdict: {history.verdict}")
    ending = str(run.error) if run.error is not None else "" if is_active(run) else history.reason or ""
    if ending and ending != run.status:
        lines.append(ending)
    return visible("\n".join(lines))


def diff_text(name: str, run: Run) -> str:
    """Return the best instruction of each predictor, word by word against the original: ``[-old-]``, ``{+new+}``."""
    from mipro_nb.notebook.worddiff import word_diff

    best, history = run.history.best, run.history
    if best is None or history.started is None:
        return f"{name}: no program has been evaluated yet."
    blocks = []
    texts = {(made.predictor, made.index): made.text for made in history.instructions}
    for predictor, index in zip(history.started.predictors, best.instructions, strict=True):
        old, new = texts[predictor, 0], texts[predictor, index]
        changed = "".join(f"{MARKS[op][0]}{text}{MARKS[op][1]}" for op, text in word_diff(old, new))
        head = f"{name}, {predictor}: " + (
            "the original instruction is the best" if old == new else f"instruction {index}"
        )
        blocks.append(f"{head}\n{changed if old != new else old}")
    return visible("\n\n".join(blocks))
