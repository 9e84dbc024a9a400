"""Stage 2: instructions. An LM writes them, grounded in the data, the program and the demos.

Follows MIPROv2's grounded proposer (paper, section 3.2 and appendix; propose/grounded_proposer.py of
dspy 3.4.1) in what goes in and in the tips. The prompts are our own Signatures, run by our own
Predict. Nothing that the LM answers ends a run: what can be used is used, the rest is dropped and said.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mipro_nb import events as ev
from mipro_nb.bootstrap import CONTEXT_DEMOS, DemoSet
from mipro_nb.errors import ConfigError, LMRefused, MiproError
from mipro_nb.example import Example, fields_of
from mipro_nb.grounding import Grounding, describe, gather, outline
from mipro_nb.instruction import usable
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.pool import Pool
from mipro_nb.predict import Predict
from mipro_nb.settings import context, sampling
from mipro_nb.signature import Signature
from mipro_nb.usage import reported

TIPS = {
    "none": "",
    "creative": "Feel free to be inventive in how the new instruction is put.",
    "simple": "Keep the new instruction short and clear.",
    "description": "Make the new instruction rich in information about the task.",
    "high_stakes": "Put the task into a situation where much depends on solving it right.",
    "persona": "Give the reader a role that fits the task, as in 'You are a ...'.",
}

LARGEST_ROLLOUT = 10**9
TRIES = 2  # for each instruction; the second one after a reply of no use

PROPOSE = (
    "Use what is given about a task to write a new instruction. A language model will get your instruction, then an "
    "input, and must answer right. Reply with the instruction alone."
)


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


class GroundedProposer:
    """Proposes instructions for the predictors of a program: stage 2 of MIPROv2, to be used alone.

    After propose/grounded_proposer.py of dspy 3.4.1.

    Args:
        prompt_model: the LM that writes; None uses the configured one.
        grounding: what it is shown, see ``mipro_nb.grounding.Grounding``; None is everything.
        init_temperature: its sampling temperature, 0 to 2.
        seed: of the tips and of the sample of the data, a whole number.
        rng: what tips and rollouts are drawn from, when a run shares its draws; None begins anew from the seed.

    >>> import mipro_nb as mn
    >>> from mipro_nb.pool import Pool
    >>> from mipro_nb.testing import FakeLM
    >>> lm = FakeLM({"instruction alone": "Instruction: Add the numbers.", "Here": "It is about sums."})
    >>> data = mn.examples([{"sum": "1 + 1", "result": "2"}], inputs=["sum"])
    >>> with Pool(num_threads=1) as pool:
    ...     mn.GroundedProposer(lm).propose(mn.Predict("sum -> result"), data, sets=[], count=2, pool=pool)
    {'self': ['Given the fields `sum`, produce the fields `result`.', 'Add the numbers.']}
    """

    def __init__(
        self,
        prompt_model: LM | None = None,
        grounding: Grounding | None = None,
        init_temperature: float = 1.0,
        seed: int = 0,
        rng: random.Random | None = None,
    ) -> None:
        self._lm, self._grounding = prompt_model, grounding or Grounding()
        self._temperature = init_temperature
        self._rng = rng if rng is not None else random.Random(seed)
        self._sampling = random.Random(f"summary/{seed}")  # dspy's summary draws nothing

    def propose(
        self,
        program: Module,
        trainset: Sequence[Example],
        sets: Sequence[DemoSet],
        count: int,
        pool: Pool,
        previous: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    ) -> dict[str, list[str]]:
        """Return by predictor's name up to ``count`` different instructions, its own first (that one costs no call).

        Args:
            program: the program; it stays as it is.
            trainset: Examples, of which a sample is shown.
            sets: demo sets, for the task demos, see ``mipro_nb.bootstrap.demo_sets``; may be empty.
            count: instructions per predictor, 1 or more.
            pool: does the work, and gets the usage, every instruction, and a note for whatever is dropped.
            previous: per predictor, instructions that were tried, with their scores in [0, 1].

        Raises:
            LMRefused, ConfigError: the key or model is refused, or there is no LM. Other failures are notes.
        """
        chosen = {name: [predictor.signature.instructions] for name, predictor in program.named_predictors()}
        for name, own in chosen.items():
            pool.emit(ev.InstructionProposed(name, 0, own[0], "original"))
        # dspy draws for candidate 0 too, and makes no use of it
        wanted = [self._wanted(name, index, sets) for name in chosen for index in range(count)]
        wanted = [proposal for proposal in wanted if proposal.index]
        if not wanted:
            return chosen
        overrides: dict[str, Any] = {"lm": self._lm} if self._lm is not None else {}
        demos = self._task_demos(list(chosen)[-1], 0, sets) if self._grounding.fewshot_aware else ""
        with context(**overrides), sampling(temperature=self._temperature):
            shared = gather(program, trainset, demos, self._grounding, self._sampling, pool)
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
        """Ask for all wanted instructions side by side; take them in order; return those to ask for again."""
        predictors = dict(program.named_predictors())

        def ask(proposal: Proposal) -> _Answer:
            given = self._given(predictors[proposal.predictor], shared, proposal, previous)
            return self._call(given, proposal, pool.tell)

        again: list[Proposal] = []

        def take(answer: _Answer) -> None:
            proposal, own = answer.proposal, chosen[answer.proposal.predictor]
            text, why = (answer.text, answer.dropped) if answer.dropped else usable(answer.text)
            if text and text.casefold() in (known.casefold() for known in own):
                text, why = "", "it is the same as another candidate"
            if why:
                then = "" if text or last else "; asked again"
                message = f"{proposal.predictor}, instruction {proposal.index}: {why}{then}"
                pool.emit(ev.Noted("propose", message))
            if text:
                pool.emit(ev.InstructionProposed(proposal.predictor, len(own), text, "proposed", proposal.tip))
                own.append(text)
            else:
                again.append(replace(proposal, rollout=proposal.rollout + 1))

        pool.each(ask, wanted, take)
        return again

    def _wanted(self, name: str, index: int, sets: Sequence[DemoSet]) -> Proposal:
        tip = self._rng.choice(list(TIPS)) if self._grounding.tip_aware else "none"
        demos = self._task_demos(name, index, sets) if self._grounding.fewshot_aware else ""
        return Proposal(name, index, tip, demos, self._rng.randint(0, LARGEST_ROLLOUT))

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
        return {name: text for name, text in given.items() if text or name == "basic_instruction"}

    def _call(self, given: Mapping[str, str], proposal: Proposal, tell: ev.Listener) -> _Answer:
        ask = Predict(Signature(f"{', '.join(given)} -> instruction", PROPOSE))
        with reported("propose", tell), sampling(rollout=proposal.rollout):
            try:
                return _Answer(proposal, str(ask(**given).instruction), "")
            except (LMRefused, ConfigError):
                raise
            except MiproError as error:
                return _Answer(proposal, "", f"{type(error).__name__}: {error}")

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
