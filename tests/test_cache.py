"""The answer cache: what makes two requests the same, what survives, what is refused."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diskcache_community
import pytest

from mipro_nb.cache import Cache, default_directory, request_key

ASK = [{"role": "user", "content": "What is six times seven?"}]
ANSWER = {"text": "42", "finish": "stop", "prompt": 5, "completion": 1, "cost": None}


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    # if this changes, everybody's cache is lost
    expected = "8a0d74f8"
    assert request_key("m", ASK, {"temperature": 0.0})[:8] == expected
    assert request_key("m", [dict(reversed(ASK[0].items()))], {"temperature": 0.0})[:8] == expected


def test_the_order_of_sampling_options_does_not_matter() -> None:
    assert request_key("m", ASK, {"a": 1, "b": {"x": 1, "y": 2}}) == request_key(
        "m", ASK, {"b": {"y": 2, "x": 1}, "a": 1}
    )


def test_whatever_shapes_the_answer_changes_the_key() -> None:
    keys = {
        request_key("m", ASK, {"temperature": 0.0}),
        request_key("n", ASK, {"temperature": 0.0}),
        request_key("m", [{"role": "system", "content": ASK[0]["content"]}], {"temperature": 0.0}),
        request_key("m", [{"role": "user", "content": ASK[0]["content"] + " "}], {"temperature": 0.0}),
        request_key("m", ASK * 2, {"temperature": 0.0}),
        request_key("m", ASK, {"temperature": 0.5}),
        request_key("m", ASK, {"temperature": 0.0, "max_tokens": 5}),
        request_key("m", ASK, {"temperature": 0.0}, rollout=0),
        request_key("m", ASK, {"temperature": 0.0}, rollout=1),
    }
    assert len(keys) == 9


def test_any_text_has_a_key() -> None:
    odd = "\ud800 half a surrogate, \x00, 🎉"
    assert len(request_key("m", [{"role": "user", "content": odd}], {})) == 64


@pytest.mark.parametrize("on_disk", [True, False])
def test_get_set_and_clear(tmp_path: Path, on_disk: bool) -> None:
    cache = Cache(tmp_path if on_disk else None)
    assert cache.get("k") is None
    cache.set("k", ANSWER)
    assert cache.get("k") == ANSWER
    cache.clear()
    assert cache.get("k") is None


def test_answers_outlive_the_cache_that_kept_them(tmp_path: Path) -> None:
    long = {**ANSWER, "text": "🎉 long\n" * 20_000}
    Cache(tmp_path).set("k", ANSWER)
    Cache(tmp_path).set("long", long)
    again = Cache(tmp_path)
    assert (again.get("k"), again.get("long")) == (ANSWER, long)
    again.clear()
    assert Cache(tmp_path).get("k") is None


def test_the_directory_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIPRO_NB_CACHE", str(tmp_path / "mine"))
    assert default_directory() == tmp_path / "mine"
    Cache(default_directory())
    if os.name == "posix":
        assert (tmp_path / "mine").stat().st_mode & 0o077 == 0


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.set("k", {})
    assert cache.get_or_call("k", lambda: pytest.fail("called")) == ({}, True)


def test_many_threads_make_one_call_per_key(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), []

    def ask(number: int) -> tuple[dict[str, Any], bool]:
        key = str(number % 5)

        def call() -> dict[str, Any]:
            calls.append(key)
            return {"text": key}

        return cache.get_or_call(key, call)

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(ask, range(500)))
    assert [answer["text"] for answer, _ in found] == [str(n % 5) for n in range(500)]
    assert sorted(calls) == ["0", "1", "2", "3", "4"]
    assert sum(not free for _, free in found) == 5


def test_an_answer_that_arrives_while_we_look_is_not_asked_for_again() -> None:
    class Late(Cache):
        """Between the first look and the call somebody else has the answer."""

        def get(self, key: str) -> dict[str, Any] | None:
            found = super().get(key)
            self.set(key, ANSWER)
            return found

    assert Late().get_or_call("k", lambda: pytest.fail("called")) == (ANSWER, True)


def test_a_call_that_fails_leaves_the_others_free_to_try() -> None:
    cache, waiting, tries = Cache(), threading.Event(), []

    def call() -> dict[str, Any]:
        tries.append(1)
        if len(tries) == 1:
            waiting.wait(10)
            raise RuntimeError("outage")
        return ANSWER

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(cache.get_or_call, "k", call)
        while not tries:
            threading.Event().wait(0.001)
        others = [threads.submit(cache.get_or_call, "k", call) for _ in range(3)]
        waiting.set()
        assert isinstance(first.exception(), RuntimeError)
        assert [other.result()[0] for other in others] == [ANSWER] * 3
    assert len(tries) == 2


WRITER = """
import sys
from mipro_nb.cache import Cache
cache = Cache(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    cache.set(f"{sys.argv[2]}-{number}", {"text": sys.argv[2] * 100})
    cache.set("both", {"text": "same"})
"""


def test_two_processes_write_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [subprocess.Popen([*command, name], text=True, **pipes) for name in "ab"]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=60)[1] for writer in writers]
    assert said == ["", ""]
    cache = Cache(tmp_path)
    assert cache.get("both") == {"text": "same"}
    assert all(cache.get(f"{name}-{n}") == {"text": name * 100} for name in "ab" for n in range(100))


class Bomb:
    """Loading its pickle makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_a_planted_pickle_is_never_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sign = tmp_path / "exploded"
    with diskcache_community.Cache(str(tmp_path / "lm")) as planted:  # the library's own Disk pickles
        planted.set("small", Bomb(str(sign)))
        planted.set("large", [Bomb(str(sign)), "x" * 200_000])
    rows = sqlite3.connect(tmp_path / "lm" / "cache.db")
    assert rows.execute(
        "SELECT COUNT(*) FROM Cache WHERE mode = ?", (diskcache_community.core.MODE_PICKLE,)
    ).fetchone() == (2,)
    rows.close()
    cache = Cache(tmp_path / "lm")
    assert (cache.get("small"), cache.get("large")) == (None, None)
    assert "refused" in caplog.text
    assert cache.get_or_call("small", lambda: ANSWER) == (ANSWER, False)
    assert Cache(tmp_path / "lm").get("small") == ANSWER
    assert not sign.exists()


@pytest.mark.parametrize("planted", ["not json", '["a", "list"]', '"text"', "null", 7])
def test_a_row_that_is_no_answer_is_a_miss(tmp_path: Path, planted: Any) -> None:
    with diskcache_community.Cache(str(tmp_path)) as other:
        other.set("k", planted)
    assert Cache(tmp_path).get("k") is None


def test_nothing_on_disk_is_a_pickle(tmp_path: Path) -> None:
    Cache(tmp_path).set("k", ANSWER)
    rows = sqlite3.connect(tmp_path / "cache.db")
    cells = [cell for table in ("Cache", "Settings") for row in rows.execute(f"SELECT * FROM {table}") for cell in row]
    rows.close()
    assert any('"42"' in str(cell) for cell in cells)
    assert not [cell for cell in cells if isinstance(cell, bytes) and cell[:1] == pickle.PROTO]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "mipro_nb.cache" and r.levelno == logging.WARNING]


def corrupt(tmp_path: Path) -> Path:
    (tmp_path / "cache.db").write_bytes(b"this is no database" * 1000)
    return tmp_path


def blocked(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("a file where the directory should be")
    return tmp_path / "file" / "lm"


@pytest.mark.parametrize("spoil", [corrupt, blocked])
def test_a_cache_that_cannot_be_opened_stays_in_memory(spoil: Any, tmp_path: Path, caplog: Any) -> None:
    cache = Cache(spoil(tmp_path))
    calls = [cache.get_or_call("k", lambda: ANSWER)[1] for _ in range(3)]
    assert calls == [False, True, True]
    (message,) = warned(caplog)
    assert str(tmp_path) in message
    assert "in memory only" in message


@pytest.mark.parametrize(
    "fault", [sqlite3.DatabaseError("malformed"), OSError("full"), diskcache_community.Timeout("locked")]
)
def test_a_disk_that_fails_under_way_is_said_once_and_left(
    fault: Exception, tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise fault

    cache = Cache(tmp_path)
    monkeypatch.setattr(diskcache_community.Cache, "set", fail)
    for number in range(3):
        cache.set(str(number), ANSWER)
    assert cache.get("2") == ANSWER
    (message,) = warned(caplog)
    assert "in memory only" in message


def test_a_database_locked_by_another_program_does_not_end_the_run(tmp_path: Path, caplog: Any) -> None:
    cache = Cache(tmp_path)
    cache._disk.reset("sqlite_busy_timeout", 0, update=False)
    cache._disk._timeout = 0.01
    cache._disk.close()  # the next use opens it with the short limit
    other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert cache.get_or_call("k", lambda: ANSWER) == (ANSWER, False)
        assert cache.get_or_call("k", lambda: ANSWER) == (ANSWER, True)
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert len(warned(caplog)) == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mipro_nb.cache.IN_MEMORY", 2)
    cache = Cache()
    for key in "abc":
        cache.set(key, {"text": key})
    assert [cache.get(key) for key in "abc"] == [None, {"text": "b"}, {"text": "c"}]


def test_the_key_tells_nothing_of_the_request() -> None:
    key = request_key("m", ASK, {})
    assert set(key) <= set("0123456789abcdef")
    assert len(key) == len(hashlib.sha256().hexdigest())
