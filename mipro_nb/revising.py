"""The prompts of later rounds: what an LM is told so that it writes a better instruction than those that were tried.

All texts in them come from LMs and datasets, and have budgets of characters.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from mipro_nb.feedback import Feedback, Scored
from mipro_nb.instruction import LONGEST_INSTRUCTION, cut_text
from mipro_nb.verdict import Z

TRIED_CHARACTERS = 4_000  # of tried instructions in one prompt, and at most so many of each and of them
TRIED_EACH = 800
BEST_SHOWN, WORST_SHOWN = 6, 2
FAILURES_CHARACTERS = 4_000
FAILURES_SHOWN = 5

ALONE = " Reply with the instruction alone."
PROMPTS = {
    "fresh": "Use what is given about a task to write a new instruction. A language model will get your instruction, "
    "then an input, and must answer right.",
    "rewrite": "Write a better instruction for a language model that solves a task. You are given the present one, and "
    "instructions that were tried with the scores that they got. Keep what works, change what doesn't.",
    "combine": "Write one instruction for a language model that solves a task out of two that did well. Take what is "
    "best in each, and say nothing twice.",
    "fix": "Mend an instruction for a language model that solves a task. You are given the present one, and cases in "
    "which the model failed with it. Find what it doesn't say or says wrongly, and write a better one that holds for "
    "all cases of the kind. Don't copy the cases.",
}
MUST_KEEP = " The instruction must contain each line of must_keep, word for word."


@dataclass(frozen=True, slots=True)
class Draft:
    """What to ask: the kind as it could be had, the prompt's inputs of that kind, and the instructions shown."""

    kind: str
    given: dict[str, str]
    parents: tuple[int, ...] = ()


def prompt(kind: str, keep: Sequence[str] = ()) -> str:
    """Return what the LM is told to do."""
    return PROMPTS[kind] + (MUST_KEEP if keep else "") + ALONE


def draft(kind: str, predictor: str, feedback: Feedback, rng: random.Random) -> Draft:
    """Return what to show for a kind of ``learning.Approach``; ``fresh`` where there is nothing to work on.

    Which instruction is worked on is drawn: as often as it is believed to be the best one.
    """
    scored = feedback.scored.get(predictor, ())
    if kind not in feedback.kinds(predictor) or kind == "fresh":
        return Draft("fresh", _some(previous_instructions=_tried(predictor, feedback)))
    if kind == "combine":
        first, second = _drawn(scored, rng)[:2]
        given = {"first_instruction": _text(predictor, first, feedback)}
        given["second_instruction"] = _text(predictor, second, feedback)
        return Draft(kind, given, (first.index, second.index))
    if kind == "rewrite":
        parent = _drawn(scored, rng)[0]
        shown = {"tried_instructions": _tried(predictor, feedback)}
    else:
        failed = {failure.instruction for failure in feedback.failures[predictor]}
        parent = _drawn([one for one in scored if one.index in failed], rng)[0]
        shown = {"failures": _failures(predictor, parent, feedback, rng)}
    return Draft(kind, {**shown, "present_instruction": _text(predictor, parent, feedback)}, (parent.index,))


def _some(**given: str) -> dict[str, str]:
    return {name: text for name, text in given.items() if text}


def _drawn(scored: Sequence[Scored], rng: random.Random) -> list[Scored]:
    """Order instructions by a draw of what each may really score."""
    values = {one.index: rng.gauss(one.mean, (one.high - one.low) / (2 * Z)) for one in scored}
    return sorted(scored, key=lambda one: -values[one.index])


def _text(predictor: str, one: Scored, feedback: Feedback) -> str:
    text = feedback.known[predictor][one.index]
    return f"{cut_text(text, LONGEST_INSTRUCTION) or '(empty)'} ({_score(one)})"


def _score(one: Scored) -> str:
    return f"score {one.mean:.1%} on {one.examples} examples"


def _tried(predictor: str, feedback: Feedback) -> str:
    """Show the best and the worst instructions with their scores, the best last."""
    scored = feedback.scored.get(predictor, ())
    shown = [*scored[:BEST_SHOWN], *scored[BEST_SHOWN:][-WORST_SHOWN:]]
    texts = feedback.known.get(predictor, ())
    lines = [f"{cut_text(' '.join(texts[one.index].split()), TRIED_EACH)} ({_score(one)})" for one in shown]
    return "\n".join(reversed(_within(lines, TRIED_CHARACTERS)))


def _failures(predictor: str, parent: Scored, feedback: Feedback, rng: random.Random) -> str:
    """Show some of the failures, not always the same."""
    all_of_it = [one for one in feedback.failures[predictor] if one.instruction == parent.index]
    some = rng.sample(all_of_it, min(FAILURES_SHOWN, len(all_of_it)))
    return "\n\n".join(_within([cut_text(str(one), FAILURES_CHARACTERS) for one in some], FAILURES_CHARACTERS))


def _within(lines: Sequence[str], budget: int) -> list[str]:
    """Return as many of the lines as the budget of characters holds, one at least."""
    kept: list[str] = []
    for line in lines:
        if kept and sum(map(len, kept)) + len(line) > budget:
            break
        kept.append(line)
    return kept
