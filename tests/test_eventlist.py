"""All events of a run: those of long ago are read from its log, and nobody sees the difference."""

import pytest

from mipro_nb import History, eventlist
from mipro_nb import events as ev
from mipro_nb.errors import LoadError
from mipro_nb.eventlist import EventList
from mipro_nb.eventlog import EVENTS, EventLog

CALL = {
    "predictor": "self",
    "inputs": {"q": "a question " * 20},
    "replies": ["yes \ud800"],
    "digest": "0",
}


def run(count=200):
    yield ev.StageStarted("search", count)
    yield ev.TrialStarted(0, "baseline", (0,), (), count, count)
    for example in range(count):
        yield ev.LMUsed("search", ev.Usage(1, 0, 10, 1, 0.5))
        yield ev.ExampleScored(0, example, float(example % 2), "", "", f"said {example}", (CALL,))
    yield ev.TrialFinished(0, 0.5, count, 0)


def logged(folder, events):
    """A history, and a log that tells it where its events lie, as in a run."""
    history = History()
    with EventLog(folder) as log:
        for event in events:
            take(history, log, event)
    return history


def take(history, log, event):
    history(event)
    history.events.placed(log.directory / EVENTS, *log.write(event))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(eventlist, "HELD", 5_000)
    monkeypatch.setattr("mipro_nb.history.HELD", 5_000)


def in_memory(history):
    return len(history.events._held[1])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("read", [False, True], ids=["live", "read"])
def test_a_long_runs_events_are_all_there_and_not_in_memory(tmp_path, read):
    events = list(run())
    live = logged(tmp_path, events)
    history = History.read(tmp_path) if read else live
    assert in_memory(history) < 60 < len(history.events) == len(events)
    found = history.events
    assert found == events
    assert [event.at for event in found] == [event.at for event in events]
    assert (found[0], found[-1], found[17], found[-300]) == (events[0], events[-1], events[17], events[-300])
    assert found[10:20] == events[10:20]
    assert found[::-50] == events[::-50]
    assert (events[5] in found, list(reversed(found))[:3]) == (True, events[:-4:-1])
    with pytest.raises(IndexError):
        found[len(events)]
    with pytest.raises(IndexError):
        found[-len(events) - 1]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("read", [False, True], ids=["live", "read"])
def test_an_example_tells_all_about_itself(tmp_path, read):
    live = logged(tmp_path, run())
    history = History.read(tmp_path) if read else live
    for number in (0, 3, 199):
        one = history.baseline.scored[number]
        assert (one.example, one.score, one.trial, one.output) == (number, number % 2, 0, f"said {number}")
        assert one.event.calls == one.calls == (CALL,)
        assert (one.error, one.feedback) == ("", "")
    assert repr(one) == "ExampleRecord(example=199, score=1.0)"
    assert history.usage == ev.Usage(200, 0, 2000, 200, 100.0)


def test_a_short_run_stays_in_memory_even_when_its_log_is_gone(tmp_path):
    history = logged(tmp_path, run())
    read = History.read(tmp_path)
    (tmp_path / EVENTS).unlink()
    assert in_memory(history) == in_memory(read) == len(history.events)
    assert history.events == list(run())
    assert read.baseline.scored[3].output == "said 3"


@pytest.mark.usefixtures("small")
def test_without_a_log_all_stays_in_memory():
    history = History(run())
    assert in_memory(history) == len(history.events)


@pytest.mark.usefixtures("small")
def test_a_log_that_lacks_an_event_is_of_no_use(tmp_path):
    events, history = list(run()), History()
    with EventLog(tmp_path) as log:
        for number, event in enumerate(events):
            take(history, log, event) if number != 7 else history(event)
    assert in_memory(history) == len(events)
    assert history.events == events


@pytest.mark.usefixtures("small")
def test_a_log_that_was_moved_is_of_no_use(tmp_path):
    events, history = list(run()), History()
    with EventLog(tmp_path) as log:
        for event in events:
            take(history, log, event)
            (tmp_path / EVENTS).unlink(missing_ok=True)
    assert history.events == events


@pytest.mark.usefixtures("small")
def test_a_log_that_was_changed_is_an_error_that_says_so(tmp_path):
    history = logged(tmp_path, run())
    with (tmp_path / EVENTS).open("r+b") as file:
        file.truncate(1_000)
    with pytest.raises(LoadError, match=r"events.jsonl was changed since it was read, at byte"):
        list(history.events)
    with pytest.raises(LoadError, match="was changed"):
        history.baseline.scored[50].output  # noqa: B018


@pytest.mark.usefixtures("small")
def test_a_run_that_goes_on_in_its_log_lets_go_of_the_new_events_too(tmp_path):
    events = list(run())
    logged(tmp_path, events[:200])
    history = History.read(tmp_path)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'{"event": "Noted", "sta')  # what a crash leaves
    with EventLog(tmp_path) as log:
        for event in (ev.RunResumed(), *events[200:]):
            take(history, log, event)
    assert in_memory(history) < 60
    assert history.events == [*events[:200], ev.RunResumed(), *events[200:]] == History.read(tmp_path).events


@pytest.mark.usefixtures("small")
def test_a_history_can_be_written_over_the_log_that_it_reads(tmp_path):
    logged(tmp_path, run())
    history = History.read(tmp_path)
    history.write(tmp_path / EVENTS)
    history.write(tmp_path / "copy.jsonl")
    assert History.read(tmp_path).events == list(run()) == History.read(tmp_path / "copy.jsonl").events
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.jsonl", EVENTS]


def test_it_is_a_list_to_who_looks():
    found = EventList()
    assert (len(found), list(found), found == [], found != 3) == (0, [], True, True)
    found.append(ev.StageStarted("search", 3))
    assert repr(found) == repr([found[0]])


@pytest.mark.usefixtures("small")
def test_a_long_one_is_shown_in_a_word(tmp_path):
    assert repr(logged(tmp_path, run()).events).startswith("<403 events, the first of them in ")
