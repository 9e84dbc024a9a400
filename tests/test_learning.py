import random
from collections import Counter

import pytest

from mipro_nb import events as ev
from mipro_nb.learning import KINDS, TIPS, Approach, Levels, Result, bandit, results, standings, temperatures

FRESH = Approach("fresh", "none", 1.0, True, True)


def approach(**changes):
    return Approach(**{"kind": "fresh", "tip": "none", "temperature": 1.0, "summary": True, "demos": True, **changes})


def proposed(index, round=0, predictor="self", kind="fresh", tip="simple", **more):
    origin = "proposed" if index else "original"
    told = {"kind": kind, "temperature": 1.0, "summary": True, "demos": True, "round": round} if index else {}
    return ev.InstructionProposed(predictor, index, f"Text {index}.", origin, tip if index else "", **told, **more)


def part(index, gain, error=0.02, place=0):
    return {"place": place, "kind": "instruction", "index": index, "gain": gain, "error": error, "mean": 0.5}


def played(rng, seen):
    """A world in which fixing and personas gain, and heat loses."""
    gain = {"fix": 0.1}.get(seen.kind, 0.0) + {"persona": 0.06}.get(seen.tip, 0.0) - 0.05 * (seen.temperature > 1)
    return Result(seen, gain + rng.gauss(0, 0.05), 0.02)


def test_what_pays_is_chosen_more_and_more_often():
    rng, told = random.Random(0), []
    for _ in range(15):
        known = bandit(told)
        told += [played(rng, known.choose(rng)) for _ in range(6)]
    late = told[-42:]
    assert Counter(one.approach.kind for one in late).most_common(1)[0][0] == "fix"
    assert sum(one.approach.kind == "fix" for one in late) > 25
    assert sum(one.approach.tip == "persona" for one in late) > 14  # of six
    assert sum(one.approach.temperature > 1 for one in late) < 14  # of three


def test_at_first_every_level_is_tried():
    rng, known = random.Random(0), bandit([])
    drawn = [known.choose(rng) for _ in range(100)]
    assert {one.kind for one in drawn} == set(KINDS)
    assert {one.tip for one in drawn} == set(TIPS)
    assert {(one.summary, one.demos) for one in drawn} == {(a, b) for a in (True, False) for b in (True, False)}


def test_the_same_state_of_the_generator_gives_the_same_approach():
    assert bandit([]).choose(random.Random(3)) == bandit([]).choose(random.Random(3))


def test_only_what_is_allowed_and_possible_is_chosen():
    rng = random.Random(0)
    known = bandit([Result(approach(kind="fix"), 0.5, 0.01)], levels=Levels(tip=("none",), summary=(False,)))
    drawn = [known.choose(rng, ("fresh", "rewrite")) for _ in range(50)]
    assert {one.kind for one in drawn} == {"fresh", "rewrite"}
    assert {(one.tip, one.summary) for one in drawn} == {("none", False)}
    none = bandit([], levels=Levels(kind=("fix",)))
    assert none.choose(rng, ()).kind == "fresh"


def test_temperatures_stay_in_their_range_and_differ():
    assert temperatures(1.0) == (1.0, 0.7, 1.3)
    assert temperatures(2.0) == (2.0, 1.4)
    assert temperatures(0.0) == (0.0,)


def test_memory_seeds_the_choice_and_a_runs_own_results_weigh_more():
    good = [Result(approach(tip="persona"), 0.1, 0.01, f"old/{n % 3}", 0.8) for n in range(12)]
    bad = [Result(approach(tip="simple"), -0.1, 0.01, f"old/{n % 3}", 0.8) for n in range(12)]
    pair = Levels(tip=("persona", "simple"))

    def share(own):
        known, rng = bandit(own, [*good, *bad], pair), random.Random(0)
        return sum(known.choose(rng).tip == "persona" for _ in range(100))

    assert share([]) > 90
    here = [Result(approach(tip="persona"), -0.2, 0.01) for _ in range(15)]
    assert share([*here, *(Result(approach(tip="simple"), 0.1, 0.01) for _ in range(15))]) < 50


def test_what_worked_is_told_with_its_uncertainty():
    rng = random.Random(1)
    told = [played(rng, approach(kind=kind, tip=tip)) for kind in KINDS for tip in TIPS for _ in range(3)]
    rows = {(row.factor, row.level): row for row in standings(told)}
    assert [row.level for row in standings(told) if row.factor == "kind"] == list(KINDS)
    fix, fresh = rows["kind", "fix"], rows["kind", "fresh"]
    assert fix.low < fix.gain < fix.high
    assert fix.low > fresh.gain
    assert fix.tried == 18
    assert rows["temperature", "1"].tried == len(told)
    assert ("demos", "no") not in rows  # what was never tried isn't told of


def test_the_gain_is_over_the_best_that_was_known_before():
    told = [proposed(0), proposed(1), proposed(2, 1, kind="rewrite"), proposed(3, 1), proposed(4, 2, kind="fix")]
    found = results(told, [part(0, 0.0), part(1, 0.1), part(2, 0.1), part(3, 0.3, 0.05), part(4, 0.2)])
    assert [one.gain for one in found] == pytest.approx([0.1, 0.0, 0.2, -0.1])
    assert [one.approach.kind for one in found] == ["fresh", "rewrite", "fresh", "fix"]
    assert [one.error for one in found] == [0.02, 0.02, 0.05, 0.02]
    assert [one.group for one in found] == ["0.0", "0.1", "0.1", "0.2"]


def test_each_predictor_has_its_own_yardstick():
    told = [proposed(0), proposed(0, predictor="b"), proposed(1), proposed(1, 1, "b")]
    found = results(told, [part(1, 0.2), part(1, 0.3, place=1)])
    assert [(one.gain, one.group) for one in found] == [(0.2, "0.0"), (0.3, "1.1")]


def test_an_instruction_that_a_person_added_is_a_yardstick_and_no_result():
    added = ev.InstructionProposed("self", 1, "Mine.", "added")
    found = results([proposed(0), added, proposed(2, 1)], [part(0, 0.0), part(1, 0.3), part(2, 0.2)])
    assert [one.gain for one in found] == pytest.approx([-0.1])


def test_what_isnt_known_is_no_result():
    old = ev.InstructionProposed("self", 1, "Old log.", "proposed", "simple")
    assert results([proposed(0), old, proposed(2)], [part(0, 0.0), part(1, 0.1)]) == []
    demos = {"place": 0, "kind": "demos", "index": 2, "gain": 0.5, "error": 0.1}
    assert results([proposed(0), proposed(2)], [demos]) == []
