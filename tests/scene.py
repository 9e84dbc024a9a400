"""What the notebooks of the browser tests import: the world of programs.py, and an LM that a test can hold."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from programs import fake, metric, reply, rows

import mipro_nb as mn
from mipro_nb.testing import FakeLM, Messages

DOOR = Path("door")  # in the notebook's folder


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


def slow(delay: float = 0.05, replies: Callable[[Messages], str] = reply) -> FakeLM:
    """Return a fake LM that takes its time, until the file ``door`` is there."""
    return held(10**9, replies, delay)


def optimize(lm: FakeLM, program: mn.Module | None = None, **options: Any) -> Any:
    """Optimize a small program on small data; return the view."""
    data = {"trainset": rows(20), "valset": rows(30, 20), "testset": rows(40, 100), "minibatch_size": 10}
    most = {"num_candidates": 4, "num_trials": 6, "num_threads": 4, "seed": 1, "metric": metric}
    return mn.optimize(
        program or mn.Predict("q -> a"), task_model=lm, prompt_model=lm, **{**data, **most, **options}
    )
