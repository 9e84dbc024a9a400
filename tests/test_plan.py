"""The plan: DSPy's numbers, settled before the first call, and a range that holds what really happens."""

import re

import pytest
from cases import slow_but
from programs import TwoSteps, fake, metric, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import plan as planning
from mipro_nb.lm import LM

# mode: validation examples, then trials, instructions and demo sets of the table in dspy 3.4.1's formulas
NUMBERS = {
    ("light", 1, False): (10, 3, 6, 100),
    ("light", 2, False): (20, 3, 6, 100),
    ("light", 1, True): (9, 6, 6, 100),
    ("light", 2, True): (10, 6, 6, 100),
    ("medium", 1, False): (18, 6, 12, 300),
    ("medium", 2, False): (28, 6, 12, 300),
    ("medium", 1, True): (18, 12, 12, 300),
    ("medium", 2, True): (18, 12, 12, 300),
    ("heavy", 1, False): (27, 9, 18, 1000),
    ("heavy", 2, False): (33, 9, 18, 1000),
    ("heavy", 1, True): (27, 18, 18, 1000),
    ("heavy", 2, True): (27, 18, 18, 1000),
}


@pytest.mark.parametrize(
    ("auto", "predictors", "zero_shot"), slow_but(NUMBERS, lambda *case: case == ("light", 1, False))
)
def test_auto_modes_have_dspys_numbers_and_the_plan_holds_the_calls(auto, predictors, zero_shot):
    trials, instructions, sets, validation = NUMBERS[auto, predictors, zero_shot]
    program = mn.Predict("q -> a") if predictors == 1 else TwoSteps()
    demos = {"max_bootstrapped_demos": 0, "max_labeled_demos": 0} if zero_shot else {}
    lm = fake(replies=two_step_reply)
    optimizer = mn.MIPROv2(metric, auto=auto, num_threads=2, search="mipro", **demos)
    options = {"trainset": rows(40), "valset": rows(1010, 100), "testset": rows(10, 2000)}
    history = mn.History()
    with mn.context(lm=lm):
        plan = optimizer.plan(program, **options)
        assert lm.calls == 0
        optimizer.compile(program, listeners=[history], **options)

    assert (plan.num_trials, plan.num_instructions, plan.num_demo_sets) == (trials, instructions, sets)
    assert plan.sizes["validation"] == validation
    assert len([t for t in history.trials if t.kind == "minibatch"]) == trials
    assert history.baseline.examples == validation
    assert len(history.instructions) <= instructions * predictors
    assert len(history.demo_sets) == sets * predictors
    for stage, estimate in plan.stages.items():
        used = history.usage_by_stage[stage]
        assert used.calls + used.cached_calls in estimate.calls, stage
        assert used.prompt_tokens in estimate.prompt_tokens, stage
        assert used.completion_tokens in estimate.completion_tokens, stage
    assert len(history.trials) <= plan.trials_shown


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"minibatch": False}, {"max_bootstrapped_demos": 0}, {"num_trials": 3}])
def test_the_plan_holds_the_calls_of_other_settings(options):
    lm, history = fake(), mn.History()
    optimizer = mn.MIPROv2(metric)
    with mn.context(lm=lm):
        plan = optimizer.plan(mn.Predict("q -> a"), trainset=rows(60), **options)
        optimizer.compile(mn.Predict("q -> a"), trainset=rows(60), listeners=[history], **options)
    assert lm.calls in plan.total.calls


@pytest.mark.slow
def test_a_reply_that_needs_a_repair_is_within_the_plan():
    def replies(messages):
        if "can't be read" in messages[-1]["content"]:
            return "a: 1"
        return two_step_reply(messages) if "instruction alone" in messages[0]["content"] else "a: one"

    lm, history = fake(replies=replies), mn.History()
    data = mn.examples([{"q": str(i), "a": 1} for i in range(60)], inputs=["q"])
    with mn.context(lm=lm):
        plan = mn.MIPROv2(metric).plan(mn.Predict("q -> a: int"), trainset=data)
        mn.MIPROv2(metric).compile(mn.Predict("q -> a: int"), trainset=data, listeners=[history])
    assert lm.calls in plan.total.calls
    assert lm.calls > plan.total.calls.likely


@pytest.mark.slow
def test_a_proposer_that_answers_with_other_fields_names_is_within_the_plan():
    def replies(messages):
        if "instruction alone" in messages[0]["content"]:
            return "tip: be nice"
        return "examples: a lot" if messages[0]["content"].startswith("Here ") else two_step_reply(messages)

    lm, history = fake(replies=replies), mn.History()
    with mn.context(lm=lm):
        plan = mn.MIPROv2(metric).plan(mn.Predict("q -> a"), trainset=rows(60))
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), trainset=rows(60), listeners=[history])
    assert history.usage_by_stage["propose"].calls in plan.stages["propose"].calls


def test_each_predictors_own_lm_is_priced():
    plan = mn.MIPROv2(metric).plan(mn.Predict("q -> a", lm=fake(price=None)), trainset=rows(60))
    assert plan.stages["search"].cost is None
    free, dear = fake(), fake(price=None)
    plan = mn.MIPROv2(metric, task_model=free, teacher=dear).plan(mn.Predict("q -> a"), trainset=rows(60))
    assert plan.stages["bootstrap"].cost is None
    assert plan.stages["search"].cost is not None


def test_demos_that_nobody_would_see_are_not_made():
    options = {"max_bootstrapped_demos": 0, "max_labeled_demos": 0, "fewshot_aware_proposer": False}
    mn.configure(lm=fake())
    plan = mn.MIPROv2(metric).plan(mn.Predict("q -> a"), trainset=rows(60), **options)
    assert plan.stages["bootstrap"].calls.high == 0


def test_dollars_come_from_the_price_table_and_an_unknown_price_is_said():
    known = mn.MIPROv2(metric, prompt_model=LM("openai/gpt-4o-mini"), task_model=LM("openai/gpt-4o-mini"))
    plan = known.plan(mn.Predict("q -> a"), trainset=rows(60))
    assert 0 < plan.total.cost.likely < plan.total.cost.high
    assert "$" in str(plan)
    unknown = mn.MIPROv2(metric, prompt_model=fake(price=None), task_model=fake(price=None))
    plan = unknown.plan(mn.Predict("q -> a"), trainset=rows(60))
    assert plan.total.cost is None
    assert "price unknown" in str(plan)


def test_without_valset_80_percent_are_held_out_and_at_most_1000():
    def sizes(count):
        return mn.MIPROv2(metric).plan(mn.Predict("q -> a"), trainset=rows(count)).sizes

    mn.configure(lm=fake())
    assert (sizes(50)["training"], sizes(50)["validation"]) == (10, 40)
    assert (sizes(2)["training"], sizes(2)["validation"]) == (1, 1)
    optimizer = mn.MIPROv2(metric, num_candidates=2)
    large = optimizer.plan(mn.Predict("q -> a"), trainset=rows(2000)).sizes
    assert (large["training"], large["validation"]) == (1000, 1000)


def test_small_validation_sets_are_evaluated_whole_in_auto_modes():
    mn.configure(lm=fake())
    optimizer = mn.MIPROv2(metric)
    assert optimizer.plan(mn.Predict("q -> a"), trainset=rows(9), valset=rows(50, 9)).minibatch_size is None
    assert optimizer.plan(mn.Predict("q -> a"), trainset=rows(9), valset=rows(51, 9)).minibatch_size == 35


def test_numbers_given_by_hand_replace_auto():
    mn.configure(lm=fake())
    by_hand = mn.MIPROv2(metric, num_candidates=7, search="mipro")
    plan = by_hand.plan(mn.Predict("q -> a"), trainset=rows(60), num_trials=15)
    assert (plan.auto, plan.num_trials, plan.num_instructions, plan.num_demo_sets) == (None, 15, 7, 7)
    plan = mn.MIPROv2(metric, num_candidates=7).plan(mn.Predict("q -> a"), trainset=rows(60))
    assert plan.num_trials == planning.trials_for(1, 7, zero_shot=False) == 11


def test_the_plan_says_what_deserves_a_look():
    mn.configure(lm=fake())
    plan = mn.MIPROv2(metric).plan(mn.Predict("q -> a"), trainset=rows(9), valset=rows(9), minibatch_size=35)
    assert any("9 examples stand in trainset and in valset" in remark for remark in plan.remarks)
    assert "Note: " in str(plan)


def test_the_plan_prints_trials_sizes_and_every_stage():
    mn.configure(lm=fake())
    data = {"trainset": rows(60), "testset": rows(5, 90)}
    mipro = mn.MIPROv2(metric, search="mipro").plan(mn.Predict("q -> a"), **data)
    assert str(mipro).startswith("10 trials")
    text = str(mn.MIPROv2(metric).plan(mn.Predict("q -> a"), **data))
    assert re.match(r"\d+ evaluations; per predictor \d+ instructions, later \d", text)
    for word in ("bootstrap", "propose", "search", "verdict", "together", "validation"):
        assert word in text
