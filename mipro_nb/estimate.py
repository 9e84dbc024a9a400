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
from mipro_nb.asking import TRIES
from mipro_nb.effort import HARDER_RUNS
from mipro_nb.example import Example, fields_of
from mipro_nb.grounding import BATCH_CHARACTERS, CODE_CHARACTERS, SUMMARY_CALLS
from mipro_nb.instruction import LONGEST_INSTRUCTION
from mipro_nb.lm import LM
from mipro_nb.module import Module
from mipro_nb.predict import Predict

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
        "bootstrap": _spend(_bootstrap_runs(job), job.bootstrapping.teacher, job),
        "propose": _proposals(job),
        "search": _spend(_search_runs(job), job.student, job),
    }
    if job.testset:
        tested = len(job.testset)
        found["verdict"] = _spend(Range(tested, 2 * tested, 2 * tested), job.student, job)
    return found


def one_run(job: Job) -> Estimate:
    """Return the estimate of one run of the program."""
    return _spend(exactly(1), job.student, job)


def _bootstrap_runs(job: Job) -> Range:
    """Program runs: at least one per demo wanted, at most the whole training set for each set."""
    runs, everything = Range(), len(job.bootstrapping.trainset)
    for recipe in job.recipes:
        if recipe.size:
            wanted = min(recipe.size, everything)
            runs += Range(wanted, min(wanted / LIKELY_PASSES, everything), everything)
    if any(recipe.size for recipe in job.recipes) and not job.zero_shot:
        tried = len(job.plan.later_instructions) * min(HARDER_RUNS, everything)
        runs += Range(0, tried, tried)
    return runs


def _search_runs(job: Job) -> Range:
    """Program runs: at least the baseline, at most every trial on examples that are new to it."""
    everything = len(job.valset)
    if (evaluations := job.plan.evaluations) is not None:
        return Range(min(everything, evaluations), evaluations, evaluations)
    if job.plan.minibatch_size is None:
        most = everything * (1 + job.plan.num_trials)
    else:
        full = math.ceil(job.plan.num_trials / job.plan.full_eval_steps)
        most = everything * (1 + full) + job.plan.num_trials * job.plan.minibatch_size
    return Range(everything, 0.85 * most, most)


def _spend(runs: Range, program: Module, job: Job) -> Estimate:
    """Cost of program runs: each predictor is called once, or twice when its reply needs a repair."""
    rows = [*job.bootstrapping.trainset[:200], *job.valset[:200]]
    most_demos = max(job.bootstrapping.max_labeled, *(recipe.size for recipe in job.recipes))
    total = Estimate()
    for predictor in program.predictors:
        lm = predictor.lm or job.task_model
        calls = runs * Range(1, 1, 2)
        prompt = _prompt_tokens(predictor, rows, max(most_demos, len(predictor.demos)))
        prompt += Range(high=_longest_reply(lm))  # a repair's prompt holds the unreadable reply
        total += _estimate(calls, calls * prompt, calls * _reply_tokens(predictor, rows, lm), lm)
    return total


def _proposals(job: Job) -> Estimate:
    each = job.plan.num_instructions - 1 + sum(job.plan.later_instructions)
    predictors = len(job.student.predictors)
    wanted = (predictors - len(set(job.options.freeze))) * each
    if wanted < 1:
        return Estimate()
    repaired = Range(1, 1, 2)  # a reply that holds nothing but other fields' names is asked for again
    calls = Range(wanted, wanted, wanted * TRIES)
    grounding, everything = job.options.grounding, len(job.bootstrapping.trainset)
    if grounding.data_aware:
        batches = min(SUMMARY_CALLS, math.ceil(everything / grounding.view_data_batch_size))
        calls += Range(batches, batches + 1, batches + 1)  # without observations there is nothing to sum up
    if grounding.program_aware:
        calls += exactly(1 + predictors)
    longest = BATCH_CHARACTERS * 2 + CODE_CHARACTERS + 4 * LONGEST_INSTRUCTION
    calls = calls * repaired
    prompt = Range(200, 2_500, longest) * TOKENS_PER_CHARACTER
    most = _longest_reply(job.prompt_model)
    return _estimate(calls, calls * prompt, calls * Range(0, min(120, most), most), job.prompt_model)


def rest_tokens(job: Job) -> float:
    """Return about how many tokens the program's prompts hold beside instructions and demos."""
    rows = [*job.bootstrapping.trainset[:200], *job.valset[:200]]
    total = 0.0
    for predictor in job.student.predictors:
        own = len(predictor.signature.instructions) * TOKENS_PER_CHARACTER.likely
        bare = _prompt_tokens(predictor, rows, 0).likely - LIKELY_INSTRUCTION * TOKENS_PER_CHARACTER.likely
        total += max(0.0, bare - own)
    return total


def _estimate(calls: Range, prompt: Range, completion: Range, lm: LM | None) -> Estimate:
    if not calls.high:
        return Estimate()
    prices = lm.prices() if lm is not None else None
    if prices is None:
        return Estimate(calls, prompt, completion, None)
    cost = prompt * exactly(prices[0]) + completion * exactly(prices[1])
    return Estimate(calls, prompt, completion, cost)


def _longest_reply(lm: LM | None) -> int:
    return (lm.max_tokens if lm is not None else None) or LONGEST_REPLY


def _prompt_tokens(predictor: Predict, rows: Sequence[Example], most_demos: int) -> Range:
    """Prompt tokens of one call: without demos, with half of them, with all and the longest instruction."""
    blank = dict.fromkeys(predictor.signature.fields, "")
    head = len(adapter.messages(predictor.signature, [], blank)[0]["content"])
    own = len(predictor.signature.instructions)
    heads = Range(head - own, head + LIKELY_INSTRUCTION, head + LONGEST_INSTRUCTION)
    inputs = _characters(predictor.signature.input_fields, rows)
    row = _characters(predictor.signature.fields, rows)
    return (heads + inputs + row * Range(0, most_demos / 2, most_demos)) * TOKENS_PER_CHARACTER


def _reply_tokens(predictor: Predict, rows: Sequence[Example], lm: LM | None) -> Range:
    most = _longest_reply(lm)
    wanted = (_characters(predictor.signature.output_fields, rows).likely + 12) * TOKENS_PER_CHARACTER.likely
    return Range(0, min(wanted, most), most)


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
