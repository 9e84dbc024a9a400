import random

import pytest
from programs import TwoSteps, fake, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.bootstrap import Bootstrapping, Recipe, demo_sets, labeled_demo, recipes
from mipro_nb.budget import Budget, OutOfBudget
from mipro_nb.errors import LMUnavailable, TooManyErrors
from mipro_nb.flow import Stopped
from mipro_nb.pool import Pool
from mipro_nb.testing import EventRecorder
from mipro_nb.traffic import Traffic, through


def right(messages):
    return f"a: answer {messages[-1]['content'].split()[-1]}"


def make(wanted, *, student=None, replies=right, train=None, **options):
    student = student or mn.Predict("q -> a")
    recorder = EventRecorder()
    options.setdefault("metric", metric)
    job = Bootstrapping(
        student, options.pop("teacher", student), train or rows(12), max_labeled=options.pop("labeled", 4), **options
    )
    with mn.context(lm=fake(replies=replies, num_retries=0)), Pool(2, emit=recorder) as pool:
        made = demo_sets(job, wanted, pool)
    return made, recorder


def recipe(size=2, origin="bootstrapped", count=12):
    return Recipe(origin, tuple(range(count)), size)


def test_the_sets_are_those_of_dspy():
    made = recipes(6, 20, 4, 4, random.Random(0))
    assert [r.origin for r in made] == ["none", "labeled", "bootstrapped", "shuffled", "shuffled", "shuffled"]
    assert made[2].order == tuple(range(20))
    assert made[2].size == 4
    assert all(1 <= r.size <= 4 and r.order != made[2].order for r in made[3:])


@pytest.mark.parametrize(
    ("bootstrapped", "labeled", "origins"),
    [
        (0, 4, ["none", "labeled", "labeled", "labeled"]),
        (4, 0, ["none", "shuffled", "bootstrapped", "shuffled"]),
        (1, 1, ["none", "labeled", "bootstrapped", "shuffled"]),
    ],
)
def test_labeled_only_and_bootstrapped_only_fill_the_count(bootstrapped, labeled, origins):
    assert [r.origin for r in recipes(4, 20, bootstrapped, labeled, random.Random(0))] == origins


def test_the_seed_settles_the_shuffled_sets_alone():
    one, other = (recipes(6, 20, 4, 4, random.Random(seed)) for seed in (0, 1))
    assert one[:3] == other[:3]
    assert all(a.order != b.order for a, b in zip(one[3:], other[3:], strict=True))
    labeled, again = (recipes(3, 20, 0, 4, random.Random(seed))[2] for seed in (0, 1))
    assert labeled == again
    assert labeled.order != tuple(range(20))


def test_one_set_is_the_empty_one():
    assert [r.origin for r in recipes(1, 20, 4, 4, random.Random(0))] == ["none"]


def test_bootstrapped_demos_are_the_teachers_own_traces():
    [made], recorder = make([recipe(size=2)])
    assert [dict(demo) for demo in made.demos["self"][:2]] == [
        {"q": "item 0", "a": "answer 0"},
        {"q": "item 1", "a": "answer 1"},
    ]
    assert made.bootstrapped == {"self": 2}
    assert len(made.demos["self"]) == 4
    assert [a.kept for a in recorder.of(ev.ExampleBootstrapped)] == [True, True]


def test_a_wrong_trace_is_no_demo_and_the_reason_is_told():
    [made], recorder = make(
        [recipe(size=1)], replies=lambda m: right(m) if m[-1]["content"].endswith(" 2") else "a: no"
    )
    assert made.demos["self"][0]["q"] == "item 2"
    attempts = recorder.of(ev.ExampleBootstrapped)
    assert [(a.example, a.kept, a.why) for a in attempts] == [
        (0, False, "score 0"),
        (1, False, "score 0"),
        (2, True, ""),
    ]


def test_an_example_never_demonstrates_itself():
    seen = []

    def replies(messages):
        seen.append([m["content"] for m in messages if m["role"] == "user"])
        return right(messages)

    make([recipe(size=6, count=6)], replies=replies, train=rows(6), labeled=6)
    assert seen
    assert all(turns[-1] not in turns[:-1] for turns in seen)


def test_an_example_does_not_demonstrate_itself_when_its_answer_is_spelt_otherwise():
    own = [mn.Example(q="item 0", reasoning="long thought", a="Answer 0!"), mn.Example(q="item 9", a="answer 9")]
    prompts = []

    def replies(messages):
        prompts.append([m["content"] for m in messages if m["role"] == "user"])
        return right(messages)

    make([recipe(size=1)], student=mn.Predict("q -> a", demos=own), replies=replies)
    assert prompts == [["q: item 9", "q: item 0"]]


def test_each_attempt_is_booked_when_it_is_made():
    history, seen = mn.History(), []

    def replies(messages):
        seen.append(history.usage.calls)
        return "a: no"

    job = Bootstrapping(mn.Predict("q -> a"), mn.Predict("q -> a"), rows(50), metric, 0)
    stop = lambda: "enough" if history.usage.calls >= 5 else None  # noqa: E731
    with mn.context(lm=fake(replies=replies)), pytest.raises(Stopped), Pool(1, stop, history) as pool:
        demo_sets(job, [recipe(size=50, count=50)] * 20, pool)
    assert history.usage.calls == len(seen)
    assert len(seen) < 20 * 50


def test_a_predictor_that_the_program_makes_on_its_way_is_no_end():
    class Lazy(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a")

        def forward(self, q):
            if not hasattr(self, "fix"):
                self.fix = mn.Predict("q -> a")
            self.fix(q=q)
            return self.step(q=q)

    [made], _ = make([recipe(size=1)], student=Lazy())
    assert made.bootstrapped == {"step": 1}


def test_an_example_whose_every_round_fails_counts_once():
    def replies(messages):
        raise LMUnavailable("down")

    [made], _ = make([recipe(size=1, count=3)], train=rows(3), replies=replies, rounds=5, max_errors=3)
    assert made.bootstrapped == {"self": 0}


def test_an_example_is_not_both_trace_and_label_in_one_set():
    [made], _ = make([recipe(size=3, count=4)], train=rows(4))
    questions = [demo["q"] for demo in made.demos["self"]]
    assert len(questions) == len(set(questions))


def test_sets_are_aligned_across_predictors():
    [made], _ = make([recipe(size=2)], student=TwoSteps(), replies=two_step_reply, metric=None)
    assert [d["q"] for d in made.demos["hint"][:2]] == [d["q"] for d in made.demos["answer"][:2]]
    assert set(made.demos["answer"][0]) == {"q", "hint", "a"}


def test_labels_that_a_predictor_cannot_show_are_left_out():
    signature = TwoSteps().hint.signature
    assert labeled_demo(signature, rows(1)[0]) is None
    assert dict(labeled_demo(mn.Signature("q -> reasoning, a"), rows(1)[0])) == {"q": "item 0", "a": "answer 0"}
    assert labeled_demo(mn.Signature("q -> a"), mn.Example(q="x", a=None)) is None


def test_a_threshold_decides_for_numeric_metrics():
    def half(example, prediction, trace=None):
        return 0.5

    [made], recorder = make([recipe()], metric=half, threshold=0.6)
    assert made.bootstrapped == {"self": 0}
    assert "below metric_threshold=0.6" in recorder.of(ev.ExampleBootstrapped)[0].why
    [made], _ = make([recipe()], metric=half, threshold=0.5)
    assert made.bootstrapped == {"self": 2}


def test_without_threshold_the_best_traces_by_score_are_kept_and_it_is_said():
    def graded(example, prediction, trace=None):
        return int(example.q.split()[1]) / 20

    [made], recorder = make([recipe(size=2)], metric=graded)
    assert [demo["q"] for demo in made.demos["self"][:2]] == ["item 6", "item 7"]
    assert ["best traces are kept" in note.message for note in recorder.of(ev.Noted)] == [True]


def test_an_outage_is_no_demo_and_too_many_end_the_stage():
    def replies(messages):
        raise LMUnavailable("down")

    with pytest.raises(TooManyErrors, match="down"):
        make([recipe()], replies=replies, max_errors=3)


def test_a_teacher_with_demos_keeps_them():
    teacher = mn.Predict("q -> a", demos=[mn.Example(q="special", a="demo")])
    prompts = []

    def replies(messages):
        prompts.append(str(messages))
        return right(messages)

    make([recipe(size=1)], teacher=teacher, replies=replies)
    assert all("special" in prompt for prompt in prompts)


def test_the_metric_sees_the_trace_while_bootstrapping():
    seen = []

    def strict(example, prediction, trace=None):
        seen.append(trace)
        return True

    make([recipe(size=1)], metric=strict)
    assert seen[0][0].outputs == {"a": "answer 0"}


def test_later_rounds_sample_anew():
    lm = fake(replies=reply)
    job = Bootstrapping(mn.Predict("q -> a"), mn.Predict("q -> a"), rows(1), lambda *a: False, 0, rounds=3)
    with mn.context(lm=lm), Pool(1) as pool:
        demo_sets(job, [recipe(count=1)], pool)
    assert [sampling["temperature"] for sampling in lm.sampling] == [0.0, 1.0, 1.0]


def test_sets_that_were_made_before_a_limit_are_there_and_the_students_own_with_them():
    own = mn.Example(q="item 99", a="answer 99")
    student = mn.Predict("q -> a")
    student.demos = [own]
    job = Bootstrapping(student, student, rows(12), metric, max_labeled=2)
    wanted = [recipe(0, "none"), recipe(0, "labeled"), recipe(2), recipe(8, "shuffled")]
    sets, recorder = [], EventRecorder()
    limited = through(Traffic((Budget(max_calls=4),)))
    reached = pytest.raises(OutOfBudget, match="max_calls=4 is reached")
    with mn.context(lm=fake(replies=right)), limited, reached, Pool(1, emit=recorder) as pool:
        demo_sets(job, wanted, pool, sets=sets)
    assert [made.origin for made in sets] == ["none", "labeled", "bootstrapped", "student"]
    assert [event.index for event in recorder.of(ev.DemosBootstrapped)] == [0, 1, 2, 3]
