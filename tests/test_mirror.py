"""The mirror of a run in an Optuna storage: what optuna-dashboard shows while it goes on, and that it costs nothing."""

import logging
import os
import threading
import time

import optuna
import pytest
from programs import fake, metric, reply, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb import mirroring
from mipro_nb.errors import ConfigError
from mipro_nb.mirror import Study
from mipro_nb.mirroring import mirrored
from mipro_nb.reflection import study_name
from mipro_nb.testing import EventRecorder

PATIENCE = 60  # seconds, for what should come at once
FINISHED = ("COMPLETE", "PRUNED")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(mirroring, "PERIOD", 0.01)
    monkeypatch.setattr(mirroring, "RETRY", (0.02, 0.5))


def start(storage, lm=None, search="paired", program=None, **options):
    lm = lm or fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1, search=search)
    data = {"trainset": rows(20), "valset": rows(40, 20), "minibatch_size": 10, "num_trials": 8, **options}
    return optimizer.start(program or mn.Predict("q -> a"), storage=storage, **data)


def done(storage, **options):
    run = start(storage, **options)
    run.result(PATIENCE)
    return run


def url(path):
    return f"sqlite:///{path}/runs.db"


def opened(run, storage):
    """The study as another process reads it."""
    return optuna.load_study(study_name=study_name(run.history.started), storage=storage)


def threads():
    return {one for one in threading.enumerate() if one.name == "mipro_nb mirror"}


def trials_in(run, storage):
    try:
        return opened(run, storage).trials
    except KeyError:  # no study yet
        return []


def caught_up(run, storage):
    """Whether the study shows all that the run, which waits at a gate, has scored."""
    seen = {trial.user_attrs["trial"]: trial for trial in trials_in(run, storage)}
    known = [own for own in run.history.trials if any(one.score is not None for one in own.scored.values())]
    return len(known) > 1 and all(own.number in seen and seen[own.number].last_step == len(own.scored) for own in known)


def until(check):
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_same(run, study):
    """The study holds every trial of the run once, with its values; its best is the run's."""
    trials = {trial.user_attrs["trial"]: trial for trial in study.trials}
    assert len(trials) == len(study.trials)
    assert sorted(trials) == sorted(trial.number for trial in run.history.trials)
    for own in run.history.trials:
        told = trials[own.number]
        assert told.state.name in (FINISHED if own.score is not None else ("PRUNED", "FAIL"))
        assert told.value == own.score
        assert told.params["self.instruction"] == own.instructions[0]
        assert told.params.get("self.demos") == (own.demos[0] if own.demos else None)
        assert told.user_attrs["kind"] == own.kind
        if own.score is not None:
            assert told.last_step == told.user_attrs["examples"] == own.examples
            assert told.intermediate_values[told.last_step] == own.score
            assert told.user_attrs["failed"] == own.failed
    assert study.best_trial.user_attrs["trial"] == run.history.best.number
    assert study.best_value == run.history.best.score


def notes(run):
    return [note.message for note in run.history.notes if "storage" in note.message]


class Gate:
    """Replies of a fake LM that wait at a door, once ``after`` calls were made."""

    def __init__(self, after):
        self.open, self.reached, self.after, self.calls = threading.Event(), threading.Event(), after, 0

    def __call__(self, messages):
        self.calls += 1
        if self.calls > self.after:
            self.reached.set()
            assert self.open.wait(PATIENCE)
        return reply(messages)


# --- what it shows


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "thompson", "mipro"])
def test_at_the_end_the_study_says_what_the_history_says(tmp_path, search):
    run = done(url(tmp_path), search=search, testset=rows(20, 100))
    study = opened(run, url(tmp_path))
    assert_same(run, study)
    assert study.direction.name == "MAXIMIZE"
    told = study.user_attrs
    assert (told["program"], told["status"], told["run_id"]) == ("Predict", "finished", run.history.started.run_id)
    assert told["settings"]["search"] == search
    assert told["best"]["trial"] == run.history.best.number
    assert told["verdict"]["word"] == run.history.verdict.word
    assert told["test_baseline"]["score"] == run.history.verdict.baseline, "not among the trials"
    assert (told["calls"], told["cost"]) == (run.history.usage.calls, 0.0)
    assert not notes(run)


@pytest.mark.slow
def test_every_seed_has_the_same_best():
    storage = optuna.storages.InMemoryStorage()
    for seed in range(8):
        run = done(storage, seed=seed, valset=rows(12, 20))  # many scores are equal
        assert_same(run, opened(run, storage))
    assert len(optuna.get_all_study_names(storage)) == 8


@pytest.mark.slow
def test_while_it_goes_on_trials_are_seen_running(tmp_path):
    reader = optuna.storages.RDBStorage(url(tmp_path))  # there are its tables before both read and write
    gate = Gate(120)
    run = start(url(tmp_path), fake(replies=gate), num_trials=20)
    assert gate.reached.wait(PATIENCE)

    until(lambda: caught_up(run, reader))
    study = opened(run, url(tmp_path))
    assert {trial.state.name for trial in study.trials} == {"RUNNING"}
    assert study.user_attrs["status"] == "running"
    texts = {one.index: one.text for one in run.history.instructions}
    for trial in study.trials:
        assert trial.user_attrs["self.instruction text"] == texts[trial.params["self.instruction"]]
        assert trial.user_attrs["self.demos origin"].endswith(" demos")
    gate.open.set()
    run.result(PATIENCE)
    assert_same(run, opened(run, url(tmp_path)))


@pytest.mark.slow
def test_trials_that_are_over_are_finished_at_once(tmp_path):
    reader = optuna.storages.RDBStorage(url(tmp_path))
    gate = Gate(150)
    run = start(url(tmp_path), fake(replies=gate), search="mipro", num_trials=20)
    assert gate.reached.wait(PATIENCE)
    over = {own.number: own.score for own in run.history.trials if own.finished}
    assert len(over) > 1

    def seen():
        trials = trials_in(run, reader)
        return {one.user_attrs["trial"]: one.value for one in trials if one.state.name in FINISHED}

    until(lambda: seen() == over)
    kinds = {
        one.user_attrs["kind"]: one.state.name
        for one in opened(run, url(tmp_path)).trials
        if one.state.name in FINISHED
    }
    assert (kinds["baseline"], kinds["minibatch"]) == ("COMPLETE", "PRUNED"), "a part of the examples doesn't rank"
    assert opened(run, url(tmp_path)).best_trial.user_attrs["kind"] in ev.FULL
    gate.open.set()
    run.result(PATIENCE)
    assert_same(run, opened(run, url(tmp_path)))


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_stopped_run_leaves_no_trial_running(search):
    storage = optuna.storages.InMemoryStorage()
    gate = Gate(150)
    run = start(storage, fake(replies=gate), num_trials=30, search=search)
    assert gate.reached.wait(PATIENCE)
    run.stop()
    gate.open.set()
    run.result(PATIENCE)
    study = opened(run, storage)
    assert_same(run, study)
    assert study.user_attrs["status"] == "stopped: as asked"


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_run_that_is_extended_goes_on_in_its_study(tmp_path, search):
    run = done(url(tmp_path), search=search, num_trials=4)
    before = len(run.history.trials)
    run.extend(12)
    run.result(PATIENCE)
    assert len(run.history.trials) > before
    assert optuna.get_all_study_names(url(tmp_path)) == [study_name(run.history.started)]
    assert_same(run, opened(run, url(tmp_path)))


def test_a_run_that_is_resumed_finds_its_study():
    storage = optuna.storages.InMemoryStorage()
    run = done(storage)
    events = run.history.events
    opened(run, storage).set_user_attr("mine", "kept")
    ids = [trial._trial_id for trial in opened(run, storage).trials]

    def again(upto, after=()):
        history = mn.History(after)
        emit = ev.Emitter([history])
        with mirrored(storage, history, emit):
            for event in events[len(after) : upto]:
                emit(event)

    half = len(events) // 2
    again(half)  # a run that goes through its log once more, and dies
    again(len(events), events[:half])  # and goes on from what it knows
    study = opened(run, storage)
    assert_same(run, study)
    assert [trial._trial_id for trial in study.trials] == ids
    assert study.user_attrs["mine"] == "kept"


def test_what_a_killed_run_left_running_is_finished_when_it_is_resumed():
    storage = optuna.storages.InMemoryStorage()
    run = done(None)
    events = run.history.events
    half = len(events) * 2 // 3
    for upto in (half, len(events)):
        history = mn.History()
        emit = ev.Emitter([history])
        with mirrored(storage, history, emit):
            for event in events[:upto]:
                emit(event)
        states = {trial.state.name for trial in opened(run, storage).trials}
        assert ("RUNNING" in states) == (upto == half)
    assert_same(run, opened(run, storage))


def test_later_proposals_fit_into_the_same_study():
    storage = optuna.storages.InMemoryStorage()
    run = done(storage, num_trials=30)
    assert max(trial.instructions[0] for trial in run.history.trials) >= run.plan.num_instructions
    for index in range(20):
        run.add_instruction("self", f"Say what you know, way {index}.")
    run.extend(20)
    run.result(PATIENCE)
    assert not notes(run)
    assert_same(run, opened(run, storage))


@pytest.mark.slow
def test_each_predictor_has_its_parameters():
    storage = optuna.storages.InMemoryStorage()
    from programs import TwoSteps, two_step_reply

    run = done(storage, lm=fake(replies=two_step_reply), program=TwoSteps())
    assert set(opened(run, storage).trials[0].params) == {
        f"{name}.{kind}" for name in ("hint", "answer") for kind in ("instruction", "demos")
    }


@pytest.mark.parametrize("make", [optuna.storages.InMemoryStorage, None])
def test_a_storage_of_optunas_will_do(tmp_path, make):
    file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    storage = make() if make is not None else optuna.storages.JournalStorage(file)
    run = done(storage)
    assert_same(run, opened(run, storage))


@pytest.mark.slow
def test_optuna_says_nothing_of_it(tmp_path, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    done(url(tmp_path))
    told = capfd.readouterr()
    assert told.out + told.err == ""


def test_failed_calls_are_no_zeros():
    storage = optuna.storages.InMemoryStorage()

    def failing(messages):
        if "item 25" in messages[-1]["content"] or "item 31" in messages[-1]["content"]:
            raise mn.errors.LMUnavailable("out")
        return reply(messages)

    run = done(storage, lm=fake(replies=failing, num_retries=0), search="mipro")
    assert any(trial.failed for trial in run.history.trials)
    assert_same(run, opened(run, storage))


# --- what it must not do


def broken(tmp_path):
    (tmp_path / "runs.db").mkdir()
    return url(tmp_path)


def unreachable(tmp_path):
    return f"sqlite:///{tmp_path}/nowhere/runs.db"


def without_driver(tmp_path):
    return "mssql+pymssql://me:hunter2@db.invalid/runs"


@pytest.mark.slow
@pytest.mark.parametrize("make", [broken, unreachable, without_driver])
def test_a_storage_that_never_worked_is_told_once_and_the_run_goes_on(tmp_path, make, caplog):
    with caplog.at_level(logging.WARNING):
        run = done(make(tmp_path))
    assert run.status == "finished"
    (note,) = notes(run)
    assert "can't be written" in note
    assert sum("storage=" in record.getMessage() for record in caplog.records) == 1
    assert "hunter2" not in caplog.text + note


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "directory", "damaged"])
def test_a_storage_that_breaks_in_the_middle_is_told_once(tmp_path, how):
    reader = optuna.storages.RDBStorage(url(tmp_path))
    gate = Gate(120)
    run = start(url(tmp_path), fake(replies=gate), num_trials=20)
    assert gate.reached.wait(PATIENCE)
    until(lambda: len(trials_in(run, reader)) > 1)
    (tmp_path / "runs.db").unlink()
    if how == "directory":
        (tmp_path / "runs.db").mkdir()
    if how == "damaged":
        (tmp_path / "runs.db").write_bytes(os.urandom(10_000))
    gate.open.set()
    run.result(PATIENCE)
    assert run.status == "finished"
    if how != "gone":
        assert len(notes(run)) == 1
    else:
        assert_same(run, opened(run, url(tmp_path)))  # made anew, and everything is in it


class Failing(optuna.storages.InMemoryStorage):
    """Fails from the n-th write on, until it is mended."""

    def __init__(self, good, bad=10**9):
        super().__init__()
        self.good, self.bad, self.writes = good, bad, 0

    def _write(self):
        self.writes += 1
        if self.good < self.writes <= self.good + self.bad:
            raise OSError("no space left on device")

    def create_new_trial(self, *args, **kwargs):
        self._write()
        return super().create_new_trial(*args, **kwargs)

    def set_trial_intermediate_value(self, *args):
        self._write()
        super().set_trial_intermediate_value(*args)

    def set_study_user_attr(self, *args):
        self._write()
        super().set_study_user_attr(*args)


def test_a_storage_that_raises_stops_nothing():
    run = done(Failing(5))
    assert run.status == "finished"
    assert notes(run) == [mirroring.BROKEN.format(reason="no space left on device")]


@pytest.mark.slow
@pytest.mark.parametrize("good", range(0, 30, 7))
def test_a_storage_that_works_again_gets_everything(good):
    storage = Failing(good, bad=2)
    run = done(storage)
    assert len(notes(run)) == 1
    assert_same(run, opened(run, storage))


@pytest.mark.slow
def test_a_study_that_somebody_deletes_is_made_anew(tmp_path):
    reader = optuna.storages.RDBStorage(url(tmp_path))
    gate = Gate(120)
    run = start(url(tmp_path), fake(replies=gate), num_trials=20)
    assert gate.reached.wait(PATIENCE)
    until(lambda: caught_up(run, reader))  # Optuna doesn't delete well beside somebody who writes
    optuna.delete_study(study_name=study_name(run.history.started), storage=url(tmp_path))
    gate.open.set()
    run.result(PATIENCE)
    assert_same(run, opened(run, url(tmp_path)))


class Slow(optuna.storages.InMemoryStorage):
    """Its first trial isn't written before the door is open."""

    def __init__(self):
        super().__init__()
        self.open, self.created, self.steps = threading.Event(), 0, 0

    def create_new_trial(self, *args, **kwargs):
        self.created += 1
        assert self.open.wait(PATIENCE)
        return super().create_new_trial(*args, **kwargs)

    def set_trial_intermediate_value(self, *args):
        self.steps += 1
        super().set_trial_intermediate_value(*args)


def test_a_slow_storage_holds_nothing_up_and_gets_less():
    storage = Slow()

    def at_end(event):
        if isinstance(event, ev.RunFinished):
            assert storage.created <= 1
            storage.open.set()

    run = done(storage, listeners=[at_end])
    assert storage.open.is_set(), "the run came to its end while the storage was still at its first trial"
    assert not notes(run)
    assert_same(run, opened(run, storage))
    scored = sum(isinstance(event, ev.ExampleScored) for event in run.history.events)
    assert storage.steps < scored / 5, "of what it was too slow for, it gets the end alone"


@pytest.mark.slow
def test_a_storage_that_hangs_is_left_alone_in_the_end(monkeypatch):
    monkeypatch.setattr(mirroring, "PATIENCE", 0.1)
    storage, before = Slow(), threads()
    run = done(storage)
    assert run.status == "finished"
    assert notes(run) == [mirroring.SLOW]
    storage.open.set()
    until(lambda: threads() <= before)


@pytest.mark.slow
def test_no_thread_is_left(tmp_path):
    before = threads()
    run = done(url(tmp_path))
    assert run.status == "finished"
    assert threads() <= before


def test_the_run_is_the_same_with_and_without(tmp_path):
    plain, mirrored_ = done(None), done(url(tmp_path))
    assert [t.score for t in plain.history.trials] == [t.score for t in mirrored_.history.trials]
    assert plain.program.to_json() == mirrored_.program.to_json()


@pytest.mark.slow
def test_compile_mirrors_too(tmp_path):
    recorder, lm = EventRecorder(), fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4)
    optimizer.compile(
        mn.Predict("q -> a"), trainset=rows(20), num_trials=3, storage=url(tmp_path), listeners=[recorder]
    )
    (name,) = optuna.get_all_study_names(url(tmp_path))
    assert name == study_name(recorder.of(ev.RunStarted)[0])


# --- what is given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("runs.db", "Did you mean 'sqlite:///runs.db'"),
        ("", "the URL of a database is needed"),
        ("postgres://db/runs", "Did you mean 'postgresql'"),
        ("redis://db/0", "'redis' is no database that is known; accepted: sqlite, postgresql"),
        ("postgresql://me:hunter2@db:port/runs", "the URL of a database is needed"),
        ("nonsense://me:hunter2@db/runs", "storage='nonsense://...'"),
        (7, "storage=int"),
        (object(), "an Optuna storage, is needed"),
    ],
)
def test_what_is_no_storage_is_refused_before_anything_is_spent(given, said):
    lm = fake()
    with pytest.raises(ConfigError, match="storage=") as raised:
        start(given, lm)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert lm.calls == 0


def test_its_password_is_in_no_event_and_no_repr(tmp_path):
    run = done("mssql+pymssql://me:hunter2@db.invalid/runs", run_dir=tmp_path)
    assert "hunter2" not in (tmp_path / "events.jsonl").read_text()
    assert "hunter2" not in repr(run.job.options)
    assert "storage" not in run.history.started.settings


@pytest.mark.skipif("MIPRO_NB_POSTGRESQL" not in os.environ, reason="MIPRO_NB_POSTGRESQL holds no database's URL")
def test_on_postgresql():
    storage = os.environ["MIPRO_NB_POSTGRESQL"]
    run = done(storage, testset=rows(20, 100))
    assert_same(run, opened(run, storage))
    run.extend(12)
    run.result(PATIENCE)
    assert_same(run, opened(run, storage))
    assert not notes(run)
    Study(storage, study_name(run.history.started)).close()
