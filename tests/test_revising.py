import random
from collections import Counter

from mipro_nb.feedback import Failure, Feedback, Scored
from mipro_nb.revising import FAILURES_CHARACTERS, TRIED_CHARACTERS, draft, prompt

TEXTS = ["Do.", "Do it.", "Do it well.", "Don't."]
SCORED = [
    Scored(2, 0.8, 0.75, 0.85, 40),
    Scored(1, 0.78, 0.7, 0.86, 30),
    Scored(0, 0.5, 0.45, 0.55, 40),
    Scored(3, 0.1, 0.0, 0.2, 9),
]
FAILURES = [Failure(2, f"q: {n}", "no", "yes", "", "say yes") for n in range(9)]
FEEDBACK = Feedback(1, {"self": TEXTS}, {"self": SCORED}, {"self": FAILURES})


def drawn(kind, count=60, feedback=FEEDBACK):
    return [draft(kind, "self", feedback, random.Random(seed)) for seed in range(count)]


def test_a_rewrite_sees_a_good_instruction_and_all_scores():
    made = draft("rewrite", "self", FEEDBACK, random.Random(0))
    assert list(made.given) == ["tried_instructions", "present_instruction"]
    assert made.given["tried_instructions"].splitlines() == [
        "Don't. (score 10.0% on 9 examples)",
        "Do. (score 50.0% on 40 examples)",
        "Do it. (score 78.0% on 30 examples)",
        "Do it well. (score 80.0% on 40 examples)",
    ]
    assert made.given["present_instruction"].startswith(TEXTS[made.parents[0]])


def test_what_is_worked_on_is_drawn_as_often_as_it_may_be_the_best():
    parents = Counter(made.parents[0] for made in drawn("rewrite"))
    assert parents[2] > 15
    assert parents[1] > 10
    assert parents[0] + parents[3] == 0


def test_a_combination_sees_two_good_ones():
    made = drawn("combine")
    assert {frozenset(one.parents) for one in made} == {frozenset({1, 2})}
    assert sorted(made[0].given.values()) == [
        "Do it well. (score 80.0% on 40 examples)",
        "Do it. (score 78.0% on 30 examples)",
    ]


def test_a_mending_sees_failures_of_the_instruction_with_feedback_and_not_always_the_same():
    made = drawn("fix")
    assert {one.parents for one in made} == {(2,)}  # the failures are of this one alone
    assert "given: q: " in made[0].given["failures"]
    assert "expected: yes\nfeedback: say yes" in made[0].given["failures"]
    assert len({one.given["failures"] for one in made}) > 10


def test_a_fresh_one_sees_what_was_tried_before():
    made = draft("fresh", "self", FEEDBACK, random.Random(0))
    assert made.parents == ()
    assert "Do it well. (score 80.0% on 40 examples)" in made.given["previous_instructions"]


def test_where_there_is_nothing_to_work_on_it_is_a_fresh_one():
    nothing = Feedback(1, {"self": TEXTS}, {"self": SCORED[:1]}, {})
    assert [draft(kind, "self", nothing, random.Random(0)).kind for kind in ("fix", "combine", "rewrite")] == [
        "fresh",
        "fresh",
        "rewrite",
    ]
    bare = draft("fix", "self", Feedback(1, {"self": TEXTS}, {}, {}), random.Random(0))
    assert (bare.kind, bare.given) == ("fresh", {})


def test_a_prompt_keeps_to_its_budget():
    texts = [f"{n} " + "word " * 2_000 for n in range(30)]
    scored = [Scored(n, 0.5, 0.4, 0.6, 10) for n in range(30)]
    failures = [Failure(n, "q" * 600, "o" * 600, "e" * 600, "x" * 600, "f" * 600, "s" * 600) for n in range(30)]
    full = Feedback(1, {"self": texts}, {"self": scored}, {"self": failures})
    for kind in ("fresh", "rewrite", "combine", "fix"):
        given = draft(kind, "self", full, random.Random(0)).given
        assert sum(map(len, given.values())) < TRIED_CHARACTERS + FAILURES_CHARACTERS + 2_000


def test_an_empty_instruction_can_be_worked_on():
    empty = Feedback(1, {"self": [""]}, {"self": [Scored(0, 0.5, 0.4, 0.6, 10)]}, {})
    assert "(empty)" in draft("rewrite", "self", empty, random.Random(0)).given["present_instruction"]


def test_what_must_be_kept_is_asked_for():
    assert "must_keep" in prompt("fix", ["Be kind."])
    assert "must_keep" not in prompt("fix")
    assert all(prompt(kind).endswith("the instruction alone.") for kind in ("fresh", "rewrite", "combine", "fix"))
