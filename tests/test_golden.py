"""``search="mipro"`` makes the decisions that dspy 3.4.1 makes, from the first draw to the winner.

What the scripted tasks keep out, because mipro_nb does it otherwise on purpose, stands at the head of ``golden_tasks``.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import golden_tasks as gt
import pytest

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.propose import TIPS
from mipro_nb.search import Work
from mipro_nb.testing import EventRecorder, FakeLM, Messages
from mipro_nb.tpe import MiproStrategy

GIVEN = re.compile(rf"^({'|'.join(gt.PROPOSAL)}): ", re.MULTILINE)


class TwoSteps(mn.Module):
    def __init__(self, steps: Any) -> None:
        self.topic, self.answer = (mn.Predict(fields, text) for _, fields, text in steps)

    def forward(self, question: str) -> Any:
        return self.answer(question=question, topic=self.topic(question=question).topic)


class Scripted:
    """The scripted LM of ``golden_tasks``; ``proposals`` holds by reply what the proposer was given."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels, self.proposals = labels, dict[str, dict[str, Any]]()

    def __call__(self, messages: Messages) -> str:
        system, shown, asked = messages[0]["content"], messages[1:-1], messages[-1]["content"]
        if "instruction alone" in system:
            parts = GIVEN.split(asked)
            fields = {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
            given = gt.given_to_proposer(fields, TIPS, self.labels)
            text = gt.proposal(given)
            self.proposals[text] = {**given, "text": text}
            return text
        if system.startswith("Here "):
            return gt.DESCRIPTION
        demos = [
            _fields(one["content"]) | _fields(two["content"]) for one, two in zip(shown[::2], shown[1::2], strict=True)
        ]
        output = system.split("\n")[-1].split(":")[0]
        return f"{output}: {gt.answer(system.split(chr(10))[0], demos, _fields(asked), output)}"


def _fields(lines: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.split("\n"))


def play(task: gt.Task, monkeypatch: pytest.MonkeyPatch, num_threads: int = 2) -> dict[str, Any]:
    """Run mipro_nb on a task; return its decisions, written as ``record_golden`` writes dspy's."""
    asked: list[Work] = []

    class Spied(MiproStrategy):
        def ask(self) -> tuple[Work, ...]:
            works = super().ask()
            asked.extend(works)
            return works

    monkeypatch.setattr("mipro_nb.tpe.MiproStrategy", Spied)
    student = TwoSteps(task.steps) if len(task.steps) > 1 else mn.Predict(*task.steps[0][1:])
    train, val = (mn.examples(part, inputs=["question"]) for part in gt.rows(task))
    scripted, recorder = Scripted({"question": "question:", "topic": "topic:", "answer": "answer:"}), EventRecorder()
    optimizer = mn.MIPROv2(_metric, search="mipro", num_threads=num_threads, **task.settings)
    with mn.context(lm=FakeLM(scripted), progress=False):
        best = optimizer.compile(student, trainset=train, valset=val, listeners=[recorder], **task.options)
    names = [name for name, _, _ in task.steps]
    assert [name for name, _ in best.named_predictors()] == names
    sets, counts, texts = defaultdict(list), defaultdict(list), defaultdict(list)
    for made in recorder.of(ev.DemosBootstrapped):
        sets[made.predictor].append([dict(demo) for demo in made.demos])
        counts[made.predictor].append(made.bootstrapped)
    for one in recorder.of(ev.InstructionProposed):
        texts[one.predictor].append(one.text)
    trials = _trials(recorder, asked)
    return {
        "demo_sets": dict(sets),
        "bootstrapped": dict(counts),
        "proposals": {name: [scripted.proposals[text] for text in texts[name][1:]] for name in names},
        "instructions": dict(texts),
        "trials": trials,
        "winner": {
            "instructions": [texts[n].index(p.signature.instructions) for n, p in best.named_predictors()],
            "demos": [sets[n].index([dict(d) for d in p.demos]) for n, p in best.named_predictors()]
            if trials[0]["demos"]
            else [],
        },
    }


def _metric(example: Any, prediction: Any, trace: Any = None) -> bool:
    return bool(example.answer == prediction.answer)


def _trials(recorder: EventRecorder, asked: list[Work]) -> list[dict[str, Any]]:
    """Return the trials; an example's number is that of its question, as the program was asked it."""
    scored = recorder.of(ev.ExampleScored)
    numbers = {one.example: int(one.calls[0]["inputs"]["question"].split()[1]) for one in scored if one.trial == 0}
    return [
        {
            "kind": work.kind,
            "instructions": list(work.choice.instructions),
            "demos": list(work.choice.demos),
            "examples": "all" if len(work.examples) == len(numbers) else [numbers[n] for n in work.examples],
            "right": round((done.score or 0.0) * done.examples),
        }
        for work, done in zip(asked, recorder.of(ev.TrialFinished), strict=True)
    ]


@functools.cache
def theirs(task_file: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(task_file.read_text(encoding="utf-8"))
    return told


@pytest.mark.parametrize("task", gt.TASKS, ids=lambda task: task.name)
def test_every_decision_is_that_of_dspy(task: gt.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, golden = play(task, monkeypatch), theirs(task.file)
    for part in ("demo_sets", "bootstrapped", "instructions", "trials", "winner"):
        assert ours[part] == golden[part], part
    for name, proposals in golden["proposals"].items():
        assert ours["proposals"][name] == proposals, name


@pytest.mark.slow
def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    task = gt.TASKS[0]
    assert play(task, monkeypatch, num_threads=1) == play(task, monkeypatch, num_threads=8)


def test_the_golden_runs_cover_what_is_decided() -> None:
    """A trace in which nothing happens would prove nothing."""
    for task in gt.TASKS:
        golden = theirs(task.file)
        kinds = {trial["kind"] for trial in golden["trials"]}
        assert kinds == (
            {"baseline", "full"} if task.options.get("minibatch") is False else {"baseline", "minibatch", "full"}
        )
        assert golden["versions"]["dspy"] == "3.4.1"
        assert any(golden["winner"]["instructions"] + golden["winner"]["demos"])
        tips = {one["tip"] for proposals in golden["proposals"].values() for one in proposals}
        assert len(tips) > 2
