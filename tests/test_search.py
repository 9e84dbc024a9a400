"""The search: the same decisions as dspy 3.4.1, and never a paid run twice."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.search import Candidates, Choice, Schedule, Work
from mipro_nb.testing import EventRecorder, FakeLM
from mipro_nb.tpe import MiproStrategy

Score = Callable[[Choice, int], float | None]  # of a combination on an example; None: the call failed
EXAMPLES = 20
GOLDEN = json.loads((Path(__file__).parent / "golden" / "search_dspy_3_4_1.json").read_text(encoding="utf-8"))["cases"]


def candidates(instructions: list[int], demos: list[int], baseline: Choice | None = None) -> Candidates:
    """Candidates told apart by their texts, so many per predictor."""
    names = tuple(f"step{place}" for place in range(len(instructions)))
    texts = tuple(tuple(f"Instruction {n}." for n in range(count)) for count in instructions)
    sets = tuple(tuple((mn.Example(question=f"q{n}", answer="a"),) for n in range(count)) for count in demos)
    zeros = (0,) * len(instructions)
    return Candidates(names, texts, sets, baseline or Choice(zeros, zeros if demos else ()))


def schedule(num_trials: int, minibatch_size: int | None = 5, full_eval_steps: int = 5) -> Schedule:
    return Schedule(num_trials, EXAMPLES, minibatch_size, full_eval_steps)


def run(strategy: MiproStrategy, score: Score) -> list[tuple[Work, float | None]]:
    """Play a search to its end; return every trial with its mean."""
    played = []
    while works := strategy.ask():
        (work,) = works
        scores = {example: score(work.choice, example) for example in work.new}
        played.append((work, strategy.tell(work, {e: s for e, s in scores.items() if s is not None})))
    return played


def by_index(choice: Choice, example: int) -> float:
    """A score that differs by combination and by example."""
    weighted = sum(place**2 * (n + 1) for place, n in enumerate((*choice.instructions, *choice.demos), 2))
    return (weighted + 3 * example) % 11 / 10


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> list[optuna.Study]:
    """The Optuna studies that the test makes."""
    made: list[optuna.Study] = []
    create = optuna.create_study

    def remember(**options: Any) -> optuna.Study:
        made.append(create(**options))
        return made[-1]

    monkeypatch.setattr(optuna, "create_study", remember)
    return made


# the same decisions as dspy


def replay(case: dict[str, Any]) -> tuple[list[tuple[str, Choice]], list[tuple[str, Choice]]]:
    """Return our trials and dspy's, for the same candidates, schedule, seed and scores."""
    theirs = [(kind, Choice(tuple(texts), tuple(sets))) for kind, texts, sets, _ in case["trace"]]
    scores = {choice: row[3] / 10 for (_, choice), row in zip(theirs, case["trace"], strict=True)}
    plan = Schedule(case["num_trials"], case["examples"], case["minibatch_size"], case["full_eval_steps"])
    strategy = MiproStrategy(candidates(case["instructions"], case["demos"]), plan, case["seed"])
    # after the first documented difference we may try what dspy never scored
    played = run(strategy, lambda choice, example: scores.get(choice, 0.0))
    return [(work.kind, work.choice) for work, _ in played], theirs


def difference(case: dict[str, Any]) -> int | None:
    """Where dspy fully evaluates its default program again, which is the one decision that we don't copy."""
    default = case["trace"][0][1:3]
    found = (n for n, row in enumerate(case["trace"]) if row[0] == "full" and row[1:3] == default)
    return next(found, None) if case["minibatch_size"] else None


SAME = [case for case in GOLDEN if difference(case) is None]
DIFFERENT = [case for case in GOLDEN if difference(case) is not None]


@pytest.mark.parametrize("case", SAME, ids=lambda case: case["name"])
def test_same_decisions_as_dspy(case: dict[str, Any]) -> None:
    ours, theirs = replay(case)
    assert ours == theirs


@pytest.mark.parametrize("case", DIFFERENT, ids=lambda case: case["name"])
def test_same_decisions_as_dspy_until_it_evaluates_its_default_again(case: dict[str, Any]) -> None:
    ours, theirs = replay(case)
    at = difference(case)
    assert ours[:at] == theirs[:at]
    evaluated = [choice for kind, choice in ours if kind in ("baseline", "full")]
    assert len(evaluated) == len(set(evaluated)), "a combination was fully evaluated twice"


def test_golden_traces_cover_the_kinds_of_runs() -> None:
    assert {case["seed"] for case in SAME} == {0, 9}
    assert {len(case["instructions"]) for case in SAME} == {1, 2}
    assert any(not case["demos"] for case in SAME)
    assert any(case["minibatch_size"] is None for case in SAME)
    assert any(case["num_trials"] % case["full_eval_steps"] for case in SAME)
    assert DIFFERENT


# the schedule


def test_full_evaluation_every_five_trials_and_at_the_end() -> None:
    played = run(MiproStrategy(candidates([6], [6]), schedule(12), 0), by_index)
    batches = ["minibatch"] * 5
    kinds = ["baseline", *batches, "full", *batches, "full", "minibatch", "minibatch", "full"]
    assert [work.kind for work, _ in played] == kinds
    assert [work.trial for work, _ in played] == list(range(len(kinds)))
    assert {(work.kind, len(work.examples)) for work, _ in played} == {("baseline", 20), ("minibatch", 5), ("full", 20)}


def test_no_second_full_evaluation_when_the_last_trial_had_one() -> None:
    kinds = [work.kind for work, _ in run(MiproStrategy(candidates([6], [6]), schedule(4, 5, 2), 0), by_index)]
    assert kinds == ["baseline", "minibatch", "minibatch", "full", "minibatch", "minibatch", "full"]


def test_without_minibatches_every_trial_is_full() -> None:
    played = run(MiproStrategy(candidates([6], [6]), schedule(7, None), 0), by_index)
    assert [work.kind for work, _ in played] == ["baseline"] + ["full"] * 7
    assert {work.examples for work, _ in played} == {tuple(range(EXAMPLES))}


def test_full_evaluation_goes_to_the_highest_mean_not_yet_full() -> None:
    means: dict[Choice, list[float]] = {}
    full: set[Choice] = set()
    kinds = []
    for work, mean in run(MiproStrategy(candidates([3], [3]), schedule(30), 1), by_index):
        assert mean is not None
        kinds.append(work.kind)
        if work.kind == "minibatch":
            means.setdefault(work.choice, []).append(mean)
            continue
        if work.kind == "full":
            left = {choice: sum(held) / len(held) for choice, held in means.items() if choice not in full}
            assert left[work.choice] == pytest.approx(max(left.values()))
        full.add(work.choice)
    assert kinds.count("full") == 6


def test_of_equals_the_first_tried_is_the_leader() -> None:
    played = run(MiproStrategy(candidates([6], [6]), schedule(5), 3), lambda choice, example: 0.1)
    tried = [work.choice for work, _ in played if work.kind == "minibatch"]
    assert len(set(tried)) > 1
    assert [work.choice for work, _ in played if work.kind == "full"] == tried[:1]


def test_equal_scores_give_equal_means_on_any_number_of_examples() -> None:
    # 0.1 + 0.1 + 0.1 is 0.30000000000000004: a plain sum would make a minibatch of three look better than the baseline
    played = run(MiproStrategy(candidates([6], [6]), schedule(10, 3), 0), lambda choice, example: 0.1)
    assert {mean for _, mean in played} == {0.1}


# nothing is paid for twice


def test_a_small_space_ends_early_and_repeats_nothing() -> None:
    played = run(MiproStrategy(candidates([1], [3]), schedule(200), 0), by_index)
    evaluated = sorted(work.choice.demos for work, _ in played if work.kind != "minibatch")
    assert evaluated == [(0,), (1,), (2,)]
    assert sum(work.kind == "minibatch" for work, _ in played) < 200
    assert sum(len(work.new) for work, _ in played) == 3 * EXAMPLES


def test_a_small_space_without_minibatches_ends_when_all_is_known() -> None:
    played = run(MiproStrategy(candidates([3], []), schedule(200, None), 0), by_index)
    assert {work.choice.instructions for work, _ in played} == {(0,), (1,), (2,)}
    assert len(played) < 200
    assert sum(len(work.new) for work, _ in played) == 3 * EXAMPLES


@pytest.mark.parametrize("minibatch_size", [5, None])
def test_one_candidate_is_evaluated_once(minibatch_size: int | None) -> None:
    played = run(MiproStrategy(candidates([1], [1]), schedule(10, minibatch_size), 0), by_index)
    assert [work.kind for work, _ in played] == ["baseline"]


def test_no_combination_runs_twice_on_an_example() -> None:
    played = run(MiproStrategy(candidates([2], [3]), schedule(40), 0), by_index)
    runs = [(work.choice, example) for work, _ in played for example in work.new]
    assert len(runs) == len(set(runs))
    assert any(len(work.new) < len(work.examples) for work, _ in played), "nothing was ever asked again"


def test_a_minibatch_draws_each_example_once() -> None:
    played = run(MiproStrategy(candidates([6], [6]), schedule(10, 15), 0), by_index)
    batches = [work.examples for work, _ in played if work.kind == "minibatch"]
    assert [len(set(batch)) for batch in batches] == [15] * 10
    assert {example for batch in batches for example in batch} == set(range(EXAMPLES))
    assert len({frozenset(batch) for batch in batches}) > 1


def test_the_mean_stands_on_known_and_new_examples() -> None:
    played = run(MiproStrategy(candidates([2], [3]), schedule(40), 0), by_index)
    for work, mean in played:
        assert mean == pytest.approx(sum(by_index(work.choice, e) for e in work.examples) / len(work.examples))


def test_what_is_under_way_is_not_asked_for_again() -> None:
    strategy = MiproStrategy(candidates([3], [3]), schedule(3), 0)
    assert strategy.ask()
    assert not strategy.ask()
    assert not strategy.over


# outages


def test_missing_scores_are_left_out_of_the_mean() -> None:
    strategy = MiproStrategy(candidates([3], [3]), schedule(3), 0)
    (work,) = strategy.ask()
    assert work is not None
    assert strategy.tell(work, {0: 1.0, 1: 0.5, 2: 0.0, 3: 1.0}) == 0.625


def test_missing_scores_are_asked_for_again() -> None:
    failing = {3, 8}
    strategy = MiproStrategy(candidates([1], [2]), schedule(4, 10, 2), 0)
    played = run(strategy, lambda choice, example: None if example in failing else 1.0)
    batch = next(work for work, _ in played if work.kind == "minibatch" and set(work.new) & failing)
    later = [work for work, _ in played if work.trial > batch.trial and work.choice == batch.choice]
    assert set(batch.new) & failing <= {example for work in later for example in work.new}


def test_an_outage_is_a_failed_trial_and_not_a_zero(study: list[optuna.Study]) -> None:
    broken = 2  # the second trial after the baseline
    strategy = MiproStrategy(candidates([6], [6]), schedule(4), 0)
    means = []
    while works := strategy.ask():
        (work,) = works
        means.append(strategy.tell(work, {} if work.trial == broken else dict.fromkeys(work.new, 0.5)))
    assert [mean is None for mean in means] == [number == broken for number in range(6)]
    states = [trial.state.name for trial in study[0].trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert {trial.value for trial in study[0].trials} == {0.5, None}


@pytest.mark.parametrize("minibatch_size", [5, None])
def test_when_everything_fails_the_search_still_ends(minibatch_size: int | None, study: list[optuna.Study]) -> None:
    played = run(MiproStrategy(candidates([1], [2]), schedule(6, minibatch_size), 0), lambda choice, example: None)
    assert len(played) == 7
    assert {mean for _, mean in played} == {None}
    assert {trial.state.name for trial in study[0].trials} == {"FAIL"}


def test_a_full_evaluation_lost_to_an_outage_is_tried_again() -> None:
    strategy = MiproStrategy(candidates([6], [6]), schedule(4, 5, 2), 0)
    full: list[tuple[Choice, float | None]] = []
    while works := strategy.ask():
        (work,) = works
        down = work.kind == "full" and not full
        mean = strategy.tell(work, {} if down else dict.fromkeys(work.new, 0.5))
        if work.kind == "full":
            full.append((work.choice, mean))
    assert full[0][1] is None, "the scores of its minibatch pass for a full evaluation"
    assert full[1] == (full[0][0], 0.5)


def test_what_failed_for_the_baseline_and_the_best_is_tried_a_last_time() -> None:
    tries: Counter[tuple[Choice, int]] = Counter()

    def score(choice: Choice, example: int) -> float | None:
        tries[choice, example] += 1
        late = example in (1, 2) and tries[choice, example] < 2
        return None if late else float(choice.instructions[0] > 0)

    played = run(MiproStrategy(candidates([20], []), schedule(1, None), 0), score)
    baseline, best = (work.choice for work, _ in played[:2])
    assert best != baseline
    last = [(work.trial, work.kind, work.choice, work.new, mean) for work, mean in played[2:]]
    assert last == [(0, "baseline", baseline, (1, 2), 0.0), (1, "full", best, (1, 2), 1.0)]


def test_a_last_try_that_fails_too_leaves_the_score_as_it_was() -> None:
    scores: Score = lambda choice, example: None if example < 2 else 0.5  # noqa: E731
    played = run(MiproStrategy(candidates([1], []), schedule(1, None), 0), scores)
    own = [(work.new, mean) for work, mean in played if work.trial == 0]
    assert own == [(tuple(range(EXAMPLES)), 0.5), ((0, 1), 0.5)]


# seeds


def decisions(seed: int) -> list[tuple[str, Choice, tuple[int, ...]]]:
    played = run(MiproStrategy(candidates([3, 3], [6, 6]), schedule(20), seed), by_index)
    return [(work.kind, work.choice, work.examples) for work, _ in played]


def test_the_seed_decides_combinations_and_minibatches() -> None:
    assert decisions(0) == decisions(0)
    for part in (1, 2):
        tried = {seed: [row[part] for row in decisions(seed) if row[0] == "minibatch"] for seed in (0, 1, 9)}
        assert tried[0] != tried[1] != tried[9] != tried[0]


# the candidates


class TwoSteps(mn.Module):
    def __init__(self) -> None:
        self.first = mn.Predict("question -> hint", "Given instruction.")
        self.second = mn.Predict("question, hint -> answer", "Another given instruction.")


def test_combinations_are_counted() -> None:
    assert candidates([3, 2], [6, 5]).combinations == math.prod([3, 2, 6, 5])
    assert candidates([4, 2], []).combinations == 8


def test_apply_puts_a_combination_into_a_copy() -> None:
    program = TwoSteps()
    changed = candidates([3, 3], [6, 6]).apply(program, Choice((1, 2), (3, 0)))
    assert [p.signature.instructions for p in changed.predictors] == ["Instruction 1.", "Instruction 2."]
    assert [p.demos[0].question for p in changed.predictors] == ["q3", "q0"]
    assert [p.signature.instructions for p in program.predictors] == [
        "Given instruction.",
        "Another given instruction.",
    ]
    assert [p.demos for p in program.predictors] == [[], []]


def test_applied_programs_share_no_list_of_demos() -> None:
    chosen = candidates([1, 1], [1, 1])
    program = chosen.apply(TwoSteps(), chosen.baseline)
    program.predictors[0].demos.clear()
    assert len(chosen.apply(TwoSteps(), chosen.baseline).predictors[0].demos) == 1


def test_a_zero_shot_combination_leaves_demos_alone() -> None:
    program = TwoSteps()
    program.second.demos = [mn.Example(question="own", hint="h", answer="a")]
    changed = candidates([2, 2], []).apply(program, Choice((1, 1)))
    assert [len(p.demos) for p in changed.predictors] == [0, 1]


# a program that comes with demos


def test_the_baseline_of_a_program_with_demos_is_its_own_set(study: list[optuna.Study]) -> None:
    own = Choice((0,), (5,))
    played = run(MiproStrategy(candidates([3], [6], own), schedule(30), 0), by_index)
    evaluated = [work.choice for work, _ in played if work.kind != "minibatch"]
    assert evaluated[0] == own
    assert own not in evaluated[1:]
    assert study[0].trials[0].params == {"0_predictor_instruction": 0, "0_predictor_demos": 5}


def test_a_run_starts_from_the_demos_that_the_program_came_with() -> None:
    own = mn.Example(question="own question", answer="yes")
    program = mn.Predict("question -> answer", demos=[own])
    lm, recorder = FakeLM(lambda messages: "yes"), EventRecorder()
    data = [mn.Example(question=f"question {n}", answer="yes").with_inputs("question") for n in range(6)]
    optimizer = mn.MIPROv2(
        metric=mn.exact_match, task_model=lm, prompt_model=lm, num_candidates=1, max_bootstrapped_demos=0, seed=0
    )
    best = optimizer.compile(program, trainset=data, valset=data, num_trials=2, listeners=[recorder], minibatch=False)
    baseline, sets = recorder.of(ev.TrialStarted)[0], recorder.of(ev.DemosBootstrapped)
    assert baseline.kind == "baseline"
    assert baseline.demos == (len(sets) - 1,)
    assert sets[-1].origin == "student"
    assert best.demos == [own], "no other set is better"


def drawn(strategy, score=0.5):
    drawn = []
    while works := strategy.ask():
        (work,) = works
        drawn.append(work)
        strategy.tell(work, dict.fromkeys(work.new, score))
    return drawn


@pytest.mark.parametrize("batch", [None, 3])
def test_an_extended_search_goes_on_where_it_was(batch):
    candidates = Candidates(
        ("p",), (tuple("abcdefgh"),), (tuple((mn.Example(n=n),) for n in range(8)),), Choice((0,), (0,))
    )
    strategy = MiproStrategy(candidates, Schedule(4, 10, batch), 0)
    first = drawn(strategy)
    strategy.extend(3)
    more = drawn(strategy)
    assert [work.trial for work in (*first, *more)] == list(range(len(first) + len(more)))
    assert sum(work.kind != "baseline" for work in more if batch is None or work.kind == "minibatch") == 3
    assert more[-1].kind == "full"
    done = [(work.choice, example) for work in (*first, *more) for example in work.new]
    assert len(done) == len(set(done)), "no combination is run twice on the same example"


def test_an_exhausted_search_stays_over_when_extended():
    candidates = Candidates(("p",), (("a", "b"),), (), Choice((0,)))
    strategy = MiproStrategy(candidates, Schedule(20, 4, None), 0)
    drawn(strategy)
    strategy.extend(5)
    assert strategy.ask() == ()
    assert strategy.over


@pytest.mark.parametrize("given", [0, 1, 2, 4, 7])
def test_a_search_that_must_conclude_evaluates_its_leader_and_no_more(given: int) -> None:
    strategy = MiproStrategy(candidates([4], [4]), schedule(20), 0)
    for _ in range(given):
        (work,) = strategy.ask()
        strategy.tell(work, {example: by_index(work.choice, example) for example in work.new})
    (cut,) = strategy.ask()
    owed = strategy.owed
    strategy.keep(cut, {example: by_index(cut.choice, example) for example in cut.new[:2]})
    strategy.conclude()
    kinds = [work.kind for work, _ in run(strategy, by_index)]
    assert kinds == {0: ["baseline"], 1: []}.get(given, ["full"])
    assert 0 < owed <= EXAMPLES if given else owed == 0
    assert strategy.over
    strategy.extend(2)
    assert [work.kind for work, _ in run(strategy, by_index)][:1] == ["minibatch"]


def test_full_trials_owe_nothing() -> None:
    strategy = MiproStrategy(candidates([4], [4]), schedule(6, None), 0)
    for _ in range(3):
        (work,) = strategy.ask()
        assert strategy.owed == 0
        strategy.tell(work, {example: by_index(work.choice, example) for example in work.new})
    (cut,) = strategy.ask()
    strategy.keep(cut, {})
    strategy.conclude()
    assert strategy.ask() == ()


@pytest.mark.parametrize("given", [2, 3, 4, 6, 9])
@pytest.mark.parametrize("cut_off", [False, True])
def test_a_search_that_has_proven_its_best_takes_the_way_that_it_would_have(given: int, cut_off: bool) -> None:
    calm = run(MiproStrategy(candidates([4], [4]), schedule(12), 0), by_index)
    strategy = MiproStrategy(candidates([4], [4]), schedule(12), 0)
    for _ in range(given):
        (work,) = strategy.ask()
        strategy.tell(work, {example: by_index(work.choice, example) for example in work.new})
    (cut,) = strategy.ask()
    strategy.keep(cut, {example: by_index(cut.choice, example) for example in cut.new[:2]})
    found = strategy.unproven
    strategy.prove(True)
    if cut_off and found is not None:
        (part,) = strategy.ask()
        strategy.keep(part, {example: by_index(part.choice, example) for example in part.new[:3]})
    else:
        proof = run(strategy, by_index)
        assert [(work.kind, work.choice) for work, _ in proof] == ([("full", found[0])] if found else [])
        assert found is None or proof[0][0].new == found[1]
    strategy.prove(False)
    rest = run(strategy, by_index)
    assert [(w.kind, w.choice, mean) for w, mean in rest] == [(w.kind, w.choice, mean) for w, mean in calm[given:]]


def test_a_best_that_was_evaluated_fully_needs_no_proof() -> None:
    strategy = MiproStrategy(candidates([4], [4]), schedule(12), 0)
    assert strategy.unproven is None
    run(strategy, by_index)
    strategy.prove(True)
    assert [work for work, _ in run(strategy, by_index) if work.kind != "full"] == []
