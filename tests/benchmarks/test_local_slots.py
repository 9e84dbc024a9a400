"""Which slots, threads and context make the embedded LM answer most calls a minute. Prints; asserts no time.

pytest -m benchmark -s tests/benchmarks/test_local_slots.py
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mipro_nb import Predict, local
from mipro_nb.demo import messages

CALLS, DEMOS, ANSWER_TOKENS = 20, 4, 9  # nine tokens are some six words
SLOTS, THREADS, CONTEXTS = (1, 2, 4), (1, 2), (2048, 4096)


def prompts() -> list[Any]:
    """Messages of the demo's data, each after four demos."""
    rows = messages()
    program = Predict(
        "message -> product", "Find the product that the customer's message is about.", demos=rows[:DEMOS]
    )
    return [program.messages(message=row.message) for row in rows[DEMOS : DEMOS + CALLS]]


def ask(url: str, turns: Any) -> None:
    """Call without litellm: the engine is measured, not the client. The answer is of full length."""
    body = {"messages": turns, "temperature": 0, "max_tokens": ANSWER_TOKENS, "ignore_eos": True}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        json.load(answer)


def calls_a_minute(path: str, slots: int, threads: int, context: int, asked: list[Any]) -> float:
    server = local.start_server(path, threads=threads, slots=slots, context_tokens=context)
    try:
        url = server.listening_address
        ask(url, asked[-1])  # the shared beginning of the prompts is read once, as in a run
        with ThreadPoolExecutor(slots + 1) as callers:
            started = time.perf_counter()
            list(callers.map(lambda turns: ask(url, turns), asked))
            return 60 * len(asked) / (time.perf_counter() - started)
    finally:
        del server  # ends it


@pytest.mark.benchmark
def test_slots_threads_and_context() -> None:
    path, asked = str(local.weights("smollm2-135m")), prompts()
    default = (local.SLOTS, local.default_threads(), local.CONTEXT_TOKENS)
    settings = [default, *(found for found in itertools.product(SLOTS, THREADS, CONTEXTS) if found != default)]
    found = {setting: calls_a_minute(path, *setting, asked) for setting in settings}
    print(f"\n{'slots':>5} {'threads':>7} {'context':>7} {'calls a minute':>14} {'to default':>10}")
    for setting in sorted(found):
        slots, threads, context = setting
        mark = "  (default)" if setting == default else ""
        ratio = found[setting] / found[default]
        print(f"{slots:>5} {threads:>7} {context:>7} {found[setting]:>14.0f} {ratio:>10.2f}{mark}")
