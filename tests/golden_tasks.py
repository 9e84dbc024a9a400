"""Three scripted tasks that dspy and mipro_nb both run: data, settings, and an LM that is a pure function of content.

``record_golden`` (with dspy) and ``test_golden`` (with mipro_nb) each translate their own prompts into the same plain
content, ask ``answer`` or ``proposal``, and write their decisions down as ``Trace`` facts. So the file imports neither.

What the README lists as done better is kept out of the tasks, so that it can't make a difference:

- the valset is given, since mipro_nb shuffles before it splits; the seed isn't 0, which dspy takes for none;
- the metric is boolean, so that no choice among numeric scores is made; no call fails, no reply is unreadable;
- the student has no demos, and no two examples have the same question;
- rows hold every field of every predictor (``topic`` too): mipro_nb leaves out labels that a predictor can't show;
- each predictor is called once per example: of several traces dspy draws by a hash of its own objects;
- proposals hold no colon and no quotes, which dspy takes for a prefix; all differ, since mipro_nb drops equal ones;
- the proposer is never shown the same demo twice, since mipro_nb leaves the second one out;
- no minibatch brings back the default combination as the best, since mipro_nb fully evaluates nothing twice;
- no full evaluation goes to a combination because of how its mean is rounded: dspy rounds every score to 0.01%, so
  that of two means that are equal in truth one can be higher; mipro_nb rounds nothing;
- the trials don't get through all combinations, since mipro_nb ends then.

Seeds and sizes are chosen by the last five; ``record_golden`` checks them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("animal", "mineral", "plant", "metal")
WORDS = ("red", "green", "blue", "white", "black")
DESCRIPTION = "It is about numbered things."
CONTEXT = ("dataset_description", "module", "module_description", "program_code", "program_description")
PROPOSAL = (*CONTEXT, "task_demos", "basic_instruction", "tip")  # the proposer's inputs, named alike in both

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """A program of one or two steps, its data, and the settings that both libraries take by the same names.

    Attributes:
        steps: per predictor its name, its fields and its own instruction.
        settings: of MIPROv2's constructor; ``options``, of ``compile``.
    """

    name: str
    steps: tuple[tuple[str, str, str], ...]
    train: int
    validation: int
    settings: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return GOLDEN / f"{self.name}_dspy_3_4_1.json"


ONE = (("self", "question -> answer", "Give the colour of the thing."),)
TWO = (
    ("topic", "question -> topic", "Name the kind of the thing."),
    ("answer", "question, topic -> answer", "Give the colour of a thing of this kind."),
)
TASKS = (
    Task(
        "few_shot",
        ONE,
        train=40,
        validation=40,
        settings={"seed": 9, "auto": None, "num_candidates": 5, "max_bootstrapped_demos": 3, "max_labeled_demos": 4},
        options={"num_trials": 13, "minibatch_size": 12},
    ),
    Task(
        "two_steps",
        TWO,
        train=60,
        validation=70,
        settings={"seed": 4, "auto": "light"},
        options={"minibatch_size": 15},
    ),
    Task(
        "zero_shot",
        ONE,
        train=60,
        validation=30,
        settings={"seed": 2, "auto": None, "num_candidates": 10, "max_bootstrapped_demos": 0, "max_labeled_demos": 0},
        options={"num_trials": 14, "minibatch": False},
    ),
)


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def row(number: int) -> dict[str, str]:
    question = f"thing {number}"
    return {
        "question": question,
        "topic": KINDS[int(chance("topic", question) * len(KINDS))],
        "answer": WORDS[int(chance("answer", question) * len(WORDS))],
    }


def rows(task: Task) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the training and the validation rows."""
    return [row(n) for n in range(task.train)], [row(n) for n in range(1000, 1000 + task.validation)]


def answer(instruction: str, demos: Sequence[Fields], inputs: Fields, output: str) -> str:
    """The task model: some instructions and demos make it right more often; a wrong topic makes it wrong more often."""
    shown = [sorted(demo.items()) for demo in demos]
    truth = row(int(inputs["question"].split()[1]))
    skill = 0.2 + 0.35 * chance(instruction) + 0.35 * chance(instruction, shown) + 0.02 * min(5, len(shown))
    skill *= 1.0 if inputs.get("topic", truth["topic"]) == truth["topic"] else 0.4
    right = chance(instruction, shown, sorted(inputs.items())) < skill
    return truth[output] if right else "unknown"


def proposal(given: Mapping[str, Any]) -> str:
    """The prompt model: an instruction that tells what it was given."""
    return f"Say it in the way of style {int(chance(sorted(given.items())) * 10**9)}."


def given_to_proposer(fields: Fields, tips: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return what both libraries can agree on: what of the context is there, the tip's key, the demos, the instruction.

    Args:
        fields: the inputs of the proposal, the absent ones left out.
        tips: the library's, by key.
        labels: what the library writes before the value of a field, by field.
    """
    keys = {text: key for key, text in tips.items()}
    return {
        "context": [name for name in CONTEXT if name in fields],
        "tip": keys[fields.get("tip", "")],
        "demos": _demos(fields.get("task_demos", ""), labels),
        "basic_instruction": fields["basic_instruction"],
    }


def _demos(text: str, labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Read demos that stand one after the other, each a run of ``label value`` parts."""
    places = sorted(
        (at, name) for name, label in labels.items() for at in range(len(text)) if text.startswith(label, at)
    )
    ends = [*(at for at, _ in places[1:]), len(text)]
    found: list[dict[str, str]] = []
    for (at, name), end in zip(places, ends, strict=False):
        if not found or name in found[-1]:
            found.append({})
        found[-1][name] = text[at + len(labels[name]) : end].strip(" ;\n")
    return found
