"""The fakes that are shipped: what they answer, and how they fail when a prompt is unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mipro_nb import Evaluate, Predict, context, exact_match, examples
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LMUnavailable, LoadError, PromptRefused
from mipro_nb.lm import LM
from mipro_nb.testing import EventRecorder, FakeLM, Messages, RecordingLM, ReplayLM
from mipro_nb.usage import track_usage


def test_a_function_answers() -> None:
    lm = FakeLM(lambda messages: messages[-1]["content"].upper())
    assert lm("hello") == "HELLO"
    assert lm.prompts == [[{"role": "user", "content": "hello"}]]
    assert lm.sampling == [{"temperature": 0.0}]


def test_a_list_answers_in_turn_and_says_when_it_is_used_up() -> None:
    lm = FakeLM(["one", "two"])
    assert [lm("a"), lm("b")] == ["one", "two"]
    with pytest.raises(AssertionError, match=r"script of 2 replies is used up[^\n]*\nthe third prompt"):
        lm("the third prompt")
    assert lm.calls == 3  # no try is repeated


def test_a_dict_answers_by_a_piece_of_the_prompt() -> None:
    lm = FakeLM({"sky": "blue", "grass": "green"})
    assert lm("What colour is the sky?") == "blue"
    with pytest.raises(AssertionError, match="doesn't know this prompt:\nWhat colour is snow"):
        lm("What colour is snow?")
    assert lm.calls == 2


def test_an_unknown_prompt_fails_the_evaluation_too() -> None:
    rows = examples([{"q": "1", "a": "1"}], inputs=["q"])
    with pytest.raises(AssertionError, match="q: 1"):
        Evaluate(rows, exact_match)(Predict("q -> a", lm=FakeLM({"nothing": "x"})))


def test_a_text_instead_of_a_list_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"try \['blue'\]"):
        FakeLM("blue")


def test_an_outage_goes_through_the_retries() -> None:
    tries = []

    def answer(messages: Messages) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("dropped")
        return "there"

    assert FakeLM(answer)("hello") == "there"
    tries.clear()
    with pytest.raises(LMUnavailable, match="fake/lm"):
        FakeLM(answer, num_retries=1)("hello")


def test_errors_of_our_tree_pass_as_they_are() -> None:
    def answer(messages: Messages) -> str:
        raise PromptRefused("too long")

    with pytest.raises(PromptRefused, match="too long"):
        FakeLM(answer)("hello")


def test_usage_and_price_are_faked() -> None:
    with track_usage() as account:
        FakeLM(["a b"], price=0.25)("one two three")
    assert account.usage == ev.Usage(1, 0, 3, 2, 0.25)
    assert FakeLM([], price=None).prices() is None
    assert FakeLM([]).prices() == (0.0, 0.0)
    assert FakeLM([], supports_schema=True).supports_schema


def test_calls_can_be_cached_in_memory() -> None:
    from mipro_nb.cache import Cache

    lm = FakeLM(["only once"], cache=Cache())
    assert [lm("a"), lm("a")] == ["only once"] * 2
    assert lm.calls == 1


def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    recording = RecordingLM(FakeLM(["grün 🎉", "drawn again", "warm"]), path)
    ask = [{"role": "user", "content": "colour?"}]
    said = [recording.complete(ask), recording.complete(ask, rollout=1), recording.complete(ask, temperature=0.7)]
    assert recording.prices() == (0.0, 0.0)
    replay = ReplayLM(path)
    with track_usage() as account:
        again = [replay.complete(ask), replay.complete(ask, rollout=1), replay.complete(ask, temperature=0.7)]
    assert [reply.text for reply in again] == [reply.text for reply in said] == ["grün 🎉", "drawn again", "warm"]
    assert account.usage == sum((reply.usage for reply in said), ev.Usage())


def test_a_program_runs_the_same_on_the_replay(tmp_path: Path) -> None:
    rows = examples([{"q": str(n), "a": str(n % 3)} for n in range(6)], inputs=["q"])
    inner: LM = FakeLM(lambda messages: "a: " + str(int(messages[-1]["content"].split()[-1]) % 2))
    first = Evaluate(rows, exact_match)(Predict("q -> a", lm=RecordingLM(inner, tmp_path / "r")))
    second = Evaluate(rows, exact_match)(Predict("q -> a", lm=ReplayLM(tmp_path / "r")))
    assert first.score == second.score == 2 / 6


def test_a_prompt_that_was_not_recorded_fails_with_the_prompt(tmp_path: Path) -> None:
    RecordingLM(FakeLM(["yes"]), tmp_path / "r")("known")
    with pytest.raises(AssertionError, match="another"):
        ReplayLM(tmp_path / "r")("another")


@pytest.mark.parametrize("line", ["no json", "[]", "{}", json.dumps({"key": "k", "text": "t"})])
def test_a_file_that_is_no_recording_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r"
    RecordingLM(FakeLM(["yes"]), path)("known")
    path.write_text(path.read_text() + line)
    with pytest.raises(LoadError, match="line 2"):
        ReplayLM(path)


def test_the_recorder_keeps_events_in_order() -> None:
    recorder = EventRecorder()
    for event in (ev.StageStarted("search", 3), ev.Noted("search", "a"), ev.Noted("search", "b")):
        recorder(event)
    assert [type(event).__name__ for event in recorder.events] == ["StageStarted", "Noted", "Noted"]
    assert [event.message for event in recorder.of(ev.Noted)] == ["a", "b"]


def test_a_replay_answers_what_was_recorded_under_a_schema(tmp_path: Path) -> None:
    program = Predict("q -> tags: list[str]")
    inner = FakeLM(lambda messages: '{"tags": ["a"]}', supports_schema=True)
    with context(lm=RecordingLM(inner, tmp_path / "calls.jsonl")):
        assert program(q="1").tags == ["a"]
    with context(lm=ReplayLM(tmp_path / "calls.jsonl")):
        assert program(q="1").tags == ["a"]
