"""A small world for tests: a task, its data, and a fake LM whose score depends on the prompt."""

from __future__ import annotations

import hashlib
from typing import Any

import mipro_nb as mn
from mipro_nb.testing import FakeLM, Messages


def rows(count: int = 60, start: int = 0) -> list[mn.Example]:
    return mn.examples([{"q": f"item {i}", "a": f"answer {i}"} for i in range(start, start + count)], inputs=["q"])


def metric(example: Any, prediction: Any, trace: Any = None) -> bool:
    return bool(example.a == prediction.a)


def is_proposal(messages: Messages) -> bool:
    return "instruction alone" in messages[0]["content"]


def is_description(messages: Messages) -> bool:
    return messages[0]["content"].startswith("Here ")


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def reply(messages: Messages) -> str:
    """Proposals are numbered by a hash; answers are right more often with demos and with some instructions."""
    if is_proposal(messages):
        return f"Instruction: Answer with care, style {int(chance(messages) * 1000)}."
    if is_description(messages):
        return "It is about numbered items."
    system, question = messages[0]["content"], messages[-1]["content"]
    skill = 0.3 + 0.1 * min(4, len(messages) // 2) + 0.3 * chance(system)
    number = question.split()[-1]
    return f"a: answer {number}" if chance(system, len(messages), question) < skill else "a: no idea"


def fake(**options: Any) -> FakeLM:
    return FakeLM(options.pop("replies", reply), **options)


class TwoSteps(mn.Module):
    """Two predictors; the first one's output isn't in the data."""

    def __init__(self) -> None:
        self.hint = mn.Predict("q -> hint")
        self.answer = mn.Predict("q, hint -> a")

    def forward(self, q: str) -> Any:
        return self.answer(q=q, hint=self.hint(q=q).hint)


def two_step_reply(messages: Messages) -> str:
    if is_proposal(messages) or is_description(messages):
        return reply(messages)
    if "hint: <text>" in messages[0]["content"]:
        return f"hint: {messages[-1]['content'].split()[-1]}"
    question = messages[-1]["content"].splitlines()[0]
    return reply([*messages[:-1], {"role": "user", "content": question}])
