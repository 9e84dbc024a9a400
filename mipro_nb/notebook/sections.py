"""How a run ended, what was judged, and the winner beside the original, as blocks; of a page of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mipro_nb import events as ev
from mipro_nb import outcome
from mipro_nb.frames import as_text
from mipro_nb.history import History, TrialRecord
from mipro_nb.notebook.charts import choice_text
from mipro_nb.notebook.document import GAP, Block, Callout, Diff, Heading, Long, Paragraph, Table, shortened
from mipro_nb.progress import duration_text, usage_text
from mipro_nb.text import cut
from mipro_nb.verdict import Verdict

UNTESTED = (
    "No verdict: there was no test set. The best score is that of the program which the search picked by this very "
    "score, so it promises too much; pass testset= for a judgement."
)
UNJUDGED = "No verdict: the run ended before its test set was opened."
UNOPENED = "No verdict yet: the test set is still closed."
SIGNS = {"improved": "✓", "not shown": "?", "worse": "✗"}
ESTIMATES = ("program", "estimate", "95% interval", "raw mean", "combination")
GAINS = ("changed", "gain in points", "95% interval")
SHRUNKEN = (
    "Estimates are of a model of all results, which pairs the scores of each example; they are shrunken, so that the "
    "luck of the winner is taken off. A raw mean is that of the examples that the program was run on."
)
HEAD = ("program", "score", "95% interval", "examples", "combination")


@dataclass(frozen=True, slots=True)
class Room:
    """How much is shown.

    Attributes:
        winner: characters of the winning instructions.
        text: characters of another text in a row.
        candidates, examples, trials: rows of each; ``examples`` counts demos and notes too.
        full: characters of a text that unfolds; 0: none does.
        closeups: examples of a kind with their exact messages.
    """

    winner: int
    text: int
    candidates: int
    examples: int
    full: int = 0
    trials: int = 0
    closeups: int = 0


def long(text: str, room: Room) -> Long:
    """Return the cell of a text from outside."""
    if not room.full:
        return Long(shortened(text, room.text))
    return Long(shortened(text, room.full), cut(text, room.text) if len(text) > room.text else "")


def numbers(score: float | None, low: float | None, high: float | None, examples: int) -> tuple[str, str, str]:
    """Return the cells of a score: percent, interval, on how many examples."""
    interval = "" if low is None or high is None else f"{low:.1%} to{GAP}{high:.1%}"
    return ("" if score is None else f"{score:.1%}", interval, str(examples))


def ended(history: History, status: str = "") -> list[Block]:
    """Say which program this was and how its run ended: the word, and below it why.

    Args:
        status: how it ended in a word, if the history doesn't say.
    """
    if history.started is None and not history.trials:
        return [Heading("The run has not begun.", 1), *([Paragraph(status)] if status else [])]
    program = history.started.program if history.started else "program"
    word, _, why = (history.reason or "").partition(": ")
    head = Heading(cut(f"MIPROv2 · {program} · {status or word or 'not finished'}", 200), 1)
    return [head, *([Paragraph(shortened(why, 600))] if why else [])]


def judged(history: History) -> list[Block]:
    """The verdict, or why there is none."""
    found = history.verdict
    if found is None:
        tested = history.started is not None and bool(history.started.sizes.get("test"))
        closed = UNJUDGED if history.reason is not None else UNOPENED
        untested = UNTESTED if history.posterior is None else outcome.ESTIMATED
        return [Callout("not shown", "", closed if tested else untested)]
    text = (
        f"95% interval of the difference: {found.low * 100:+.1f} to {found.high * 100:+.1f} points, "
        f"p = {found.p_value:.2g}; {found.fixed} examples fixed, {found.broken} broken."
    )
    return [Callout(found.word, _sentence(found), text), *map(Paragraph, outcome.after_test(history))]


def _sentence(found: Verdict) -> str:
    return (
        f"{SIGNS.get(found.word, '')} {found.word.capitalize()}: {found.baseline:.1%} → {found.best:.1%} on "
        f"{found.examples} test examples ({found.difference * 100:+.1f} points)"
    )


def scores(history: History) -> list[Block]:
    """The best program beside the one as it was given, on the validation set."""
    if history.posterior is not None:
        return _estimates(history, history.posterior)
    names = history.started.predictors if history.started else ()
    rows = []
    for name, trial in (("best on validation", history.best), ("baseline on validation", history.baseline)):
        if trial is not None:
            told = f"trial {trial.number}: {choice_text(names, trial)}"
            rows.append((name, *numbers(trial.score, trial.low, trial.high, trial.examples), Long(told)))
    if not rows:
        return [Paragraph("No trial was fully evaluated.")]
    return [Table(HEAD, tuple(rows), "scores on the validation set", frozenset({1, 2, 3}))]


def _estimates(history: History, found: ev.PosteriorUpdated) -> list[Block]:
    """The estimates of best and baseline beside their raw means, the gain, what brought it, and what is shorter."""
    rows = []
    leader = {"instructions": found.instructions, "demos": found.demos}
    told = outcome.choice_text(history, leader)
    for name, trial, score, choice in (
        ("best, estimated", history.best, found.score, told),
        ("baseline, estimated", history.baseline, found.baseline, "as it was given"),
    ):
        shown = numbers(score["mean"], score["low"], score["high"], 0)
        raw = "" if trial is None or trial.score is None else f"{trial.score:.1%} (n{GAP}={GAP}{trial.examples})"
        rows.append((name, *shown[:2], raw, Long(f"trial {trial.number}: {choice}" if trial else choice)))
    parts: list[Block] = [
        Table(ESTIMATES, tuple(rows), "estimated scores on the validation set", frozenset({1, 2, 3})),
        Paragraph(f"Gain: {outcome.gain_text(history)}. {SHRUNKEN}"),
    ]
    brought = tuple((words, *_points(gain)) for words, gain in outcome.sources(history))
    if brought:
        parts += [Heading("What brought the gain"), Table(GAINS, brought, "what brought the gain", frozenset({1, 2}))]
    simplest = outcome.simplest_text(history)
    return [*parts, *([Paragraph(simplest)] if simplest else [])]


def _points(gain: Mapping[str, float]) -> tuple[str, str]:
    return f"{gain['mean'] * 100:+.1f}", f"{gain['low'] * 100:+.1f} to{GAP}{gain['high'] * 100:+.1f}"


def approaches(history: History) -> list[Block]:
    """What worked in proposing instructions: the gain that is expected of each way of asking."""
    rows = tuple(
        (str(row["factor"]), cut(str(row["level"]), 80), str(row["tried"]), *_points({**row, "mean": row["gain"]}))
        for row in outcome.approaches(history)
    )
    if not rows:
        return []
    head = ("asked with", "", "tried", *GAINS[1:])
    return [Heading("What worked in proposing"), Table(head, rows, "what worked in proposing", frozenset({2, 3, 4}))]


def spent(history: History) -> Paragraph:
    """What the run used, in a line."""
    return Paragraph(f"{usage_text(history.usage)}; {duration_text(history.seconds)}")


def winners(history: History, best: TrialRecord) -> list[tuple[str, str, str]]:
    """Return (predictor, winning instruction, original instruction) of every predictor."""
    texts = {(one.predictor, one.index): one.text for one in list(history.instructions)}
    names = history.started.predictors if history.started else ()
    chosen = zip(names, best.instructions, strict=False)
    return [(name, texts.get((name, index), ""), texts.get((name, 0), "")) for name, index in chosen]


def winner(history: History, room: Room) -> list[Block]:
    """The best program's instructions in full beside the original ones, and its demos."""
    best = history.best
    if best is None:
        return []
    parts: list[Block] = []
    found = winners(history, best)
    demos = {(made.predictor, made.index): made for made in list(history.demo_sets)}
    most = room.winner // max(1, len(found))
    for place, (name, text, original) in enumerate(found):
        parts.append(Heading("Best instruction" + of(name, len(found)), short="" if place else "Prompts"))
        if best.instructions[place] == 0:
            parts.append(Paragraph("the original: " + shortened(text, most)))
        else:
            both = shortened(original, most), shortened(text, most)
            parts.append(Diff(*both, ("original", f"instruction {best.instructions[place]}")))
        made = demos.get((name, best.demos[place])) if best.demos else None
        parts += _demos(made, room) if made is not None else []
    return parts


def of(name: str, count: int) -> str:
    """Return a predictor's name for a heading, if there are several."""
    return f" of {cut(name, 80)}" if count > 1 else ""


def _demos(made: ev.DemosBootstrapped, room: Room) -> list[Block]:
    if not made.demos:
        return [Paragraph(f"It stands without demos (demo set {made.index}).")]
    told = f"Its demos: set {made.index}, {made.origin}, {count_text(made)}"
    shown = made.demos[: room.examples]
    rows = [(str(number), Long(demo_text(demo, room))) for number, demo in enumerate(shown, 1)]
    left = len(made.demos) - len(shown)
    more: list[Block] = [Paragraph(f"{left} more demos are left out here.")] if left else []
    return [Paragraph(told), Table(("no.", "demo"), tuple(rows), "demos of the best program"), *more]


def demo_text(demo: Mapping[str, object], room: Room) -> str:
    """Write a demo, a line for each field."""
    most = room.full or room.text
    return "\n".join(f"{key}: {shortened(as_text(value), most)}" for key, value in demo.items())


def count_text(made: ev.DemosBootstrapped) -> str:
    """Say how many demos a set has, and how many of them are the teacher's."""
    total = len(made.demos)
    boot = f", {made.bootstrapped} bootstrapped" if made.bootstrapped else ""
    return "no demos" if not total else f"{total} demo{'s' if total > 1 else ''}{boot}"


def notes(history: History, room: Room) -> list[Block]:
    """What the run remarked, the newest last."""
    told = [f"{note.stage}: {note.message}" for note in list(history.notes)]
    if not told:
        return []
    shown = [Paragraph(shortened(line, 2 * (room.full or room.text))) for line in told[-room.examples :]]
    left = len(told) - len(shown)
    more: list[Block] = [Paragraph(f"{left} earlier notes are in run.history.notes.")] if left else []
    return [Heading(f"Notes ({len(told)})", short="Notes"), *more, *shown]
