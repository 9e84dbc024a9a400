"""A saved run is opened: all that was known of it, and whether it can go on."""

import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.notebook.view import view_of

PATIENCE = 120
DATA = {"trainset": rows(20), "valset": rows(60, 100), "testset": rows(30, 300)}


def begun(where, lm, program=None, **options):
    with mn.context(lm=lm, progress=False):
        run = mn.MIPROv2(metric, seed=2).start(program or mn.Predict("q -> a"), run_dir=where, **DATA, **options)
    run.result(PATIENCE)
    return run


def enough(history):
    return "enough" if len(history.trials) > 5 else None


@pytest.mark.slow
def test_a_finished_run_shows_all_that_it_showed(tmp_path):
    run = begun(tmp_path, fake())
    opened = mn.Run.open(tmp_path)
    assert opened.status == "finished"
    for table in ("trials", "candidates", "examples"):
        assert getattr(opened, table).equals(getattr(run, table))
    assert opened.history.verdict == run.history.verdict
    assert opened.plan == run.plan
    assert opened.chart().to_dict() == run.chart().to_dict()
    assert "finished" in repr(opened)
    assert opened.result().best.score == run.history.best.score


@pytest.mark.slow
def test_it_has_the_live_views_layout(tmp_path):
    begun(tmp_path, fake())
    opened = mn.Run.open(tmp_path / "events.jsonl")
    view = view_of(opened)
    assert view.history is opened.history
    assert "Saved run" in opened.aside
    assert "no LM is called" in opened.aside
    view.close()


@pytest.mark.slow
def test_a_run_whose_process_died_says_so(tmp_path):
    begun(tmp_path, fake())
    lines = (tmp_path / "events.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "events.jsonl").write_text("".join(lines[: len(lines) // 2]))
    opened = mn.Run.open(tmp_path)
    assert opened.status == "stopped"
    assert "Its process ended before it did; mipro_nb.Run.resume goes on with it" in opened.aside
    assert len(opened.trials)


@pytest.mark.parametrize("path", ["nowhere", ""])
def test_what_is_no_run_is_an_error(tmp_path, path):
    with pytest.raises(LoadError):
        mn.Run.open(tmp_path / path)


def test_a_run_is_resumed_by_its_path_program_and_metric(tmp_path):
    calm = begun(tmp_path / "calm", fake())
    first, second = fake(), fake()
    begun(tmp_path / "torn", first, stop=enough)
    with mn.context(lm=second, progress=False):
        run = mn.Run.resume(tmp_path / "torn", mn.Predict("q -> a"), metric)
    assert run.result(PATIENCE).to_json() == calm.program.to_json()
    assert run.trials.equals(calm.trials)
    assert first.calls + second.calls == calm.history.usage.calls
    assert run.directory == tmp_path / "torn"


def test_settings_and_data_are_those_of_the_first_time(tmp_path):
    lm = fake()
    with mn.context(lm=lm, progress=False):
        optimizer = mn.MIPROv2(metric, seed=0, num_candidates=4, max_labeled_demos=0, search="mipro", max_errors=3)
        options = {"num_trials": 4, "minibatch_size": 10, "stop": enough, "keep": ["Reply"]}
        first = optimizer.start(mn.Predict("q -> a"), run_dir=tmp_path, **DATA, **options)
        first.result(PATIENCE)
        again = mn.Run.resume(tmp_path, mn.Predict("q -> a"), metric, num_threads=2)
        again.result(PATIENCE)
    assert again.plan == first.plan
    assert again.history.started.run_id == first.history.started.run_id
    assert again.job.num_threads == 2


def test_another_program_is_refused(tmp_path):
    begun(tmp_path, fake(), stop=enough)
    with mn.context(lm=fake(), progress=False), pytest.raises(ConfigError, match="signature"):
        mn.Run.resume(tmp_path, mn.Predict("q -> a", "Be brief."), metric)


@pytest.mark.slow
def test_data_that_json_cannot_hold_is_asked_for(tmp_path):
    data = {**DATA, "trainset": [mn.Example(row, extra={1, 2}).with_inputs("q") for row in DATA["trainset"]]}
    with mn.context(lm=fake(), progress=False):
        run = mn.MIPROv2(metric, seed=2).start(mn.Predict("q -> a"), run_dir=tmp_path, stop=enough, **data)
        run.result(PATIENCE)
        with pytest.raises(LoadError, match="trainset="):
            mn.Run.resume(tmp_path, mn.Predict("q -> a"), metric)
        again = mn.Run.resume(tmp_path, mn.Predict("q -> a"), metric, **data)
        again.result(PATIENCE)
    assert again.history.reason == "finished"


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(LoadError, match=r"job\.json"):
        mn.Run.resume(tmp_path, mn.Predict("q -> a"), metric)
