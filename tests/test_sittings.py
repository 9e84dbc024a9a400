"""Random small runs with wishes and extensions, cut off and gone on with: the same end, and bills that add up."""

import contextlib
import random
import shutil

import pytest
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.cache import Cache
from mipro_nb.errors import ConfigError

PATIENCE = 120
TOLD = ev.InstructionProposed | ev.CandidateBanned | ev.Wished | ev.RunExtended | ev.VerdictReached


class World:
    """A run as drawn from a seed, that may be carried out again elsewhere, with another number of threads."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.search = draw.choice(["paired", "paired", "thompson", "mipro"])
        self.steps = draw.choice([1, 2])
        self.cached = draw.random() < 0.4
        self.settings = {"search": self.search, "seed": draw.randint(0, 5)}
        self.data = {"trainset": rows(draw.randint(2, 12)), "valset": rows(draw.choice([1, 4, 10, 30]), 100)}
        self.options = {"minibatch": draw.random() < 0.5, "minibatch_size": draw.choice([3, 10])}
        if draw.random() < 0.7:
            self.data["testset"] = rows(draw.randint(1, 12), 1000)
        if draw.random() < 0.5:
            self.settings |= {"num_candidates": draw.randint(1, 4)}
            self.options |= {"num_trials": draw.randint(1, 8)}
        if draw.random() < 0.3:
            self.settings |= {"max_bootstrapped_demos": 0, "max_labeled_demos": 0}
        if draw.random() < 0.3:
            self.options |= {"keep": ["Be brief."]}
        if self.steps == 2 and draw.random() < 0.4:
            self.options |= {"freeze": [draw.choice(["hint", "answer"])]}
        kinds = ["extend"] if self.search == "mipro" else ["add", "ban", "extend"]
        wishes = [(draw.randint(1, 250), draw.choice(kinds), draw.randint(0, 3)) for _ in range(draw.randint(0, 3))]
        self.wishes = {when: (kind, number) for when, kind, number in wishes}
        self.extensions = [[(draw.choice(kinds), draw.randint(0, 3))] * 2 for _ in range(draw.choice([0, 1, 2]))]
        self.copied = {draw.randint(1, 500) for _ in range(3)}
        self.threads = draw.choice([1, 3, 16]), draw.choice([1, 3, 16])

    def run(self, where, lm, threads, look):
        program = TwoSteps() if self.steps == 2 else mn.Predict("q -> a")
        options = {**self.data, **self.options, "run_dir": where, "listeners": [look]}
        with mn.context(lm=lm, progress=False):
            optimizer = mn.MIPROv2(metric, num_threads=threads, **self.settings)
            return optimizer.start(program, requires_permission_to_run=True, **options)

    def lm(self):
        replies = {"replies": two_step_reply} if self.steps == 2 else {}
        return fake(cache=Cache() if self.cached else False, **replies)

    def wish(self, run, kind, number):
        name = "answer" if self.steps == 2 else "self"
        with contextlib.suppress(ConfigError):  # it is frozen, there is no such candidate, ...
            if kind == "add":
                run.add_instruction(name, f"My own, number {number}.")
            elif kind == "ban":
                run.ban(name, "instruction" if number < 3 else "demos", number % 3)
            elif run.extendable:
                run.extend(number + 1)

    def whole(self, where, copies):
        """Carry everything out; leave copies of the directory as it was in the midst."""
        lm, seen = self.lm(), []

        def look(event):
            seen.append(event)
            if len(seen) in self.copied and (where / "events.jsonl").exists():
                copies.append(shutil.copytree(where, where.with_name(f"{where.name}-{len(seen)}")))
            if len(seen) in self.wishes:
                self.wish(run, *self.wishes[len(seen)])

        run = self.run(where, lm, self.threads[0], look)
        run.start()
        run.result(PATIENCE)
        for wishes in self.extensions:
            for kind, number in wishes:
                self.wish(run, kind, number)
            if run.extendable:
                run.extend(1)
                run.result(PATIENCE)
        return run, lm

    def resumed(self, where):
        lm = self.lm()
        run = self.run(where, lm, self.threads[1], lambda event: None)
        run.start()
        run.result(PATIENCE)
        return run, lm


def told(history):
    """What a history tells that mustn't hang on when its run was cut off."""
    return [event for event in history.events if isinstance(event, TOLD)], history.verdict, history.reason


def wished(history):
    return sum(isinstance(event, ev.Wished) for event in history.events)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 40))])
def test_a_run_that_goes_on_from_any_moment_ends_as_it_would_have_and_pays_for_nothing_twice(tmp_path, seed):
    world, copies = World(seed), []
    run, lm = world.whole(tmp_path / "run", copies)
    assert run.history.usage.calls == mn.History.read(tmp_path / "run").usage.calls == lm.calls
    for torn in (tmp_path / "run", *copies):
        known = mn.History.read(torn)
        paid = (torn / "answers.jsonl").read_text().count('"key"')
        again, rest = world.resumed(torn)
        assert again.history.usage.calls == mn.History.read(torn).usage.calls == paid + rest.calls
        if wished(known) < wished(run.history):
            continue  # nobody knows what was wished for later
        assert paid + rest.calls == lm.calls
        assert again.history.usage == run.history.usage
        assert told(again.history) == told(run.history)
        assert again.history.trials_frame().equals(run.history.trials_frame())
        assert again.history.candidates_frame().equals(run.history.candidates_frame())
        pairs = zip(again.program.predictors, run.program.predictors, strict=True)
        assert all(one.to_json() == other.to_json() for one, other in pairs)
