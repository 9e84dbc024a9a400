"""What the front end draws: History -> small plain values. Pure; ``js/`` reads them, ``feed`` sends them.

Scores are fractions, times are seconds, money is US dollars. Texts are texts: the front end never
takes them for HTML.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from mipro_nb import events as ev
from mipro_nb import outcome
from mipro_nb.frames import Standing, as_text, banned, estimates, standings
from mipro_nb.history import History, TrialRecord
from mipro_nb.notebook import thinned
from mipro_nb.notebook.charts import choice_text
from mipro_nb.notebook.closeup import rounded
from mipro_nb.notebook.worddiff import word_diff
from mipro_nb.plan import Plan
from mipro_nb.progress import seconds_left, steps_done
from mipro_nb.text import cut

TITLES = {
    "bootstrap": "Bootstrap demo sets",
    "propose": "Propose instructions",
    "search": "Search combinations",
    "verdict": "Verdict on the test set",
}
KINDS = ("baseline", "minibatch", "full", "partial")
NOTES = 8
GAINS = ("gain", "low", "high")
DEMO_TEXT = 600  # characters of a demo's field


class Source(Protocol):
    """What a view shows: a ``Record``, or anything that has as much to tell."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def history(self) -> History: ...
    @property
    def plan(self) -> Plan | None: ...
    @property
    def max_cost(self) -> float | None: ...
    @property
    def extendable(self) -> bool: ...
    @property
    def now(self) -> float: ...
    @property
    def pace(self) -> float: ...
    @property
    def aside(self) -> str: ...

    error: BaseException | None


def status(source: Source, now: float, beat: int) -> dict[str, Any]:
    """Return where the run is, what it has found, and what it has spent."""
    history = source.history
    state, started = source.status, history.started
    events = history.events
    usage = history.usage
    return {
        "program": source.name,
        "predictors": list(started.predictors) if started else [],
        "state": state,
        "reason": "; ".join(filter(None, (source.aside, _reason(history, state)))),
        "again": state == "stopping" and bool(source.aside),  # whether to stop again says more
        "error": f"{type(source.error).__name__}: {source.error}" if source.error is not None else "",
        "plan": str(source.plan) if state == "waiting" and source.plan is not None else "",
        "stage": history.stage or "",
        "stages": _stages(history, source.plan),
        "left": rounded(seconds_left(history, now), 0) if state in ("running", "paused") else None,
        "elapsed": rounded(history.seconds + (now - events[-1].at if events and not history.reason else 0.0), 1),
        "best": _trial(history, history.best),
        "baseline": _trial(history, history.baseline),
        "estimate": estimate(history),
        "remarks": outcome.after_test(history),
        "usage": {**asdict(usage), "cached": usage.cached_calls, "cost": rounded(usage.cost, 6)},
        "expected": _expected(source.plan),
        "max_cost": source.max_cost,
        "verdict": asdict(history.verdict) if history.verdict is not None else None,
        "notes": [note.message for note in history.notes[-NOTES:]],
        "extendable": source.extendable,
        "pace": source.pace,
        "beat": beat,
    }


def _reason(history: History, state: str) -> str:
    """Why it has ended, or has paused by itself, unless the state says it."""
    return history.pause_reason or ("" if history.reason in (None, state) else history.reason)


def _stages(history: History, plan: Plan | None) -> list[dict[str, Any]]:
    names = list(TITLES)
    if plan is not None and not plan.sizes.get("test"):
        names.remove("verdict")
    shown = []
    for name in names:
        stage = history.stages.get(name)
        present = name == history.stage and stage is not None
        total = stage.total if stage else 2 if name == "verdict" and history.verdict is not None else 0
        done = steps_done(history) if present else total
        cut_short = history.reason not in (None, "finished")  # by a limit, before the verdict
        if name == "search" and stage and (history.counts_examples or cut_short):
            done, total = history.searched
        shown.append(
            {"name": name, "title": TITLES[name], "done": done, "total": total, "detail": _detail(history, name)}
        )
    return shown


def _detail(history: History, stage: str) -> str:
    if stage == "bootstrap":
        return _attempts(history.bootstrap_attempts)
    if stage == "propose" and history.instructions:
        dropped = sum(note.stage == "propose" for note in history.notes)
        count = len(history.instructions)
        return f"{count} instruction{'s' * (count != 1)}" + (f", {dropped} dropped or noted" if dropped else "")
    if stage in ("search", "verdict"):
        running = [t for t in list(history.trials_by_number.values()) if not t.finished]
        few = f"{len(thinned.trials(history))} of {len(history.trials):,} trials shown" if thinned.text(history) else ""
        if stage == "search" and history.counts_examples:
            told = _programs(history, sum(not t.kind.startswith("test") for t in running))
            return "; ".join(filter(None, (told, few)))
        if running and running[-1].kind.startswith("test") == (stage == "verdict") and not history.reason:
            trial = running[-1]
            kind = {"test_baseline": "baseline", "test_best": "best program"}.get(trial.kind, trial.kind)
            head = kind if stage == "verdict" else f"trial {trial.number}, {kind}"
            more = f"; {few}" if few and stage == "search" else ""
            return f"{head}: {len(trial.scored)} of {trial.new} examples{more}"
        return few if stage == "search" else ""
    return ""


def _programs(history: History, running: int) -> str:
    """Say what the evaluations of a search went to."""
    tried = len(history.trials)
    if not tried:
        return ""
    way = f", {running} under way" if running and not history.reason else ""
    return f"evaluations of {tried} program{'s' * (tried != 1)}{way}"


def _attempts(attempts: Sequence[ev.ExampleBootstrapped]) -> str:
    if not attempts:
        return ""
    kept = sum(attempt.kept for attempt in attempts)
    why = Counter(_kind_of(attempt.why) for attempt in list(attempts) if not attempt.kept)
    told = ", ".join(f"{count} x {reason}" for reason, count in why.most_common(4))
    return f"{kept} demos kept, {len(attempts) - kept} dropped" + (f": {told}" if told else "")


def _kind_of(why: str) -> str:
    """Shorten a reason to its kind: an error to its name, a score to itself."""
    head = why.split(":")[0].strip()
    return cut(head if head.isidentifier() else why, 60)


def _trial(history: History, trial: TrialRecord | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    names = history.started.predictors if history.started else ()
    return {
        "score": rounded(trial.score),
        "low": trial.low,
        "high": trial.high,
        "examples": trial.examples,
        "trial": trial.number,
        "choice": choice_text(names, trial),
    }


def estimate(history: History) -> dict[str, Any] | None:
    """Return what the posterior says of the leader, as numbers and as the words that every page uses; or None."""
    found = history.posterior
    if found is None:
        return None
    gain = {**_ends(found.gain), "better": rounded(found.gain.get("better"), 4)}
    return {
        "score": _ends(found.score),
        "baseline": _ends(found.baseline),
        "gain": gain,
        "given": outcome.is_given(history),
        "chance": outcome.probability(found.gain["better"]) if "better" in found.gain else "",
        "choice": outcome.choice_text(history, {"instructions": found.instructions, "demos": found.demos}),
        "sources": [[words, *_ends(told).values()] for words, told in outcome.sources(history)],
        "simplest": outcome.simplest_text(history),
        "evaluations": found.evaluations,
    }


def _ends(found: Mapping[str, float]) -> dict[str, float | None]:
    return {name: rounded(found[name]) for name in ("mean", "low", "high")}


def _expected(plan: Plan | None) -> dict[str, Any] | None:
    if plan is None:
        return None
    total = plan.total
    cost = [total.cost.low, total.cost.likely, total.cost.high] if total.cost is not None else None
    return {"calls": [total.calls.low, total.calls.likely, total.calls.high], "cost": cost}


def trial_row(trial: TrialRecord) -> list[Any]:
    """Return a trial as the front end's row: see ``js/`` for its columns."""
    return [
        trial.number,
        KINDS.index(trial.kind) if trial.kind in KINDS else 2,
        rounded(trial.score),
        trial.low,
        trial.high,
        trial.examples,
        rounded(trial.best_so_far),
        list(trial.instructions),
        list(trial.demos),
        len(trial.scored),
        trial.planned,
        trial.failed,
    ]


def texts(history: History) -> dict[str, Any]:
    """Return every instruction, with its difference from the original one, and every demo set."""
    own = {one.predictor: one.text for one in history.instructions if one.index == 0}
    instructions = [
        {
            "predictor": one.predictor,
            "index": one.index,
            "text": one.text,
            "origin": one.origin,
            "tip": one.tip,
            "diff": [list(part) for part in word_diff(own[one.predictor], one.text)] if one.index else [],
        }
        for one in list(history.instructions)
    ]
    demos = [
        {
            "predictor": made.predictor,
            "index": made.index,
            "origin": made.origin,
            "bootstrapped": made.bootstrapped,
            "demos": [{name: cut(as_text(value), DEMO_TEXT) for name, value in demo.items()} for demo in made.demos],
        }
        for made in list(history.demo_sets)
    ]
    return {"instructions": instructions, "demos": demos}


def stats(history: History) -> dict[str, Any]:
    """Return the score of every candidate that was tried or estimated, and which combination leads.

    A row holds place, kind, index, mean, interval, examples, trials, the gain over the part as given with its error,
    and whether it is banned. Means are raw, or the posterior's where ``estimated``.
    """
    known, told, out = standings(history), estimates(history), banned(history)
    names = history.started.predictors if history.started else ()
    rows = []
    for place, kind, index in dict.fromkeys([*known, *told]):
        found, model = known.get((place, kind, index), Standing()), told.get((place, kind, index), {})
        low, high = (model["low"], model["high"]) if model else found.interval
        shown = [rounded(model.get("mean", found.mean)), rounded(low), rounded(high), found.examples, found.trials]
        more = [rounded(model.get("gain")), rounded(model.get("error"))]
        is_out = place < len(names) and (names[place], kind, index) in out
        rows.append([place, int(kind == "demos"), index, *shown, *more, is_out])
    best = history.best
    winner = {"instructions": list(best.instructions), "demos": list(best.demos)} if best is not None else None
    worked = [
        [str(row["factor"]), str(row["level"]), int(row["tried"]), *(rounded(float(row[x])) for x in GAINS)]
        for row in outcome.approaches(history)
    ]
    return {"rows": rows, "winner": winner, "estimated": bool(told), "approaches": worked}


def sendable(value: dict[str, Any]) -> dict[str, Any]:
    """Return plain JSON values; half a character, which no message can carry, becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
    found: dict[str, Any] = json.loads(text)
    return found
