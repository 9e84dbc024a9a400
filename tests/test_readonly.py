"""A run directory that turns read-only: it is said, nothing that was there is lost, the best is returned."""

import os

import pytest
from programs import fake, metric
from readonly import ReadOnly
from test_rundir import DATA, PATIENCE, compiled, same

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError

FILES = ("events.jsonl", "answers.jsonl", "summary.json", "program.json", "job.json")

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files aren't listed here")


@pytest.fixture
def turning():
    made = []

    def make(directory, names=()):
        made.append(ReadOnly(directory, names))
        return made[-1]

    yield make
    for one in made:
        one.undo()


def contents(where):
    return {path.name: path.read_bytes() for path in where.iterdir()}


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("calm"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", [5, 40, 150, 400])
def test_the_run_goes_on_says_so_and_can_be_resumed_from_there(tmp_path, turning, calm, moment, recwarn):
    where = tmp_path / "run"
    best, history, lm = calm
    turn, told, left = turning(where), [], {}

    def listen(event):
        told.append(event)
        if len(told) == moment:
            turn()
            left.update(contents(where))

    found = compiled(where, listeners=[listen])
    said = [str(one.message) for one in recwarn]
    for name in ("events.jsonl can't be written", "answers.jsonl can't be written", "program could not be saved"):
        assert any(name in one for one in said), name
    assert all(sum(one in note.message for note in found[1].notes) == 1 for one in said)
    assert same(found[:2], (best, history))
    assert contents(where) == left
    turn.undo()
    again = compiled(where)
    assert same(again[:2], (best, history))
    assert again[2].calls < lm.calls


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_single_file_that_can_not_be_written_ends_nothing(tmp_path, turning, calm, name, recwarn):
    where = tmp_path / "run"
    turn = turning(where, (name, f"{name}.part"))

    def listen(event):
        if isinstance(event, ev.StageStarted) and event.stage == "search":
            turn()

    found = compiled(where, listeners=[listen])
    assert same(found[:2], calm[:2])
    said = [str(one.message) for one in recwarn]
    assert any(name in one for one in said) == (name not in ("summary.json", "job.json"))
    turn.undo()
    assert same(compiled(where)[:2], calm[:2])


@pytest.mark.slow
def test_a_run_is_not_begun_nor_gone_on_with_there_and_still_shown(tmp_path, turning):
    where = tmp_path / "run"
    best, _, _ = compiled(where, 80)
    before = contents(where)
    turning(tmp_path)()
    for path in (where, tmp_path / "other"):
        with pytest.raises(ConfigError, match=r"can't be used: .*Read-only"):
            compiled(path)
    assert contents(where) == before
    assert mn.Run.open(where).history.best is not None
    assert mn.load(where / "program").to_json() == best.to_json()
    assert len(mn.runs(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_what_can_not_be_written_from_the_beginning_is_said(tmp_path, turning, name, recwarn):
    where = tmp_path / "run"
    compiled(where, 80)
    before = contents(where)
    turning(where, (name, f"{name}.part"))()
    if name in ("events.jsonl", "answers.jsonl"):
        with pytest.raises(ConfigError, match=r"can't be written: .*Read-only"):
            compiled(where)
        assert contents(where) == before
    else:
        compiled(where, 120)
        assert contents(where)[name] == before[name]
        assert any(name in str(one.message) for one in recwarn) == (name == "program.json")


def test_an_extension_of_a_run_whose_directory_can_not_be_written_any_more_is_refused(tmp_path, turning):
    with mn.context(lm=fake(), progress=False):
        run = mn.MIPROv2(metric, seed=2).start(mn.Predict("q -> a"), run_dir=tmp_path / "run", **DATA)
    best = run.result(PATIENCE)
    turning(tmp_path)()
    run.extend(3)
    with pytest.raises(ConfigError, match="Read-only"):
        run.result(PATIENCE)
    assert run.program.to_json() == best.to_json()
