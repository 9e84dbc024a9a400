"""What the notebooks of the browser tests import: the world of programs.py, and an LM that a test can hold."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import histories
from histories import PAYLOADS
from programs import chance, fake, is_description, is_proposal, metric, reply, rows

import mipro_nb as mn
from mipro_nb.errors import LMUnavailable
from mipro_nb.testing import FakeLM, Messages

DOOR, GATE = Path("door"), Path("gate")  # in the notebook's folder
PROPOSED = itertools.count()


def held(after: int, replies: Callable[[Messages], str] = reply, delay: float = 0.0) -> FakeLM:
    """Return a fake LM that answers so many calls; later ones wait until the file ``door`` is there.

    Args:
        delay: seconds that an answer takes until the door is open.
    """
    numbers = itertools.count(1)

    def answer(messages: Messages) -> str:
        late = next(numbers) > after
        while late and not DOOR.exists():
            time.sleep(0.02)
        if delay and not DOOR.exists():
            time.sleep(delay)
        return replies(messages)

    return fake(replies=answer)


def held_again(after: int, threads: int = 4) -> FakeLM:
    """Return a fake LM as ``held``; the calls that come when those in flight are through wait for the file ``gate``."""
    numbers = itertools.count(1)

    def answer(messages: Messages) -> str:
        number = next(numbers)
        while (number > after and not DOOR.exists()) or (number > after + threads and not GATE.exists()):
            time.sleep(0.02)
        return reply(messages)

    return fake(replies=answer)


def slow(delay: float, replies: Callable[[Messages], str] = reply) -> FakeLM:
    """Return a fake LM that takes its time, until the file ``door`` is there."""
    return held(10**9, replies, delay)


def frail(after: int, replies: Callable[[Messages], str] = reply) -> FakeLM:
    """Return a fake LM that answers so many calls, and none later until the file ``door`` is there: an outage."""
    numbers = itertools.count(1)

    def answer(messages: Messages) -> str:
        if next(numbers) > after and not DOOR.exists():
            raise LMUnavailable("the server refuses connections")
        return replies(messages)

    return fake(replies=answer)


def optimize(lm: FakeLM, program: mn.Module | None = None, **options: Any) -> Any:
    """Optimize a small program on small data; return the view."""
    data = {"trainset": rows(20), "valset": rows(30, 20), "testset": rows(40, 100), "minibatch_size": 10}
    search = {"search": "mipro", "num_candidates": 4, "num_trials": 6, "num_threads": 4, "seed": 1, "metric": metric}
    return mn.optimize(program or mn.Predict("q -> a"), task_model=lm, prompt_model=lm, **{**data, **search, **options})


def wordy(messages: Messages) -> str:
    """Propose instructions of two pages each, which no compression makes small."""
    if not is_proposal(messages):
        return reply(messages)
    return "Instruction: Answer with care: " + " ".join(str(chance(messages, number)) for number in range(150))


class Hostile(mn.Module):
    """A program that quotes what it is given, and fails on some of it."""

    def __init__(self) -> None:
        self.answer = mn.Predict("q -> a")

    def forward(self, q: str) -> Any:
        if q.startswith("fail"):
            raise ValueError(q)
        return self.answer(q=q)


def quoting(messages: Messages) -> str:
    """Propose payloads, and answer with the question; the instruction as given gets wrong answers at first."""
    if is_description(messages):
        return PAYLOADS[2]
    if is_proposal(messages):
        number = next(PROPOSED)
        return f"Instruction: Rule {number}: {PAYLOADS[number % len(PAYLOADS)]}"
    text = messages[-1]["content"]
    return f"a: {text.partition(': ')[2]}" if len(messages) > 2 else f"a: wrong {text}"


def hostile_rows(count: int, start: int = 0) -> list[mn.Example]:
    texts = [PAYLOADS[number % len(PAYLOADS)] for number in range(start, start + count)]
    made = [f"fail {text}" if number % 7 == 6 else f"{number} {text}" for number, text in enumerate(texts, start)]
    return mn.examples([{"q": text, "a": text} for text in made], inputs=["q"])


def hostile_metric(example: Any, prediction: Any, trace: Any = None) -> mn.Score:
    return mn.Score(prediction.a.split() == example.a.split(), feedback=f"feedback {example.a}")


def broken_metric(example: Any, prediction: Any, trace: Any = None) -> bool:
    raise RuntimeError(example.q)


def optimize_hostile(metric: Any = hostile_metric, **options: Any) -> Any:
    """Optimize a program whose name, data, proposals, feedback and errors are payloads, once the door is open."""
    program = type(PAYLOADS[0], (Hostile,), {})()
    data = {"trainset": hostile_rows(20), "valset": hostile_rows(20, 20), "testset": hostile_rows(20, 40)}
    return optimize(held(0, quoting), program, metric=metric, **{"num_candidates": len(PAYLOADS), **data, **options})


class Replayed:
    """A run that never ran: a large history, of which the last trials come one by one."""

    name, status, plan, max_cost, extendable, error = "Predict", "running", None, None, True, None
    pace, aside, now = 1.0, "", property(lambda self: time.time())

    def __init__(self, trials: int, examples: int, late: int = 200) -> None:
        events = histories.large(trials, examples, every=max(1, trials // 4)).events
        begins = [place for place, event in enumerate(events) if type(event).__name__ == "TrialStarted"]
        self.history, self.later = mn.History(events[: begins[-late]]), events[begins[-late] :]
        self.listeners: list[Any] = []

    def listen(self, listener: Any, *ended: Any) -> None:
        self.listeners.append(listener)

    def go_on(self) -> None:
        """Let the rest happen, in a thread."""
        self.thread = threading.Thread(target=self._replay, daemon=True)
        self.thread.start()

    def _replay(self) -> None:
        for event in self.later:
            self.history(event)
            for listener in self.listeners:
                listener(event)
            time.sleep(0.001)


class Standing(Replayed):
    """A run that stands still wherever its events end."""

    def __init__(self, events: list[Any], status: str = "running") -> None:
        self.history, self.later, self.listeners, self.status = mn.History(events), [], [], status


def standing(name: str, status: str = "running") -> Any:
    """Return the view of one of the histories of ``histories.ALL``."""
    from mipro_nb.notebook.view import RunView

    return RunView(Standing(histories.ALL[name]().events, status))


def written(name: str) -> Path:
    """Write one of the histories of ``histories.ALL`` as a log; return the file."""
    path = Path(f"{name}.jsonl")
    histories.ALL[name]().write(path)
    return path


def approaches(history: Any) -> Any:
    """Stand in for ``frames.approaches``: what worked in proposing."""
    import pandas as pd

    told = [("kind", "rewrite", 3, 0.06), ("kind", "fresh", 3, 0.02), ("tip", "high_stakes", 1, -0.01)]
    rows = [{"factor": f, "level": v, "tried": n, "gain": g, "low": g - 0.07, "high": g + 0.07} for f, v, n, g in told]
    return pd.DataFrame(rows)
