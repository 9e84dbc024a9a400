"""The table of runs: what there is, how it ended, what it cost; whatever lies in the directory."""

import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb.errors import ConfigError

DATA = {"trainset": rows(20), "valset": rows(60, 100)}


def made(where, stop=None, price=0.01):
    with mn.context(lm=fake(price=price), progress=False):
        mn.MIPROv2(metric, seed=2).compile(mn.Predict("q -> a"), run_dir=where, stop=stop, **DATA)


def test_runs_are_listed_newest_first(tmp_path, monkeypatch):
    monkeypatch.setenv("MIPRO_NB_DATA", str(tmp_path))
    made(None)
    made(None, stop=lambda history: "enough" if len(history.trials) > 3 else None)
    table = mn.runs()
    assert list(table.status) == ["stopped", "finished"]
    assert set(table.program) == {"Predict"}
    assert table.cost.iloc[1] == pytest.approx(0.01 * table.calls.iloc[1])
    assert table.when.is_monotonic_decreasing
    assert mn.Run.open(table.path[1]).history.best.score == table.best[1]


def test_a_place_without_runs_gives_an_empty_table(tmp_path, monkeypatch):
    monkeypatch.setenv("MIPRO_NB_DATA", str(tmp_path / "nothing"))
    assert mn.runs().empty
    assert mn.runs(tmp_path).empty


@pytest.mark.slow
def test_a_run_directory_is_listed_itself(tmp_path):
    made(tmp_path / "one")
    assert len(mn.runs(tmp_path / "one")) == len(mn.runs(tmp_path)) == 1


@pytest.mark.slow
def test_a_run_whose_process_died_is_cut_off(tmp_path):
    made(tmp_path / "one")
    (tmp_path / "one" / "summary.json").unlink()
    lines = (tmp_path / "one" / "events.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "one" / "events.jsonl").write_text("".join(lines[:-3]))
    assert list(mn.runs(tmp_path).status) == ["cut off"]


@pytest.mark.slow
def test_a_run_that_goes_on_is_running(tmp_path):
    seen = []

    def look(history):
        if len(history.trials) > 3 and not seen:
            seen.append(mn.runs(tmp_path).status[0])
        return None

    made(tmp_path / "one", stop=look)
    assert seen == ["running"]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"event": "FromTomorrow", "at": 1.0}\n'])
def test_what_cannot_be_read_does_not_hide_the_others(tmp_path, damage):
    made(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "events.jsonl").write_text(damage)
    (tmp_path / "bad" / "summary.json").write_text("{}")
    (tmp_path / "note.txt").write_text("not a run")
    assert "finished" in set(mn.runs(tmp_path).status)
    assert len(mn.runs(tmp_path)) == 2


def test_a_directory_that_is_not_there_is_named(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError, match="Did you mean 'runs'"):
        mn.runs(tmp_path / "run")
