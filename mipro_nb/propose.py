"""Stage 2: instructions. An LM writes them, grounded in the data, the program and the demos.

Follows MIPROv2's grounded proposer (paper, section 3.2 and appendix; propose/grounded_proposer.py of
dspy 3.4.1) in what goes in and in the tips. The prompts are our own Signatures, run by our own
Predict. Nothing that the LM answers ends a run: what can be used is used, the rest is dropped and said.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mipro_nb import events as ev
from mipro_nb.adapter import render
from mipro_nb.bootstrap import CONTEXT_DEMOS, DemoSet
from mipro_nb.errors import LMRefused, MiproError
from mipro_nb.evaluate import Pool
from mipro_nb.example import Example, fields_of
from mipro_nb.lm import LM, Account, note, track_usage
from mipro_nb.module import Module, Predict, context, sampling
from mipro_nb.signature import Signature

TIPS = {
    "none": "",
    "creative": "Feel free to be inventive in how the new instruction is put.",
    "simple": "Keep the new instruction short and clear.",
    "description": "Make the new instruction rich in information about the task.",
    "high_stakes": "Put the task into a situation where much depends on solving it right.",
    "persona": "Give the reader a role that fits the task, as in 'You are a ...'.",
}

SUMMARY_CALLS = 10  # batches of examples that are looked at, at most
BATCH_CHARACTERS = 6_000  # of examples in one prompt: some 1,500 tokens
FIELD_CHARACTERS = 600  # of one field; longer ones are cut, and marked
CODE_CHARACTERS = 6_000
LONGEST_INSTRUCTION = 3_000  # characters; longer proposals are cut at the end of a sentence
TRIES = 2  # for each instruction; the second one after a reply of no use

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
PROPOSE = (
    "Use what is given about a task to write a new instruction. A language model will get your instruction, then an "
    "input, and must answer right. Reply with the instruction alone."
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


@dataclass(frozen=True, slots=True)
class Proposal:
    """One instruction to ask for: which predictor, its number among the candidates, the tip, the draw."""

    predictor: str
    index: int
    tip: str
    demos: str
    rollout: int


@dataclass(frozen=True, slots=True)
class _Answer:
    proposal: Proposal
    text: str
    dropped: str
    account: Account


class GroundedProposer:
    """Proposes instructions for the predictors of a program.

    Args:
        prompt_model: the LM that writes; None uses the configured one.
        grounding: what it is shown.
        init_temperature: its sampling temperature.
        seed: of the tips and of the sample of the data.
        emit: gets the usage, a note for whatever is dropped, and every instruction.
    """

    def __init__(
        self,
        prompt_model: LM | None = None,
        grounding: Grounding | None = None,
        init_temperature: float = 1.0,
        seed: int = 0,
        emit: ev.Listener = lambda event: None,
    ) -> None:
        self._lm, self._grounding = prompt_model, grounding or Grounding()
        self._temperature, self._emit = init_temperature, emit
        self._rng = random.Random(f"propose/{seed}")

    def propose(
        self,
        program: Module,
        trainset: Sequence[Example],
        sets: Sequence[DemoSet],
        count: int,
        pool: Pool,
        previous: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    ) -> dict[str, list[str]]:
        """Return per predictor up to ``count`` different instructions, its own first (that one costs no call).

        Args:
            sets: demo sets, for the task demos.
            previous: per predictor, instructions that were tried, with their scores.
        """
        chosen = {name: [predictor.signature.instructions] for name, predictor in program.named_predictors()}
        for name, own in chosen.items():
            self._emit(ev.InstructionProposed(name, 0, own[0], "original"))
        if count < 2:
            return chosen
        overrides: dict[str, Any] = {"lm": self._lm} if self._lm is not None else {}
        with context(**overrides):
            shared = self._shared(program, trainset, sets, pool)
            wanted = [self._wanted(name, index, program, sets) for name in chosen for index in range(1, count)]
            for attempt in range(TRIES):
                wanted = self._round(program, shared, wanted, chosen, previous or {}, pool, last=attempt == TRIES - 1)
        return chosen

    def _round(
        self,
        program: Module,
        shared: Mapping[str, str],
        wanted: Sequence[Proposal],
        chosen: dict[str, list[str]],
        previous: Mapping[str, Sequence[tuple[str, float]]],
        pool: Pool,
        *,
        last: bool,
    ) -> list[Proposal]:
        """Ask for all wanted instructions side by side; return those to ask for again."""
        predictors = dict(program.named_predictors())

        def ask(proposal: Proposal) -> _Answer:
            given = self._given(predictors[proposal.predictor], shared, proposal, previous)
            text, dropped, account = self._call(given, proposal)
            return _Answer(proposal, text, dropped, account)

        again: list[Proposal] = []
        for answer in pool.map(ask, wanted, lambda answer: self._account(answer.account)):
            proposal, own = answer.proposal, chosen[answer.proposal.predictor]
            text, why = (answer.text, answer.dropped) if answer.dropped else usable(answer.text)
            if text and text.casefold() in (known.casefold() for known in own):
                text, why = "", "it is the same as another candidate"
            if why:
                self._note(f"{proposal.predictor}, instruction {proposal.index}: {why}{'' if text or last else '; asked again'}")
            if text:
                self._emit(ev.InstructionProposed(proposal.predictor, len(own), text, "proposed", proposal.tip))
                own.append(text)
            else:
                again.append(replace(proposal, rollout=proposal.rollout + 1000))
        return again

    def _wanted(self, name: str, index: int, program: Module, sets: Sequence[DemoSet]) -> Proposal:
        tip = self._rng.choice(list(TIPS)) if self._grounding.tip_aware else "none"
        demos = self._task_demos(name, index, sets) if self._grounding.fewshot_aware else ""
        return Proposal(name, index, tip, demos, index)

    def _given(
        self,
        predictor: Predict,
        shared: Mapping[str, str],
        proposal: Proposal,
        previous: Mapping[str, Sequence[tuple[str, float]]],
    ) -> dict[str, str]:
        """Return the proposer's inputs, the empty ones left out."""
        tried = sorted(previous.get(proposal.predictor, ()), key=lambda pair: pair[1])
        given = {
            "dataset_description": shared.get("data", ""),
            "program_code": shared.get("code", ""),
            "program_description": shared.get("program", ""),
            "module": outline(proposal.predictor, predictor) if self._grounding.program_aware else "",
            "module_description": shared.get(f"module/{proposal.predictor}", ""),
            "task_demos": proposal.demos,
            "previous_instructions": "\n".join(f"{text} (score {score:.1%})" for text, score in tried),
            "basic_instruction": predictor.signature.instructions,
            "tip": TIPS[proposal.tip],
        }
        return {name: text for name, text in given.items() if text}

    def _call(self, given: Mapping[str, str], proposal: Proposal) -> tuple[str, str, Account]:
        ask = Predict(Signature(f"{', '.join(given)} -> instruction", PROPOSE))
        with track_usage() as account, sampling(temperature=self._temperature, rollout=proposal.rollout):
            try:
                return str(ask(**given).instruction), "", account
            except LMRefused:
                raise
            except MiproError as error:
                return "", f"{type(error).__name__}: {error}", account

    def _shared(
        self, program: Module, trainset: Sequence[Example], sets: Sequence[DemoSet], pool: Pool
    ) -> dict[str, str]:
        """Make what all proposals share, each part once: summary of the data, descriptions of program and modules."""
        tasks: list[Callable[[], dict[str, str]]] = []
        if self._grounding.data_aware:
            batches = self._batches(trainset)
            tasks.append(lambda: {"data": self._summary(batches)})
        if self._grounding.program_aware:
            last = [name for name, _ in program.named_predictors()][-1]
            demos = self._task_demos(last, 0, sets)
            tasks.append(lambda: self._descriptions(program, demos))
        shared: dict[str, str] = {}
        for found, account in pool.map(_accounted, tasks):
            self._account(account)
            shared |= found
        return shared

    def _batches(self, trainset: Sequence[Example]) -> list[str]:
        """Sample the data at random, in batches that keep to a budget of characters."""
        size = self._grounding.view_data_batch_size
        shown = self._rng.sample(list(trainset), min(len(trainset), size * SUMMARY_CALLS))
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
        if cut or len(shown) < len(trainset):
            self._note(f"the dataset's summary stands on a sample: {len(shown)} of {len(trainset)} examples, long ones cut.")
        return batches

    def _summary(self, batches: Sequence[str]) -> str:
        observations = ""
        for number, batch in enumerate(batches):
            seen = observations[-BATCH_CHARACTERS:] or "none yet"
            said = self._say(DescribeData, number, examples=batch, observations=seen)
            observations = f"{observations}\n{said}".strip()
        return self._say(SummarizeData, 0, observations=observations[-BATCH_CHARACTERS:]) if observations else ""

    def _descriptions(self, program: Module, demos: str) -> dict[str, str]:
        code = source(program)
        found = {"code": code}
        found["program"] = self._say(DescribeProgram, 0, program_code=code, task_demos=demos or "none")
        for name, predictor in program.named_predictors():
            about = found["program"] or "not available"
            shown = {"program_code": code, "program_description": about, "module": outline(name, predictor)}
            found[f"module/{name}"] = self._say(DescribeModule, 0, **shown)
        return found

    def _say(self, signature: Signature, rollout: int, **given: str) -> str:
        """Ask for one text; an answer of no use is an empty text, and a note."""
        try:
            with sampling(temperature=self._temperature, rollout=rollout):
                text = str(next(iter(fields_of(Predict(signature)(**given)).values())))
        except LMRefused:
            raise
        except MiproError as error:
            note(f"a description could not be had and is left out ({type(error).__name__}: {error})")
            return ""
        return cut_text(text.strip(), LONGEST_INSTRUCTION)

    def _task_demos(self, name: str, index: int, sets: Sequence[DemoSet]) -> str:
        """Show up to three bootstrapped demos, from the set of this index and its neighbours."""
        if not sets:
            return ""
        start = index % len(sets)
        found: list[str] = []
        for made in (*sets[start:], *sets[:start]):
            for demo in made.demos[name][: made.bootstrapped[name]]:
                text = describe(fields_of(demo))
                if text not in found:
                    found.append(text)
        return "\n".join(found[:CONTEXT_DEMOS])

    def _account(self, account: Account) -> None:
        self._emit(ev.LMUsed("propose", account.usage))
        for note in account.notes:
            self._note(note)

    def _note(self, message: str) -> None:
        self._emit(ev.Noted("propose", message))


def _accounted(task: Callable[[], dict[str, str]]) -> tuple[dict[str, str], Account]:
    with track_usage() as account:
        return task(), account


def describe(fields: Mapping[str, Any]) -> str:
    """Write an example on one line, its long fields cut."""
    return "; ".join(f"{name}: {cut_text(' '.join(render(value).split()), FIELD_CHARACTERS)}" for name, value in fields.items())


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
    return f"class {type(program).__name__}(Module):\n{steps}"


def cut_text(text: str, longest: int) -> str:
    """Cut a text at the last end of a sentence (or word) before ``longest`` characters, and mark the cut."""
    if len(text) <= longest:
        return text
    head = text[:longest]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)", head)]
    if ends and ends[-1] > longest // 2:
        return head[: ends[-1]]
    return head.rsplit(None, 1)[0][:longest] + " [...]"


LABEL = re.compile(
    r"""^[\s>*#"'`]*                                     # Markdown, quotes
        (?:(?:sure|certainly|of\ course|okay|ok)[^\n:]{0,60}[!,.:]\s*)?
        (?:here(?:'s|\ is|\ are)\b[^\n:]{0,80}:\s*)?
        [\s>*#"'`]*
        (?:(?:the\ |my\ |your\ )?(?:new\ |proposed\ |improved\ |final\ |basic\ |revised\ )*instructions?\s*\**\s*:\s*)?
        [\s*"'`]*""",
    re.IGNORECASE | re.VERBOSE,
)
REFUSAL = re.compile(
    r"^\W*(i'?m (very |so )?sorry|sorry|i apologi[sz]e|unfortunately,? i|as an? (ai|artificial|language model)"
    r"|i (can ?not|can't|am unable|am not able|won't|do not|don't))\b",
    re.IGNORECASE,
)


def usable(reply: str) -> tuple[str, str]:
    """Take the instruction out of a proposer's reply.

    Returns:
        (instruction, remark): an empty instruction if nothing in the reply can be used, and why; a
        remark beside an instruction says what was done to it.
    """
    fenced = re.search(r"```[a-z]*\n(.*?)```", reply, re.DOTALL)
    text = fenced.group(1) if fenced and len(fenced.group(1).strip()) > 20 else reply
    text = "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
    text = text[LABEL.match(text).end() :].strip().strip("\"'`*").strip()  # type: ignore[union-attr]
    if not re.search(r"[^\W\d_]{2}", text):
        return "", "the reply held no instruction"
    if REFUSAL.match(text):
        return "", f"the reply was a refusal ({text[:60]!r})"
    if len(text) > LONGEST_INSTRUCTION:
        return cut_text(text, LONGEST_INSTRUCTION), f"the reply of {len(text):,} characters was cut"
    return text, ""
