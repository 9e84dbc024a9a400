"""How much a run does: MIPROv2's calls, spent on more candidates and on rounds of proposals."""

import itertools

import pytest
from cases import slow_but
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.effort import Effort, evaluations_of, paired

LIGHT = Effort(10, 3, 6, 35, 5)


def made(effort=LIGHT, examples=100, predictors=1, zero_shot=False, given=False, learn=True):
    return paired(effort, examples, predictors, zero_shot, given=given, learn=learn)


def test_evaluations_are_about_those_that_mipro_pays_for():
    assert 35 * 10 * 0.7 < evaluations_of(LIGHT, 100, 1, False) - 100 < 35 * 10 + 2 * 100
    assert evaluations_of(Effort(5, 2, 1, None, 5), 10, 1, True) <= 20, "no more than there are pairs"


def test_the_same_calls_buy_more_candidates_than_mipros():
    more = made()
    assert more.num_instructions + sum(more.later) > LIGHT.num_instructions
    assert more.num_demo_sets + more.recombined > LIGHT.num_demo_sets
    assert more.later
    calls = evaluations_of(LIGHT, 100, 1, False)
    asked = more.num_instructions + sum(more.later) - LIGHT.num_instructions
    assert more.evaluations + asked <= calls, "what is asked for more is taken from the evaluations"


def test_proposals_once_have_all_their_instructions_before_the_search():
    once = made(learn=False)
    assert once.later == ()
    assert once.num_instructions > LIGHT.num_instructions


def test_a_number_that_was_given_stands_before_the_search():
    given = made(given=True)
    assert given.num_instructions == 3
    assert given.recombined == 0
    assert sum(given.later) <= 3


def test_small_runs_have_no_later_rounds():
    assert made(Effort(2, 2, 2, None, 5), examples=10).later == ()


@pytest.mark.parametrize("examples", [1, 2, 10])
@pytest.mark.parametrize("trials", [1, 5])
@pytest.mark.parametrize("predictors", [1, 3])
def test_there_is_always_something_to_run(examples, trials, predictors):
    small = made(Effort(trials, 1, 1, None, 5), examples, predictors)
    assert small.evaluations >= 1
    assert small.num_instructions >= 1


SETTINGS = {
    "default": ({}, {}),
    "zero-shot": ({"max_bootstrapped_demos": 0, "max_labeled_demos": 0}, {}),
    "labeled only": ({"max_bootstrapped_demos": 0}, {}),
    "bootstrapped only": ({"max_labeled_demos": 0}, {}),
    "num_candidates": ({"num_candidates": 4}, {}),
    "num_trials": ({"num_candidates": 3}, {"num_trials": 1}),
    "once": ({"proposals": "once"}, {}),
    "thompson": ({"search": "thompson"}, {}),
    "2 examples": ({}, {"trainset": rows(2), "valset": None}),
    "3 examples": ({}, {"trainset": rows(3), "valset": None}),
    "10 examples": ({}, {"trainset": rows(10), "valset": None}),
    "valset of 1": ({}, {"valset": rows(1, 90), "num_trials": 1}),
    "test set": ({}, {"testset": rows(5, 300)}),
}


@pytest.mark.parametrize(
    ("name", "predictors"), slow_but(itertools.product(SETTINGS, [1, 2]), lambda *case: case == ("default", 1))
)
def test_the_plan_holds_what_is_spent(name, predictors):
    settings, options = SETTINGS[name]
    student = mn.Predict("q -> a") if predictors == 1 else TwoSteps()
    optimizer, history = mn.MIPROv2(metric, num_threads=4, **settings), mn.History()
    data = {"trainset": rows(12), "valset": rows(55, 100), **options}
    with mn.context(lm=fake(replies=two_step_reply), progress=False):
        plan = optimizer.plan(student, **data)
        optimizer.compile(student, listeners=[history], **data)
    assert history.reason == "finished"
    scored = [e for e in history.events if isinstance(e, ev.ExampleScored)]
    tests = {n for n, trial in history.trials_by_number.items() if trial.kind.startswith("test")}
    assert 0 < sum(e.trial not in tests for e in scored) <= plan.evaluations
    for stage, estimate in plan.stages.items():
        used = history.usage_by_stage.get(stage, ev.Usage())
        assert used.calls + used.cached_calls in estimate.calls, stage
