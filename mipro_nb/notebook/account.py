"""The account of a run: all that is known of it, in the order in which the eye asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_nb.eventlist import ExampleRecord
from mipro_nb.history import History, TrialRecord
from mipro_nb.notebook import charts, ledger, listings, recipe, sections, thinned
from mipro_nb.notebook.closeup import baseline_of, label
from mipro_nb.notebook.document import (
    Beside,
    Block,
    Details,
    Figure,
    Heading,
    Paragraph,
    Verbatim,
    shortened,
)
from mipro_nb.notebook.listings import Compared, score_text
from mipro_nb.notebook.sections import Room
from mipro_nb.progress import duration_text
from mipro_nb.transcript import calls

UNCHANGED = "The best program is the one that was given: no example changed."


def written(history: History, room: Room) -> list[Block]:
    """Return the account of a run, which may go on still."""
    opening = sections.ended(history)
    if history.started is None and not history.trials:
        return opening
    return [
        *opening,
        *_dated(history),
        *sections.judged(history),
        *sections.scores(history),
        *sections.winner(history, room),
        *_figures(history),
        *listings.candidates(history, room),
        *sections.approaches(history),
        *listings.trials(history, room),
        *_examples(history, room),
        *ledger.cost(history),
        *sections.notes(history, room),
        *ledger.settings(history),
        *recipe.reproduce(history),
    ]


def _dated(history: History) -> list[Block]:
    if history.started is None:
        return []
    return [Paragraph(f"Began {ledger.moment(history.started.at)}; {duration_text(history.seconds)} to the last event")]


def _figures(history: History) -> list[Block]:
    """The trials, and the combinations of each predictor; without texts from outside, since nobody can hover."""
    trials = [{**row, "choice": "", "instruction": "", "demos": ""} for row in charts.trial_rows(history)]
    if not any(row["score"] is not None for row in trials):
        return []
    names = history.started.predictors if history.started else ()
    left_out = thinned.text(history)
    parts: list[Block] = [
        Heading("Charts", short="Charts"),
        Heading("Score of every trial" if not left_out else "Score of the trials", 3),
        *([Paragraph(left_out)] if left_out else []),
        Figure("scores", tuple(trials), _seen(history)),
    ]
    cells = charts.cell_rows(history)
    parts.append(Heading("Mean score by instruction and demo set", 3))
    for place in sorted({row["position"] for row in cells}):
        own = tuple({**row, "predictor": ""} for row in cells if row["position"] == place)
        name = sections.of(names[place] if place < len(names) else str(place), len(names))
        parts.append(Figure("heat", own, f"Mean scores{name}, in per cent; {_outlined(own)}"))
    return parts


def _outlined(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say in words which combination the heat map marks."""
    won = next((row for row in rows if row["winner"]), None)
    if won is None:
        return "no combination was fully evaluated"
    demos = "" if won["demos"] is None else f" with demo set {won['demos']}"
    return f"the best combination, instruction {won['instruction']}{demos}, is outlined"


def _seen(history: History) -> str:
    """Say in words what the chart of the trials shows."""
    known = [trial.score for trial in history.trials if trial.score is not None]
    told = f"Scores of {len(known):,} trials, from {min(known):.1%} to {max(known):.1%}"
    for name, trial in (("baseline", history.baseline), ("best", history.best)):
        model = getattr(history.posterior, "score" if name == "best" else name, None)
        if trial is not None and trial.score is not None:
            told += f"; {name} {trial.score:.1%}" if model is None else f"; {name}, estimated, {model['mean']:.1%}"
    return told


def _examples(history: History, room: Room) -> list[Block]:
    """How many validation examples changed, and the exact messages behind those that did."""
    if history.best is None:
        return []
    found = listings.changed(history)
    head = Heading("Validation examples, baseline against best", short="Examples")
    if not found:
        return [head, Paragraph(UNCHANGED)]
    parts: list[Block] = [head, Paragraph(listings.counts_text(found) + ".")]
    for kind in ("fixed", "broken"):
        own = [one for one in found if one[0] == kind]
        shown = own[: room.closeups]
        if own:
            parts.append(Heading(f"{kind.capitalize()} ({len(own):,})", 3))
        if len(own) > len(shown):
            parts.append(Paragraph(f"The first {len(shown)} of {len(own):,}; run.examples has all."))
        parts += [_closeup(history, one, room) for one in shown]
    return parts


def _closeup(history: History, one: Compared, room: Room) -> Details:
    """One example under both programs: the exact messages, the replies, the scores."""
    _, number, was, now = one
    sides = [
        _side(history, trial, result, room) for trial, result in ((baseline_of(history), was), (history.best, now))
    ]
    scores = score_text(was), score_text(now)
    names = f"baseline: score {scores[0]}", f"best: score {scores[1]}"
    return Details(f"no. {number}: {scores[0]} → {scores[1]}, {label(was)}", (Beside(names, *sides),))


def _side(history: History, trial: TrialRecord | None, result: ExampleRecord | None, room: Room) -> tuple[Block, ...]:
    if trial is None or result is None:
        return ()
    told = []
    for call in calls(history, trial, result):
        name = sections.of(call.predictor, len(history.started.predictors) if history.started else 1)
        told += [(message["role"] + name, message["content"]) for message in call.messages]
        told.append(("reply" + name, call.reply))
    told += [("error", result.error), ("feedback", result.feedback), ("output of the program", result.output)]
    return tuple(Verbatim(shortened(text, room.full), name) for name, text in told if text)
