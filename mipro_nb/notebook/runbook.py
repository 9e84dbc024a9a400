"""The runs of a notebook: the results that ``%%mipro`` keeps current, and what ``%mipro`` tells, as plain text."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, nearest
from mipro_nb.history import History
from mipro_nb.module import Module
from mipro_nb.notebook.cellnames import Namespace
from mipro_nb.notebook.text import visible
from mipro_nb.progress import score_text, summary_lines
from mipro_nb.run import Run

MISSING = object()
COLUMNS = ("#", "name", "program", "status", "best", "baseline", "trials", "cost")
ASKED = {  # command: statuses of the runs that can be meant, what is told
    "stop": (("running", "paused", "stopping", "waiting"), "stopping; the best so far is kept."),
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
    """The runs that the magic started, and the names that hold their best programs.

    Args:
        namespace: of the notebook; read and written.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._started: list[Run] = []
        self._results: dict[str, Result] = {}
        self._lock = threading.Lock()

    def follow(self, name: str, run: Run) -> None:
        """Put a run's best program under ``name`` and the run under ``name_run``; keep the first current.

        An earlier run that went by this name loses it, and goes on.
        """
        self._started.append(run)
        with self._lock:
            self._results[name] = Result(name, run)
            self._namespace[f"{name}_run"] = run
            self._put(self._results[name])
        run.listen(lambda event: self.refresh() if isinstance(event, ev.RunFinished) else None)
        self.refresh()  # it may have ended before the listener was there

    def refresh(self, *_: Any) -> None:
        """Bring the names up to date; one that the user has bound anew, or deleted, is the user's from then on."""
        with self._lock:  # the run's thread calls this too, at its end
            for result in list(self._results.values()):
                if self._namespace.get(result.name, MISSING) is not result.value:
                    del self._results[result.name]
                elif _choice(result.run.history) != result.choice:
                    self._put(result)

    def _put(self, result: Result) -> None:
        result.choice = _choice(result.run.history)
        self._namespace[result.name] = result.value = result.run.program

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

    def runs(self) -> list[tuple[str, Run]]:
        """Return (name, run), those that the magic started first; a name is empty where another run has taken it."""
        held: dict[int, str] = {}
        found = list(self._started)
        for name, value in list(self._namespace.items()):
            run = _run_in(value)
            if run is not None and not name.startswith("_"):
                held.setdefault(id(run), name)
                if not any(run is known for known in found):
                    found.append(run)
        held |= {id(result.run): name for name, result in self._results.items()}
        return [(held.get(id(run), ""), run) for run in found]

    def pick(self, name: str, statuses: Iterable[str] = ()) -> tuple[str, Run] | None:
        """Return the run meant, with its label.

        Args:
            name: NAME, NAME_run or the number in the table; empty: the only one with one of ``statuses``, or
                without them the last one.

        Raises:
            ConfigError: no run has this name, or several could be meant.
        """
        runs = [(label or f"#{number}", run) for number, (label, run) in enumerate(self.runs(), 1)]
        if not name:
            fitting = [pair for pair in runs if not statuses or pair[1].status in statuses]
            if statuses and len(fitting) > 1:
                raise ConfigError(f"{len(fitting)} runs could be meant; name one: {', '.join(n for n, _ in fitting)}.")
            return fitting[-1] if fitting else None
        number = name.removeprefix("#")
        if number.isdecimal() and 0 < int(number) <= len(runs):
            return runs[int(number) - 1]
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
    if view is not None and isinstance(value, view.RunView):
        value = value.run
    return value if isinstance(value, Run) else None


def _is_program(value: Any) -> bool:
    return isinstance(value, Module)


def _choice(history: History) -> Any:
    best = history.best
    return (best.instructions, best.demos) if best else None


def table(runs: Sequence[tuple[str, Run]]) -> str:
    """Return the table of ``%mipro``."""
    if not runs:
        return "No run yet: %%mipro --help shows how to start one."
    rows = [COLUMNS, *(_row(number, name, run) for number, (name, run) in enumerate(runs, 1))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _row(number: int, name: str, run: Run) -> tuple[str, ...]:
    history = run.history
    best, baseline = history.best, history.baseline
    done = sum(trial.finished for trial in history.trials)
    cost = history.usage.cost
    return (
        str(number),
        name or "(name taken)",
        run.name,
        run.status,
        score_text(best.score, best.examples) if best else "",
        score_text(baseline.score, baseline.examples) if baseline else "",
        f"{done} of {max(done, run.plan.trials_shown)}",
        "unknown" if cost is None else f"${cost:,.4f}",
    )


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
