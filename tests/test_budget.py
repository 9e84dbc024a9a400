"""The guard that keeps a run within its limits: each try sets its worst case aside, waits, and is settled."""

import contextlib
import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from loopback import DROP, GARBAGE, HANG, NO_CHOICES, Loopback, error

import mipro_nb as mn
from mipro_nb.budget import Amount, Budget, OutOfBudget, worst_case
from mipro_nb.cache import Cache
from mipro_nb.errors import ConfigError, LMUnavailable
from mipro_nb.events import Usage
from mipro_nb.flow import Stopped, cancelled
from mipro_nb.pool import Pool
from mipro_nb.testing import FakeLM
from mipro_nb.traffic import Traffic, through
from mipro_nb.usage import track_usage

PATIENCE = 60


class Paid(FakeLM):
    """A server that counts what it bills: a price per token, answers of any length up to the LM's max_tokens."""

    def __init__(self, replies=lambda messages: "yes", prices=(0.001, 0.002), latency=0.0, seed=0, **options):
        super().__init__(replies, **{"max_tokens": 50, **options})
        self.of_prompt, self.of_completion = prices
        self.latency, self.rng, self.counting = latency, random.Random(seed), threading.Lock()
        self.billed, self.tokens = [], 0

    def prices(self):
        return self.of_prompt, self.of_completion

    def dearest(self):
        return 0.0, self.of_prompt, self.of_completion

    def _send(self, messages, sampling):
        with self.counting:
            length = sum(len(message["content"].encode()) for message in messages)
            prompt, completion = self.rng.randint(1, length), self.rng.randint(1, self.max_tokens)
            wait = self.rng.random() * self.latency
        time.sleep(wait)
        answer = super()._send(messages, sampling)
        cost = prompt * self.of_prompt + completion * self.of_completion
        with self.counting:
            self.billed.append(cost)
            self.tokens += prompt + completion
        return {**answer, "prompt": prompt, "completion": completion, "cost": cost}

    @property
    def bill(self):
        return math.fsum(self.billed)


class Held(FakeLM):
    """Answers when it is let."""

    def __init__(self, **options):
        super().__init__(lambda messages: "yes", **options)
        self.asked, self.open = threading.Semaphore(0), threading.Event()

    def _send(self, messages, sampling):
        self.asked.release()
        assert self.open.wait(PATIENCE)
        return super()._send(messages, sampling)


@contextlib.contextmanager
def under(*guards):
    with through(Traffic(guards)):
        yield


def until(check):
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_threads(count, work):
    """Do a work in so many threads at once, in this context; return what each gave or raised."""
    import contextvars

    def one(place):
        try:
            return work(place)
        except Exception as raised:  # noqa: BLE001
            return raised

    with ThreadPoolExecutor(count) as pool:
        tasks = [pool.submit(contextvars.copy_context().run, one, place) for place in range(count)]
        return [task.result(PATIENCE) for task in tasks]


def test_calls_go_on_until_one_does_not_fit():
    lm, budget = FakeLM(lambda messages: "yes", price=0.02), Budget(max_cost=0.05)
    with under(budget):
        assert [lm("is it?"), lm("is it?")] == ["yes", "yes"]
        with pytest.raises(OutOfBudget) as caught:
            lm("is it?")
    told = "max_cost=$0.05 is reached: $0.0400 is spent, and the next call may cost $0.0200"
    assert (str(caught.value), caught.value.share, lm.calls) == (told, False, 2)


def test_what_a_call_really_took_is_settled():
    lm, budget = Paid(prices=(0.0, 0.01)), Budget(max_cost=10)
    with under(budget):
        for _ in range(5):
            lm("is it?")
    assert budget.spent.cost == pytest.approx(lm.bill)
    assert (budget.spent.calls, budget.spent.tokens) == (5, lm.tokens)
    assert budget.paid.calls == 5


@pytest.mark.parametrize("concurrency", [2, 16, 64])
def test_calls_side_by_side_never_overshoot(concurrency):
    lm, budget = Paid(latency=0.002, prices=(0.0001, 0.003)), Budget(max_cost=2.0)
    with under(budget):
        came = in_threads(concurrency, lambda place: [lm(f"is it {place}?") for _ in range(60)])
    assert any(isinstance(one, OutOfBudget) for one in came)
    assert not [one for one in came if isinstance(one, Exception) and not isinstance(one, OutOfBudget)]
    worst = worst_case(lm, [{"role": "user", "content": "is it 10?"}]).cost
    assert 2.0 - 2 * worst <= lm.bill <= 2.0


def test_a_call_that_does_not_fit_yet_waits_for_those_in_flight():
    lm, budget = Held(price=0.3), Budget(max_cost=0.5)
    done = []
    with under(budget), ThreadPoolExecutor(2) as pool:
        import contextvars

        tasks = [pool.submit(contextvars.copy_context().run, lambda: done.append(lm("is it?"))) for _ in range(2)]
        assert lm.asked.acquire(timeout=PATIENCE)
        assert not lm.asked.acquire(timeout=0.3), "the second waits: both might take more than there is"
        lm._price = 0.1  # the first turns out to be cheap
        lm.open.set()
        for task in tasks:
            task.result(PATIENCE)
    assert (done, budget.spent.cost) == (["yes", "yes"], pytest.approx(0.2))


def test_a_call_that_waits_is_let_go_when_the_work_ends():
    lm, budget = Held(price=0.3), Budget(max_cost=0.5)
    end, came = threading.Event(), []

    def ask():
        cancelled.set(end)
        try:
            came.append(lm("is it?"))
        except Stopped as stopped:
            came.append(str(stopped))

    import contextvars

    with under(budget), ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(contextvars.copy_context().run, ask) for _ in range(2)]
        assert lm.asked.acquire(timeout=PATIENCE)
        end.set()
        until(lambda: came)
        lm.open.set()
        for task in tasks:
            task.result(PATIENCE)
    assert sorted(came) == ["the work was ended", "yes"]


def failing(*errors):
    """Return a function of messages that raises these, and then answers."""
    left = list(errors)

    def reply(messages):
        if left:
            raise left.pop(0)
        return "yes"

    return reply


def test_tries_that_are_not_billed_are_released():
    lm = FakeLM(failing(LMUnavailable("busy"), LMUnavailable("down")), price=0.3)
    budget = Budget(max_cost=0.5, max_calls=1)
    with under(budget):
        assert lm("is it?") == "yes"
    assert (budget.spent.cost, budget.spent.calls) == (0.3, 1)


def test_a_try_that_may_be_billed_counts_in_full_and_it_is_said_once():
    late = LMUnavailable("no answer in 120 s")
    late.perhaps_billed = True
    lm, budget = FakeLM(failing(late, late), price=0.1), Budget(max_cost=0.5)
    with under(budget), track_usage() as account:
        assert lm("is it?") == "yes"
    assert budget.spent.cost == pytest.approx(0.3)
    assert budget.paid == Usage(1, 0, 2, 1, 0.1)
    assert len(account.notes) == 1
    assert "may be billed: its worst case, $0.1000, counts as used" in account.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        *((error(status), False) for status in (429, 500, 502, 503)),
        *((fault, True) for fault in (error(504), DROP, GARBAGE, NO_CHOICES)),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_what_the_server_did_tells_whether_a_try_may_be_billed(provider, fault, billed):
    with Loopback(lambda messages: "yes", [fault]) as server, pytest.raises(LMUnavailable) as caught:
        mn.LM(f"{provider}/x", api_base=server.url, api_key="k", cache=False, num_retries=0)("is it?")
    assert caught.value.perhaps_billed is billed


@pytest.mark.slow
def test_a_server_that_hangs_may_bill_and_one_that_is_not_there_does_not():
    with Loopback(lambda messages: "yes", [HANG] * 3) as server, pytest.raises(LMUnavailable) as caught:
        mn.LM("openai/x", api_base=server.url, api_key="k", cache=False, num_retries=0, timeout=0.5)("is it?")
    assert caught.value.perhaps_billed
    with pytest.raises(LMUnavailable) as caught:
        mn.LM("openai/x", api_base=server.url, api_key="k", cache=False, num_retries=0)("is it?")
    assert not caught.value.perhaps_billed


def test_a_parameter_that_is_refused_is_a_try_of_its_own_and_changes_the_worst_case():
    seen = []

    class Watch(Budget):
        def _need(self, attempt):
            seen.append(attempt.sampling.get("max_tokens"))
            return super()._need(attempt)

    refused = error(400, "Unsupported parameter: 'max_tokens' is not supported with this model.")
    with Loopback(lambda messages: "yes", [refused]) as server, under(Watch(max_calls=1)):
        lm = mn.LM("openai/x", api_base=server.url, api_key="k", cache=False, max_tokens=9)
        assert lm("is it?") == "yes"
    assert seen == [9, None]
    with Loopback(lambda messages: "yes", [refused]) as server, under(Budget(max_tokens=10_000)):
        lm = mn.LM("openai/x", api_base=server.url, api_key="k", cache=False, max_tokens=9)
        with pytest.raises(ConfigError, match="longest answer of 'openai/x' is unknown"):
            lm("is it?")
    assert len(server.requests) == 1


def test_cached_answers_cost_nothing():
    lm, budget = FakeLM(lambda messages: "yes", price=0.3, cache=Cache()), Budget(max_cost=0.5, max_calls=1)
    with under(budget):
        assert [lm("is it?") for _ in range(5)] == ["yes"] * 5
    assert budget.spent.cost == 0.3


def test_what_was_spent_before_counts():
    lm = FakeLM(lambda messages: "yes", price=0.3)
    with under(Budget(max_cost=1.0, before=Usage(5, 0, 10, 10, 0.8))), pytest.raises(OutOfBudget, match=r"\$0.8000"):
        lm("is it?")
    with under(Budget(max_calls=6, before=Usage(5, 3, 10, 10, 0.8))):
        assert lm("is it?") == "yes"
        with pytest.raises(OutOfBudget, match="max_calls=6 is reached: 6 so far"):
            lm("is it?")
    with pytest.raises(ConfigError, match="what the run has spent before isn't known"):
        Budget(max_cost=1.0, before=Usage(5, 0, 10, 10, None))


def test_max_tokens_counts_prompts_and_answers():
    lm, budget = Paid(max_tokens=100), Budget(max_tokens=2_000)
    with (
        under(budget),
        pytest.raises(OutOfBudget, match=r"max_tokens=2,000 is reached: .* so far, and the next call"),
    ):
        [lm("is it?") for _ in range(10_000)]
    assert 1_000 < lm.tokens <= 2_000
    assert budget.spent.tokens == lm.tokens


def test_after_max_seconds_no_call_begins():
    now = [0.0]
    budget, lm = Budget(max_seconds=10, clock=lambda: now[0]), FakeLM(lambda messages: "yes")
    now[0] = 5.0
    budget.begin()
    now[0] = 14.0
    with under(budget):
        assert (lm("is it?"), budget.seconds, budget.late()) == ("yes", 9.0, None)
        now[0] = 15.5
        with pytest.raises(OutOfBudget, match=r"max_seconds=10 is reached: 10.5 s have passed"):
            lm("is it?")
    assert budget.late() == "max_seconds=10 is reached: 10.5 s have passed"
    budget.rest()
    now[0] = 100.0
    assert budget.seconds == 10.5, "the time between a run's end and its extension doesn't count"


def test_what_is_kept_is_refused_for_the_time_being():
    lm, budget = FakeLM(lambda messages: "yes", price=0.1), Budget(max_cost=0.5)
    budget.keep(Amount(cost=0.3), "the verdict")
    with under(budget):
        assert [lm("is it?"), lm("is it?")] == ["yes", "yes"]
        with pytest.raises(OutOfBudget, match=r"with \$0.3000 kept for the verdict") as caught:
            lm("is it?")
        assert caught.value.share
        budget.keep(Amount())
        assert lm("is it?") == "yes"
    assert budget.lacking(Amount(cost=0.2)) is None
    assert "what is left to do may cost $0.2500" in budget.lacking(Amount(cost=0.25))


def test_an_unknown_price_or_longest_answer_is_refused_before_the_call():
    lm = FakeLM(lambda messages: "yes", price=None, max_tokens=5)
    with under(Budget(max_cost=1.0)), pytest.raises(ConfigError, match="price of 'fake/lm' is unknown; drop max_cost"):
        lm("is it?")
    unbounded = Paid(max_tokens=None)
    for limit in ({"max_cost": 1.0}, {"max_tokens": 1000}):
        with under(Budget(**limit)), pytest.raises(ConfigError, match=r"LM\('fake/lm', max_tokens=1000\)"):
            unbounded("is it?")
    assert (lm.calls, unbounded.calls) == (0, 0)
    with under(Budget(max_calls=1)):
        assert lm("is it?") == "yes", "calls can be counted without a price"
    free = FakeLM(lambda messages: "yes")
    with under(Budget(max_cost=0.01)):
        assert free("is it?") == "yes", "what costs nothing may be as long as it likes"


def test_an_answer_beyond_its_worst_case_is_counted_and_makes_the_next_ones_larger():
    lm, budget = FakeLM(lambda messages: "yes", price=0.1), Budget(max_cost=1.0)
    lm.dearest = lambda: (0.05, 0.0, 0.0)
    with under(budget), track_usage() as account:
        lm("is it?")
        lm("is it?")
    assert budget.spent.cost == pytest.approx(0.2)
    assert budget.largest.cost == pytest.approx(0.1)
    assert [note for note in account.notes if "took 2 times what its prompt and longest answer allow" in note]
    assert len(account.notes) == 1


@pytest.mark.slow
def test_a_prompt_has_no_more_tokens_than_bytes():
    import litellm

    text = "Grüße, 世界! 🙂🙂 \ud800 ﷺ" * 40 + "a1b2" * 50
    messages = [{"role": "user", "content": text.replace("\ud800", "")}]
    schema = {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"a": "b" * 400}}}}
    lm = mn.LM("openai/gpt-5-mini", max_tokens=7)
    plain = worst_case(lm, messages, {"max_tokens": 7})
    assert plain.tokens - 7 >= litellm.token_counter("gpt-4o", messages=messages)
    assert worst_case(lm, messages, {"max_tokens": 7, **schema}).tokens > plain.tokens + 400
    assert worst_case(lm, [{"role": "user", "content": text}]).calls == 1, "half a character is no error"


def test_prices_and_answers_are_taken_at_their_most():
    tiers = mn.LM("gemini/gemini-2.5-pro")
    usual, most = tiers.prices(), tiers.dearest()
    assert most[0] == 0
    assert most[1] >= 2 * usual[0], "long prompts cost more"
    assert most[2] >= 1.5 * usual[1]
    assert tiers.longest_answer() >= 8192
    assert mn.LM("gemini/gemini-2.5-pro", max_tokens=9).longest_answer() == 9
    assert mn.LM("openai/gpt-5-mini", max_completion_tokens=9, n=2).longest_answer() == 18
    unknown = mn.LM("openai/nobody-knows")
    assert (unknown.dearest(), unknown.longest_answer()) == (None, None)
    local = mn.LM("local/smollm2-135m")
    assert (local.dearest(), local.longest_answer()) == ((0.0, 0.0, 0.0), 160)


class Swallows(mn.Module):
    """A program that makes something of any error."""

    def __init__(self):
        self.answer = mn.Predict("q -> a")

    def forward(self, q):
        try:
            return self.answer(q=q)
        except Exception:  # noqa: BLE001
            return mn.Prediction(a="never mind")


def test_a_refused_call_is_no_score_whatever_the_program_makes_of_it():
    data = mn.examples([{"q": str(n), "a": "yes"} for n in range(6)], inputs=["q"])
    lm = FakeLM(lambda messages: "yes", price=0.1)
    scored = []
    evaluate = mn.Evaluate(data, mn.exact_match, num_threads=1, listeners=[scored.append])
    with under(Budget(max_cost=0.35)), mn.context(lm=lm), pytest.raises(OutOfBudget, match="max_cost"):
        evaluate(Swallows())
    found = [event.score for event in scored if type(event).__name__ == "ExampleScored"]
    assert (found, lm.calls) == ([1.0, 1.0, 1.0], 3)


def test_a_metric_that_swallows_or_raises_is_no_score_either():
    data = mn.examples([{"q": "1", "a": "yes"}], inputs=["q"])
    judge = FakeLM(lambda messages: "yes", price=0.1)

    def swallows(example, prediction):
        with contextlib.suppress(Exception):
            return judge("is it?") == "yes"
        return False

    def raises(example, prediction):
        try:
            return judge("is it?") == "yes"
        except Exception as raised:
            raise ValueError("what now?") from raised

    for metric in (swallows, raises, lambda example, prediction: judge("is it?") == "yes"):
        budget = Budget(max_cost=0.05)
        with under(budget), mn.context(lm=FakeLM(lambda messages: "yes")), pytest.raises(OutOfBudget):
            mn.Evaluate(data, metric)(mn.Predict("q -> a"))
    assert judge.calls == 0


def test_a_stop_that_cuts_retries_off_is_no_score_of_a_program_that_swallows():
    failed = threading.Event()

    def down(messages):
        failed.set()
        raise LMUnavailable("down")

    lm = FakeLM(down, num_retries=100, retry_wait=30)
    from mipro_nb.scoring import run_example

    data = mn.examples([{"q": "1", "a": "yes"}], inputs=["q"])
    came = []
    with (
        mn.context(lm=lm),
        pytest.raises(Stopped, match="enough"),
        Pool(1, lambda: "enough" if failed.is_set() else None) as pool,
    ):
        pool.map(lambda one: run_example(Swallows(), 0, one, mn.exact_match, trace=False), data, came.append)
    assert not came


class Book:
    """A ledger: what was begun and not settled, by number."""

    def __init__(self):
        self.left, self.begun = {}, 0

    def begin(self, tokens, cost):
        self.begun += 1
        self.left[self.begun] = (tokens, cost)
        return self.begun

    def settle(self, number):
        del self.left[number]


def test_a_ledger_is_told_of_each_try_and_left_with_those_that_may_be_billed():
    budget, book, seen = Budget(), Book(), []
    budget.ledger = book

    def answer(messages):
        seen.append(dict(book.left))
        if messages[-1]["content"] == "no":
            raise LMUnavailable("429")
        if messages[-1]["content"] == "late":
            late = LMUnavailable("timed out")
            late.perhaps_billed = True
            raise late
        return "yes"

    lm = FakeLM(answer, price=0.25, max_tokens=9, num_retries=0, retry_wait=0)
    with under(budget):
        lm("is it?")
        for prompt in ("no", "late"):
            with pytest.raises(LMUnavailable):
                lm(prompt)
    assert [len(left) for left in seen] == [1, 1, 1], "before it is sent"
    assert [cost for _, cost in book.left.values()] == [0.25]


def test_a_call_that_was_left_alone_settles_in_its_own_ledger():
    budget, book, other = Budget(), Book(), Book()
    budget.ledger = book

    def answer(messages):
        budget.ledger = other  # the run was extended meanwhile
        return "yes"

    with under(budget):
        FakeLM(answer, price=0.25, max_tokens=9)("is it?")
    assert not book.left


def test_what_may_have_been_billed_before_counts_where_there_is_a_limit():
    before = Amount(2, 1000, math.inf)
    assert Budget(max_calls=5, doubtful=before).spent == Amount(2, 0, 0)
    assert Budget(max_tokens=5000, doubtful=before).spent == Amount(0, 1000, 0)
    with pytest.raises(ConfigError, match="drop max_cost"):
        Budget(max_cost=5, doubtful=before)
