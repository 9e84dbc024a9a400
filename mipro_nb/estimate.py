"""How many calls, tokens and dollars a run will take at least and at most. Pure: no LM is called.

A call counts whether the LM or the cache answers it. The low end: replies that can be read at
once, demos found at once, combinations that repeat. The high end: every reply needs its repair,
every demo set tries the whole training set. Both assume that each predictor is called once per
example; a program that loops takes more. Tokens are characters divided by 5 (low) and 2.5 (high).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mipro_nb import adapter
from mipro_nb.bootstrap import TRIES_PER_DEMO, Recipe
from mipro_nb.example import Example, fields_of
from mipro_nb.grounding import BATCH_CHARACTERS, CODE_CHARACTERS, SUMMARY_CALLS, Grounding
from mipro_nb.instruction import LONGEST_INSTRUCTION
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.propose import TRIES

CHARACTERS_PER_TOKEN = (5.0, 2.5)
LONGEST_REPLY = 1_000  # tokens, where the LM has no max_tokens
UNKNOWN_FIELD = 1_000  # characters of an intermediate value, at most


@dataclass(frozen=True, slots=True)
class Range:
    """From ``low`` to ``high``. Adds up with ``+``; a number is ``in`` it or not."""

    low: float = 0
    high: float = 0

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Range) -> Range:
        return Range(self.low * other.low, self.high * other.high)

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


ONCE = Range(1, 1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Calls, tokens and dollars of a stage; ``cost`` None means that a price isn't known."""

    calls: Range = Range()
    prompt_tokens: Range = Range()
    completion_tokens: Range = Range()
    cost: Range | None = Range()

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost if self.cost is not None and other.cost is not None else None,
        )

    def __str__(self) -> str:
        tokens = self.prompt_tokens + self.completion_tokens
        dollars = "price unknown" if self.cost is None else f"${self.cost.low:,.2f} to ${self.cost.high:,.2f}"
        calls = f"{self.calls.low:>7,.0f} to {self.calls.high:>7,.0f} calls"
        return f"{calls}, {tokens.low:>9,.0f} to {tokens.high:>11,.0f} tokens, {dollars}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the estimate stands on; see ``plan.Job``."""

    student: Module
    trainset: Sequence[Example]
    valset: Sequence[Example]
    testset: Sequence[Example]
    task_model: LM | None
    prompt_model: LM | None
    recipes: Sequence[Recipe]
    most_demos: int
    num_instructions: int
    grounding: Grounding
    num_trials: int
    minibatch_size: int | None
    full_eval_steps: int


def stages(shape: Shape) -> dict[str, Estimate]:
    """Return the estimate of each stage, in order."""
    example = _example_tokens(shape)
    found = {
        "bootstrap": _spend(_bootstrap_runs(shape), example, shape.task_model, shape),
        "propose": _proposals(shape),
        "search": _spend(_search_runs(shape), example, shape.task_model, shape),
    }
    if shape.testset:
        found["verdict"] = _spend(Range(len(shape.testset), 2 * len(shape.testset)), example, shape.task_model, shape)
    return found


def _bootstrap_runs(shape: Shape) -> Range:
    """Program runs: at least one per demo wanted, at most the whole training set for each set."""
    low = high = 0
    for recipe in shape.recipes:
        if recipe.size:
            low += min(recipe.size, len(shape.trainset))
            high += max(len(shape.trainset), min(TRIES_PER_DEMO * recipe.size, len(shape.trainset)))
    return Range(low, high)


def _search_runs(shape: Shape) -> Range:
    """Program runs: at least the baseline, at most every trial on examples that are new to it."""
    everything = len(shape.valset)
    if shape.minibatch_size is None:
        return Range(everything, everything * (1 + shape.num_trials))
    full = math.ceil(shape.num_trials / shape.full_eval_steps)
    return Range(everything, everything * (1 + full) + shape.num_trials * shape.minibatch_size)


def _spend(runs: Range, prompt: Range, lm: LM | None, shape: Shape) -> Estimate:
    """Cost of program runs: each predictor is called once, or twice when its reply needs a repair."""
    predictors = len(shape.student.predictors)
    calls = runs * Range(predictors, 2 * predictors)
    # a repair's prompt also holds the reply that couldn't be read
    tokens = calls * Range(prompt.low, prompt.high + _longest_reply(lm))
    return _estimate(calls, tokens, lm)


def _proposals(shape: Shape) -> Estimate:
    if shape.num_instructions < 2:
        return Estimate()
    predictors = len(shape.student.predictors)
    wanted = predictors * (shape.num_instructions - 1)
    calls = Range(wanted, wanted * TRIES)
    if shape.grounding.data_aware:
        batches = min(SUMMARY_CALLS, math.ceil(len(shape.trainset) / shape.grounding.view_data_batch_size))
        calls += Range(batches, batches + 1)  # the summing-up is left out when there is nothing to sum up
    if shape.grounding.program_aware:
        calls += Range(1 + predictors, 1 + predictors)
    longest = (BATCH_CHARACTERS * 2 + CODE_CHARACTERS + 4 * LONGEST_INSTRUCTION) / CHARACTERS_PER_TOKEN[1]
    return _estimate(calls, calls * Range(50, longest), shape.prompt_model)


def _estimate(calls: Range, prompt: Range, lm: LM | None) -> Estimate:
    completion = calls * Range(0, _longest_reply(lm))
    prices = lm.prices() if lm is not None and calls.high else (0.0, 0.0)
    if prices is None:
        return Estimate(calls, prompt, completion, None)
    cost = prompt * Range(prices[0], prices[0]) + completion * Range(prices[1], prices[1])
    return Estimate(calls, prompt, completion, cost)


def _longest_reply(lm: LM | None) -> int:
    return (lm.max_tokens if lm is not None else None) or LONGEST_REPLY


def _example_tokens(shape: Shape) -> Range:
    """Prompt tokens of one call: from the shortest predictor without demos to the longest with all demos."""
    rows = [*shape.trainset[:200], *shape.valset[:200]]
    low, high = [], []
    for predictor in shape.student.predictors:
        head = len(
            adapter.messages(predictor.signature, [], dict.fromkeys(predictor.signature.fields, ""))[0]["content"]
        )
        sizes = [_characters(predictor.signature.fields, row) for row in rows]
        low.append(head / 2 + min((known for known, _ in sizes), default=0))
        longest = max((known + unknown for known, unknown in sizes), default=0)
        high.append(head + LONGEST_INSTRUCTION + longest * (1 + shape.most_demos))
    return Range(min(low) / CHARACTERS_PER_TOKEN[0], max(high) / CHARACTERS_PER_TOKEN[1])


def _characters(names: object, row: Example) -> tuple[int, int]:
    """Return (characters that the row holds for these fields, allowance for those it doesn't)."""
    values = fields_of(row)
    wanted = list(names)  # type: ignore[call-overload]
    known = sum(len(adapter.render(values[name])) for name in wanted if name in values)
    return known, UNKNOWN_FIELD * sum(name not in values for name in wanted)
