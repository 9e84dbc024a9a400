import mipro_nb as mn
from mipro_nb import History
from mipro_nb import events as ev
from mipro_nb.feedback import Failure, feedback_of

DATA = mn.examples([{"q": f"item {n}", "a": f"answer {n}"} for n in range(6)], inputs=["q"])


def trial(number, instructions, scores, kind="partial", demos=(), calls=()):
    """A trial whose program returned ``wrong N`` on what it failed, as the metric remarked."""
    yield ev.TrialStarted(number, kind, instructions, demos, len(scores), len(scores))
    for example, score in scores.items():
        why = "" if score == 1 else f"the metric on {example}"
        yield ev.ExampleScored(number, example, score, "", why, f"wrong {example}", tuple(calls))
    known = [score for score in scores.values() if score is not None]
    yield ev.TrialFinished(number, sum(known) / len(known), len(known), len(scores) - len(known))


def run(*trials, texts=("Do.", "Do it.", "Do it well."), names=("self",)):
    first = [ev.RunStarted("id", "P", names, {}, {}, {}, {})]
    first += [ev.InstructionProposed(name, n, text, "") for name in names for n, text in enumerate(texts)]
    return History([*first, *(event for one in trials for event in one)])


def leads(instructions, *candidates):
    mean = {"mean": 0.5, "low": 0.4, "high": 0.6}
    told = tuple({**mean, "kind": "instruction", "gain": 0.0, "error": 0.1, **one} for one in candidates)
    yield ev.PosteriorUpdated(instructions, (), mean, mean, mean, {}, told, {}, 9)


HALF = trial(0, (0,), {0: 1.0, 1: 0.0})


def test_instructions_come_with_their_scores_the_best_first():
    found = feedback_of(run(trial(0, (0,), {0: 1.0, 1: 0.0}), trial(1, (2,), {0: 1.0, 1: 1.0})), DATA, 3)
    assert found.round == 3
    assert found.known == {"self": ["Do.", "Do it.", "Do it well."]}
    assert [(one.index, one.mean, one.examples) for one in found.scored["self"]] == [(2, 1.0, 2), (0, 0.5, 2)]
    assert all(one.low <= one.mean <= one.high for one in found.scored["self"])


def test_what_the_search_believes_counts_more_than_a_plain_mean():
    believed = leads((0,), {"place": 0, "index": 0, "mean": 0.7}, {"place": 0, "index": 1, "mean": 0.3})
    found = feedback_of(run(trial(0, (0,), {0: 1.0, 1: 0.0}), believed), DATA, 1)
    assert [(one.index, one.mean, one.low) for one in found.scored["self"]] == [(0, 0.7, 0.4)]  # 1 was never tried


def test_what_the_best_programs_fail_is_told_with_the_right_answer_and_the_metrics_words():
    found = feedback_of(run(trial(0, (0,), {0: 1.0, 1: 0.0, 3: 0.5, 4: None})), DATA, 1)
    assert found.failures["self"] == [
        Failure(0, "q: item 1", "wrong 1", "a: answer 1", "", "the metric on 1"),
        Failure(0, "q: item 3", "wrong 3", "a: answer 3", "", "the metric on 3"),
    ]
    told = "given: q: item 1\nreturned: wrong 1\nexpected: a: answer 1\nfeedback: the metric on 1"
    assert str(found.failures["self"][0]) == told


def test_failures_are_those_of_the_leading_combination():
    trials = [
        trial(0, (0,), {0: 0.0, 1: 0.0, 2: 0.0}, demos=(0,)),
        trial(1, (0,), {0: 1.0, 1: 0.0}, demos=(1,)),
    ]
    leader = ev.PosteriorUpdated((0,), (1,), {"mean": 0.5}, {}, {}, {}, (), {}, 5)
    found = feedback_of(run(*trials, [leader]), DATA, 1)
    assert [failure.inputs for failure in found.failures["self"]] == ["q: item 1"]


def test_in_a_program_of_several_each_predictor_sees_its_own_step():
    calls = ({"predictor": "a", "inputs": {"q": "1"}, "replies": ["h: x"]}, {"predictor": "b", "inputs": {}})
    found = feedback_of(run(trial(0, (0, 1), {1: 0.0}, calls=calls[:1]), names=("a", "b")), DATA, 1)
    assert (found.failures["a"][0].step, found.failures["a"][0].instruction) == ("q: 1 -> h: x", 0)
    assert (found.failures["b"][0].step, found.failures["b"][0].instruction) == ("", 1)


def test_the_test_set_is_never_looked_at():
    found = feedback_of(run(trial(0, (0,), {0: 0.0}, "test_baseline")), DATA, 1)
    assert found.failures["self"] == found.scored["self"] == []


def test_a_banned_instruction_is_not_worked_on():
    banned = [ev.CandidateBanned("self", "instruction", 0), ev.CandidateBanned("self", "demos", 1)]
    trials = [trial(0, (0,), {0: 0.0}), trial(1, (1,), {0: 0.0})]
    found = feedback_of(run(*trials, banned), DATA, 1)
    assert [one.index for one in found.scored["self"]] == [1]
    assert {one.instruction for one in found.failures["self"]} == {1}


def test_what_can_be_asked_for_depends_on_what_is_known():
    kinds = [
        feedback_of(run(*trials), DATA, 1).kinds("self")
        for trials in (
            [],
            [trial(0, (0,), {0: 1.0})],
            [trial(0, (0,), {0: 0.0})],
            [trial(0, (0,), {0: 1.0}), trial(1, (1,), {0: 0.5})],
        )
    ]
    assert kinds[0] == ("fresh",)
    assert kinds[1] == ("fresh", "rewrite")
    assert kinds[2] == ("fresh", "rewrite", "fix")
    assert kinds[3] == ("fresh", "rewrite", "combine", "fix")


def test_long_texts_are_cut_and_examples_without_inputs_are_no_error():
    data = [mn.Example(q="x" * 50_000)]
    events = [*trial(0, (0,), {0: 0.0})]
    events[1] = ev.ExampleScored(0, 0, 0.0, "e" * 9_000, "f " * 9_000, "o\n" * 9_000)
    (failure,) = feedback_of(run(events), data, 1).failures["self"]
    assert len(str(failure)) < 2_500
    assert failure.inputs == ""
