"""What a search's model is told as: the leader, what it gains, which part brings that, what would be simpler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mipro_nb.events import PosteriorUpdated
from mipro_nb.posterior import Belief, Posterior
from mipro_nb.results import row_of
from mipro_nb.search import Candidates, Choice, Limits
from mipro_nb.verdict import Z

SHORTER = 0.9  # a simpler program's prompts are at most so long, of the best's
FIRST = 4  # row of the first part, behind leader, baseline and halves
BEARABLE = 0.015  # expected loss of score that a simpler program may have


def swapped(choice: Choice, place: int, kind: str, index: int) -> Choice:
    """Return a combination with one part put in."""
    if kind == "instruction":
        return replace(choice, instructions=(*choice.instructions[:place], index, *choice.instructions[place + 1 :]))
    return replace(choice, demos=(*choice.demos[:place], index, *choice.demos[place + 1 :]))


def parts(candidates: Candidates) -> Iterator[tuple[int, str, int]]:
    """Give every part: place of its predictor, kind, index."""
    for kind, of_kind in (("instruction", candidates.instructions), ("demos", candidates.demos)):
        for place, options in enumerate(of_kind):
            for index in range(len(options)):
                yield place, kind, index


def neighbours(candidates: Candidates, choice: Choice) -> Iterator[Choice]:
    """Give whatever differs in one part from a combination, and the combination itself."""
    for part in parts(candidates):
        yield swapped(choice, *part)


def summary(
    candidates: Candidates,
    leader: Choice,
    model: Posterior,
    overrated: float,
    tried: Sequence[Choice],
    limits: Limits,
    evaluations: int,
) -> PosteriorUpdated:
    """Return the event that tells what is believed.

    Args:
        overrated: by how much the model takes the leader, and what it shares its parts with, for better than they are.
    """
    baseline = candidates.baseline
    halves = [Choice(leader.instructions, baseline.demos), Choice(baseline.instructions, leader.demos)]
    all_parts = list(parts(candidates))
    rows = [leader, baseline, *halves, *(swapped(leader, *part) for part in all_parts)]
    belief = model.believed(np.array([row_of(choice) for choice in rows], dtype=int))
    lower = np.array([overrated * (choice == leader or number >= FIRST) for number, choice in enumerate(rows)])
    belief = replace(belief, mean=belief.mean - lower)
    gain, error = _contrast(belief, 0, 1)
    return PosteriorUpdated(
        leader.instructions,
        leader.demos,
        _score(belief, 0),
        _score(belief, 1),
        {**_around(gain, error), "better": _above_zero(gain, error)},
        _sources(belief, leader, baseline),
        tuple(_candidate(belief, all_parts, number, baseline) for number in range(len(all_parts))),
        _simplest(candidates, leader, model, overrated, tried, limits),
        evaluations,
    )


def _contrast(belief: Belief, one: int, other: int) -> tuple[float, float]:
    """Return mean and standard deviation of a difference."""
    weights = np.zeros(len(belief.mean))
    weights[one] += 1
    weights[other] -= 1
    return belief.of(weights)


def _score(belief: Belief, place: int) -> dict[str, float]:
    mean, error = float(belief.mean[place]), math.sqrt(max(0.0, float(belief.covariance[place, place])))
    return {name: min(1.0, max(0.0, value)) for name, value in _around(mean, error).items()}


def _around(mean: float, error: float) -> dict[str, float]:
    """Return mean and 95% interval of a difference of scores, which is within [-1, 1]."""
    values = {"mean": mean, "low": mean - Z * error, "high": mean + Z * error}
    return {name: min(1.0, max(-1.0, value)) for name, value in values.items()}


def _above_zero(mean: float, error: float) -> float:
    if error < 1e-9:
        return float(mean > 0)
    return 0.5 * (1 + math.erf(mean / error / math.sqrt(2)))


def _sources(belief: Belief, leader: Choice, baseline: Choice) -> dict[str, dict[str, float]]:
    told = {}
    if leader.instructions != baseline.instructions:
        told["instructions"] = _around(*_contrast(belief, 2, 1))
    if leader.demos != baseline.demos:
        told["demos"] = _around(*_contrast(belief, 3, 1))
    if told:
        told["both"] = _around(*_contrast(belief, 0, 1))
    return told


def _candidate(belief: Belief, all_parts: Sequence[tuple[int, str, int]], number: int, given: Choice) -> dict[str, Any]:
    place, kind, index = all_parts[number]
    own = (given.instructions if kind == "instruction" else given.demos)[place]
    gain, error = _contrast(belief, FIRST + number, FIRST + all_parts.index((place, kind, own)))
    score = _score(belief, FIRST + number)
    return {"place": place, "kind": kind, "index": index, **score, "gain": gain, "error": error}


def _simplest(
    candidates: Candidates,
    leader: Choice,
    model: Posterior,
    overrated: float,
    tried: Sequence[Choice],
    limits: Limits,
) -> dict[str, Any]:
    """Return the tried combination of shortest prompts among those within the noise of the leader, or nothing."""
    length = limits.rest + candidates.tokens(leader)
    lengths = [(limits.rest + candidates.tokens(choice), place) for place, choice in enumerate(tried)]
    shorter = [(tokens, place) for tokens, place in lengths if tokens <= SHORTER * length]
    if not shorter:
        return {}
    rows = [leader, *(tried[place] for _, place in shorter)]
    belief = model.believed(np.array([row_of(choice) for choice in rows], dtype=int))
    belief = replace(belief, mean=belief.mean - overrated)
    for tokens, number in sorted((tokens, number) for number, (tokens, _) in enumerate(shorter, 1)):
        loss, error = _contrast(belief, 0, number)
        if loss <= BEARABLE and loss - Z * error <= 0:
            told = {"score": _score(belief, number), "loss": _around(loss, error)}
            lengths_told = {"tokens": round(tokens), "best_tokens": round(length)}
            return {"instructions": rows[number].instructions, "demos": rows[number].demos, **told, **lengths_told}
    return {}
