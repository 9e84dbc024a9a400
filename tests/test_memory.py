import json
import threading

import pytest

from mipro_nb import memory
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.learning import Approach, Result
from mipro_nb.memory import read_memory, write_memory

APPROACH = Approach("fix", "simple", 0.7, True, False)


def result(gain=0.1, group="0.1"):
    return Result(APPROACH, gain, 0.02, group)


def test_a_missing_file_is_an_empty_memory(tmp_path):
    assert read_memory(tmp_path / "none.json") == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_learnt_is_there_for_the_next(tmp_path):
    path = tmp_path / "new" / "memory.json"
    write_memory(path, [result(), result(-0.2)], "run")
    found = read_memory(str(path))
    assert [(one.approach, one.gain, one.error) for one in found] == [(APPROACH, 0.1, 0.02), (APPROACH, -0.2, 0.02)]
    assert [file.name for file in path.parent.iterdir()] == ["memory.json"]


def test_older_runs_count_less_and_the_oldest_go(tmp_path):
    path = tmp_path / "memory.json"
    for number in range(memory.MOST_RUNS + 2):
        write_memory(path, [result(number / 100)], f"run{number}")
    found = read_memory(path)
    assert found[0].weight == 0.8
    assert [one.weight for one in found] == sorted((one.weight for one in found), reverse=True)
    assert len(found) == memory.MOST_RUNS
    assert found[-1].gain == 0.02
    assert len({one.group for one in found}) == len(found)


def test_a_run_that_goes_on_replaces_its_own_results_and_doesnt_read_them(tmp_path):
    path = tmp_path / "memory.json"
    write_memory(path, [result(0.3)], "a")
    write_memory(path, [result(0.1)], "b")
    write_memory(path, [result(0.2)], "a")
    assert sorted(one.gain for one in read_memory(path)) == [0.1, 0.2]
    assert [one.gain for one in read_memory(path, but="a")] == [0.1]


def test_nothing_learnt_writes_nothing(tmp_path):
    write_memory(tmp_path / "memory.json", [], "run")
    assert list(tmp_path.iterdir()) == []


def test_runs_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "memory.json"
    write = [threading.Thread(target=write_memory, args=(path, [result()], f"run{n}")) for n in range(8)]
    for one in write:
        one.start()
    for one in write:
        one.join()
    assert len(read_memory(path)) == 8


def test_what_a_crash_left_half_written_is_taken_away(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ABANDONED", 0.05)
    path = tmp_path / "memory.json"
    (tmp_path / "memory.json.part").write_text('{"format": "mip')
    write_memory(path, [result()], "run")
    assert len(read_memory(path)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["memory.json"]


GOOD = {"kind": "fix", "tip": "simple", "temperature": 0.7, "summary": True, "demos": False}
GOOD = {**GOOD, "gain": 0.1, "error": 0.02, "group": "0.1"}


def saved(**changes):
    one = {**GOOD, **changes}
    return {"format": "mipro_nb.memory", "format_version": 1, "runs": [{"run": "a", "results": [one]}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "can't be read as JSON"),
        ("{", "can't be read as JSON"),
        ("[" * 100_000, "can't be read as JSON"),
        ("a,b\n1,2\n", "can't be read as JSON"),
        ("[]", "not written by mipro_nb"),
        ('{"format": "mipro_nb.program"}', "not written by mipro_nb"),
        (json.dumps({**saved(), "format_version": 2}), "format version 2"),
        (json.dumps({**saved(), "runs": None}), "is damaged"),
        (json.dumps({**saved(), "runs": [{"run": "a"}]}), "is damaged"),
        (json.dumps(saved(gain="much")), "is damaged"),
        (json.dumps(saved(gain=float("nan"))), "is damaged"),
        (json.dumps(saved(gain=7)), "is damaged"),
        (json.dumps(saved(error=-1)), "is damaged"),
        (json.dumps(saved(kind=["fix"])), "is damaged"),
        (json.dumps(saved(tip="x" * 101)), "is damaged"),
        (json.dumps(saved(more=1)), "is damaged"),
    ],
)
def test_what_is_no_memory_is_refused_by_name_and_never_overwritten(tmp_path, text, said):
    path = tmp_path / "mine.json"
    path.write_text(text)
    for act in (lambda: read_memory(path), lambda: write_memory(path, [result()], "run")):
        with pytest.raises(LoadError, match=said) as raised:
            act()
        assert "mine.json" in str(raised.value)
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["mine.json"]


@pytest.mark.parametrize("path", [3, True, ["a"], "", ".", "nul\0byte"])
def test_what_can_be_no_file_is_an_error_of_the_caller(path):
    with pytest.raises(ConfigError, match="memory="):
        read_memory(path)


def test_a_directory_is_an_error_of_the_caller(tmp_path):
    with pytest.raises(ConfigError, match="is a directory"):
        read_memory(tmp_path)


def test_no_text_is_in_the_file(tmp_path):
    write_memory(tmp_path / "memory.json", [result()], "run")
    (run,) = json.loads((tmp_path / "memory.json").read_text())["runs"]
    assert run == {"run": "run", "results": [GOOD]}
