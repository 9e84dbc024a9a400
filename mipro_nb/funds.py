"""What the limits mean for a run: checks before the first call, remarks of its plan, what is kept for its end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

from mipro_nb import adapter, estimate
from mipro_nb import events as ev
from mipro_nb.budget import NAMES, Amount, Budget, OutOfBudget, amount_of, worst_case
from mipro_nb.errors import ConfigError
from mipro_nb.estimate import Estimate
from mipro_nb.example import fields_of
from mipro_nb.history import History
from mipro_nb.lm import LM
from mipro_nb.options import Options

if TYPE_CHECKING:
    from mipro_nb.plan import Job

MARGIN = 1.25  # the winner's prompts may be longer than those that were measured
GUESS = 2.0  # before anything was measured: times the plan's likely value
MOST_KEPT = 0.6  # of a limit: an end that takes more would leave the search too little to find anything
LARGE = 1 / 20  # of a limit: a worst case that is worth a remark
ENOUGH = 2  # program runs that a measurement stands on, at least


def budget_of(
    options: Options, before: ev.Usage | None = None, doubtful: Amount | None = None, seconds: float = 0.0
) -> Budget:
    """Return the budget of a run; ``before``, ``doubtful`` and ``seconds`` as of ``Budget``."""
    limits = (options.max_cost, options.max_calls, options.max_tokens, options.max_seconds)
    return Budget(*limits, before=before, doubtful=doubtful, seconds=seconds)


def doubt(calls: Sequence[tuple[float, float]]) -> Amount:
    """Return what calls without an answer may have taken together: tokens and US dollars of each."""
    return sum((Amount(1, tokens, cost) for tokens, cost in calls), Amount())


def doubt_told(doubtful: Amount) -> str:
    """Say what may have been billed for calls without an answer."""
    calls = "1 call was" if doubtful.calls == 1 else f"{doubtful.calls:,.0f} calls were"
    most = f"${doubtful.cost:,.4f}" if doubtful.cost else f"{doubtful.tokens:,.0f} tokens"
    if not math.isfinite(doubtful.cost if doubtful.cost else doubtful.tokens):
        most = "an unknown amount"
    return f"{calls} in flight when the run was cut off, or broke off: up to {most} may have been billed for that."


def check_limits(job: Job) -> None:
    """Raise ConfigError if a limit can't be kept, or doesn't allow for a single call; every predictor has an LM."""
    budget = budget_of(job.options)
    if not budget.limited:
        return
    for lm, most in _first_calls(job):
        budget.check(lm, most)
        for name, limit, part in zip(NAMES, astuple(budget.limits), astuple(most), strict=True):
            if part > limit:
                told = f"${part:,.4f}" if name == "max_cost" else f"{part:,.0f} tokens"
                raise ConfigError(
                    f"{name}={limit:g} does not allow for one call: {lm.model!r} may take {told}{_because(lm)}. "
                    f"Raise it, or limit answers, as in mipro_nb.LM({lm.model!r}, max_tokens=1000)."
                )


def _first_calls(job: Job) -> Iterator[tuple[LM, Amount]]:
    """Give each LM with the worst case of a short call to it."""
    row = fields_of(job.valset[0])
    for program in (job.student, job.bootstrapping.teacher):
        for predictor in program.predictors:
            lm = predictor.lm or job.task_model
            if lm is not None:
                inputs = {name: row.get(name, "") for name in predictor.signature.input_fields}
                yield lm, worst_case(lm, adapter.messages(predictor.signature, (), inputs))
    if job.prompt_model is not None and (job.plan.num_instructions > 1 or job.plan.later_instructions):
        yield job.prompt_model, worst_case(job.prompt_model, ())


def _because(lm: LM) -> str:
    longest = lm.longest_answer()
    return f" with an answer of {longest:,} tokens" if longest else ""


def remarks(job: Job, stages: dict[str, Estimate]) -> list[str]:
    """Return sentences on limits that a plan is likely to reach."""
    budget, found = budget_of(job.options), []
    if not budget.limited:
        return []
    likely, end = (_likely(one) for one in (sum(stages.values(), Estimate()), stages.get("verdict", Estimate())))
    limits = astuple(budget.limits)
    for name, limit, part, last in zip(NAMES, limits, astuple(likely), astuple(end), strict=True):
        told = "${:,.2f}" if name == "max_cost" else "{:,.0f}"
        if part > limit:
            found.append(
                f"the run is likely to take {told.format(part)}, more than {name}={limit:,g}: its search ends early, "
                "so that the final evaluation and the verdict stay within the limit."
            )
        if last * GUESS > MOST_KEPT * limit:
            found.append(
                f"the verdict alone may take more than {MOST_KEPT:.0%} of {name}={limit:,g}, and is left out then; a "
                "smaller test set takes less."
            )
    try:
        check_limits(job)
    except ConfigError as error:  # a plan may be looked at; the run will refuse to start
        return [*found, str(error)]
    for lm, most in dict(_first_calls(job)).items():
        parts = enumerate(zip(limits, astuple(most), strict=True))
        large = [NAMES[place] for place, (limit, part) in parts if place in (1, 2) and part > LARGE * limit]
        if large:
            found.append(
                f"until it is answered, each call to {lm.model} takes a large part of {large[0]} for itself: it may "
                f"come back{_because(lm)}. LM(..., max_tokens=...) makes it less, and more calls go on side by side."
            )
    return found


def _likely(one: Estimate) -> Amount:
    tokens = one.prompt_tokens.likely + one.completion_tokens.likely
    return Amount(one.calls.likely, tokens, one.cost.likely if one.cost is not None else 0.0)


class Funds:
    """Keeps the part of a run's limits that later stages will take. A listener of the run.

    While demos and instructions are made, half of what isn't kept for the end is kept for the search; while the search
    goes on, what its final evaluation and the verdict take; then the verdict's part. A run of the program is reckoned
    at the plan's likely value first, then at what was measured, as if the combination that takes most had won.

    Args:
        history: what happened so far, fed before this.
        budget: of which a part is kept.
    """

    def __init__(self, job: Job, history: History, budget: Budget) -> None:
        self._job, self._history, self._budget = job, history, budget
        self._stage, self._owed = "first", 0
        self._planned = _likely(estimate.one_run(job)) * GUESS if budget.limited else Amount()
        self._used = ev.Usage()
        self._measured: dict[int, tuple[Amount, int]] = {}  # by trial: what its program runs took, and how many

    def __call__(self, event: ev.Event) -> None:
        """Measure what runs of the program take."""
        if isinstance(event, ev.LMUsed):
            self._used = event.usage
        elif isinstance(event, ev.ExampleScored) and self._used.calls:
            asked = self._used.calls + self._used.cached_calls  # the same on other examples will not be cached
            before, runs = self._measured.get(event.trial, (Amount(), 0))
            taken = amount_of(self._used) * (asked / self._used.calls)
            self._measured[event.trial] = before + taken, runs + 1
            self._used = ev.Usage()
            if (runs + 1) & runs == 0:  # as often as there are twice as many: a trial may be all that is affordable
                self.keep(self._owed)

    def begin(self, stage: str) -> None:
        """Keep what comes after a stage: ``first`` (demos and instructions), ``search``, ``end`` (its) or ``last``."""
        self._stage = stage
        plan, full = self._job.plan, self._job.full
        owed = min(full, plan.evaluations) if plan.evaluations is not None else full if plan.minibatch_size else 0
        self.keep(owed)

    def keep(self, owed: int) -> None:
        """Keep what so many program runs of the final evaluation take, and the verdict."""
        self._owed = owed
        if not self._budget.limited:
            return
        most, tests = self._budget.limits * MOST_KEPT, len(self._job.testset)
        verdict = (self._one(0) + self._one()) * (tests * MARGIN)
        if any(part > limit for part, limit in zip(astuple(verdict), astuple(most), strict=True)):
            verdict = Amount()
        kept = verdict + (self._one() * (owed * MARGIN) if self._stage in ("first", "search") else Amount())
        if any(astuple(kept)):
            kept += self._budget.largest  # the last call must find its worst case
        kept = kept.joined(most, min)
        if self._stage == "first":
            self._budget.keep((kept + self._budget.limits) * 0.5, "the search and the verdict")
        elif self._stage == "last":
            self._budget.keep(Amount())
        else:
            self._budget.keep(kept, "the final evaluation and the verdict")

    def check_verdict(self, first: int, second: int) -> None:
        """Raise OutOfBudget if the verdict is likely not to fit any more: so many runs of baseline and winner."""
        best = self._history.best
        runs = self._one(0) * first + self._one(best.number if best is not None else None) * second
        if first + second and (short := self._budget.lacking(runs)) is not None:
            raise OutOfBudget(short)

    def check_runs(self, count: int) -> None:
        """Raise OutOfBudget if so many runs of the program are likely not to fit any more, whatever is kept."""
        if (short := self._budget.lacking(self._one() * count)) is not None:
            raise OutOfBudget(short)

    def _one(self, trial: int | None = None) -> Amount:
        """Return what a run of the program takes: that of a trial, or the most that was measured."""
        means = {one: taken * (1 / runs) for one, (taken, runs) in self._measured.items() if runs >= ENOUGH}
        most = Amount() if means else self._planned
        for mean in [means[trial]] if trial in means else means.values():
            most = most.joined(mean, max)
        runs = sum(runs for _, runs in self._measured.values())
        searching = runs and self._history.stage == "search"
        seconds = self._history.working_seconds(time.time()) / runs if searching else 0.0
        return Amount(most.calls, most.tokens, most.cost, seconds)
