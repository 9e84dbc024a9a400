"""What instructions are grounded in: a summary of the data, descriptions of the program and its modules.

Follows MIPROv2 (paper, section 3.2; propose/dataset_summary_generator.py of dspy 3.4.1), with the
data sampled at random within a budget, and every description made once.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb.adapter import render
from mipro_nb.errors import ConfigError, LMRefused, MiproError
from mipro_nb.events import Listener, Noted
from mipro_nb.example import Example, fields_of
from mipro_nb.instruction import LONGEST_INSTRUCTION, cut_text
from mipro_nb.module import Module
from mipro_nb.pool import Pool
from mipro_nb.predict import Predict
from mipro_nb.settings import sampling
from mipro_nb.signature import Signature
from mipro_nb.usage import reported

SUMMARY_CALLS = 10  # batches of examples that are looked at, at most
BATCH_CHARACTERS = 6_000  # of examples in one prompt: some 1,500 tokens
FIELD_CHARACTERS = 600  # of one field; longer ones are cut, and marked
CODE_CHARACTERS = 6_000

DescribeData = Signature(
    "examples, observations -> summary",
    "Here are examples from a dataset, and what was observed in earlier ones. Say in a few sentences what the task is, "
    "what the inputs look like and what makes an output right. Add to the earlier observations; don't repeat them.",
)
SummarizeData = Signature(
    "observations -> summary",
    "Here are observations on a dataset. Sum them up in two or three sentences for somebody who has to solve its task.",
)
DescribeProgram = Signature(
    "program_code, task_demos -> description",
    "Here is a program that solves a task with calls to a language model. Say what task it solves, and how.",
)
DescribeModule = Signature(
    "program_code, program_description, module -> description",
    "Here is a program that solves a task with calls to a language model. Say what the named module does in it.",
)


@dataclass(frozen=True, slots=True)
class Grounding:
    """What the proposer is shown; ``MIPROv2.compile``'s switches decide.

    Attributes:
        program_aware: the program's code and descriptions of program and module.
        data_aware: a summary of the dataset.
        tip_aware: a tip, drawn at random per instruction.
        fewshot_aware: demos that the program got right.
        view_data_batch_size: examples per call of the dataset's summary.
    """

    program_aware: bool = True
    data_aware: bool = True
    tip_aware: bool = True
    fewshot_aware: bool = True
    view_data_batch_size: int = 10


def gather(
    program: Module, trainset: Sequence[Example], task_demos: str, grounding: Grounding, rng: random.Random, pool: Pool
) -> dict[str, str]:
    """Make what all proposals share, each part once and side by side.

    Returns:
        Texts under ``data`` (a summary of the dataset), ``code``, ``program`` and ``module/NAME``
        (descriptions); a part that could not be had is empty.
    """
    say = functools.partial(_say, pool.tell)
    tasks: list[Callable[[], dict[str, str]]] = []
    if grounding.data_aware:
        batches, remark = _batches(trainset, grounding.view_data_batch_size, rng)
        if remark:
            pool.emit(Noted("propose", remark))
        tasks.append(lambda: {"data": _summary(batches, say)})
    if grounding.program_aware:
        tasks.append(lambda: _descriptions(program, task_demos, say))
    shared: dict[str, str] = {}
    for found in pool.map(lambda task: task(), tasks):
        shared |= found
    return shared


def _batches(trainset: Sequence[Example], size: int, rng: random.Random) -> tuple[list[str], str]:
    """Sample the data at random, in batches that keep to a budget of characters; return them and a remark."""
    shown = rng.sample(list(trainset), min(len(trainset), size * SUMMARY_CALLS))
    batches, cut = [], False
    for start in range(0, len(shown), size):
        lines: list[str] = []
        for example in shown[start : start + size]:
            line = describe(fields_of(example))
            if sum(map(len, lines)) + len(line) > BATCH_CHARACTERS and lines:
                cut = True
                break
            cut = cut or "[...]" in line
            lines.append(line)
        batches.append("\n".join(lines))
    sampled = cut or len(shown) < len(trainset)
    remark = f"the dataset's summary stands on a sample: {len(shown)} of {len(trainset)} examples, long ones cut."
    return batches, remark if sampled else ""


def _summary(batches: Sequence[str], say: Callable[..., str]) -> str:
    observations = ""
    for number, batch in enumerate(batches):
        seen = observations[-BATCH_CHARACTERS:] or "none yet"
        said = say(DescribeData, number, examples=batch, observations=seen)
        observations = f"{observations}\n{said}".strip()
    return say(SummarizeData, 0, observations=observations[-BATCH_CHARACTERS:]) if observations else ""


def _descriptions(program: Module, demos: str, say: Callable[..., str]) -> dict[str, str]:
    code = source(program)
    found = {"code": code}
    found["program"] = say(DescribeProgram, 0, program_code=code, task_demos=demos or "none")
    for name, predictor in program.named_predictors():
        about = found["program"] or "not available"
        shown = {"program_code": code, "program_description": about, "module": outline(name, predictor)}
        found[f"module/{name}"] = say(DescribeModule, 0, **shown)
    return found


def _say(tell: Listener, signature: Signature, rollout: int, **given: str) -> str:
    """Ask for one text; an answer of no use is an empty text, and a note."""
    try:
        with reported("propose", tell), sampling(rollout=rollout):
            text = str(next(iter(fields_of(Predict(signature)(**given)).values())))
    except (LMRefused, ConfigError):
        raise
    except MiproError as error:
        message = f"a description could not be had and is left out ({type(error).__name__}: {error})"
        tell(Noted("propose", message))
        return ""
    return cut_text(text.strip(), LONGEST_INSTRUCTION)


def describe(fields: Mapping[str, Any]) -> str:
    """Write an example on one line, its long fields cut."""
    return "; ".join(
        f"{name}: {cut_text(' '.join(render(value).split()), FIELD_CHARACTERS)}" for name, value in fields.items()
    )


def outline(name: str, predictor: Predict) -> str:
    """Write a predictor as ``name = Predict(inputs -> outputs)``."""
    label = "program" if name == "self" else name
    return f"{label} = {predictor.kind}({predictor.signature.spec!r})"


def source(program: Module) -> str:
    """Return the program's own code, or an outline of its predictors where the code can't be had."""
    steps = "\n".join(outline(name, predictor) for name, predictor in program.named_predictors())
    if isinstance(program, Predict):
        return steps
    with contextlib.suppress(OSError, TypeError):
        return cut_text(inspect.getsource(type(program)), CODE_CHARACTERS)
    head = f"class {type(program).__name__}(Module):\n"
    return cut_text(head + (_methods(type(program)) or steps), CODE_CHARACTERS)


def _methods(kind: type) -> str:
    """Return the code of a class's methods: of a class made in a notebook that is all that can be had (Python 3.11)."""
    found = []
    for method in vars(kind).values():
        if inspect.isfunction(method):
            with contextlib.suppress(OSError, TypeError):
                found.append(inspect.getsource(method))
    return "\n".join(found)
