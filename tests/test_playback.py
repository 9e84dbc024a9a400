"""A recorded run is played again: what a person gets who has no time, no key and no LM."""

import asyncio
import math
import threading
import time

import histories
import pytest
from programs import fake, metric, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.eventlog import to_line
from mipro_nb.playback import Replay
from mipro_nb.testing import EventRecorder

PATIENCE = 60  # seconds, for what should come at once


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The directory of a real run, and its history."""
    folder, history, lm = tmp_path_factory.mktemp("run"), mn.History(), fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1)
    data = {"trainset": rows(20), "valset": rows(30, 20), "testset": rows(40, 100), "minibatch_size": 10}
    with mn.context(progress=False):
        optimizer.compile(mn.Predict("q -> a"), num_trials=4, listeners=[history], run_dir=folder, **data)
    return folder, history


def lines(events):
    return [to_line(event) for event in events]


def until(check):
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def played(path, speed=math.inf):
    replay = Replay(path, speed)
    replay.start()
    assert replay.wait(PATIENCE)
    return replay


@pytest.mark.slow
def test_it_ends_as_the_run_did(recording):
    folder, history = recording
    replay = played(folder)
    assert lines(replay.history.events) == lines(history.events)
    assert (replay.status, replay.name) == ("finished", "Predict")
    assert replay.history.verdict == history.verdict
    assert replay.trials.equals(history.trials_frame())
    assert replay.candidates.equals(history.candidates_frame())
    assert replay.examples.equals(history.examples_frame())
    assert replay.chart().to_dict()


def test_its_clock_is_the_runs(recording):
    folder, history = recording
    replay = Replay(folder)
    assert replay.now == history.events[0].at
    replay.speed = math.inf
    replay.start()
    assert replay.wait(PATIENCE)
    assert replay.now == history.events[-1].at


def test_the_plan_is_the_runs(recording):
    folder, _ = recording
    lm = fake()
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1)
    data = {"trainset": rows(20), "valset": rows(30, 20), "testset": rows(40, 100), "minibatch_size": 10}
    assert Replay(folder).plan == optimizer.plan(mn.Predict("q -> a"), num_trials=4, **data)


def test_a_log_without_a_plan_plays_too(tmp_path):
    histories.middle().write(tmp_path / "events.jsonl")
    replay = played(tmp_path)
    assert replay.plan is None
    assert replay.status == "stopped"  # the recording breaks off


def test_a_run_that_failed_fails_again(tmp_path):
    histories.failed().write(tmp_path / "events.jsonl")
    assert played(tmp_path).status == "failed"


def test_listeners_get_every_event_in_order_and_the_end_is_told_before_those_who_wait(recording):
    folder, history = recording
    replay, recorder, told = Replay(folder, math.inf), EventRecorder(), []
    replay.listen(recorder, lambda: told.append(replay.status))
    replay.listen(deaf := EventRecorder())
    replay.forget(deaf)
    replay.start()
    assert replay.result(PATIENCE) is replay.history
    assert lines(recorder.events) == lines(history.events)
    assert not deaf.events
    assert told == ["finished"]


def test_it_waits_for_its_start_pauses_goes_on_and_stops(recording):
    folder, history = recording
    replay = Replay(folder, 1e-6)  # so slow that nothing more happens by itself
    assert replay.status == "waiting"
    replay.start()
    until(lambda: replay.history.events)
    assert replay.status == "running"
    replay.pause()
    assert replay.status == "paused"
    now = replay.now
    time.sleep(0.05)
    assert replay.now == now
    replay.unpause()
    assert replay.status == "running"
    assert not replay.wait(0.01)
    with pytest.raises(TimeoutError, match="goes on"):
        replay.result(0.01)
    replay.stop()
    assert replay.wait(PATIENCE)
    assert replay.status == "stopped"
    assert replay.history.reason == "stopped: the replay was stopped"
    assert len(replay.history.events) < len(history.events)


def test_stopped_before_its_start_it_has_shown_nothing(recording):
    replay = Replay(recording[0])
    replay.stop()
    assert replay.wait(PATIENCE)
    assert (replay.status, replay.history.events) == ("stopped", [])
    replay.start()  # too late
    assert not replay.history.events


def test_a_paused_replay_can_be_stopped(recording):
    replay = Replay(recording[0], 1e-6)
    replay.start()
    replay.pause()
    replay.stop()
    assert replay.wait(PATIENCE)


def test_the_speed_can_be_changed_while_it_plays(recording):
    replay = Replay(recording[0], 1e-6)
    replay.start()
    replay.speed = math.inf
    assert replay.wait(PATIENCE)
    assert replay.status == "finished"


def test_it_can_be_awaited_more_than_once(recording):
    async def both():
        replay = Replay(recording[0], math.inf)
        replay.start()
        return await replay, await replay

    first, second = asyncio.run(both())
    assert first is second
    assert first.reason == "finished"


def test_a_cancelled_await_leaves_it_playing(recording):
    async def impatient():
        replay = Replay(recording[0], 1e-6)
        replay.start()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_awaited(replay), 0.01)
        replay.speed = math.inf
        return await replay

    assert asyncio.run(impatient()).reason == "finished"


async def _awaited(replay):
    return await replay


def test_it_says_that_it_is_a_replay_and_of_when(recording):
    replay = Replay(recording[0], 20)
    year = time.strftime("%Y", time.gmtime(recording[1].events[0].at))
    assert year in replay.aside
    assert "20 times its speed" in replay.aside
    assert "no LM is called" in replay.aside
    assert repr(replay).startswith("Replay of Predict, waiting")


def test_it_cannot_be_extended(recording):
    replay = Replay(recording[0])
    assert not replay.extendable
    with pytest.raises(ConfigError, match="can't be extended"):
        replay.extend(3)


@pytest.mark.parametrize("speed", [0, -1, math.nan, "fast", None, True])
def test_a_speed_that_is_none_is_refused(recording, speed):
    with pytest.raises(ConfigError, match="speed="):
        Replay(recording[0], speed)
    replay = Replay(recording[0])
    with pytest.raises(ConfigError, match="above 0"):
        replay.speed = speed


def test_a_path_that_is_no_run_says_what_is_there(tmp_path):
    (tmp_path / "find_product").mkdir()
    with pytest.raises(LoadError, match="find_product"):
        mn.replay(tmp_path / "find_products")


def test_an_interrupt_stops_it(recording, monkeypatch):
    replay = Replay(recording[0], 1e-6)
    replay.start()
    result, interrupts = replay._ended.result, [KeyboardInterrupt()]
    monkeypatch.setattr(replay._ended, "result", lambda timeout=None: _raise_once(interrupts, result, timeout))
    assert replay.wait(PATIENCE)
    assert replay.status == "stopped"


def _raise_once(errors, otherwise, timeout):
    if errors:
        raise errors.pop()
    return otherwise(timeout)


def test_last_words_that_fail_keep_nobody_waiting(recording, caplog):
    replay = Replay(recording[0], math.inf)
    replay.listen(EventRecorder(), lambda: 1 / 0)
    replay.start()
    assert replay.wait(PATIENCE)
    assert "could not be shown" in caplog.text


def test_no_thread_is_left(recording):
    played(recording[0])
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "mipro_nb replay"])


def test_the_recording_is_not_changed(recording):
    before = (recording[0] / "events.jsonl").read_bytes()
    replay = Replay(recording[0], 1e-6)
    replay.start()
    until(lambda: replay.history.events)
    replay.stop()
    replay.wait(PATIENCE)
    assert (recording[0] / "events.jsonl").read_bytes() == before
    assert isinstance(replay.history.events[-1], ev.RunFinished)


def test_it_shows_in_the_live_view_which_has_its_methods(recording):
    view = mn.replay(recording[0], math.inf)
    assert view.result(PATIENCE).reason == "finished"
    assert view.status == "finished"
    assert view.speed == math.inf
    assert {"pause", "stop", "trials", "speed", "history"} <= set(dir(view))
    state = view._feed.state()["_status"]
    assert "Replay of a run recorded on" in state["reason"]
    assert state["elapsed"] == round(recording[1].seconds, 1)
    assert not state["extendable"]
    view.close()


@pytest.mark.slow
def test_it_writes_the_report_of_the_run(recording, tmp_path):
    replay = played(recording[0])
    page = replay.report(tmp_path / "found.html")
    assert page == tmp_path / "found.html"
    assert "<!DOCTYPE html>" in page.read_text()[:40]
    assert "MIPROv2 · Predict · finished" in replay.report(tmp_path / "found.md").read_text()


def test_the_views_speed_is_the_replays(recording):
    view = mn.replay(recording[0], 1e-6)
    view.speed = math.inf
    assert view.run.speed == math.inf
    assert view.result(PATIENCE).reason == "finished"
    with pytest.raises(ConfigError, match="speed="):
        view.speed = -1
    view.close()


def test_the_reason_of_a_stop_is_told(recording):
    replay = Replay(recording[0], 1e-6)
    replay.start()
    until(lambda: replay.history.events)
    replay.stop("I saw enough")
    assert replay.result(PATIENCE).reason == "stopped: I saw enough"


def test_a_recording_that_cannot_be_told_ends_and_says_why(recording, monkeypatch):
    replay = Replay(recording[0], math.inf)
    monkeypatch.setattr(replay, "_listeners", lambda event: 1 / 0)
    replay.start()
    assert replay.wait(PATIENCE)
    assert replay.status == "failed"
    assert isinstance(replay.error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        replay.result(PATIENCE)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(_awaited(replay))


@pytest.mark.parametrize("text", ["", '{"event": "StageSt'], ids=["empty", "half a line"])
def test_a_log_without_an_event_is_nothing_to_replay(tmp_path, text):
    (tmp_path / "events.jsonl").write_text(text)
    with pytest.raises(LoadError, match="holds no events"):
        Replay(tmp_path)


@pytest.mark.parametrize("path", [None, 3, mn.History(), "x" * 5000, "a\0b"], ids=["None", "3", "history", "long", "0"])
def test_what_is_no_path_is_an_error_that_says_so(path):
    with pytest.raises(LoadError, match=r"path=|doesn't exist"):
        mn.replay(path)


@pytest.mark.parametrize("speed", [1e300, 10**400, 2, 0.5], ids=["1e300", "10**400", "2", "0.5"])
def test_any_real_speed_will_do(recording, speed):
    replay = Replay(recording[0], speed)
    assert 0 < replay.speed < math.inf


def test_the_home_folder_may_be_written_as_a_tilde(recording, monkeypatch):
    monkeypatch.setenv("HOME", str(recording[0].parent))
    assert Replay(f"~/{recording[0].name}").name == "Predict"
