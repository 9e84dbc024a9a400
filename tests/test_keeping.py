"""What a run keeps on the disk while it goes on, and what it says when the disk doesn't take it."""

import json

import pytest
from programs import fake, metric, rows
from readonly import ReadOnly

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb import keeping
from mipro_nb.errors import ConfigError
from mipro_nb.keeping import Keeping
from mipro_nb.options import Options
from mipro_nb.past import Retelling
from mipro_nb.plan import make_job
from mipro_nb.testing import EventRecorder


@pytest.fixture
def kept(tmp_path):
    """kept(run_dir) is a Keeping of a new run there; ``kept.told`` records its events."""
    held = []

    def make(run_dir=tmp_path / "run"):
        lm, history = fake(), mn.History()
        kept.told = EventRecorder()
        emit = Retelling([history, kept.told])
        optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, num_candidates=2)
        given = {"trainset": rows(10), "valset": rows(10, 20), "num_trials": 1, "run_dir": run_dir}
        held.append(Keeping(make_job(optimizer._params, mn.Predict("q -> a"), Options.read(given)), history, emit))
        held[-1].emit = emit
        return held[-1]

    kept = make
    yield kept
    for one in held:
        if one.home is not None:
            one.home.release()


def scored(emit, trial, instruction, score):
    emit(ev.TrialStarted(trial, "full", (instruction,), (), 4, 4))
    for example in range(4):
        emit(ev.ExampleScored(trial, example, score))
    emit(ev.TrialFinished(trial, score, 4, 0))


def program(text):
    return mn.Predict(mn.Signature("q -> a").with_instructions(text))


def saved(keeping):
    return json.loads((keeping.home.path / "program.json").read_text())["predictors"]["self"]["signature"][
        "instructions"
    ]


def test_the_best_program_so_far_is_saved_each_time_that_another_one_leads(kept):
    run = kept()
    run.claim()
    asked = []

    def best(text):
        asked.append(text)
        return program(text)

    run.keep_up(lambda: best("none yet"))
    assert not asked
    scored(run.emit, 0, 0, 0.25)
    run.keep_up(lambda: best("first"))
    run.keep_up(lambda: best("first again"))
    assert saved(run) == "first"
    scored(run.emit, 1, 1, 0.75)
    run.keep_up(lambda: best("second"))
    assert saved(run) == "second"
    assert asked == ["first", "second"]


def test_a_run_without_a_directory_keeps_nothing_and_says_nothing(kept):
    run = kept(False)
    run.claim()
    with run.logging():
        run.keep_up(lambda: program("never asked for"))
        run.save(program("nor this"))
    assert run.home is None
    assert run.saved() is None
    assert not run.remarks


def test_a_directory_that_nobody_asked_for_and_that_can_not_be_made_is_a_remark(kept, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(keeping, "new_directory", lambda name: tmp_path / "file" / "run")
    run = kept(None)
    run.claim()
    assert run.home is None
    (remark,) = run.remarks
    assert remark.startswith("the run is not kept, and can't be resumed: run_dir=")


def test_one_that_was_asked_for_is_an_error(kept, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="can't be used"):
        kept(tmp_path / "file" / "run").claim()


def test_events_are_logged_only_while_it_is_held(kept):
    run = kept()
    run.claim()
    run.emit(ev.Noted("run", "before"))
    with run.logging():
        run.emit(ev.Noted("run", "while"))
    run.emit(ev.Noted("run", "after"))
    log = (run.home.path / "events.jsonl").read_text()
    assert "while" in log
    assert "before" not in log
    assert "after" not in log


def test_what_can_not_be_saved_is_said_once(kept):
    run = kept()
    run.claim()
    disk = ReadOnly(run.home.path, ("program.json", "program.json.part"))
    try:
        disk()
        for _ in range(3):
            run.save(program("lost"))
    finally:
        disk.undo()
    (note,) = kept.told.of(ev.Noted)
    assert note.message.startswith(f"the program could not be saved to {run.home.path / 'program.json'}")
    assert run.remarks == [note.message]
    run.save(program("kept"))
    assert saved(run) == "kept"
