"""The candidates, the trials and the examples of a run as tables, the telling rows first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb import events as ev
from mipro_nb.eventlist import ExampleRecord
from mipro_nb.frames import Standing, banned, change, compared, estimates, standings
from mipro_nb.history import History, TrialRecord
from mipro_nb.notebook.charts import choice_text
from mipro_nb.notebook.closeup import label
from mipro_nb.notebook.document import GAP, Block, Heading, Long, Paragraph, Table
from mipro_nb.notebook.sections import Room, count_text, demo_text, long, numbers, of
from mipro_nb.text import cut
from mipro_nb.verdict import Z

MEANS = "The mean is over the examples of all combinations with the candidate, each counted once."
MODELLED = (
    "The estimate is the model's for the best program with this candidate put in, tried or not; the gain is that over "
    "the candidate which the program was given, in points, with its 95% interval."
)
WORDS = {"fixed": "fixed", "broken": "broken", "same": "the same", "open": "not compared (a call failed)"}
WORDS["unseen"] = "not compared (the best program was not run on them)"
CANDIDATE = ("no.", "mean score", f"95%{GAP}interval", "examples", "trials", "origin", "text")
TRIAL = ("trial", "kind", "score", f"95%{GAP}interval", "examples", "failed", "best so far", "combination")
ESTIMATE = ("no.", "estimate", f"95%{GAP}interval", "gain", "examples", "trials", "origin", "text")
EXAMPLE = ("no.", "change", "input", "baseline", "best", "what the best program said")

Compared = tuple[str, int, ExampleRecord, ExampleRecord | None]  # change, number, baseline's result, best's


@dataclass(frozen=True, slots=True)
class _Candidate:
    index: int
    origin: str
    text: str
    won: bool
    found: Standing
    estimate: Mapping[str, Any] | None = None
    banned: bool = False

    def cells(self, room: Room) -> tuple[str | Long, ...]:
        name = f"{self.index}{GAP}★{GAP}best" if self.won else str(self.index)
        origin = cut(self.origin, 40) + (", banned" if self.banned else "")
        counts: tuple[str, ...] = str(self.found.examples), str(self.found.trials)
        shown: tuple[str, ...] = numbers(self.found.mean, *self.found.interval, 0)[:2]
        if self.estimate is not None:
            shown = self._estimated(self.estimate)
            if not room.full:
                origin, counts = f"{origin}; {self.found.examples} examples", ()
        known = (name, *shown, *counts)
        if not room.full:  # an output that may be narrow: the origin stands above the text
            return (*known, Long(f"{origin}\n{long(self.text, room).text}"))
        return (*known, origin, long(self.text, room))

    @staticmethod
    def _estimated(told: Mapping[str, Any]) -> tuple[str, str, str]:
        if "mean" not in told:
            return "", "", ""
        gain, error = told.get("gain"), told.get("error")
        points = f"{gain * 100:+.1f}{GAP}±{GAP}{Z * error * 100:.1f}" if gain is not None and error else ""
        return *numbers(told["mean"], told["low"], told["high"], 0)[:2], points

    @property
    def rank(self) -> tuple[bool, float, int]:
        mean = self.found.mean if not self.estimate else self.estimate.get("mean")
        return not self.won, -1.0 if mean is None else -mean - 1, self.index


def candidates(history: History, room: Room) -> list[Block]:
    """Every instruction and demo set of each predictor, the winner first, then by mean score."""
    names = history.started.predictors if history.started else ()
    known, parts = standings(history), list[Block]()
    for place, name in enumerate(names):
        for words, rows in (
            ("Instructions", _instructions(history, known, place, name)),
            ("Demo sets", _demo_sets(history, known, place, name, room)),
        ):
            if rows:
                first = "" if parts else "Candidates"
                parts.append(Heading(f"{words}{of(name, len(names))} ({len(rows)})", short=first))
                means = MEANS if history.posterior is None else MODELLED
                parts += [Paragraph(means)] if words == "Instructions" else []
                parts += _candidate_table(words + of(name, len(names)), rows, room)
    return parts


def _instructions(
    history: History, known: dict[tuple[int, str, int], Standing], place: int, name: str
) -> list[_Candidate]:
    best, rows = history.best, []
    for one in list(history.instructions):
        if one.predictor == name:
            won = best is not None and best.instructions[place] == one.index
            origin = f"{one.origin}, {one.tip}" if one.tip not in ("", "none") else one.origin
            found = known.get((place, "instruction", one.index), Standing())
            more = _model(history, place, name, "instruction", one.index)
            rows.append(_Candidate(one.index, origin, one.text, won, found, *more))
    return rows


def _demo_sets(
    history: History, known: dict[tuple[int, str, int], Standing], place: int, name: str, room: Room
) -> list[_Candidate]:
    best, rows = history.best, []
    for made in list(history.demo_sets):
        if made.predictor == name:
            won = best is not None and bool(best.demos) and best.demos[place] == made.index
            found = known.get((place, "demos", made.index), Standing())
            more = _model(history, place, name, "demos", made.index)
            rows.append(_Candidate(made.index, made.origin, _demos_text(made, room), won, found, *more))
    return rows


def _model(history: History, place: int, name: str, kind: str, index: int) -> tuple[Mapping[str, Any] | None, bool]:
    """Return what the posterior says of a candidate, None without one; and whether it is banned."""
    told = estimates(history).get((place, kind, index), {}) if history.posterior is not None else None
    return told, (name, kind, index) in banned(history)


def _demos_text(made: ev.DemosBootstrapped, room: Room) -> str:
    """Write all demos where the text can unfold, else the first."""
    if room.full and made.demos:
        return "\n\n".join([f"{count_text(made)}.", *(demo_text(demo, room) for demo in made.demos)])
    first = "; ".join(f"{key}: {value}" for key, value in made.demos[0].items()) if made.demos else ""
    return f"{count_text(made)}. {first}" if first else count_text(made)


def _candidate_table(words: str, rows: Sequence[_Candidate], room: Room) -> list[Block]:
    ordered = sorted(rows, key=lambda row: row.rank)
    shown = ordered[: room.candidates]
    marked = frozenset(place for place, row in enumerate(shown) if row.won)
    cells = tuple(row.cells(room) for row in shown)
    left = len(ordered) - len(shown)
    more: list[Block] = [Paragraph(f"{left} more were not better.")] if left else []
    whole = ESTIMATE if any(row.estimate is not None for row in rows) else CANDIDATE
    left_out = 2 if whole is CANDIDATE else 4  # of an estimate the counts stand with the origin
    head = whole if room.full else (*whole[:-left_out], "origin, and text")
    return [Table(head, cells, words, frozenset(range(1, len(head) - (2 if room.full else 1))), marked), *more]


def trials(history: History, room: Room) -> list[Block]:
    """Every trial of the search, in order; of too many those that stand on most examples, and of them the best."""
    found = history.trials
    if not found:
        return []
    kept = sorted(found, key=lambda one: (one is not history.best, -one.examples, -(one.score or 0.0)))[: room.trials]
    shown = sorted(kept, key=lambda one: one.number)
    names = history.started.predictors if history.started else ()
    rows = tuple(_trial_cells(names, one, one is history.best) for one in shown)
    marked = frozenset(place for place, one in enumerate(shown) if one is history.best)
    left = len(found) - len(shown)
    more: list[Block] = []
    if left:
        told = f"{left:,} of {len(found):,} trials are left out: those on the fewest examples, and of them the lowest"
        more = [Paragraph(f"{told} scores. run.trials has all.")]
    table = Table(TRIAL, rows, "trials", frozenset({2, 3, 4, 5, 6}), marked)
    return [Heading(f"Trials ({len(found):,})", short="Trials"), *more, table]


def _trial_cells(names: Sequence[str], one: TrialRecord, won: bool) -> tuple[str, ...]:
    name = f"{one.number}{GAP}★{GAP}best" if won else str(one.number)
    so_far = "" if one.best_so_far is None else f"{one.best_so_far:.1%}"
    kind = one.kind if one.finished else f"{one.kind}, not finished"
    shown = numbers(one.score, one.low, one.high, one.examples)
    return name, kind, *shown, str(one.failed or ""), so_far, choice_text(names, one)


def changed(history: History) -> list[Compared]:
    """Return the validation examples under the baseline and under the best program; none if that is the baseline."""
    if history.best is None or history.best is history.baseline:
        return []
    unseen = "open" if history.posterior is None else "unseen"
    return [
        (change(was, now) or ("open" if now else unseen), number, was, now) for number, was, now in compared(history)
    ]


def counts_text(found: Sequence[Compared]) -> str:
    """Say how many examples are fixed, broken, the same."""
    counts = Counter(word for word, *_ in found)
    return ", ".join(f"{counts[word]:,} {words}" for word, words in WORDS.items() if counts[word])


def examples(history: History, room: Room) -> list[Block]:
    """How many validation examples the best program fixed and broke, and the first of each."""
    found = changed(history)
    if not found:
        return []
    rows: list[tuple[str | Long, ...]] = []
    for kind in ("fixed", "broken"):
        rows += [_example_cells(one, room) for one in [one for one in found if one[0] == kind][: room.examples]]
    parts: list[Block] = [Heading(f"Validation examples, baseline against best: {counts_text(found)}")]
    if rows:
        parts.append(Paragraph(f"The first {room.examples} of those that changed, of each kind."))
        parts.append(Table(EXAMPLE, tuple(rows), "examples that changed", frozenset({3, 4})))
    return parts


def _example_cells(one: Compared, room: Room) -> tuple[str | Long, ...]:
    kind, number, was, now = one
    said = "\n".join(part for part in (now.output, now.error, now.feedback) if part) if now else ""
    return str(number), kind, long(label(was), room), score_text(was), score_text(now), long(said, room)


def score_text(result: ExampleRecord | None) -> str:
    """Write an example's score; nothing while it is missing."""
    return "" if result is None or result.score is None else f"{result.score:.2g}"
