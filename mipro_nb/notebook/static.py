"""What a saved notebook shows of a run: plain HTML, plain text, and the chart. No kernel, no widget, no script.

It is put in the live view's place when the run ends. Everything is small: three runs in one notebook stay under 1 MB.
"""

from __future__ import annotations

import time
from typing import Any

from mipro_nb import outcome
from mipro_nb.history import History
from mipro_nb.notebook import charts, listings, markup, sections
from mipro_nb.notebook.document import Block, Heading, Paragraph, shortened
from mipro_nb.notebook.sections import UNJUDGED, UNTESTED, Room
from mipro_nb.progress import duration_text, summary_lines, usage_text
from mipro_nb.text import visible

__all__ = ["AGAIN", "LARGEST", "UNJUDGED", "UNTESTED", "frozen", "frozen_chart", "plain"]

LARGEST = 60_000  # bytes of HTML
AGAIN = "Show `view` in a new cell to see it live again: click examples, extend the run."
AGAIN_SAVED = "Run this cell again to see it live: click examples."
SETTINGS = ("task_model", "prompt_model", "auto", "search", "seed", "init_temperature")
ROOMS = (Room(8_000, 300, 30, 6), Room(3_000, 160, 16, 6), Room(1_000, 80, 6, 5), Room(200, 40, 2, 2))


def frozen(history: History, status: str = "", aside: str = "") -> dict[str, str]:
    """Return the display bundle of a run that has ended, or that its kernel leaves.

    Args:
        status: how it ended in a word, if the history doesn't say: ``finished``, ``stopped``, ``failed``.
        aside: what this is, if not a run of this kernel: a replay, a saved run.
    """
    page = ""
    for room in ROOMS:
        page = markup.rendered(_blocks(history, status, aside, room))
        if len(page.encode()) <= LARGEST:
            break
    last = history.events[-1].at if history.events else time.time()
    return {"text/html": page, "text/plain": plain(history, last)}


def frozen_chart(history: History) -> dict[str, Any]:
    """Return the display bundle of a run's chart: Vega-Lite 5 and PNG."""
    return charts.v5_bundle(charts.run_chart(history))


def plain(history: History, now: float) -> str:
    """Return a run as text, for front ends without widgets: where it is, what it found, and its winner."""
    names = history.started.predictors if history.started else ()
    lines = list(_ending_lines(history)) if history.reason else summary_lines(history, now)
    best = history.best
    if best is not None and best is not history.baseline:
        lines.append(f"best combination: {charts.choice_text(names, best)}")
        for name, text, _ in sections.winners(history, best):
            lines.append(f"instruction of {name}: {shortened(text, 400)}")
    simplest = outcome.simplest_text(history)
    lines += [simplest] if simplest else []
    lines += [f"note: {note.message}" for note in history.notes[-3:]]
    return "\n".join(visible(line) for line in lines)


def _ending_lines(history: History) -> list[str]:
    spent = f"{usage_text(history.usage)}; {duration_text(history.seconds)}"
    told = [f"verdict: {history.verdict}", *outcome.after_test(history)] if history.verdict else []
    return [history.reason or "", *told, *summary_lines(history, history.events[-1].at)[1:-1], spent]


def _blocks(history: History, status: str, aside: str, room: Room) -> list[Block]:
    opening = [*sections.ended(history, status), *([Paragraph(aside)] if aside else [])]
    if history.started is None and not history.trials:
        return opening
    return [
        *opening,
        *sections.judged(history),
        *sections.scores(history),
        sections.spent(history),
        *sections.winner(history, room),
        *listings.candidates(history, room),
        *sections.approaches(history),
        *listings.examples(history, room),
        *sections.notes(history, room),
        *_settings(history, room),
        Paragraph(AGAIN_SAVED if aside else AGAIN),
    ]


def _settings(history: History, room: Room) -> list[Block]:
    """One line: models, effort, seed, sizes, version."""
    started = history.started
    if started is None:
        return []
    told = [f"{name}={started.settings[name]}" for name in SETTINGS if started.settings.get(name) is not None]
    told += [f"{count} {name} examples" for name, count in started.sizes.items() if count]
    told += [f"{name} {started.versions[name]}" for name in ("mipro_nb", "python") if name in started.versions]
    trials = sum(trial.finished for trial in history.trials)
    line = f"{trials} trials; {', '.join(told)}"
    return [Heading("Settings"), Paragraph(shortened(line, 4 * room.text))]
