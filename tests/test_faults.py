"""A whole run against a server that fails two requests of five finds what it finds against one that never fails."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
from loopback import GARBAGE, HANG, Loopback, Messages, error, seeded

import mipro_nb as mn
from mipro_nb import events as ev

TEAMS = ("billing", "bug", "shipping")


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") / 2**64


def reply(messages: Messages) -> str:
    """Answers are right more often with more demos and under some instructions."""
    system, question = messages[0]["content"], messages[-1]["content"]
    if "instruction alone" in system:
        return f"Name the team that should answer, style {int(chance(messages) * 1000)}."
    if system.startswith("Here "):
        return "Numbered messages go to teams."
    skill = 0.15 + 0.08 * min(4, len(messages) // 2) + 0.3 * ("style" in system) + 0.2 * chance(system)
    wrong = chance(system, len(messages), question) > skill
    return f"team: {TEAMS[(int(question.split()[-1]) + wrong) % 3]}"


def rows(numbers: range) -> list[mn.Example]:
    return mn.examples([{"message": f"message {n}", "team": TEAMS[n % 3]} for n in numbers], inputs=["message"])


def run(server: Loopback) -> tuple[mn.Module, mn.History]:
    lm = mn.LM(
        "openai/some-model",
        api_base=server.url,
        api_key="sk-x",
        timeout=1.0,
        retry_wait=0.01,
        num_retries=12,
        cache=False,
    )
    program = mn.Predict("message -> team: Literal['billing', 'bug', 'shipping']", lm=lm)
    history = mn.History()
    optimizer = mn.MIPROv2(mn.exact_match, prompt_model=lm, task_model=lm, num_candidates=3, num_threads=8)
    best = optimizer.compile(
        program,
        trainset=rows(range(12)),
        valset=rows(range(12, 36)),
        num_trials=5,
        minibatch_size=12,
        view_data_batch_size=6,
        listeners=[history],
    )
    return best, history


def trials(history: mn.History) -> list[Any]:
    return [(t.number, t.kind, t.instructions, t.demos, t.score, t.examples, t.failed) for t in history.trials]


def scored(history: mn.History) -> Counter[tuple[int, int, float | None, str]]:
    found = (event for event in history.events if isinstance(event, ev.ExampleScored))
    return Counter((event.trial, event.example, event.score, event.error) for event in found)


@pytest.mark.slow
def test_outages_change_nothing_but_the_time() -> None:
    with Loopback(reply) as steady:
        calm_best, calm = run(steady)
    with Loopback(reply, seeded(1, 0.1, [error(429), error(500), HANG, GARBAGE])) as shaky:
        best, rough = run(shaky)
    kinds = Counter(kind for _, kind in shaky.faulted)
    assert steady.faulted == []
    assert min(kinds[kind] for kind in ("429", "500", "hang", "garbage")) >= 5
    assert rough.reason == calm.reason == "finished"
    assert calm.best is not None
    assert calm.best.number != 0, "the world of this test has no winner: it can't tell anything"
    assert trials(rough) == trials(calm)
    assert scored(rough) == scored(calm)
    assert not any(message for _, _, _, message in scored(rough))
    assert [event.text for event in rough.instructions] == [event.text for event in calm.instructions]
    assert rough.usage == calm.usage
    assert [p.to_json() for p in best.predictors] == [p.to_json() for p in calm_best.predictors]
    assert best.predictors[0].demos
    assert "style" in best.predictors[0].signature.instructions
