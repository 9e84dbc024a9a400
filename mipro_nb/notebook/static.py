"""What a saved notebook shows of a run: plain HTML, plain text, and the chart. No kernel, no widget, no script.

It is put in the live view's place when the run ends. Everything is small: three runs in one notebook stay under 1 MB.
"""

from __future__ import annotations

import time
from typing import Any

from mipro_nb.history import History
from mipro_nb.notebook import charts, markup, sections
from mipro_nb.notebook.sections import Room
from mipro_nb.progress import duration_text, summary_lines, usage_text
from mipro_nb.text import cut, visible
from mipro_nb.verdict import Verdict

LARGEST = 60_000  # bytes of HTML
AGAIN = "Show `view` in a new cell to see it live again: click examples, extend the run."
UNTESTED = (
    "No verdict: there was no test set. The best score is that of the program which the search picked by this very "
    "score, so it promises too much; pass testset= for a judgement."
)
UNJUDGED = "No verdict: the run ended before its test set was opened."
SIGNS = {"improved": "✓", "not shown": "?", "worse": "✗"}
EDGES = {"improved": "#009E73", "not shown": "#808080", "worse": "#D55E00"}
HEAD = ("", "score", "95% interval", "examples", "combination")


ROOMS = (Room(8_000, 300, 30, 6), Room(3_000, 160, 16, 6), Room(1_000, 80, 6, 5), Room(200, 40, 2, 2))


def frozen(history: History, status: str = "") -> dict[str, str]:
    """Return the display bundle of a run that has ended, or that its kernel leaves.

    Args:
        status: how it ended in a word, if the history doesn't say: ``finished``, ``stopped``, ``failed``.
    """
    page = ""
    for room in ROOMS:
        page = _page(history, status, room)
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
            lines.append(f"instruction of {name}: {markup.shortened(text, 400)}")
    lines += [f"note: {note.message}" for note in history.notes[-3:]]
    return "\n".join(visible(line) for line in lines)


def _ending_lines(history: History) -> list[str]:
    spent = f"{usage_text(history.usage)}; {duration_text(history.seconds)}"
    told = [f"verdict: {history.verdict}"] if history.verdict else []
    return [history.reason or "", *told, *summary_lines(history, history.events[-1].at)[1:-1], spent]


def _page(history: History, status: str, room: Room) -> str:
    if history.started is None and not history.trials:
        return markup.box(markup.bold("The run has not begun."), markup.text(status))
    parts = [
        *_ended(history, status),
        _verdict(history),
        _scores(history),
        markup.text(f"{usage_text(history.usage)}; {duration_text(history.seconds)}"),
        *sections.winner(history, room),
        *sections.candidates(history, room),
        sections.examples(history, room),
        sections.notes(history, room),
        sections.settings(history, room),
        markup.box(AGAIN, style="margin-top:14px"),
    ]
    return markup.box(*parts, style="line-height:1.4;max-width:1100px")


def _ended(history: History, status: str) -> list[str]:
    """Say which program this was and how its run ended: the word, and below it why."""
    program = history.started.program if history.started else "program"
    word, _, why = (history.reason or "").partition(": ")
    head = f"MIPROv2 · {program} · {status or word or 'not finished'}"
    return [markup.box(markup.bold(cut(head, 200))), markup.text(markup.shortened(why, 600)) if why else ""]


def _verdict(history: History) -> str:
    edge = "border-left:4px solid {};padding:4px 0 4px 12px;margin:8px 0"
    found = history.verdict
    if found is None:
        tested = history.started is not None and bool(history.started.sizes.get("test"))
        return markup.box(markup.text(UNJUDGED if tested else UNTESTED), style=edge.format(EDGES["not shown"]))
    word = f"{SIGNS.get(found.word, '')} {found.word.capitalize()}"
    return markup.box(
        markup.box(markup.bold(_sentence(word, found)), style="font-size:115%"),
        markup.box(
            f"95% interval of the difference: {found.low * 100:+.1f} to {found.high * 100:+.1f} points, "
            f"p = {found.p_value:.2g}; {found.fixed} examples fixed, {found.broken} broken."
        ),
        style=edge.format(EDGES.get(found.word, EDGES["not shown"])),
    )


def _sentence(word: str, found: Verdict) -> str:
    return (
        f"{word}: {found.baseline:.1%} → {found.best:.1%} on {found.examples} test examples "
        f"({found.difference * 100:+.1f} points)"
    )


def _scores(history: History) -> str:
    names = history.started.predictors if history.started else ()
    rows = []
    for name, trial in (("best on validation", history.best), ("baseline on validation", history.baseline)):
        if trial is not None:
            told = f"trial {trial.number}: {charts.choice_text(names, trial)}"
            rows.append(
                (name, *sections.numbers(trial.score, trial.low, trial.high, trial.examples), markup.text(told))
            )
    return markup.table(HEAD, rows) if rows else markup.box("No trial was fully evaluated.")
