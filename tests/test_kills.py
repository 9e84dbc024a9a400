"""Runs that are killed, interrupted or stopped at random moments, and resumed: they end as if undisturbed."""

import os
import random
import signal
import time

import pytest
from loopback import Loopback
from programs import reply
from test_rundir import same, settled
from warm import PATIENCE, THREADS, Warm, begin, compile_, lm_of, slow

import mipro_nb as mn

KILLS = 20

forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes can't be forked here")


@pytest.fixture
def server():
    with Loopback(slow) as server:
        lm_of(server.url)("Hello")  # else litellm makes several clients at once, and forgets all but one
        server.requests.clear()
        yield server
        hung_up()


def hung_up():
    """Close the idle connections that litellm keeps for all who use it in this process."""
    import litellm
    import openai

    clients = litellm.in_memory_llm_clients_cache
    for client in list(clients.cache_dict.values()):
        if isinstance(client, openai.OpenAI):
            client.close()
    clients.flush_cache()


def kept(where):
    """Count the answers in a run's journal."""
    path = where / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return sum(line.startswith(b'{"key"') and line.endswith(b"}\n") for line in lines)


def undisturbed(where, server):
    """Run in calm; return what it found, and how many calls it made."""
    calm, calls = compile_(where, server.url), len(server.requests)
    server.requests.clear()
    return calm, calls


def assert_paid_once(paid, where, calls, in_flight):
    """What was answered wasn't paid for again, and nothing was but what the run takes, or a stop for its best."""
    assert calls <= kept(where) <= calls + settled(where)
    assert 0 <= paid - kept(where) <= in_flight, "in flight at the kills: their answers never came"


def moments(seed, kills, calls, made, where):
    """Draw, one after the other, after how many calls to cut a run off, so that all kills go over the whole of it."""
    rng = random.Random(seed)
    for left in range(kills, 0, -1):
        yield made() + rng.randint(1, max(1, 2 * (calls - kept(where) - left * THREADS) // (left + 1)))


@forked
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_killed_again_and_again_loses_nothing(tmp_path, how):
    where, paid = tmp_path / "torn", tmp_path / "paid"
    calm = compile_(tmp_path / "calm")
    calls = kept(tmp_path / "calm")
    paid.touch()
    with Warm() as warm:
        for wanted in moments(int(how), 5, calls, lambda: paid.stat().st_size, where):
            child = warm.begin(run_dir=where, paid=paid)
            assert child.until(lambda: paid.stat().st_size >= wanted)  # noqa: B023
            child.kill(how)
    assert same(compile_(where, paid=str(paid)), calm)
    assert_paid_once(paid.stat().st_size, where, calls, THREADS * 5 if how == signal.SIGKILL else 0)


@pytest.mark.slow
@forked
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_twenty_kills_of_a_process_that_pays_a_server(tmp_path, server, how):
    where = tmp_path / "torn"
    calm, calls = undisturbed(tmp_path / "calm", server)
    with Warm("litellm") as warm:
        for wanted in moments(int(how), KILLS, calls, lambda: len(server.requests), where):
            child = warm.begin(run_dir=where, url=server.url)
            assert child.until(lambda: len(server.requests) >= wanted), "the run goes on"  # noqa: B023
            child.kill(how)
    assert same(compile_(where, server.url), calm)
    assert_paid_once(len(server.requests), where, calls, THREADS * KILLS if how == signal.SIGKILL else 0)


@pytest.mark.slow
@pytest.mark.parametrize("evaluate", [True, False])
def test_twenty_stops_of_a_run_that_pays_a_server(tmp_path, server, evaluate):
    calm, calls = undisturbed(tmp_path / "calm", server)
    for wanted in moments(0, KILLS, calls, lambda: len(server.requests), tmp_path / "torn"):
        run = begin(tmp_path / "torn", server.url)
        deadline = time.monotonic() + PATIENCE
        while len(server.requests) < wanted:
            assert time.monotonic() < deadline
            assert run.status == "running", "the run goes on"
            time.sleep(0.001)
        run.stop(evaluate=evaluate)
        run.result(PATIENCE)
    assert same(compile_(tmp_path / "torn", server.url), calm)
    assert_paid_once(len(server.requests), tmp_path / "torn", calls, 0)
    assert evaluate or len(server.requests) == calls


def cut_off_within_a_limit(where, warm, wanted_after, made, **options):
    """Kill a run with a limit as often as it takes until it has ended by itself; return how often that was."""
    for kills, more in enumerate(wanted_after):
        wanted = made() + more
        child = warm.begin(run_dir=where, **options)
        if not child.until(lambda: made() >= wanted):  # noqa: B023
            return kills
        child.kill(signal.SIGKILL)
    raise AssertionError("no end")


@forked
@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"max_calls": 200}, {"max_cost": 2.0}])
def test_what_was_in_flight_when_a_process_was_killed_counts_against_the_limits(tmp_path, limit):
    where, paid, rng = tmp_path / "torn", tmp_path / "paid", random.Random(5)
    paid.touch()
    draws = iter(lambda: rng.randint(15, 45), None)
    with Warm() as warm:
        made = lambda: paid.stat().st_size  # noqa: E731
        kills = cut_off_within_a_limit(where, warm, draws, made, paid=str(paid), **limit)
    assert kills >= 3
    assert paid.stat().st_size > kept(where), "some answers were lost"
    assert paid.stat().st_size <= 200
    best, history = compile_(where, paid=str(paid), **limit)
    assert history.reason.startswith(f"stopped: {next(iter(limit))}=")
    assert best.predictors
    assert paid.stat().st_size <= 200
    told = [
        note.message for note in mn.History.read(where).notes if "in flight when the run was cut off" in note.message
    ]
    assert told
    assert all(f"up to ${0.01 * int(note.split()[0]):,.4f} may have been billed for that" in note for note in told)


@forked
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_server_never_bills_more_than_the_limit_however_often_the_process_is_killed(tmp_path, server, seed):
    undisturbed(tmp_path / "calm", server)
    whole, rng = mn.History.read(tmp_path / "calm").usage.cost, random.Random(seed)
    most = rng.uniform(0.3, 1.0) * whole
    draws = iter(lambda: rng.randint(5, 25), None)
    with Warm("litellm") as warm:
        made = lambda: len(server.requests)  # noqa: E731
        kills = cut_off_within_a_limit(tmp_path / "torn", warm, draws, made, url=server.url, max_cost=most)
    assert kills >= 2
    assert bill(server) <= most
    assert bill(server) > mn.History.read(tmp_path / "torn").usage.cost, "some answers were lost"


def bill(server):
    """Return what a server has been asked for, in US dollars; a token is a word."""
    prompt, completion = lm_of(server.url).prices()
    texts = [(request.body["messages"], reply(request.body["messages"])) for request in server.requests]
    asked = sum(len(message["content"].split()) for messages, _ in texts for message in messages)
    return prompt * asked + completion * sum(len(text.split()) for _, text in texts)
