"""The search by paired comparisons: what it asks for, whatever happens, and what it finds."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from playing import candidates, every, play, scored, table

from mipro_nb.errors import ConfigError
from mipro_nb.paired import PairedStrategy
from mipro_nb.search import Choice, Limits, Schedule

EXAMPLES = 40
RULES = ["ucb", "thompson"]


def schedule(evaluations=400, examples=EXAMPLES, **changes):
    return Schedule(10, examples, 10, evaluations=evaluations, **{"full": examples, **changes})


def strategy(found=None, plan=None, limits=None, rule="ucb", seed=0):
    return PairedStrategy(found or candidates([4], [5]), plan or schedule(), random.Random(seed), limits, rule)


def leader(search):
    event = search.believed()
    return Choice(event.instructions, event.demos)


def noisy(choice, example):
    """Scores 0 and 1; the later instructions are the better ones, demo set 2 is the best."""
    rate = 0.25 + 0.1 * sum(choice.instructions) + (0.25 if 2 in choice.demos else 0.0)
    return float(random.Random(f"{choice} {example}").random() < rate)


def graded(choice, example):
    return round(0.8 * noisy(choice, example) + 0.2 * random.Random(example).random(), 3)


SCORES = {
    "boolean": noisy,
    "graded": graded,
    "all equal": lambda choice, example: 0.5,
    "all zero": lambda choice, example: 0.0,
    "all one": lambda choice, example: 1.0,
    "some fail": lambda choice, example: None if example % 3 == 0 else noisy(choice, example),
    "one part fails": lambda choice, example: None if choice.instructions[0] == 1 else noisy(choice, example),
    "the baseline fails": lambda choice, example: None if choice.instructions[0] == 0 else noisy(choice, example),
}
SHAPES = {
    "one predictor": candidates([4], [5]),
    "zero-shot": candidates([6]),
    "three predictors": candidates([3, 2, 4], [3, 4, 1]),
    "too many to list": candidates([12, 12], [12, 12]),
    "one combination": candidates([1], [1]),
    "two combinations": candidates([2]),
    "the baseline has demos": replace(candidates([3], [4]), baseline=Choice((0,), (3,))),
    "says the same": replace(candidates([4], [5]), instructions=(("a", "b", "a", "b"),)),
}


# whatever happens


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("rule", RULES)
def test_it_ends_within_its_evaluations_whatever_the_scores(scores, rule):
    search = strategy(rule=rule)
    played = play(search, SCORES[scores])
    assert search.over
    assert search.ask() == ()
    fails = "fail" in scores
    last_tries = sum(count == 3 for count in played.asked.values())  # of the baseline and the leader
    assert 380 < played.evaluations <= 400 + (2 * EXAMPLES if fails else 0)
    assert last_tries <= 2 * EXAMPLES
    assert max(played.asked.values()) <= (3 if fails else 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("evaluations", [1, 30, 300])
def test_any_candidates(shape, rule, evaluations):
    found = SHAPES[shape]
    search = strategy(found, schedule(evaluations), rule=rule)
    played = play(search, noisy)
    assert search.over
    assert played.evaluations <= evaluations
    assert played.evaluations > 0.9 * min(evaluations, found.combinations * EXAMPLES) - 8
    assert max(played.asked.values()) == 1
    assert all(found.same(choice) == choice for choice in played.choices)
    assert search.believed().evaluations == played.evaluations


@pytest.mark.parametrize("examples", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("evaluations", [3, 50])
def test_tiny_validation_sets(examples, evaluations):
    search = strategy(plan=schedule(evaluations, examples))
    played = play(search, noisy)
    assert search.over
    assert played.evaluations <= evaluations
    assert search.believed() is not None


def test_a_full_evaluation_may_be_less_than_all_examples():
    search = strategy(plan=schedule(300, full=24))
    played = play(search, noisy)
    assert len(played.examples(leader(search))) >= 24


@pytest.mark.parametrize("rule", RULES)
def test_the_same_seed_makes_the_same_search(rule):
    first, second = (play(strategy(rule=rule, seed=3), noisy) for _ in range(2))
    assert first.works == second.works
    assert play(strategy(rule=rule, seed=4), noisy).works != first.works


def test_looking_at_what_is_believed_changes_nothing():
    class Watched(PairedStrategy):
        def tell(self, work, scores):
            mean = super().tell(work, scores)
            self.believed()
            return mean

    watched, alone = Watched(candidates([4], [5]), schedule(), random.Random(0)), strategy()
    assert play(watched, noisy).works == play(alone, noisy).works
    assert watched.believed() == alone.believed()


@pytest.mark.slow
def test_broken_candidates_do_not_make_the_luck_of_the_others_look_like_worth(monkeypatch):
    """Half of the instructions are broken, the others are all alike: the best of them is the luckiest."""

    def reported(seed):
        def score(choice, example):
            rate = 0.0 if choice.instructions[0] % 2 else 0.8
            return float(random.Random(f"{seed} {choice} {example}").random() < rate)

        search = strategy(candidates([8], [6]), schedule(800, 100), seed=seed)
        play(search, score)
        return search.believed().score["mean"]

    found = sum(map(reported, range(20))) / 20
    monkeypatch.setattr("mipro_nb.paired.FAR", 2.0)
    assert abs(found - 0.8) < 0.02 < sum(map(reported, range(20))) / 20 - 0.8


def test_a_trial_is_told_as_the_mean_of_all_its_examples():
    search = strategy()
    played = play(search, noisy)
    for work, mean in zip(played.works, played.means, strict=True):
        assert mean == pytest.approx(sum(noisy(work.choice, n) for n in work.examples) / len(work.examples))
    numbers = {work.choice: work.trial for work in played.works}
    assert sorted(numbers.values()) == list(range(len(numbers)))
    assert all(work.trial == numbers[work.choice] for work in played.works)


def test_combinations_meet_the_examples_in_one_order():
    played = play(strategy(), noisy)
    longest = max((work.examples for work in played.works), key=len)
    assert len(longest) == EXAMPLES
    assert all(work.examples == longest[: len(work.examples)] for work in played.works)


# what it finds


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scores", [noisy, graded])
def test_the_best_combination_is_found(rule, scores):
    found = [leader_of(rule, scores, seed) for seed in range(4)]
    assert all(choice.demos == (2,) for choice in found)
    assert sum(choice.instructions[0] for choice in found) >= 8


def leader_of(rule, scores, seed):
    search = strategy(plan=schedule(500), rule=rule, seed=seed)
    play(search, scores)
    return leader(search)


def test_the_winner_and_the_baseline_are_evaluated_in_full():
    search = strategy()
    played = play(search, noisy)
    assert len(played.examples(leader(search))) == EXAMPLES
    assert len(played.examples(Choice((0,), (0,)))) == EXAMPLES


def test_with_a_testset_the_baseline_gets_no_more_than_it_must():
    search = strategy(plan=schedule(level=False))
    played = play(search, noisy)
    assert len(played.examples(leader(search))) == EXAMPLES
    assert len(played.examples(Choice((0,), (0,)))) < EXAMPLES


def test_bad_combinations_get_few_examples():
    found = candidates([6])
    played = play(strategy(found, schedule(150)), table({Choice((0,)): 0.5, Choice((4,)): 0.9}))
    assert all(len(played.examples(Choice((n,)))) <= 24 for n in (1, 2, 3, 5))
    assert len(played.examples(Choice((4,)))) == EXAMPLES


def test_nothing_better_than_the_program_itself():
    search = strategy(candidates([5]), schedule(150))
    play(search, table({Choice((0,)): 0.8}))
    assert leader(search) == Choice((0,))


def test_of_equals_the_program_itself_wins():
    search = strategy()
    play(search, SCORES["all equal"])
    assert leader(search) == Choice((0,), (0,))


def test_every_candidate_gets_a_look():
    played = play(strategy(candidates([5], [7])), noisy)
    assert {choice.instructions[0] for choice in played.choices} == set(range(5))
    assert {choice.demos[0] for choice in played.choices} == set(range(7))


# failures


def test_what_failed_is_asked_for_once_more_and_a_last_time_at_the_end():
    played = play(strategy(candidates([1], [1])), lambda choice, n: None if n < 5 else 1.0)
    assert all(count == (3 if n < 5 else 1) for (_, n), count in played.asked.items())
    assert set(played.works[-1].new) == set(range(5))


def test_the_last_try_is_the_baselines_and_the_leaders_alone():
    search, tries = strategy(candidates([3])), {}

    def twice(choice, n):
        tries[choice, n] = tries.get((choice, n), 0) + 1
        return None if n < 3 and tries[choice, n] < 3 else 1.0 * (choice.instructions[0] == 2)

    played = play(search, twice)
    assert leader(search) == Choice((2,))
    assert {choice for (choice, _), count in played.asked.items() if count == 3} == {Choice((0,)), Choice((2,))}
    assert played.asked[Choice((1,)), 0] <= 2
    assert played.means[-1] == 1.0
    assert len(played.works[-1].examples) == EXAMPLES, "the leader stands on everything after all"


def test_a_trial_that_failed_once_is_whole_after_the_second_try():
    tries = set()

    def once(choice, n):
        again = (choice, n) in tries
        tries.add((choice, n))
        return 1.0 if again or n % 5 else None

    search = strategy(candidates([2]))
    play(search, once)
    assert search.believed().score["mean"] == pytest.approx(1.0, abs=0.02)


def test_an_outage_throughout_leaves_nothing_believed():
    search = strategy()
    played = play(search, lambda choice, example: None)
    assert set(played.means) == {None}
    assert played.evaluations <= 400
    assert search.over
    assert search.believed() is None


# what people ask for


def test_more_trials_go_on_where_the_search_was():
    search = strategy(plan=schedule(120))
    first = play(search, noisy)
    search.extend(8)  # of 10 examples each
    assert not search.over
    second = play(search, noisy)
    assert 60 < second.evaluations <= 200 - first.evaluations
    assert not first.asked.keys() & second.asked.keys()


def test_nothing_to_extend_to_when_everything_is_known():
    search = strategy(candidates([2]))
    play(search, noisy)
    search.extend(5)
    assert search.over


def test_more_trials_before_any_came_in():
    search = strategy(candidates([12, 12, 12], [12, 12, 12]))
    search.extend(5)
    assert play(search, noisy).evaluations > 430


@pytest.mark.parametrize("rounds", [1, 2, 5, 9])
def test_after_a_stop_the_search_goes_on_and_loses_nothing(rounds):
    search = strategy()
    first = play(search, noisy, most=rounds)
    cut = [work for work, mean in zip(first.works, first.means, strict=True) if work.trial >= 0]
    assert cut
    second = play(search, noisy)
    assert search.over
    assert 380 < first.evaluations + second.evaluations <= 400
    assert not first.asked.keys() & second.asked.keys()
    everything = [*first.choices, *second.choices]
    assert {choice.instructions[0] for choice in everything} == set(range(4))
    assert {choice.demos[0] for choice in everything} == set(range(5))
    assert len(second.examples(Choice((0,), (0,)))) + len(first.examples(Choice((0,), (0,)))) >= 16


def test_what_came_in_before_a_stop_is_kept():
    search = strategy()
    (first, *_) = search.ask()
    known = dict.fromkeys(first.new[:3], 1.0)
    assert search.keep(first, known) == 1.0
    assert search.believed().evaluations == 3
    asked = {example for works in iter(search.ask, ()) for work in works for example in work.new}
    assert asked


@pytest.mark.parametrize("rule", RULES)
def test_a_banned_part_is_never_tried_again(rule):
    search = strategy(rule=rule)
    play(search, noisy, most=4)
    search.ban(0, "instruction", 3)
    search.ban(0, "demos", 2)
    played = play(search, noisy)
    assert not any(choice.instructions == (3,) or choice.demos == (2,) for choice in played.choices)
    assert leader(search).instructions != (3,)
    assert leader(search).demos != (2,)


def test_the_leader_may_be_banned():
    search = strategy()
    play(search, noisy)
    best = leader(search)
    search.ban(0, "demos", best.demos[0])
    assert leader(search).demos != best.demos
    search.extend(10)
    play(search, noisy)
    assert leader(search).demos != best.demos


def test_the_programs_own_instruction_may_be_banned():
    search = strategy()
    play(search, SCORES["all equal"])
    search.ban(0, "instruction", 0)
    assert leader(search).instructions != (0,)
    assert leader(search).instructions != (0,)
    assert play(strategy(), noisy).works  # the baseline is still what the gain is over


def test_who_says_the_same_is_banned_too():
    search = strategy(SHAPES["says the same"])
    search.ban(0, "instruction", 3)
    played = play(search, noisy)
    assert {choice.instructions[0] for choice in played.choices} == {0}
    with pytest.raises(ConfigError, match="last one"):
        search.ban(0, "instruction", 0)


def test_the_last_candidate_cannot_be_banned():
    search = strategy(candidates([2], [1]))
    search.ban(0, "instruction", 1)
    with pytest.raises(ConfigError, match="instruction 0 is the last one"):
        search.ban(0, "instruction", 0)
    with pytest.raises(ConfigError, match="demos 0 is the last one"):
        search.ban(0, "demos", 0)


def test_demos_that_are_not_searched_cannot_be_banned():
    search = strategy(candidates([2, 2], []))
    with pytest.raises(ConfigError, match=r"demos 1 can't be banned: only instructions are searched"):
        search.ban(1, "demos", 1)


def test_new_candidates_get_a_look_and_may_win():
    small, large = candidates([2], [3]), candidates([5], [4])
    search = strategy(small, schedule(400))
    first = play(search, noisy, most=6)
    search.grow(large)
    second = play(search, noisy)
    assert {choice.instructions[0] for choice in second.choices} >= {2, 3, 4}
    assert any(choice.demos == (3,) for choice in second.choices)
    assert not first.asked.keys() & second.asked.keys()
    assert leader(search).instructions[0] >= 3


def test_new_candidates_before_the_first_round():
    search = strategy(candidates([2], [3]))
    search.grow(candidates([5], [4]))
    assert {choice.instructions[0] for choice in play(search, noisy).choices} == set(range(5))


def test_later_rounds_of_proposals_come_one_after_the_other():
    search = strategy(candidates([2], [3]), schedule(400, rounds=3))
    spent, seen = 0, []
    for count in (3, 4, 5):
        played = play(search, noisy)
        spent += played.evaluations
        seen.append(spent)
        assert search.wants
        assert not search.over
        search.grow(candidates([count], [3]), wanted=True)
        assert not search.wants
    spent += play(search, noisy).evaluations
    assert not search.wants
    assert search.over
    assert 100 < seen[0] < seen[1] < seen[2] < 320
    assert 380 < spent <= 400


def test_a_persons_own_candidate_is_no_round_of_proposals():
    search = strategy(candidates([2], [3]), schedule(400, rounds=1))
    play(search, noisy, most=2)
    search.grow(candidates([3], [3]))
    play(search, noisy)
    assert search.wants


# prompts


def test_combinations_that_are_too_long_are_never_asked():
    found = candidates([6], [4])
    most = int(found.tokens(Choice((3,), (1,)))) + 50
    played = play(strategy(found, limits=Limits(most=most, rest=50)), noisy)
    lengths = {choice: 50 + found.tokens(choice) for choice in played.choices}
    assert max(lengths.values()) <= most
    assert max(map(found.tokens, every(found))) + 50 > most


def test_a_program_that_is_itself_too_long_does_not_win():
    found = replace(candidates([3]), baseline=Choice((2,)))
    search = strategy(found, limits=Limits(most=int(found.tokens(Choice((1,))) + 1)))
    play(search, table({Choice((2,)): 0.9, Choice((1,)): 0.3, Choice((0,)): 0.2}))
    assert leader(search) == Choice((1,))


def test_a_price_makes_the_shorter_prompt_win():
    found, rates = candidates([3]), {Choice((0,)): 0.3, Choice((1,)): 0.75, Choice((2,)): 0.8}
    free, dear = strategy(found), strategy(found, limits=Limits(price=3.0))
    for search in (free, dear):
        play(search, table(rates))
    assert found.tokens(Choice((2,))) - found.tokens(Choice((1,))) == 30  # which cost 0.09
    assert (leader(free), leader(dear)) == (Choice((2,)), Choice((1,)))


# a search as the run carries it out


def test_the_next_round_is_asked_for_while_one_is_under_way():
    search = strategy()
    for work in search.ask():
        search.tell(work, scored(work, noisy))
    first, second = search.ask(), search.ask()
    assert first
    assert second
    assert not {(work.choice, n) for work in first for n in work.new} & {(w.choice, n) for w in second for n in w.new}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("level", [True, False])
@pytest.mark.parametrize("rounds", [0, 1, 2, 5, 9])
def test_a_search_that_must_conclude_asks_for_what_it_owes_and_no_more(rounds, level, rule):
    search = strategy(plan=schedule(level=level, rounds=2), rule=rule)
    before = play(search, noisy, most=rounds)
    owed = search.owed
    assert 0 < owed <= EXAMPLES * (2 if level else 1) + 2 * 8
    search.conclude()
    ended = play(search, noisy)
    assert not search.wants, "nobody pays for further candidates"
    assert search.over
    if before.evaluations:
        assert ended.evaluations <= owed
        assert leader(search) in [*before.choices, *ended.choices]
    assert not [pair for pair in ended.asked if before.asked[pair]], "nothing is run twice"
    search.extend(8)
    assert play(search, noisy).evaluations > 0 or search.wants, "an extension takes it back"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rounds", [2, 5, 9])
def test_a_search_that_must_prove_its_best_asks_for_nothing_else_and_goes_on_afterwards(rounds, rule):
    search = strategy(rule=rule)
    before = play(search, noisy, most=rounds)
    best, lacking = search.unproven or (leader(search), ())
    search.prove(True)
    proof = play(search, noisy)
    assert proof.choices[:1] == ([best] if lacking else [])
    assert proof.evaluations <= 2 * EXAMPLES
    assert search.unproven is None
    search.prove(False)
    proven = leader(search)
    assert len(before.examples(proven) | proof.examples(proven)) == EXAMPLES
    rest = play(search, noisy)
    assert search.over
    assert rest.evaluations > 0
    assert before.evaluations + proof.evaluations + rest.evaluations <= 400
    assert not [pair for pair in proof.asked if before.asked[pair]], "nothing is run twice"


def test_a_search_that_knows_nothing_has_nothing_to_prove():
    search = strategy()
    assert search.unproven is None
    search.prove(True)
    assert search.ask() == ()
    search.prove(False)
    assert search.ask()


def test_a_proof_that_is_cut_off_is_kept_and_the_search_goes_on():
    search = strategy()
    play(search, noisy, most=4)
    search.prove(True)
    cut = play(search, noisy, most=1)
    search.prove(False)
    assert not [pair for pair in play(search, noisy).asked if cut.asked[pair] and pair[1] not in cut.examples(pair[0])]
    assert search.over
