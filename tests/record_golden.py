"""Record what dspy 3.4.1's MIPROv2 decides on the scripted tasks, into tests/golden/; only this needs dspy.

    python -m venv /tmp/dspy && /tmp/dspy/bin/pip install "dspy[optuna]==3.4.1" "optuna==5.0.0"
    /tmp/dspy/bin/python tests/record_golden.py

Run without changes it writes the same files again. What is written down are facts: demo sets, what the proposer was
given, candidates, trials, scores, the winner.
"""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import dspy
import golden_tasks as gt
import optuna
from dspy.propose.grounded_proposer import TIPS
from dspy.teleprompt import MIPROv2

NO_DEMOS = "No task demos provided."
HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t]*\n?", re.MULTILINE)


class Scripted(dspy.BaseLM):
    """The scripted LM; ``proposals`` are what the proposer asked, in order."""

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__("scripted", cache=False)
        self.labels, self.proposals = labels, list[dict[str, Any]]()

    def forward(self, prompt: Any = None, messages: Any = None, **options: Any) -> Any:
        system, shown, asked = messages[0]["content"], messages[1:-1], _sections(messages[-1]["content"])
        output = next(n for n in HEADER.findall(system) if n not in asked and n != "completed")
        if output in ("topic", "answer"):
            instruction = system.split("your objective is:")[1].strip()
            demos = [
                _sections(one["content"]) | _sections(two["content"])
                for one, two in zip(shown[::2], shown[1::2], strict=True)
            ]
            text = gt.answer(instruction, demos, asked, output)
        elif output == "proposed_instruction":
            assert set(asked) <= set(gt.PROPOSAL)
            demos = {} if asked["task_demos"] == NO_DEMOS else {"task_demos": asked["task_demos"]}
            given = gt.given_to_proposer({**asked, "task_demos": "", **demos}, TIPS, self.labels)
            text = gt.proposal(given)
            self.proposals.append({**given, "text": text})
        else:
            text = gt.DESCRIPTION
        message = SimpleNamespace(content=f"[[ ## {output} ## ]]\n{text}\n\n[[ ## completed ## ]]", tool_calls=None)
        choice = SimpleNamespace(message=message, finish_reason="stop")
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return SimpleNamespace(choices=[choice], usage=usage, model="scripted")


def _sections(text: str) -> dict[str, str]:
    """Read the fields of one message in dspy's chat format."""
    parts = HEADER.split(text.split("\n\nRespond with the corresponding output fields")[0])
    found = {name: value.strip() for name, value in zip(parts[1::2], parts[2::2], strict=True)}
    found.pop("completed", None)
    return found


class TwoSteps(dspy.Module):
    def __init__(self, steps: Any) -> None:
        super().__init__()
        self.topic, self.answer = (dspy.Predict(dspy.Signature(fields, text)) for _, fields, text in steps)

    def forward(self, question: str) -> Any:
        return self.answer(question=question, topic=self.topic(question=question).topic)


class Recorder(MIPROv2):
    """MIPROv2 that keeps what goes from stage to stage."""

    demos: list[list[list[Any]]]
    instructions: list[list[str]]

    def _bootstrap_fewshot_examples(self, *args: Any, **options: Any) -> Any:
        found = super()._bootstrap_fewshot_examples(*args, **options)
        self.demos = [found[place] for place in sorted(found)]
        return found

    def _propose_instructions(self, *args: Any, **options: Any) -> Any:
        found = super()._propose_instructions(*args, **options)
        self.instructions = [found[place] for place in sorted(found)]
        return found

    def _optimize_prompt_parameters(self, program, instructions, demos, evaluate, valset, *args: Any) -> Any:
        self.trials = list[dict[str, Any]]()

        def recorded(candidate: Any, devset: Any, **options: Any) -> Any:
            result = evaluate(candidate, devset=devset, **options)
            kind = "full" if len(devset) == len(valset) else "minibatch"
            self.trials.append(
                {
                    "kind": kind if self.trials else "baseline",
                    **self.choice(candidate, zero_shot=not demos),
                    "examples": "all" if kind == "full" else _numbers(devset),
                    "right": sum(bool(score) for _, _, score in result.results),
                }
            )
            return result

        return super()._optimize_prompt_parameters(program, instructions, demos, recorded, valset, *args)

    def choice(self, program: Any, *, zero_shot: bool) -> dict[str, list[int]]:
        """Return a program's combination, by content."""
        predictors = program.predictors()
        texts = [own.index(p.signature.instructions) for own, p in zip(self.instructions, predictors, strict=True)]
        if zero_shot:
            return {"instructions": texts, "demos": []}
        shown = [
            [list(made) for made in own].index(list(p.demos)) for own, p in zip(self.demos, predictors, strict=True)
        ]
        return {"instructions": texts, "demos": shown}


def _numbers(examples: Any) -> list[int]:
    return [int(example["question"].split()[1]) for example in examples]


def record(task: gt.Task) -> dict[str, Any]:
    student = TwoSteps(task.steps) if len(task.steps) > 1 else dspy.Predict(dspy.Signature(*task.steps[0][1:]))
    names = [name for name, _ in student.named_predictors()]
    assert names == [name for name, _, _ in task.steps]
    fields = [list(predictor.signature.fields) for predictor in student.predictors()]
    labels = {
        name: f.json_schema_extra["prefix"] for p in student.predictors() for name, f in p.signature.fields.items()
    }
    lm = Scripted(labels)
    dspy.configure(lm=lm)
    train, val = ([dspy.Example(row).with_inputs("question") for row in part] for part in gt.rows(task))
    optimizer = Recorder(
        metric=lambda example, got, trace=None: example.answer == got.answer, num_threads=1, **task.settings
    )
    best = optimizer.compile(student, trainset=train, valset=val, **task.options)
    zero_shot = not optimizer.trials[0]["demos"]
    told = {
        "about": f"Decisions of MIPROv2 on the task {task.name!r} of tests/golden_tasks.py, by tests/record_golden.py.",
        "versions": {"dspy": dspy.__version__, "optuna": optuna.__version__, "python": sys.version.split()[0]},
        "demo_sets": {
            name: [[{f: demo[f] for f in own} for demo in made] for made in sets]
            for name, own, sets in zip(names, fields, optimizer.demos, strict=True)
        },
        "bootstrapped": {
            name: [sum("augmented" in demo for demo in made) for made in sets]
            for name, sets in zip(names, optimizer.demos, strict=True)
        },
        "proposals": dict(zip(names, _proposals(optimizer.instructions, lm.proposals), strict=True)),
        "instructions": dict(zip(names, optimizer.instructions, strict=True)),
        "trials": optimizer.trials,
        "winner": optimizer.choice(best, zero_shot=zero_shot),
    }
    check(told)
    return told


def _proposals(instructions: list[list[str]], made: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Give each predictor its proposals; the first of each is thrown away by dspy, which puts its own in its place."""
    rest = iter(made)
    for own in instructions:
        yield [next(rest) for _ in own][1:]


def check(told: dict[str, Any]) -> None:
    """Whether what mipro_nb does otherwise on purpose made no difference in this run."""
    for name, texts in told["instructions"].items():
        assert [one["text"] for one in told["proposals"][name]] == texts[1:], f"{name}: an instruction was changed"
        assert len(set(texts)) == len(texts), f"{name}: two equal instructions"
        sets = told["demo_sets"][name]
        assert all(sets.count(made) == 1 for made in sets), f"{name}: two equal demo sets"
        for one in told["proposals"][name]:
            assert all(one["demos"].count(demo) == 1 for demo in one["demos"]), f"{name}: a demo shown twice"
    check_means(told["trials"])
    full = [(t["instructions"], t["demos"]) for t in told["trials"] if t["kind"] != "minibatch"]
    if any(t["kind"] == "minibatch" for t in told["trials"]):
        assert all(full.count(choice) == 1 for choice in full), "a combination is fully evaluated twice"
    space = math.prod(map(len, told["instructions"].values()))
    if told["winner"]["demos"]:
        space *= math.prod(map(len, told["demo_sets"].values()))
    assert len({repr(choice) for choice in full}) < space, "everything has been tried"
    assert any(told["winner"]["instructions"] + told["winner"]["demos"]), "the default program has won"


def check_means(trials: list[dict[str, Any]]) -> None:
    """Whether every full evaluation after minibatches went to the highest mean, unrounded; of equals to the first."""
    means: dict[str, list[Fraction]] = {}
    full = set[str]()
    for trial in trials:
        choice = repr((trial["instructions"], trial["demos"]))
        if trial["kind"] == "minibatch":
            means.setdefault(choice, []).append(Fraction(trial["right"], len(trial["examples"])))
        elif trial["kind"] == "full" and means:
            best = max((one for one in means if one not in full), key=lambda one: sum(means[one]) / len(means[one]))
            assert choice == best, "a full evaluation was decided by rounding"
            full.add(choice)


def main() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    for task in gt.TASKS:
        told = record(task)
        lines = ",\n".join(f" {json.dumps(name)}: {_spread(value)}" for name, value in told.items())
        task.file.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        print(task.file, file=sys.stderr)


def _spread(value: Any) -> str:
    """Write lists of records one a line, so that a difference can be read."""
    if isinstance(value, dict) and all(isinstance(part, list) for part in value.values()) and value:
        parts = (f"  {json.dumps(name)}: {_spread(part)}" for name, part in value.items())
        return "{\n" + ",\n".join(parts) + "\n }"
    if isinstance(value, list) and value and not isinstance(value[0], int | str):
        return "[\n" + ",\n".join(f"   {json.dumps(part)}" for part in value) + "\n  ]"
    return json.dumps(value)


if __name__ == "__main__":
    main()
