"""The strategies of stage 3, by the name that ``MIPROv2(search=...)`` takes.

Two rules were kept of those that choose by the model. Regret in points among the same candidates (light: 50 worlds
each of additive, interacting, flat and mostly bad candidates): upper confidence bounds 1.8, draws from the posterior
1.7, MIPROv2's search 4.1; medium, additive and interacting alone: 1.4, 0.9, 5.1. The bounds are the default because
draws cost several times their own time, which must stay below a twentieth of a run's. Halving was worse than both in
earlier simulations.
"""

from __future__ import annotations

import random

from mipro_nb.search import Candidates, Limits, Schedule, Strategy

SEARCHES = {
    "paired": "a model of paired results; chunks of examples for what may be best by its upper confidence bound",
    "thompson": "the same model; chunks for what is best in draws from it",
    "mipro": "MIPROv2's, as dspy 3.4.1 runs it: TPE over minibatch means",
}


def strategy(
    name: str, candidates: Candidates, schedule: Schedule, seed: int, rng: random.Random, limits: Limits
) -> Strategy:
    """Make a search.

    Args:
        name: one of ``SEARCHES``.
        rng: the run's draws.
    """
    if name == "mipro":
        from mipro_nb.tpe import MiproStrategy

        return MiproStrategy(candidates, schedule, seed, rng)
    from mipro_nb.paired import PairedStrategy

    return PairedStrategy(candidates, schedule, rng, limits, "thompson" if name == "thompson" else "ucb")
