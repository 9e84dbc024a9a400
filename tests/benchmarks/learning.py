"""Do proposals that learn find better instructions than MIPROv2's single round, with as many LM calls?

python -m tests.benchmarks.learning --seeds 50

The LM is simulated. What makes an instruction good is hidden in it: twelve words, of which some help much, some a
little, some nothing, and some harm. Who writes an instruction finds helpful words more or less often, depending on how
they are asked: the kind, the tip, the temperature and whether the summary is shown have each their own effect, drawn
anew in every world, so that there is something to learn and nothing that could be built in. Rewritten instructions
take over most of the words of those that the prompt shows; failures hint at words that are lacking.

Both runs get the same LM calls: what the later rounds cost, the other run may spend on its search. Reported is the
true score of the program that each returns, which no validation set can flatter.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

import mipro_nb as mn
from mipro_nb.learning import KINDS, TIPS
from mipro_nb.testing import FakeLM, Messages

WORDS = ["amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "hazel", "indigo", "jasper", "kelp", "lichen"]
EFFECTS = (0.7, 0.7, 0.7, 0.35, 0.35, 0.35, 0.35, 0.0, 0.0, 0.0, -0.5, -0.5)  # on the log odds of a right answer
OWN = -0.9  # log odds with the program's own instruction, on an example of middling difficulty
FOUND = {"fresh": 0.10, "rewrite": 0.06, "combine": 0.03, "fix": 0.03}  # chance of each helpful word, before abilities
TAKEN = {"fresh": 0.0, "rewrite": 0.9, "combine": 0.8, "fix": 0.92}  # of each word of the instructions shown
HINTED = 0.3  # chance of each word that a failure hints at, before abilities
HARM = 0.08  # chance of each harmful word
QUANTILES = [NormalDist().inv_cdf((n + 0.5) / 200) for n in range(200)]  # difficulties of a test set without noise


def number(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") / 2**64


def right(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


@dataclass(frozen=True)
class World:
    """What is hidden: the words' effects, how hard each example is, and what the writer does well."""

    seed: int
    effects: Mapping[str, float]
    abilities: Mapping[tuple[str, object], float]

    @classmethod
    def of(cls, seed: int) -> World:
        rng = random.Random(f"world/{seed}")
        effects = dict(zip(rng.sample(WORDS, len(WORDS)), EFFECTS, strict=True))
        abilities: dict[tuple[str, object], float] = {}
        for factor, levels, factors in (
            ("kind", KINDS, (0.5, 0.8, 1.2, 1.8)),
            ("tip", tuple(TIPS), (0.3, 0.6, 1.0, 1.0, 1.4, 2.5)),
            ("temperature", (0.7, 1.0, 1.3), (0.6, 1.0, 1.5)),
            ("summary", (True, False), (0.8, 1.25)),
        ):
            abilities |= {
                (factor, level): one for level, one in zip(levels, rng.sample(factors, len(factors)), strict=True)
            }
        return cls(seed, effects, abilities)

    def words(self, text: str) -> set[str]:
        return {word for word in self.effects if word in text}

    def skill(self, text: str) -> float:
        return OWN + sum(self.effects[word] for word in self.words(text))

    def difficulty(self, example: int) -> float:
        return NormalDist().inv_cdf(0.001 + 0.998 * number(self.seed, "difficulty", example))

    def truth(self, instruction: str) -> float:
        """The score of a program with this instruction, without noise."""
        return fmean(right(self.skill(instruction) - hard) for hard in QUANTILES)

    def hint(self, example: int) -> str:
        """A word that the metric's remark on an example names; never a harmful one."""
        fair = [word for word in WORDS if self.effects[word] >= 0]
        return fair[int(number(self.seed, "hint", example) * len(fair))]

    def metric(self, example: Any, prediction: Any, trace: Any = None) -> mn.Score:
        good = example.a == prediction.a
        return mn.Score(good, "" if good else f"mind the {self.hint(int(example.q.split()[-1]))}")


class WorldLM(FakeLM):
    """Answers questions as well as the instruction's words allow, and writes instructions as well as it is asked."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda messages: "")
        self._world = world

    def _sampling(self, schema: Any, temperature: float | None, rollout: int | None) -> dict[str, Any]:
        return {**super()._sampling(schema, temperature, rollout), "rollout": rollout}

    def _send(self, messages: Messages, sampling: Mapping[str, Any]) -> dict[str, Any]:
        sent = super()._send(messages, sampling)
        told, asked = messages[0]["content"], messages[-1]["content"]
        if "instruction alone" in told:
            text = self._write(told, asked, sampling)
        elif "summary: <text>" in told or "description: <text>" in told:
            text = "It is about numbered items."
        else:
            text = self._solve(told, asked)
        return {**sent, "text": text}

    def _solve(self, told: str, asked: str) -> str:
        item, world = int(asked.split()[-1]), self._world
        words = sorted(world.words(told))
        known = number(world.seed, words, item) < right(world.skill(told) - world.difficulty(item))
        return f"a: answer {item}" if known else "a: no idea"

    def _write(self, told: str, asked: str, sampling: Mapping[str, Any]) -> str:
        world, kind = self._world, kind_of(told)
        rng = random.Random(repr((world.seed, told, asked, sorted(sampling.items()))))
        ability = world.abilities["kind", kind] * world.abilities["tip", tip_of(asked)]
        ability *= world.abilities.get(("temperature", sampling["temperature"]), 1.0)
        ability *= world.abilities["summary", "dataset_description: " in asked]
        shown = "\n".join(re.findall(r"^(?:present|first|second)_instruction: (.*)$", asked, re.MULTILINE))
        taken = {word for word in sorted(world.words(shown)) if rng.random() < TAKEN[kind]}
        hints = sorted(set(re.findall(r"^feedback: mind the (\w+)", asked, re.MULTILINE)))
        hinted = {word for word in hints if rng.random() < HINTED * ability}
        found = {
            word
            for word, effect in world.effects.items()
            if rng.random() < (FOUND[kind] * ability if effect > 0 else HARM)
        }
        words = ", the ".join(sorted(taken | hinted | found)) or "question"
        return f"Instruction: Answer with care, in style {rng.randrange(10**6)}; mind the {words}."


def kind_of(told: str) -> str:
    beginnings = {"Write a better": "rewrite", "Write one": "combine", "Mend": "fix"}
    return next((kind for beginning, kind in beginnings.items() if told.startswith(beginning)), "fresh")


def tip_of(asked: str) -> str:
    return next((tip for tip, text in TIPS.items() if text and text in asked), "none")


def rows(count: int, start: int = 0) -> list[mn.Example]:
    data = [{"q": f"item {n}", "a": f"answer {n}"} for n in range(start, start + count)]
    return mn.examples(data, inputs=["q"])


def paired(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95% interval of paired differences."""
    mean, half = fmean(differences), 1.96 * stdev(differences) / math.sqrt(len(differences))
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Played:
    """What a run came to: the true score of its program, and the LM calls that it made."""

    score: float
    calls: int
    instructions: int


def play(seed: int, proposals: str, trials: int) -> Played:
    """Run MIPROv2, zero-shot, in a world."""
    world = World.of(seed)
    lm = WorldLM(world)
    optimizer = mn.MIPROv2(
        metric=world.metric,
        prompt_model=lm,
        task_model=lm,
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=1,
        seed=seed,
        search="paired",
        proposals=proposals,
    )
    history = mn.History()
    with mn.context(lm=lm, progress=False):
        best = optimizer.compile(
            mn.Predict("q -> a"),
            trainset=rows(30, 10_000),
            valset=rows(100),
            num_trials=trials,
            listeners=[history],
        )
    return Played(world.truth(best.predictors[0].signature.instructions), lm.calls, len(history.instructions))


def duel(seed: int, trials: int) -> tuple[Played, Played]:
    """Run both ways in one world; the plain one searches on until it has made at least as many calls."""
    learnt, more = play(seed, "learn", trials), trials
    once = play(seed, "once", more)
    while once.calls < learnt.calls:
        more += max(1, math.ceil((learnt.calls - once.calls) / 35))
        again = play(seed, "once", more)
        if again.calls <= once.calls:  # every instruction is known on every example: nothing is left to spend
            break
        once = again
    return learnt, once


def told(duels: Iterable[tuple[Played, Played]]) -> str:
    pairs = list(duels)
    mean, low, high = paired([learnt.score - once.score for learnt, once in pairs])
    lines = []
    for name, place in (("learn", 0), ("once", 1)):
        runs = [pair[place] for pair in pairs]
        score, calls, count = (fmean(getattr(run, part) for run in runs) for part in ("score", "calls", "instructions"))
        lines.append(f"{name:>6}: true score {score:.1%}, {calls:.0f} LM calls, {count:.1f} instructions")
    lines.append(f"difference {mean * 100:+.1f} points [{low * 100:+.1f}, {high * 100:+.1f}], {len(pairs)} worlds")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=20)
    given = parser.parse_args()
    print(told(duel(seed, given.trials) for seed in range(given.seeds)))


if __name__ == "__main__":
    main()
