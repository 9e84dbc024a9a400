"""What the front end is told."""

import json
from types import SimpleNamespace

import histories
import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.notebook import closeup, wire
from mipro_nb.notebook.feed import TAIL

FIXTURES = {
    "empty": histories.empty,
    "bootstrapping": histories.bootstrapping,
    "middle": histories.middle,
    "finished": histories.finished,
    "failed": histories.failed,
    "zero-shot": histories.zero_shot,
    "two predictors": histories.two_predictors,
    "hostile": histories.hostile,
}


def source(history, state="running", **more):
    told = {"name": "Route", "status": state, "history": history, "plan": None, "max_cost": None}
    told |= {"extendable": False, "error": None, "pace": 1.0, "aside": ""}
    return SimpleNamespace(**{**told, **more})


def status(history, state="running", now=1000.0, **more):
    return wire.status(source(history, state, **more), now, 1)


@pytest.mark.parametrize("make", FIXTURES.values(), ids=FIXTURES)
def test_everything_is_plain_json_at_any_time(make):
    """After each event, as the front end may be told at any time."""
    whole = make()
    history = mn.History()
    for number, event in enumerate([None, *whole.events]):
        if event is not None:
            history(event)
        if isinstance(event, ev.ExampleScored) and number % 50:  # one is like the next
            continue
        shown = [status(history), wire.texts(history), wire.stats(history), closeup.examples(history)]
        shown += [closeup.prompt(history), closeup.example(history, 0), [wire.trial_row(t) for t in history.trials]]
        assert json.loads(json.dumps(shown, allow_nan=False)) is not None


def test_the_stages_count_what_is_done():
    history = histories.middle(8)
    told = {stage["name"]: stage for stage in status(history)["stages"]}
    assert (told["bootstrap"]["done"], told["propose"]["done"]) == (
        told["bootstrap"]["total"],
        told["propose"]["total"],
    )
    assert told["search"]["done"] == sum(trial.finished for trial in history.trials) > 0
    assert told["verdict"]["done"] == 0


def test_a_search_that_a_limit_ended_isnt_told_as_done_to_its_end():
    cut = ev.RunFinished("stopped: max_calls=250 is reached", at=1000.0)
    told = [
        e if getattr(e, "stage", "") != "search" else ev.StageStarted("search", 25) for e in histories.middle().events
    ]
    history = mn.History([*told, ev.StageStarted("verdict", 2, at=999.0), cut])
    search = {stage["name"]: stage for stage in status(history, "stopped")["stages"]}["search"]
    assert 0 < search["done"] == sum(trial.finished for trial in history.trials) < 25


def test_without_a_test_set_there_is_no_fourth_stage():
    plan = SimpleNamespace(sizes={"test": 0}, total=mn.plan.Estimate())
    assert [s["name"] for s in status(histories.middle(), plan=plan)["stages"]] == ["bootstrap", "propose", "search"]


def test_bootstrap_says_what_was_kept_and_dropped_and_why():
    history = mn.History([ev.StageStarted("bootstrap", 5)])
    for kept, why in [(True, ""), (True, ""), (False, "score 0"), (False, "ParseError: no field `team`: x"),
                      (False, "score 0")]:  # fmt: skip
        history(ev.ExampleBootstrapped(1, 1.0 if kept else 0.0, kept, why))
    assert status(history)["stages"][0]["detail"] == "2 demos kept, 3 dropped: 2 x score 0, 1 x ParseError"


def test_the_running_trial_tells_its_examples():
    history = mn.History([ev.StageStarted("search", 5), ev.TrialStarted(0, "baseline", (0,), (0,), 10, 10)])
    history(ev.ExampleScored(0, 3, 1.0))
    assert status(history)["stages"][2]["detail"] == "trial 0, baseline: 1 of 10 examples"


def test_the_best_score_comes_with_its_interval_and_number():
    best = status(histories.finished(), "finished")["best"]
    assert best["low"] < best["score"] < best["high"]
    assert best["examples"] == 100
    assert "instruction" in best["choice"]
    assert "demos" in best["choice"]


def test_before_the_first_event_a_plan_is_shown_while_permission_is_asked():
    lm = fake()
    run = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm).start(
        mn.Predict("q -> a"), trainset=rows(30), requires_permission_to_run=True
    )
    told = wire.status(run, 0.0, 1)
    assert told["state"] == "waiting"
    assert "evaluations; per predictor" in told["plan"]
    assert told["expected"]["calls"][0] <= told["expected"]["calls"][1] <= told["expected"]["calls"][2]


def test_an_unknown_price_stays_unknown():
    history = histories.middle()
    history(ev.LMUsed("search", ev.Usage(1, 0, 10, 10, None)))
    assert status(history)["usage"]["cost"] is None


def test_the_error_that_ended_a_run_is_told():
    told = status(histories.failed(), "failed", error=ValueError("a bug <b>"))
    assert told["error"] == "ValueError: a bug <b>"
    assert told["reason"].startswith("failed")


def test_a_trial_row_has_the_columns_of_the_contract():
    history = histories.finished()
    trial = history.trials[1]
    best = round(trial.best_so_far, 4)
    numbers = [trial.low, trial.high, trial.examples, best]
    chosen = [list(trial.instructions), list(trial.demos)]
    counts = [len(trial.scored), trial.planned, trial.failed]
    assert wire.trial_row(trial) == [1, 1, round(trial.score, 4), *numbers, *chosen, *counts]


def test_texts_carry_the_difference_from_the_original():
    texts = wire.texts(histories.finished())
    own, other = texts["instructions"][0], texts["instructions"][1]
    assert own["diff"] == []
    assert "".join(part for op, part in other["diff"] if op != "add") == own["text"]
    assert "".join(part for op, part in other["diff"] if op != "del") == other["text"]


def test_stats_agree_with_the_table_of_candidates():
    history = histories.two_predictors()
    frame = history.candidates_frame()
    names = list(history.started.predictors)
    for place, kind, index, mean, low, high, examples, trials, *_ in wire.stats(history)["rows"]:
        chosen = frame[(frame["predictor"] == names[place]) & (frame["index"] == index)]
        row = chosen[chosen["kind"] == ("demos" if kind else "instruction")].iloc[0]
        assert (row["mean"].round(4), row["low"], row["high"], row["examples"], row["trials"]) == (
            mean, low, high, examples, trials)  # fmt: skip


def test_examples_are_counted_and_the_telling_ones_come_first():
    history = histories.finished()
    told = closeup.examples(history)
    frame = history.examples_frame()
    assert {k: v for k, v in told["counts"].items() if v} == dict(frame["change"].value_counts())
    order = [row[3] for row in told["rows"]]
    assert order == sorted(order, key=closeup.ORDER.index)
    assert told["total"] == 100


def test_examples_are_paged_and_filtered():
    history = histories.finished()
    fixed = closeup.examples(history, "fixed")
    assert fixed["total"] == fixed["counts"]["fixed"]
    assert {row[3] for row in fixed["rows"]} == {"fixed"}
    assert closeup.examples(history, start=98)["rows"] == closeup.examples(history)["rows"][98:]
    assert closeup.examples(history, query="NO SUCH TEXT")["rows"] == []
    label = closeup.examples(history)["rows"][0][4]
    assert closeup.examples(history, query=label.split(": ", 1)[1].upper())["total"] >= 1


def test_while_the_baseline_leads_nothing_is_fixed_or_broken():
    history = mn.History([ev.StageStarted("search", 5), ev.TrialStarted(0, "baseline", (0,), (0,), 2, 2)])
    history(ev.ExampleScored(0, 0, 1.0))
    history(ev.ExampleScored(0, 1, None, "LMUnavailable: down"))
    history(ev.TrialFinished(0, 1.0, 1, 1))
    told = closeup.examples(history)
    assert list(history.examples_frame()["change"]) == ["", ""]
    assert told["counts"] == {"fixed": 0, "broken": 0, "open": 2, "same": 0}
    assert [(row[1], row[5]) for row in told["rows"]] == [(1.0, ""), (None, "LMUnavailable: down")]


def finished_run():
    lm = fake()
    history = mn.History()
    mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1, search="mipro").compile(
        mn.Predict("q -> a"), trainset=rows(20), valset=rows(30, 20), num_trials=4, minibatch_size=10,
        listeners=[history],
    )  # fmt: skip
    return history, lm


def test_an_example_tells_what_was_sent_and_answered_before_and_after():
    history, lm = finished_run()
    number = closeup.examples(history, "fixed")["rows"][0][0]
    told = closeup.example(history, number)
    assert (told["before"]["score"], told["after"]["score"]) == (0.0, 1.0)
    assert [dict(m) for m in told["after"]["calls"][0]["messages"]] in lm.prompts
    assert told["label"] == f"q: item {number + 20}"


@pytest.mark.slow
def test_an_example_that_isnt_there_is_told_as_such():
    history, _ = finished_run()
    assert (closeup.example(history, 999)["before"], closeup.example(history, 999)["after"]) == (None, None)


def test_the_prompt_is_the_one_of_the_best_program():
    history, _ = finished_run()
    told = closeup.prompt(history)
    best = history.best
    text = next(one.text for one in history.instructions if one.index == best.instructions[0])
    assert text in told["after"][0]["messages"][0]["content"]
    assert text not in told["before"][0]["messages"][0]["content"]


def test_money_and_time_are_rounded_and_pauses_dont_count():
    history = mn.History([ev.StageStarted("search", 4, at=0.0), ev.TrialStarted(0, "baseline", (0,), (), 1, 1, at=0.0)])
    history(ev.TrialFinished(0, 1.0, 1, 0, at=10.0))
    assert status(history, now=10.0)["left"] == 30
    history(ev.RunPaused(True, at=10.0))
    assert status(history, now=500.0)["left"] == 30
    history(ev.RunPaused(False, at=510.0))
    assert status(history, now=520.0)["left"] == 60


def test_a_pause_that_nobody_asked_for_is_explained_beside_the_state():
    history = mn.History([ev.RunPaused(True, "the LM doesn't answer; next try in 8 s", at=10.0)])
    told = status(history, "paused")
    assert (told["state"], told["reason"]) == ("paused", "the LM doesn't answer; next try in 8 s")
    history(ev.RunFinished("stopped: as asked", at=11.0))
    assert status(history, "stopped")["reason"] == "stopped: as asked"


@pytest.mark.slow
def test_large_histories_stay_small_on_the_wire():
    history = histories.large(200, 100)
    tail = [wire.trial_row(trial) for trial in history.trials][-TAIL:]
    sent = json.dumps([status(history), wire.stats(history), tail], separators=(",", ":"))
    assert len(sent) < 5_000
