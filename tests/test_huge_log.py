"""A run of a day: millions of events in one log. It opens, in little memory, and its view answers."""

import json
import math
import subprocess
import sys
import tracemalloc

import huge_log
import pytest

from mipro_nb import History
from mipro_nb.notebook import closeup, static, thinned, wire
from mipro_nb.notebook.feed import Snapshot
from mipro_nb.playback import Replay
from mipro_nb.testing import EventRecorder

SMALL = 10_000  # ExampleScored, and twice as many events
WIRE = 150_000  # bytes that a view is sent when it opens
OPENS = """
import resource, sys, time
began = time.monotonic()
from test_huge_log import shown
from mipro_nb.playback import Replay
replay = Replay(sys.argv[1], float("inf"))
opened = time.monotonic() - began
replay.start()
replay.result()
sizes = shown(replay)
answered = time.monotonic() - began - opened
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scored = sum(len(trial.scored) for trial in replay.history.trials)
print(opened, answered, peak * (1 if sys.platform == "darwin" else 1024), scored, *sizes)
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return huge_log.write(tmp_path_factory.mktemp("day"), SMALL)


@pytest.fixture
def left_on_disk(monkeypatch):
    """As with a log that is too long for memory."""
    monkeypatch.setattr("mipro_nb.history.HELD", 0)
    monkeypatch.setattr("mipro_nb.playback.LONG", 1_000)


def shown(replay):
    """Ask for all that a view shows; return the bytes that it is sent at first, and those of its answers."""
    history = replay.history
    sent = Snapshot(replay).take(replay.now)
    first = sum(len(value) if isinstance(value, bytes) else len(json.dumps(value)) for value in sent.values())
    answers = [closeup.examples(history, query="lid"), closeup.example(history, 7), wire.status(replay, replay.now, 1)]
    page = static.frozen(history)["text/html"]
    assert len(history.trials_frame()) == len(history.trials)
    assert len(history.examples_frame()) == len(history.baseline.scored)
    assert len(history.candidates_frame()) == 2 * huge_log.SIDE
    return [first, *(len(json.dumps(answer)) for answer in answers), len(page)]


def test_the_log_is_a_run(log):
    history = History.read(log)
    assert sum(len(trial.scored) for trial in history.trials) == SMALL
    assert (history.reason, history.seconds) == ("finished", huge_log.DAY)
    assert history.usage_by_stage["search"].calls == SMALL
    assert history.best.finished
    told = closeup.example(history, 7)["before"]["calls"][0]
    assert "(7)" in told["messages"][-1]["content"]


@pytest.mark.slow
@pytest.mark.usefixtures("left_on_disk")
def test_an_example_of_a_long_log_takes_little_memory(log):
    tracemalloc.start()
    try:
        history = History.read(log)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / SMALL < 300  # 4 MB for the candidates' texts and the last posterior would be 400
    assert len(history.events) > 2 * SMALL


@pytest.mark.usefixtures("left_on_disk")
def test_the_end_of_a_long_recording_is_shown_at_once(log, monkeypatch):
    replay = Replay(log, math.inf)
    replay.listen(glancing := EventRecorder())
    replay.forget(glancing)
    folded = []
    monkeypatch.setattr(replay.history, "_fold", lambda *told: folded.append(told))
    replay.start()
    history = replay.result(60)
    assert not folded
    assert history is replay.history
    assert (replay.status, history.reason) == ("finished", "finished")
    assert max(shown(replay)) < WIRE


@pytest.mark.slow
@pytest.mark.usefixtures("left_on_disk")
def test_who_wants_every_event_of_a_long_recording_gets_it(log):
    replay, recorder = Replay(log, math.inf), EventRecorder()
    replay.listen(recorder)
    replay.start()
    history = replay.result(60)
    assert len(recorder.events) == len(history.events)
    assert recorder.events[-1] == history.events[-1]


@pytest.mark.slow
def test_of_many_trials_some_are_sent_and_that_is_said(log, monkeypatch):
    monkeypatch.setattr(thinned, "MANY", 100)
    monkeypatch.setattr(thinned, "MOST", 60)
    monkeypatch.setattr(thinned, "LEADING", 10)
    history = History.read(log)
    replay = Replay(log, math.inf)
    replay.start()
    replay.result(60)
    assert len(history.trials) <= 100
    assert "trials shown" not in json.dumps(wire.status(replay, 0.0, 1))
    monkeypatch.setattr(thinned, "MANY", 30)
    monkeypatch.setattr(thinned, "MOST", 30)
    monkeypatch.setattr(thinned, "LEADING", 5)
    sent = Snapshot(replay).take(replay.now)
    assert len(wire.texts(history)["instructions"]) == huge_log.SIDE
    assert " of 40 trials shown" in sent["_status"]["stages"][2]["detail"]


@pytest.mark.slow
def test_a_day_of_two_million_evaluations_opens_and_its_view_answers(tmp_path):
    scored = 2_000_000
    path = huge_log.write(tmp_path, scored)
    told = subprocess.run(
        [sys.executable, "-c", OPENS, path], capture_output=True, text=True, check=True, timeout=600,
        env=huge_log.environment(),
    ).stdout.split()  # fmt: skip
    opened, answered, peak, found, *sizes = map(float, told)
    print(f"\n{path.stat().st_size / 1e9:.2f} GB, opened in {opened:.1f} s, everything asked for in {answered:.1f} s;")
    print(f"{peak / 1e9:.2f} GB of memory at most; the view is sent {sizes[0] / 1e3:.0f} kB")
    path.unlink()
    assert found == scored
    assert peak < 2e9
    assert max(sizes) < WIRE
