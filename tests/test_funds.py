"""What limits make of a run: it never takes more, ends with the best, and keeps what its verdict needs."""

import itertools
import math
import random
import threading

import pytest
from cases import slow_but
from programs import TwoSteps, fake, metric, reply, rows, two_step_reply
from test_budget import Paid

import mipro_nb as mn
from mipro_nb.errors import ConfigError, LMUnavailable
from mipro_nb.funds import doubt, doubt_told
from mipro_nb.testing import EventRecorder, FakeLM


def compile_(lm, program=None, search="paired", trials=6, testset=(), threads=4, replies=reply, **options):
    history = mn.History()
    optimizer = mn.MIPROv2(
        metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1, search=search, num_threads=threads
    )
    data = {"trainset": rows(20), "valset": rows(40, 20), "minibatch_size": 10, "num_trials": trials}
    best = optimizer.compile(
        program or mn.Predict("q -> a"), testset=list(testset), listeners=[history], **data, **options
    )
    return best, history


def notes(history, stage):
    return [note.message for note in history.notes if note.stage == stage]


@pytest.mark.parametrize(
    ("search", "limit"),
    slow_but(
        itertools.product(["paired", "thompson", "mipro"], ["max_cost", "max_calls", "max_tokens"]),
        lambda *case: case == ("paired", "max_cost"),
    ),
)
def test_a_run_that_can_not_afford_all_its_trials_still_ends_with_a_verdict(search, limit):
    whole = fake(price=0.01, max_tokens=50)
    _, undisturbed = compile_(whole, search=search, trials=20, testset=rows(20, 90))
    assert undisturbed.reason == "finished"
    used = undisturbed.usage
    most = {
        "max_cost": round(0.75 * used.cost, 2),
        "max_calls": int(0.75 * used.calls),
        "max_tokens": int(0.75 * (used.prompt_tokens + used.completion_tokens)),
    }[limit]
    lm = fake(price=0.01, max_tokens=50)
    best, history = compile_(lm, search=search, trials=20, testset=rows(20, 90), **{limit: most})
    assert history.verdict is not None
    assert history.reason.startswith(f"stopped: {limit}=")
    assert "kept for the final evaluation and the verdict" in history.reason
    assert sum(note.startswith(f"the search ends here: {limit}=") for note in notes(history, "search")) == 1
    assert history.best.score is not None
    assert best.signature.instructions == history.instructions[history.best.instructions[0]].text
    spent = history.usage
    total = {"max_cost": 0.01 * lm.calls, "max_calls": lm.calls}.get(
        limit, spent.prompt_tokens + spent.completion_tokens
    )
    assert 0.6 * most < total <= most
    assert spent.calls == lm.calls, "what examples took that were cut off is told too"


@pytest.mark.slow
def test_limits_that_are_not_reached_change_nothing():
    free, limited = (fake(price=0.01, max_tokens=50) for _ in range(2))
    best, history = compile_(free, testset=rows(10, 90))
    same, told = compile_(
        limited, testset=rows(10, 90), max_cost=1000, max_calls=10**6, max_tokens=10**9, max_seconds=10**5
    )
    assert told.reason == "finished"
    assert same.to_json() == best.to_json()
    assert [(t.instructions, t.score) for t in told.trials] == [(t.instructions, t.score) for t in history.trials]
    assert told.verdict == history.verdict


@pytest.mark.slow
def test_what_the_end_takes_is_evaluated_even_if_it_never_was():
    """MIPROv2's search ends between two full evaluations: the best of the minibatches is evaluated fully."""
    _, whole = compile_(fake(price=0.01), search="mipro", trials=4)
    assert [t.kind for t in whole.trials][:4] == ["baseline", *["minibatch"] * 3]
    before = sum(used.calls for stage, used in whole.usage_by_stage.items() if stage != "search")
    _, history = compile_(fake(price=0.01), search="mipro", trials=4, max_calls=before + 40 + 20 + 45)
    assert history.reason.startswith("stopped: max_calls=")
    finished = [t for t in history.trials if t.finished]
    assert [finished[0].kind, finished[1].kind, finished[-1].kind] == ["baseline", "minibatch", "full"]
    assert finished[-1].examples == 40


def test_a_limit_in_the_first_stages_gives_the_program_back():
    lm = fake(price=0.01)
    best, history = compile_(lm, max_calls=5)
    assert history.reason.startswith("stopped: max_calls=5 is reached")
    assert best.to_json() == mn.Predict("q -> a").to_json()
    assert lm.calls <= 5


@pytest.mark.slow
def test_a_verdict_that_can_not_be_paid_is_left_out_and_it_is_said():
    lm = fake(price=0.01)
    best, history = compile_(lm, testset=rows(400, 90), max_cost=3.0)
    assert lm.calls <= 300
    assert history.verdict is None
    assert [
        note for note in notes(history, "verdict") if note.startswith("there is no verdict: max_cost=$3 is reached")
    ]
    assert not [t for t in history.trials_by_number.values() if t.kind.startswith("test")], "the test set stays sealed"
    assert history.best is not None
    assert isinstance(best, mn.Predict)


@pytest.mark.slow
def test_no_call_begins_after_max_seconds():
    begun = threading.Event()

    def slow(messages):
        begun.set()
        threading.Event().wait(0.05)
        return reply(messages)

    lm = FakeLM(slow)
    best, history = compile_(lm, trials=200, max_seconds=1.5)
    assert "max_seconds=1.5 is reached" in history.reason
    assert history.seconds < 30
    assert isinstance(best, mn.Predict)


def test_a_swallowing_program_is_not_scored_for_what_was_refused():
    class Swallows(mn.Module):
        def __init__(self):
            self.answer = mn.Predict("q -> a")

        def forward(self, q):
            try:
                return self.answer(q=q)
            except Exception:  # noqa: BLE001
                return mn.Prediction(a="never mind")

    recorder, lm = EventRecorder(), fake(price=0.01)
    optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, num_candidates=4, num_threads=8)
    optimizer.compile(
        Swallows(),
        trainset=rows(20),
        valset=rows(40, 20),
        testset=rows(20, 90),
        num_trials=20,
        max_cost=2.0,
        listeners=[recorder],
    )
    outputs = [event.output for event in recorder.events if type(event).__name__ == "ExampleScored"]
    assert outputs
    assert not [output for output in outputs if "never mind" in output]


@pytest.mark.slow
def test_an_extension_of_a_run_at_its_limit_spends_nothing_more():
    lm = fake(price=0.01)
    optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1)
    run = optimizer.start(
        mn.Predict("q -> a"), trainset=rows(20), valset=rows(40, 20), minibatch_size=10, num_trials=20, max_cost=2.0
    )
    run.result(60)
    run.extend(5)
    best = run.result(60)
    assert lm.calls <= 200
    assert run.status == "stopped"
    assert isinstance(best, mn.Predict)


def refused(lm, **options):
    with pytest.raises(ConfigError) as caught:
        compile_(lm, **options)
    assert lm.calls == 0
    return str(caught.value)


def test_what_can_not_be_kept_is_refused_before_the_first_call():
    told = refused(fake(price=None), max_cost=1.0)
    assert told.startswith("max_cost=1: the price of 'fake/lm' is unknown; drop max_cost.")
    assert "longest answer of 'fake/lm' is unknown" in refused(Paid(max_tokens=None), max_cost=1.0)
    assert "mipro_nb.LM('fake/lm', max_tokens=1000)" in refused(fake(), max_tokens=1000)
    told = refused(Paid(max_tokens=5_000), max_cost=1.0)
    assert told.startswith("max_cost=1 does not allow for one call: 'fake/lm' may take $10.")
    assert "with an answer of 5,000 tokens" in told
    assert "does not allow for one call" in refused(fake(max_tokens=5_000), max_tokens=1000)
    writer = fake(price=None)
    with pytest.raises(ConfigError, match="price of 'fake/writer'"):
        mn.MIPROv2(metric, task_model=fake(), prompt_model=fake(price=None, model="fake/writer")).compile(
            mn.Predict("q -> a"), trainset=rows(20), max_cost=1.0
        )
    assert writer.calls == 0


@pytest.mark.parametrize(
    ("option", "wrong"),
    [("max_cost", 0), ("max_cost", float("inf")), ("max_cost", "5"), ("max_seconds", -1), ("max_seconds", True)]
    + [(name, wrong) for name in ("max_calls", "max_tokens") for wrong in (0, 1.5, "9", True)],
)
def test_limits_are_positive_numbers(option, wrong):
    assert refused(fake(), **{option: wrong}).startswith(f"{option}={wrong!r}: ")


def test_the_plan_says_what_is_likely_to_be_cut():
    lm = Paid(prices=(1e-6, 1e-5), max_tokens=100)
    optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, num_candidates=4)
    data = {"trainset": rows(20), "valset": rows(40, 20), "num_trials": 20}

    def plan(**limits):
        return str(optimizer.plan(mn.Predict("q -> a"), **data, **limits))

    assert "Note: the run is likely to take $" in plan(max_cost=0.02)
    assert "more than max_calls=100: its search ends early" in plan(max_calls=100)
    assert "the verdict alone may take more than 60% of max_calls=300" in plan(max_calls=300, testset=rows(200, 90))
    assert "each call to fake/lm takes a large part of max_cost for itself" in plan(max_cost=0.02)
    assert "Note: max_cost=0.0001 does not allow for one call" in plan(max_cost=0.0001)
    assert "Note" not in plan(max_cost=100.0, max_calls=10**5, max_tokens=10**8, max_seconds=10**5)
    assert "Note" not in plan()


class Faulty(Paid):
    """Fails now and then; a try that breaks off is billed, as is an answer."""

    def _send(self, messages, sampling):
        with self.counting:
            drawn = self.rng.random()
        if drawn < 0.03:
            raise LMUnavailable("429")
        answer = super()._send(messages, sampling)
        if drawn > 0.98:
            late = LMUnavailable("timed out")
            late.perhaps_billed = True
            raise late
        return answer


def random_run(seed):
    """Make a run of random prices, lengths, latencies, faults and sizes; return the bill, the limit and the history."""
    rng = random.Random(seed)
    two = rng.random() < 0.3
    lm = Faulty(
        two_step_reply if two else reply,
        prices=(rng.uniform(0, 1e-4), rng.uniform(0, 1e-3)),
        latency=rng.choice([0.0, 0.001, 0.004]),
        seed=seed,
        max_tokens=rng.randint(1, 200),
        num_retries=8,
    )
    dearest = lm.of_prompt * 3_000 + lm.of_completion * lm.max_tokens
    most = dearest * 2 * 10 ** rng.uniform(0, 1.0)
    history = mn.History()
    student = TwoSteps() if two else mn.Predict("q -> a")
    optimizer = mn.MIPROv2(
        metric,
        task_model=lm,
        prompt_model=lm,
        num_candidates=rng.randint(2, 4),
        seed=seed,
        search=rng.choice(["paired", "paired", "mipro"]),
        num_threads=rng.randint(1, 64),
        max_bootstrapped_demos=rng.randint(0, 2),
        max_labeled_demos=rng.randint(0, 2),
    )
    best = optimizer.compile(
        student,
        trainset=rows(rng.randint(3, 10)),
        valset=rows(rng.randint(4, 16), 20),
        testset=rows(9, 90)[: rng.randint(0, 8)],
        minibatch_size=rng.randint(2, 8),
        num_trials=rng.randint(1, 8),
        max_cost=most,
        listeners=[history],
    )
    assert history.reason == "finished" or history.reason.startswith("stopped: max_cost="), (seed, history.reason)
    assert not [s for t in history.trials_by_number.values() for s in t.scored.values() if "Stopped" in s.error]
    with mn.context(lm=fake(replies=two_step_reply if two else reply)):
        assert best(q="item 3").a
    return lm.bill, most, history


@pytest.mark.parametrize("seed", range(10))
def test_a_random_run_never_spends_more_than_it_may(seed):
    bill, most, _ = random_run(seed)
    assert bill <= most * (1 + 1e-12)


@pytest.mark.slow
def test_two_hundred_random_runs_never_spend_more_than_they_may():
    reached = verdicts = 0
    for seed in range(100, 300):
        bill, most, history = random_run(seed)
        assert bill <= most * (1 + 1e-12), seed
        reached += history.reason != "finished"
        verdicts += history.reason != "finished" and history.verdict is not None
    assert reached > 50, "many are to end at their limit"
    assert verdicts > 10


def test_what_may_have_been_billed_is_said_in_words():
    some = doubt([(100, 0.01), (200, 0.02)])
    rest = "in flight when the run was cut off, or broke off: up to"
    assert doubt_told(some) == f"2 calls were {rest} $0.0300 may have been billed for that."
    assert doubt_told(doubt([(1200, 0.0)])) == f"1 call was {rest} 1,200 tokens may have been billed for that."
    assert "an unknown amount" in doubt_told(doubt([(100, math.inf)]))
