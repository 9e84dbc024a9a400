"""Stage 2: instructions. An LM writes them, grounded in the data, the program and the demos; later also in results.

Follows MIPROv2's grounded proposer (paper, section 3.2 and appendix; propose/grounded_proposer.py of
dspy 3.4.1) in what goes in and in the tips. The prompts are our own Signatures, run by our own
Predict. Nothing that the LM answers ends a run: what can be used is used, the rest is dropped and said.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from mipro_nb import events as ev
from mipro_nb.asking import Proposed, Wanted, ask_for
from mipro_nb.bootstrap import CONTEXT_DEMOS, DemoSet
from mipro_nb.example import Example, fields_of
from mipro_nb.feedback import Feedback
from mipro_nb.grounding import Grounding, describe, gather, outline
from mipro_nb.learning import TIPS, Approach, Levels, temperatures
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.pool import Pool
from mipro_nb.predict import Predict
from mipro_nb.revising import draft, prompt
from mipro_nb.settings import context, sampling

FOR_FRESH = ("program_code", "program_description", "basic_instruction")  # who works on another instruction needs less


@dataclass(frozen=True, slots=True)
class Proposal:
    """One instruction to ask for: which predictor, its number among the candidates, the tip, the draw."""

    predictor: str
    index: int
    tip: str
    demos: str
    rollout: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One instruction to ask for in a later round: for which predictor, how, and which draw it is."""

    predictor: str
    approach: Approach
    rollout: int


class GroundedProposer:
    """Proposes instructions for the predictors of a program: stage 2 of MIPROv2, to be used alone.

    After propose/grounded_proposer.py of dspy 3.4.1.

    Args:
        prompt_model: the LM that writes; None uses the configured one.
        grounding: what it is shown, see ``mipro_nb.grounding.Grounding``; None is everything.
        init_temperature: its sampling temperature, 0 to 2.
        seed: of the tips and of the sample of the data, a whole number.
        keep: texts that every proposed instruction must hold, word for word; what one lacks is added at its end.

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
        keep: Sequence[str] = (),
    ) -> None:
        self._lm, self._grounding = prompt_model, grounding or Grounding()
        self._temperature, self._keep = init_temperature, tuple(keep)
        self._trainset: Sequence[Example] = ()
        self._shared: dict[str, str] | None = None  # what all proposals are shown, gathered once
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
        self._trainset = trainset
        if count < 2:
            return chosen
        demos = self._task_demos(list(chosen)[-1], 0, sets) if self._grounding.fewshot_aware else ""
        with self._speaking(), sampling(temperature=self._temperature):
            shared = self._shared = gather(program, trainset, demos, self._grounding, self._rng, pool)
            wanted = [self._wanted(name, index, sets) for name in chosen for index in range(1, count)]
            predictors = dict(program.named_predictors())
            ask_for(
                [self._first(predictors[one.predictor], shared, one, previous or {}) for one in wanted],
                chosen,
                pool,
                self._keep,
            )
        return chosen

    def _first(
        self,
        predictor: Predict,
        shared: Mapping[str, str],
        proposal: Proposal,
        previous: Mapping[str, Sequence[tuple[str, float]]],
    ) -> Wanted:
        shown = self._grounding
        how = Approach("fresh", proposal.tip, self._temperature, shown.data_aware, shown.fewshot_aware)
        given = self._given(predictor, shared, proposal, previous)
        label = f"{proposal.predictor}, instruction {proposal.index}"
        return Wanted(proposal.predictor, label, how, prompt("fresh", self._keep), given, proposal.rollout)

    @property
    def levels(self) -> Levels:
        """What ``again`` may be asked for: what the settings allow."""
        allowed = self._grounding
        return Levels(
            tip=tuple(TIPS) if allowed.tip_aware else ("none",),
            temperature=temperatures(self._temperature),
            summary=(True, False) if allowed.data_aware else (False,),
            demos=(True, False) if allowed.fewshot_aware else (False,),
        )

    def again(
        self, program: Module, sets: Sequence[DemoSet], asks: Sequence[Ask], feedback: Feedback, pool: Pool
    ) -> list[Proposed]:
        """Ask for further instructions, in the light of what the search has found; return those that are new.

        The summary and descriptions that ``propose`` gathered are used again; where it had no need of them they are
        gathered now. A kind of approach for which there is
        nothing to work on becomes ``fresh``.

        Args:
            program, sets, pool: as of ``propose``.
            asks: what to ask for, side by side; at most two calls each.
            feedback: see ``mipro_nb.feedback.feedback_of``.

        Raises:
            LMRefused, ConfigError: as ``propose``.
        """
        predictors = dict(program.named_predictors())
        with self._speaking():
            if self._shared is None:
                with sampling(temperature=self._temperature):
                    self._shared = gather(program, self._trainset, "", self._grounding, self._rng, pool)
            shared = self._shared
            wanted = [self._again(predictors[ask.predictor], shared, ask, sets, feedback) for ask in asks]
            return ask_for(wanted, {name: list(texts) for name, texts in feedback.known.items()}, pool, self._keep)

    def _again(
        self, predictor: Predict, shared: Mapping[str, str], ask: Ask, sets: Sequence[DemoSet], feedback: Feedback
    ) -> Wanted:
        name, rng = ask.predictor, random.Random(f"again/{feedback.round}/{ask.predictor}/{ask.rollout}")
        made = draft(ask.approach.kind, name, feedback, rng)
        how = replace(ask.approach, kind=made.kind)
        demos = self._task_demos(name, ask.rollout, sets) if how.demos and self._grounding.fewshot_aware else ""
        shared = shared if how.summary else {**shared, "data": ""}
        given = self._given(predictor, shared, Proposal(name, 0, how.tip, demos, ask.rollout), {})
        if made.kind != "fresh":
            given = {part: text for part, text in given.items() if part not in FOR_FRESH}
        label = f"{name}, round {feedback.round}, {made.kind}"
        told = prompt(made.kind, self._keep)
        return Wanted(name, label, how, told, {**given, **made.given}, ask.rollout, feedback.round, made.parents)

    def _speaking(self) -> AbstractContextManager[None]:
        """Let the LM that writes be the one that is asked."""
        return context(**({"lm": self._lm} if self._lm is not None else {}))

    def _wanted(self, name: str, index: int, sets: Sequence[DemoSet]) -> Proposal:
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
            "must_keep": "\n".join(self._keep),
        }
        return {name: text for name, text in given.items() if text or name == "basic_instruction"}

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
