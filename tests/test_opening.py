"""The first event of a run: enough to know what was run, and to plan from."""

import json

import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.opening import plan_of, started
from mipro_nb.options import Options, Params
from mipro_nb.plan import make_job


def job(constructs=None, **options):
    lm = fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, **(constructs or {"num_candidates": 4}))
    given = {"trainset": rows(20), "valset": rows(30, 20), **options}
    return make_job(optimizer._params, mn.Predict("q -> a"), Options.read(given))


def test_every_setting_of_constructor_and_compile_is_told_as_plain_values():
    event = started(job(num_trials=3))
    told = event.settings
    assert set(Params.__slots__) <= set(told)
    assert {"num_trials", "minibatch_size", "tip_aware_proposer", "max_cost"} <= set(told)
    assert not {"trainset", "valset", "testset", "listeners", "stop", "run_dir"} & set(told)
    assert told["metric"] == "metric"
    assert json.loads(json.dumps(ev.to_json(event)))["settings"] == told


def test_what_compile_was_given_wins_over_the_constructor():
    event = started(job({"num_candidates": 4, "max_labeled_demos": 2, "seed": 5}, max_labeled_demos=0, seed=0))
    assert (event.settings["max_labeled_demos"], event.settings["seed"]) == (0, 0)
    event = started(job({"num_candidates": 4, "max_labeled_demos": 2, "seed": 5}))
    assert (event.settings["max_labeled_demos"], event.settings["seed"]) == (2, 5)


def test_how_the_lms_sample_is_told_and_no_key():
    lm = mn.LM("openai/gpt-5-mini", api_key="sk-canary", temperature=0.3, max_tokens=50)
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4)
    made = make_job(optimizer._params, mn.Predict("q -> a"), Options.read({"trainset": rows(20)}))
    told = started(made).settings
    assert told["lms"]["task_model"] == {"model": "openai/gpt-5-mini", "temperature": 0.3, "max_tokens": 50}
    assert "canary" not in json.dumps(ev.to_json(started(made)))


@pytest.mark.parametrize("options", [{}, {"testset": rows(9, 60)}, {"minibatch": False}], ids=["", "test", "full"])
def test_the_plan_comes_back(options):
    made = job(**options)
    saved = ev.from_json(json.loads(json.dumps(ev.to_json(started(made)))))
    assert str(plan_of(saved)) == str(made.plan)
    assert plan_of(saved).total == made.plan.total


@pytest.mark.parametrize("plan", [{}, {"auto": None}, {"stages": None}], ids=["none", "half", "odd"])
def test_a_log_of_another_version_has_no_plan(plan):
    assert plan_of(ev.RunStarted("1", "Predict", ("self",), {}, plan, {}, {})) is None


def test_what_else_an_lm_was_given_is_told_by_name_alone():
    more = {"api_base": "http://10.0.0.1/v1", "extra_headers": {"X-Auth": "canary"}, "top_p": 0.5}
    lm = mn.LM("openai/gpt-5-mini", api_key="sk-canary", **more)
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4)
    event = started(make_job(optimizer._params, mn.Predict("q -> a"), Options.read({"trainset": rows(20)})))
    assert event.settings["lms"]["task_model"]["more"] == ["api_base", "extra_headers", "top_p"]
    assert "canary" not in json.dumps(ev.to_json(event))
    assert "10.0.0.1" not in json.dumps(ev.to_json(event))
