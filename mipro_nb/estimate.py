"""How many calls, tokens and dollars a run will take: at least, likely, at most. Pure: no LM is called.

A call counts whether the LM or the cache answers it. At least: replies that can be read at once,
demos found at once, combinations that repeat. At most: every reply needs its repair, every demo set
tries the whole training set. All assume that each predictor is called once per example; a program
that loops takes more. A token is 5 (least), 4 (likely) or 2.5 (most) characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro_nb import adapter
from mipro_nb.example import Example, fields_of
from mipro_nb.grounding import BATCH_CHARACTERS, CODE_CHARACTERS, SUMMARY_CALLS
from mipro_nb.instruction import LONGEST_INSTRUCTION
from mipro_nb.lm import LM
from mipro_nb.propose import TRIES

if TYPE_CHECKING:
    from mipro_nb.plan import Job

LONGEST_REPLY = 1_000  # tokens, where the LM has no max_tokens
UNKNOWN_FIELD = (0, 100, 1_000)  # characters of a value that isn't in the data: least, likely, most
LIKELY_INSTRUCTION = 400  # characters
LIKELY_PASSES = 0.5  # share of the teacher's tries that become demos


@dataclass(frozen=True, slots=True)
class Range:
    """Least, likely and most. Adds and multiplies part by part; a number is ``in`` it or not."""

    low: float = 0
    likely: float = 0
    high: float = 0

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, other: Range) -> Range:
        return Range(self.low * other.low, self.likely * other.likely, self.high * other.high)

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


def exactly(number: float) -> Range:
    """Return the range that holds one number."""
    return Range(number, number, number)


TOKENS_PER_CHARACTER = Range(1 / 5, 1 / 4, 1 / 2.5)


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
        calls, tokens = self.calls, self.prompt_tokens + self.completion_tokens
        shown = f"about {calls.likely:,.0f} calls ({calls.low:,.0f} to {calls.high:,.0f}), {tokens.likely:,.0f} tokens"
        if self.cost is None:
            return f"{shown}, price unknown"
        return f"{shown}, ${self.cost.likely:,.2f} (at most ${self.cost.high:,.2f})"


def stages(job: Job) -> dict[str, Estimate]:
    """Return the estimate of each stage, in order."""
    found = {
        "bootstrap": _spend(_bootstrap_runs(job), job),
        "propose": _proposals(job),
        "search": _spend(_search_runs(job), job),
    }
    if job.testset:
        tested = len(job.testset)
        found["verdict"] = _spend(Range(tested, 2 * tested, 2 * tested), job)
    return found


def _bootstrap_runs(job: Job) -> Range:
    """Program runs: at least one per demo wanted, at most the whole training set for each set."""
    runs, everything = Range(), len(job.bootstrapping.trainset)
    for recipe in job.recipes:
        if recipe.size:
            wanted = min(recipe.size, everything)
            runs += Range(wanted, min(wanted / LIKELY_PASSES, everything), everything)
    return runs


def _search_runs(job: Job) -> Range:
    """Program runs: at least the baseline, at most every trial on examples that are new to it."""
    everything = len(job.valset)
    if job.plan.minibatch_size is None:
        most = everything * (1 + job.plan.num_trials)
    else:
        full = math.ceil(job.plan.num_trials / job.plan.full_eval_steps)
        most = everything * (1 + full) + job.plan.num_trials * job.plan.minibatch_size
    return Range(everything, 0.85 * most, most)


def _spend(runs: Range, job: Job) -> Estimate:
    """Cost of program runs: each predictor is called once, or twice when its reply needs a repair."""
    lm, predictors = job.task_model, len(job.student.predictors)
    calls = runs * Range(predictors, predictors, 2 * predictors)
    prompt = _prompt_tokens(job) + Range(high=_longest_reply(lm))  # a repair's prompt holds the unreadable reply
    return _estimate(calls, calls * prompt, calls * _reply_tokens(job), lm)


def _proposals(job: Job) -> Estimate:
    if job.plan.num_instructions < 2:
        return Estimate()
    predictors = len(job.student.predictors)
    wanted = predictors * (job.plan.num_instructions - 1)
    calls = Range(wanted, wanted, wanted * TRIES)
    grounding, everything = job.options.grounding, len(job.bootstrapping.trainset)
    if grounding.data_aware:
        batches = min(SUMMARY_CALLS, math.ceil(everything / grounding.view_data_batch_size))
        calls += Range(batches, batches + 1, batches + 1)  # without observations there is nothing to sum up
    if grounding.program_aware:
        calls += exactly(1 + predictors)
    longest = BATCH_CHARACTERS * 2 + CODE_CHARACTERS + 4 * LONGEST_INSTRUCTION
    prompt = Range(200, 2_500, longest) * TOKENS_PER_CHARACTER
    most = _longest_reply(job.prompt_model)
    return _estimate(calls, calls * prompt, calls * Range(0, min(120, most), most), job.prompt_model)


def _estimate(calls: Range, prompt: Range, completion: Range, lm: LM | None) -> Estimate:
    prices = lm.prices() if lm is not None and calls.high else (0.0, 0.0)
    if prices is None:
        return Estimate(calls, prompt, completion, None)
    cost = prompt * exactly(prices[0]) + completion * exactly(prices[1])
    return Estimate(calls, prompt, completion, cost)


def _longest_reply(lm: LM | None) -> int:
    return (lm.max_tokens if lm is not None else None) or LONGEST_REPLY


def _prompt_tokens(job: Job) -> Range:
    """Prompt tokens of one call: the shortest predictor without demos, a middling one, the longest with all demos."""
    rows = [*job.bootstrapping.trainset[:200], *job.valset[:200]]
    most_demos = max(job.bootstrapping.max_labeled, *(recipe.size for recipe in job.recipes))
    parts = []
    for predictor in job.student.predictors:
        blank = dict.fromkeys(predictor.signature.fields, "")
        head = len(adapter.messages(predictor.signature, [], blank)[0]["content"])
        row = _characters(predictor.signature.fields, rows)
        heads = Range(head - len(predictor.signature.instructions), head, head + LONGEST_INSTRUCTION)
        heads += Range(likely=LIKELY_INSTRUCTION)
        parts.append(heads + row * Range(0.2, 1 + most_demos / 2, 1 + most_demos))
    likely = sum(part.likely for part in parts) / len(parts)
    together = Range(min(part.low for part in parts), likely, max(part.high for part in parts))
    return together * TOKENS_PER_CHARACTER


def _reply_tokens(job: Job) -> Range:
    most = _longest_reply(job.task_model)
    rows = job.bootstrapping.trainset[:200]
    wanted = [_characters(p.signature.output_fields, rows).likely + 12 for p in job.student.predictors]
    likely = sum(wanted) / len(wanted) * TOKENS_PER_CHARACTER.likely
    return Range(0, min(likely, most), most)


def _characters(names: Iterable[str], rows: Sequence[Example]) -> Range:
    """Characters of a row's fields, with an allowance for those that the data doesn't hold."""
    wanted, sizes = list(names), []
    for row in rows:
        values = fields_of(row)
        known = sum(len(adapter.render(values[name])) for name in wanted if name in values)
        missing = sum(name not in values for name in wanted)
        sizes.append(tuple(known + missing * each for each in UNKNOWN_FIELD))
    lows, likely, highs = zip(*sizes, strict=True)
    return Range(min(lows), sum(likely) / len(likely), max(highs))
