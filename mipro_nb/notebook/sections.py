"""The parts of a frozen output that tell of the winner, the candidates, the examples and the settings, as markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mipro_nb import events as ev
from mipro_nb.frames import Standing, change, compared, standings
from mipro_nb.history import History, TrialRecord
from mipro_nb.notebook import markup
from mipro_nb.notebook.closeup import label
from mipro_nb.text import cut

SETTINGS = ("task_model", "prompt_model", "auto", "search", "seed", "init_temperature")
GAP = "\u00a0"  # a space at which a cell isn't broken
MEANS = "The mean is over the examples of all combinations with the candidate, each counted once."
WORDS = {"fixed": "fixed", "broken": "broken", "same": "the same", "open": "not compared (a call failed)"}
CANDIDATE = ("", f"mean{GAP}score", f"95%{GAP}interval", "examples", "trials", "origin", "")


@dataclass(frozen=True, slots=True)
class Room:
    """How much is shown: characters of winning instructions and of other texts; rows of candidates and of examples."""

    winner: int
    text: int
    candidates: int
    examples: int


def winners(history: History, best: TrialRecord) -> list[tuple[str, str, str]]:
    """Return (predictor, winning instruction, original instruction) of every predictor."""
    texts = {(one.predictor, one.index): one.text for one in list(history.instructions)}
    names = history.started.predictors if history.started else ()
    chosen = zip(names, best.instructions, strict=False)
    return [(name, texts.get((name, index), ""), texts.get((name, 0), "")) for name, index in chosen]


def winner(history: History, room: Room) -> list[str]:
    """The best program's instructions in full beside the original ones, and its demos."""
    best = history.best
    if best is None:
        return []
    parts: list[str] = []
    found = winners(history, best)
    demos = {(made.predictor, made.index): made for made in list(history.demo_sets)}
    most = room.winner // max(1, len(found))
    for place, (name, text, original) in enumerate(found):
        parts.append(markup.section("Best instruction" + _of(name, len(found))))
        if best.instructions[place] == 0:
            parts.append(markup.box(markup.text("the original: " + markup.shortened(text, most))))
        else:
            both = markup.shortened(original, most), markup.shortened(text, most)
            parts.append(
                markup.compared(*both, ("original", f"instruction {best.instructions[place]}, new words in bold"))
            )
        made = demos.get((name, best.demos[place])) if best.demos else None
        parts += _demos(made, room) if made is not None else []
    return parts


def _of(name: str, count: int) -> str:
    return f" of {cut(name, 80)}" if count > 1 else ""


def _demos(made: ev.DemosBootstrapped, room: Room) -> list[str]:
    if not made.demos:
        return [markup.box(f"It stands without demos (demo set {made.index}).")]
    told = f"Its demos: set {made.index}, {made.origin}, {_count(made)}"
    rows = []
    for number, demo in enumerate(made.demos[: room.examples], 1):
        lines = [f"{key}: {markup.shortened(str(value), room.text)}" for key, value in demo.items()]
        rows.append((str(number), markup.text("\n".join(lines))))
    return [markup.box(markup.text(told)), markup.table(("", "demo"), rows)]


def numbers(score: float | None, low: float | None, high: float | None, examples: int) -> tuple[str, str, str]:
    """Return the cells of a score: percent, interval, on how many examples."""
    interval = "" if low is None or high is None else f"{low:.1%}{GAP}to{GAP}{high:.1%}"
    return ("" if score is None else f"{score:.1%}", interval, str(examples))


def candidates(history: History, room: Room) -> list[str]:
    """Every instruction and demo set of each predictor, the winner first, then by mean score."""
    names = history.started.predictors if history.started else ()
    known, best, parts = standings(history), history.best, []
    for place, name in enumerate(names):
        rows: list[_Candidate] = []
        for one in list(history.instructions):
            if one.predictor == name:
                won = best is not None and best.instructions[place] == one.index
                found = known.get((place, "instruction", one.index))
                origin = f"{one.origin}, {one.tip}" if one.tip not in ("", "none") else one.origin
                rows.append(_Candidate("instruction", one.index, origin, one.text, won, found))
        for made in list(history.demo_sets):
            if made.predictor == name:
                won = best is not None and bool(best.demos) and best.demos[place] == made.index
                found = known.get((place, "demos", made.index))
                rows.append(_Candidate("demo set", made.index, made.origin, _demos_text(made), won, found))
        for kind, words in (("instruction", "Instructions"), ("demo set", "Demo sets")):
            of_kind = [row for row in rows if row.kind == kind]
            if of_kind:
                parts.append(_candidate_table(words + _of(name, len(names)), of_kind, room))
    return parts


@dataclass(frozen=True, slots=True)
class _Candidate:
    kind: str
    index: int
    origin: str
    text: str
    won: bool
    found: Standing | None

    def cells(self, length: int) -> tuple[str, ...]:
        name = f"{self.index}{GAP}★{GAP}best" if self.won else str(self.index)
        standing = self.found or Standing()
        shown = numbers(standing.mean, *standing.interval, standing.examples)
        text = markup.text(markup.shortened(self.text, length))
        return (
            markup.bold(name) if self.won else name,
            *shown,
            str(standing.trials),
            markup.escape(cut(self.origin, 40)),
            text,
        )

    @property
    def rank(self) -> tuple[bool, float, int]:
        mean = self.found.mean if self.found else None
        return not self.won, -1.0 if mean is None else -mean - 1, self.index


def _candidate_table(words: str, rows: Sequence[_Candidate], room: Room) -> str:
    ordered = sorted(rows, key=lambda row: row.rank)
    shown = [row.cells(room.text) for row in ordered[: room.candidates]]
    left = len(ordered) - len(shown)
    more = markup.box(f"{left} more were not better.") if left else ""
    means = markup.box(MEANS) if rows[0].kind == "instruction" else ""
    return markup.section(f"{words} ({len(rows)})", means, markup.table(CANDIDATE, shown), more)


def _demos_text(made: ev.DemosBootstrapped) -> str:
    first = "; ".join(f"{key}: {value}" for key, value in made.demos[0].items()) if made.demos else ""
    return f"{_count(made)}. {first}" if first else _count(made)


def _count(made: ev.DemosBootstrapped) -> str:
    total = len(made.demos)
    boot = f", {made.bootstrapped} bootstrapped" if made.bootstrapped else ""
    return "no demos" if not total else f"{total} demo{'s' if total > 1 else ''}{boot}"


def examples(history: History, room: Room) -> str:
    """How many validation examples the best program fixed and broke, and the first of each."""
    if history.best is None or history.best is history.baseline:
        return ""
    found = [(change(was, now) or "open", number, was, now) for number, was, now in compared(history)]
    counts = Counter(word for word, *_ in found)
    told = ", ".join(f"{counts[word]} {words}" for word, words in WORDS.items() if counts[word])
    rows = []
    for kind in ("fixed", "broken"):
        for _, number, was, now in [one for one in found if one[0] == kind][: room.examples]:
            rows.append(_example_cells(kind, number, was, now, room.text))
    head = ("", "", "input", "baseline", "best", "what the best program said")
    summary = f"Validation examples, baseline against best: {told}"
    shown = markup.box(f"The first {room.examples} of those that changed, of each kind.") if rows else ""
    return markup.section(summary, shown, markup.table(head, rows) if rows else "")


def _example_cells(
    kind: str, number: int, was: ev.ExampleScored, now: ev.ExampleScored | None, length: int
) -> tuple[str, ...]:
    scores = ["" if one is None or one.score is None else f"{one.score:.2g}" for one in (was, now)]
    said = "\n".join(part for part in (now.output, now.error, now.feedback) if part) if now else ""
    texts = [markup.text(markup.shortened(text, length)) for text in (label(was), said)]
    return str(number), kind, texts[0], *scores, texts[1]


def notes(history: History, room: Room) -> str:
    """What the run remarked, the newest last."""
    told = [f"{note.stage}: {note.message}" for note in list(history.notes)]
    if not told:
        return ""
    shown = [markup.text(markup.shortened(line, 2 * room.text)) for line in told[-room.examples :]]
    left = len(told) - len(shown)
    more = markup.box(f"{left} earlier notes are in run.history.notes.") if left else ""
    return markup.section(f"Notes ({len(told)})", more, *shown)


def settings(history: History, room: Room) -> str:
    """One line: models, effort, seed, sizes, version."""
    started = history.started
    if started is None:
        return ""
    told = [f"{name}={started.settings[name]}" for name in SETTINGS if started.settings.get(name) is not None]
    told += [f"{count} {name} examples" for name, count in started.sizes.items() if count]
    told += [f"{name} {started.versions[name]}" for name in ("mipro_nb", "python") if name in started.versions]
    trials = sum(trial.finished for trial in history.trials)
    line = f"{trials} trials; {', '.join(told)}"
    return markup.section("Settings", markup.text(markup.shortened(line, 4 * room.text)))
