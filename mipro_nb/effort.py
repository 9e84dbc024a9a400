"""How much a run does: MIPROv2's numbers, and what the paired search makes of the same number of LM calls.

MIPROv2's are those of dspy 3.4.1 (teleprompt/mipro_optimizer_v2.py): auto modes, the trials' formula, minibatches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_INSTRUCTIONS, MOST_SETS = 24, 18  # per predictor, that a budget alone can lead to
PER_ROOT = 0.71  # instructions per square root of the evaluations; measured in tests/benchmarks/search.py
SETS_PER_INSTRUCTION = 0.75
ROUNDS_FROM = (120, 250, 400, 1_500)  # evaluations from which on there is one later round of proposals more
LATER = 2 / 3  # share of the instructions that is left to them: they know more
HARDER_RUNS = 8  # training examples that a later round may try with the best program, for a new demo set


@dataclass(frozen=True, slots=True)
class Effort:
    """Sizes of a run.

    Attributes:
        num_trials, minibatch_size, full_eval_steps: see ``plan.Plan``.
        num_instructions, num_demo_sets: per predictor, at the beginning; the sets that MIPROv2 would bootstrap.
        evaluations: program runs of the search, or None where trials are counted.
        later: instructions per predictor in each later round of proposals, the rounds in order.
        recombined: demo sets made from the traces and labels at hand.
    """

    num_trials: int
    num_instructions: int
    num_demo_sets: int
    minibatch_size: int | None
    full_eval_steps: int
    evaluations: int | None = None
    later: tuple[int, ...] = ()
    recombined: int = 0


def trials_for(predictors: int, n: int, zero_shot: bool) -> int:
    """Return MIPROv2's number of trials: ``max(2 V log2 n, 1.5 n)``, V doubled when demos are searched too."""
    variables = predictors if zero_shot else 2 * predictors
    return max(1, int(max(2 * variables * math.log2(max(n, 1)), 1.5 * n)))


def evaluations_of(effort: Effort, examples: int, predictors: int, zero_shot: bool) -> int:
    """Return about how many different (combination, example) pairs MIPROv2's search pays for.

    Random trials fall on the same combination now and then, and on the same examples in part: of ``x`` draws among
    ``y`` pairs, ``y (1 - exp(-x / y))`` differ. A full evaluation's leader was in a minibatch or two already.
    """
    combinations = float(effort.num_instructions * (1 if zero_shot else effort.num_demo_sets)) ** predictors
    pairs = combinations * examples
    batch = effort.minibatch_size
    if batch is None:
        return min(round(pairs), examples + round(pairs * -math.expm1(-effort.num_trials * examples / pairs)))
    fulls = math.ceil(effort.num_trials / effort.full_eval_steps)
    drawn = pairs * -math.expm1(-effort.num_trials * batch / pairs)
    return min(round(pairs), examples + round(drawn + fulls * max(0.0, examples - 1.5 * batch)))


def paired(effort: Effort, examples: int, predictors: int, zero_shot: bool, *, given: bool, learn: bool) -> Effort:
    """Return what a search by paired comparisons does with the LM calls that MIPROv2's would take.

    Args:
        effort: MIPROv2's.
        examples: of the validation set that MIPROv2 would use.
        given: whether the number of candidates was given: then it stands for those before the search, and later rounds
            add at most as many.
        learn: whether there are to be later rounds of proposals.
    """
    calls = evaluations_of(effort, examples, predictors, zero_shot)
    wanted = max(effort.num_instructions, min(MOST_INSTRUCTIONS, round(PER_ROOT * math.sqrt(calls))))
    sets = effort.num_demo_sets
    if not given and not zero_shot:
        sets = max(sets, min(MOST_SETS, round(SETS_PER_INSTRUCTION * PER_ROOT * math.sqrt(calls))))
    rounds = sum(calls >= least for least in ROUNDS_FROM) if learn else 0
    if given:
        first = effort.num_instructions
        more = min(first, max(wanted - first, first // 2))
    else:
        first, more = wanted - round(LATER * wanted), round(LATER * wanted)
    later = _shared(more, min(rounds, more)) if rounds else ()
    first = first if later or given else wanted
    spent = first + sum(later) - effort.num_instructions + (0 if zero_shot else len(later) * HARDER_RUNS)
    return Effort(
        effort.num_trials,
        first,
        effort.num_demo_sets,
        effort.minibatch_size,
        effort.full_eval_steps,
        max(1, calls - spent),
        later,
        sets - effort.num_demo_sets,
    )


def _shared(total: int, rounds: int) -> tuple[int, ...]:
    """Share a number among rounds, the first ones getting what is over."""
    return tuple((total + rounds - 1 - number) // rounds for number in range(rounds))
