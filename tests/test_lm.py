"""LM, through the real litellm, against a server on loopback that fails when told to."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from loopback import DROP, GARBAGE, HANG, NO_CHOICES, TRUNCATED, Fault, Loopback, Messages, Request, error

from mipro_nb import Predict
from mipro_nb.cache import Cache
from mipro_nb.errors import ConfigError, LMRefused, LMUnavailable, PromptRefused
from mipro_nb.events import Usage
from mipro_nb.flow import cancelled
from mipro_nb.lm import LM
from mipro_nb.usage import track_usage

KEY = "sk-loopback-0123456789"
HELLO = [{"role": "user", "content": "say hello to me"}]
TOO_LONG = "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens."


def echo(messages: Messages) -> str:
    return f"you said: {messages[-1]['content']}"


def reach(server: Loopback, model: str = "openai/some-model", kind: type[LM] = LM, **options: Any) -> Any:
    given: dict[str, Any] = {"timeout": 20.0, "retry_wait": 0.01, "cache": False, **options}
    return kind(model, api_base=server.url, api_key=KEY, **given)


class Patient(LM):
    """Keeps the waits it would make, and makes none."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.waits: list[float] = []

    def _wait(self, state: Any) -> float:
        self.waits.append(super()._wait(state))
        return 0.0


def test_text_and_usage_come_back() -> None:
    with Loopback(echo) as server:
        reply = reach(server).complete(HELLO)
    assert reply.text == "you said: say hello to me"
    assert reply.finish_reason == "stop"
    assert not reply.cached
    assert reply.usage == Usage(1, 0, 4, 6, None)


def test_a_plain_prompt_is_a_user_message() -> None:
    with Loopback(echo) as server:
        assert reach(server)("hi") == "you said: hi"
    assert server.requests[0].body["messages"] == [{"role": "user", "content": "hi"}]


def test_arguments_reach_the_server() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    with Loopback(echo) as server:
        lm = reach(server, temperature=0.5, max_tokens=7, top_p=0.3)
        lm.complete(HELLO, schema=schema)
        lm.complete(HELLO, temperature=1)
    first, second = (request.body for request in server.requests)
    assert (first["temperature"], first["max_tokens"], first["top_p"]) == (0.5, 7, 0.3)
    assert first["response_format"]["json_schema"]["schema"] == schema
    assert second["temperature"] == 1
    assert "response_format" not in second


@pytest.mark.parametrize(
    "fault", [error(429), error(500), error(503), error(408), DROP, GARBAGE, TRUNCATED, NO_CHOICES]
)
def test_an_outage_is_tried_again(fault: Fault) -> None:
    with Loopback(echo, [fault, fault]) as server:
        reply = reach(server).complete(HELLO)
    assert reply.text == "you said: say hello to me"
    assert reply.usage.calls == 1
    assert len(server.requests) == 3


@pytest.mark.slow
def test_a_server_that_hangs_is_left_and_asked_again() -> None:
    with Loopback(echo, [HANG]) as server:
        assert reach(server, timeout=0.5)("hi") == "you said: hi"
    assert len(server.requests) >= 2


@pytest.mark.parametrize("fault", [error(429), error(500), DROP, GARBAGE, NO_CHOICES])
def test_when_the_retries_are_used_up_the_model_is_named(fault: Fault, capfd: pytest.CaptureFixture[str]) -> None:
    with Loopback(echo, lambda request: fault) as server, pytest.raises(LMUnavailable, match="openai/some-model"):
        reach(server, num_retries=2)("hi")
    assert len(server.requests) == 3  # nobody below us tries on their own
    assert capfd.readouterr() == ("", "")


def test_no_server_at_all_is_an_outage() -> None:
    with Loopback(echo) as server:
        pass
    with pytest.raises(LMUnavailable, match="openai/some-model"):
        reach(server, num_retries=1)("hi")


def test_waits_double_and_end_at_a_minute() -> None:
    with Loopback(echo, [error(500)] * 10) as server:
        lm = reach(server, kind=Patient, retry_wait=1.0, num_retries=10)
        lm("hi")
    ideal = [min(60.0, 2.0**n) for n in range(10)]
    assert all(most / 2 <= wait <= most for wait, most in zip(lm.waits, ideal, strict=True))


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7), ("0.5", 0.5), ("99999", 600), ("Fri, 31 Dec 2199 23:59:59 GMT", 600)]
)
def test_retry_after_is_honoured(asked: str, waited: float) -> None:
    with Loopback(echo, [error(429, retry_after=asked)]) as server:
        lm = reach(server, kind=Patient)
        lm("hi")
    assert lm.waits == [waited]


@pytest.mark.parametrize("asked", ["soon", "-3", "Mon, 01 Jan 2001 00:00:00 GMT", ""])
def test_a_retry_after_of_no_use_is_left_alone(asked: str) -> None:
    with Loopback(echo, [error(429, retry_after=asked)]) as server:
        lm = reach(server, kind=Patient)
        lm("hi")
    assert lm.waits[0] <= 0.01


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (error(401, "Incorrect API key", "invalid_api_key"), "refuses the key"),
        (error(403, "not for you"), "refuses the key"),
        (error(404, "no such model", "model_not_found"), "is not known to the server"),
        (error(400, "top_q is wrong"), "refuses the request"),
        (error(402, "pay first"), "no credit left"),
        (error(429, "You exceeded your current quota", "insufficient_quota"), "no credit left"),
    ],
)
def test_a_refused_request_is_not_repeated(fault: Fault, told: str) -> None:
    with Loopback(echo, lambda request: fault) as server, pytest.raises(LMRefused, match=told) as raised:
        reach(server)("hi")
    assert len(server.requests) == 1
    assert "openai/some-model" in str(raised.value)


def test_after_an_answer_a_400_is_about_the_prompt() -> None:
    with Loopback(echo, [None, error(400, "I don't like this")]) as server:
        lm = reach(server)
        lm("hi")
        with pytest.raises(PromptRefused, match="I don't like this"):
            lm("boo")
    assert len(server.requests) == 2


@pytest.mark.parametrize("told", [TOO_LONG, "the request exceeds the available context size, try increasing it"])
def test_a_prompt_that_is_too_long_is_refused_once(told: str) -> None:
    with Loopback(echo, [error(400, told)]) as server, pytest.raises(PromptRefused, match="openai/some-model"):
        reach(server)("hi")
    assert len(server.requests) == 1


def test_a_model_without_provider_is_explained() -> None:
    with pytest.raises(LMRefused, match="name the provider too, as in 'openai/gpt-5-mini'"):
        LM("gpt-9x", cache=False)("hi")


def test_a_missing_key_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lm = Patient("openai/gpt-4o-mini", cache=False)
    with pytest.raises(LMRefused, match="api_key="):
        lm("hi")
    assert lm.waits == []


def test_a_refused_temperature_is_dropped_once_and_said(caplog: pytest.LogCaptureFixture) -> None:
    def picky(request: Request) -> Fault | None:
        told = "Unsupported value: 'temperature' does not support 0.0 with this model."
        return error(400, told) if "temperature" in request.body else None

    with Loopback(echo, picky) as server, track_usage() as account:
        lm = reach(server)
        assert lm("hi") == "you said: hi"
        lm("hi again")
    assert ["temperature" in request.body for request in server.requests] == [True, False, False]
    assert account.notes == ["openai/some-model refuses temperature; it is asked without."]
    assert account.usage.calls == 2
    assert [record.levelno for record in caplog.records if record.name == "mipro_nb.lm"] == [logging.WARNING]


def test_a_temperature_that_litellm_knows_is_refused_never_leaves() -> None:
    with Loopback(echo) as server, track_usage() as account:
        reach(server, "openai/gpt-5-mini")("hi")
    assert ["temperature" in request.body for request in server.requests] == [False]
    assert account.notes == ["openai/gpt-5-mini refuses temperature; it is asked without."]


def test_an_unknown_price_stays_unknown() -> None:
    with Loopback(echo) as server, track_usage() as account:
        lm = reach(server)
        lm("hi")
        lm("hi again")
    assert lm.prices() is None
    assert (account.usage.calls, account.usage.cost) == (2, None)


@pytest.mark.parametrize("model", ["openai/gpt-5.1-mini", "openrouter/anthropic/claude-sonnet-4.5"])
def test_a_paid_model_that_the_table_lacks_is_not_free(model: str) -> None:
    """litellm gives a price of 0 for some names that its table doesn't have."""
    with Loopback(echo) as server, track_usage() as account:
        lm = reach(server, model)
        lm("hi")
    assert lm.prices() is None
    assert account.usage.cost is None


def test_a_server_on_this_machine_is_free() -> None:
    assert LM("ollama_chat/llama3.2", cache=False).prices() == (0.0, 0.0)
    assert LM("local/smollm2-135m", cache=False).prices() == (0.0, 0.0)


def test_a_known_price_gives_dollars() -> None:
    with Loopback(echo) as server, track_usage() as account:
        lm = reach(server, "openai/gpt-4o-mini")
        lm("hi")
        lm("one two three")
    prompt, completion = lm.prices()
    assert 0 < prompt < completion
    assert account.usage.cost == pytest.approx(4 * prompt + 8 * completion)


def test_the_price_shown_is_that_of_short_prompts() -> None:
    import litellm

    row = litellm.model_cost["gemini/gemini-2.5-pro"]
    assert row["input_cost_per_token_above_200k_tokens"] > row["input_cost_per_token"]
    prices = LM("gemini/gemini-2.5-pro", cache=False).prices()
    assert prices == pytest.approx((row["input_cost_per_token"], row["output_cost_per_token"]))


def test_the_second_call_is_free(tmp_path: Path) -> None:
    with Loopback(echo) as server, track_usage() as account:
        lm = reach(server, "openai/gpt-4o-mini", cache=Cache(tmp_path))
        first, second = lm.complete(HELLO), lm.complete(HELLO)
    assert len(server.requests) == 1
    assert (second.text, second.cached, second.usage) == (first.text, True, Usage(cached_calls=1))
    assert account.usage == first.usage + Usage(cached_calls=1)


def test_what_shapes_the_answer_is_part_of_the_request(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with Loopback(echo) as server, Loopback(echo) as other:
        lm = reach(server, cache=cache)
        lm.complete(HELLO)
        lm.complete(HELLO, temperature=0.7)
        lm.complete(HELLO, schema={"type": "object"})
        lm.complete(HELLO, rollout=1)
        lm.complete(HELLO, rollout=2)
        reach(server, cache=cache, max_tokens=3).complete(HELLO)
        reach(server, cache=cache, top_p=0.1).complete(HELLO)
        reach(server, "openai/another", cache=cache).complete(HELLO)
        reach(other, cache=cache).complete(HELLO)
        assert (len(server.requests), len(other.requests)) == (8, 1)
        assert lm.complete(HELLO, temperature=0).cached  # 0 is 0.0
        assert reach(server, cache=cache, timeout=3.0, num_retries=1).complete(HELLO).cached


def test_without_a_cache_every_call_is_made() -> None:
    with Loopback(echo) as server:
        lm = reach(server, cache=False)
        assert [lm.complete(HELLO).cached for _ in range(2)] == [False, False]
    assert len(server.requests) == 2


def test_a_cleared_cache_asks_again(tmp_path: Path) -> None:
    with Loopback(echo) as server:
        lm = reach(server, cache=Cache(tmp_path))
        lm.complete(HELLO)
        lm.cache.clear()
        assert not lm.complete(HELLO).cached
    assert len(server.requests) == 2


def test_another_process_finds_the_answer_on_disk(tmp_path: Path) -> None:
    code = (
        "import sys; from mipro_nb import LM; "
        "reply = LM('openai/some-model', api_base=sys.argv[1], api_key='another').complete("
        "[{'role': 'user', 'content': 'say hello to me'}]); print(reply.cached, reply.text, 'litellm' in sys.modules)"
    )
    with Loopback(echo) as server:
        reach(server, cache=Cache(tmp_path / "lm")).complete(HELLO)
        environment = {**os.environ, "MIPRO_NB_CACHE": str(tmp_path)}
        found = subprocess.run(
            [sys.executable, "-c", code, server.url], env=environment, capture_output=True, text=True
        )
    assert (found.stdout.strip(), found.stderr) == ("True you said: say hello to me False", "")
    assert len(server.requests) == 1


def test_identical_calls_at_the_same_time_are_one_request(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def slowly(messages: Messages) -> str:
        threading.Event().wait(0.2)
        return "once"

    with Loopback(slowly) as server, ThreadPoolExecutor(4) as threads:
        lm = reach(server, cache=Cache(tmp_path))

        def ask(_: int) -> tuple[str, bool]:
            together.wait()
            reply = lm.complete(HELLO)
            return reply.text, reply.cached

        replies = sorted(threads.map(ask, range(4)))
    assert replies == [("once", False), ("once", True), ("once", True), ("once", True)]
    assert len(server.requests) == 1


def test_the_key_is_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Loopback(echo, [None, *[error(401, f"Incorrect API key provided: {KEY}")] * 9]) as server:
        lm = reach(server, cache=Cache(tmp_path / "cache"))
        lm("hi")
        with pytest.raises(LMRefused, match=r"\*\*\*") as raised:
            lm("hi again")
        Predict("a -> b", lm=lm).save(tmp_path / "program.json")
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    shown = [repr(lm), str(raised.value), repr(raised.value), caplog.text]
    shown += traceback.format_exception(raised.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert not any(KEY in text for text in shown)
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_keys_of_the_environment_are_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "abcdef-secret-of-another")
    fault = error(500, "bad: abcdef-secret-of-another")
    with Loopback(echo, [fault]) as server, pytest.raises(LMUnavailable) as raised:
        reach(server, num_retries=0)("hi")
    assert "abcdef" not in str(raised.value)


def test_an_lm_is_a_handle_copied_as_itself() -> None:
    lm = LM("openai/some-model", api_key=KEY, cache=False)
    program = Predict("a -> b", lm=lm)
    assert copy.deepcopy(lm) is lm
    assert copy.copy(lm) is lm
    assert program.deepcopy().lm is lm


def test_an_lm_travels_without_its_keys() -> None:
    secret = {"extra_headers": {"X-Mine": KEY}, "azure_ad_token": KEY, "extra_body": {"auth": KEY, "top_k": 3}}
    lm = LM(
        "openai/some-model", temperature=0.5, api_key=KEY, api_base="http://here", max_completion_tokens=7, **secret
    )
    sent = pickle.dumps(lm)
    assert KEY.encode() not in sent
    twin = pickle.loads(sent)
    assert (twin.model, twin.temperature, twin.more_options) == (
        "openai/some-model",
        0.5,
        ("api_base", "extra_body", "max_completion_tokens"),
    )
    assert not twin.answered
    assert LM.__getstate__(lm)["_extra"]["extra_body"] == {"top_k": 3}


def test_what_an_lm_has_learned_travels_and_comes_back() -> None:
    lm = LM("openai/some-model", cache=False)
    twin = pickle.loads(pickle.dumps(lm))
    twin.learn((True, ("temperature",)))
    lm.learn(twin.learned)
    assert lm.learned == pickle.loads(pickle.dumps(lm)).learned == (True, ("temperature",))


def test_a_cancelled_wait_makes_no_further_try() -> None:
    ended = threading.Event()

    def fail(request: Request) -> Fault:
        threading.Timer(0.1, ended.set).start()
        return error(500)

    token = cancelled.set(ended)
    try:
        with Loopback(echo, fail) as server, pytest.raises(LMUnavailable):
            reach(server, retry_wait=20.0)("hi")
    finally:
        cancelled.reset(token)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"model": 3},
        {"temperature": -1},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"num_retries": -1},
        {"timeout": 0},
        {"timeout": "long"},
        {"retry_wait": -0.1},
        {"cache": "some/directory"},
    ],
)
def test_a_wrong_argument_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"^{name}="):
        LM(**{"model": "openai/some-model", **wrong})


@pytest.mark.slow
def test_many_first_calls_at_once_with_litellm_still_to_be_imported() -> None:
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor; from mipro_nb import LM\n"
        "lm = LM('openai/some-model', api_base=sys.argv[1], api_key='sk-x', cache=False, num_retries=0)\n"
        "with ThreadPoolExecutor(8) as threads:\n"
        "    print(list(threads.map(lm, map(str, range(8)))) == [f'you said: {n}' for n in range(8)])"
    )
    with Loopback(echo) as server:
        found = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True)
    assert (found.stdout.strip(), found.stderr, found.returncode) == ("True", "", 0)
