import json

import histories
import pytest

import mipro_nb as mn
from mipro_nb import History, verdict
from mipro_nb import events as ev
from mipro_nb.errors import LoadError
from mipro_nb.eventlog import EventLog
from mipro_nb.notebook import closeup, wire
from mipro_nb.verdict import Verdict

STARTED = ev.RunStarted("id", "Route", ("self",), {"seed": 0}, {}, {"valset": 2}, {})


def trial(number, kind, score, instruction=0, scores=None):
    scores = [score, score] if scores is None else scores
    yield ev.TrialStarted(number, kind, (instruction,), (), len(scores), len(scores))
    for example, one in enumerate(scores):
        yield ev.ExampleScored(number, example, one, "" if one is not None else "down")
    known = [one for one in scores if one is not None]
    yield ev.TrialFinished(number, score, len(known), len(scores) - len(known))


def history(*parts):
    return History([STARTED, *(event for part in parts for event in part)])


RUN = [
    STARTED,
    ev.StageStarted("bootstrap", 1),
    ev.ExampleBootstrapped(0, 1.0, True),
    ev.DemosBootstrapped("self", 0, "none", (), 0),
    ev.StageStarted("propose", 2),
    ev.InstructionProposed("self", 0, "Route.", "original"),
    ev.LMUsed("propose", ev.Usage(2, 1, 100, 10, 0.5)),
    ev.LMUsed("propose", ev.Usage(1, 0, 50, 5, 0.25)),
    ev.StageStarted("search", 2),
    *trial(0, "baseline", 0.5, scores=[0, 1]),
    *trial(1, "full", 1.0, instruction=1),
    ev.LMUsed("search", ev.Usage(4, 0, 200, 20, 1.0)),
    ev.Noted("search", "a word: \u2028 next \u0085 \x0b \x1c line, \r\n é 🫖"),
    *trial(2, "test_best", 0.0),
    ev.VerdictReached(Verdict("improved", 2, 0.5, 1.0, 0.5, 0.1, 0.9, 0.04, 1, 0)),
    ev.RunFinished("finished"),
]


def test_events_are_folded_into_what_a_person_asks_for():
    found = History(RUN)
    assert (found.started, found.reason, found.verdict.word) == (STARTED, "finished", "improved")
    assert [t.number for t in found.trials] == [0, 1]  # not the one on the test set
    assert (found.baseline.score, found.best.score, found.best.instructions) == (0.5, 1.0, (1,))
    assert found.best.scored[1].score == 1.0
    assert (len(found.instructions), len(found.demo_sets), len(found.bootstrap_attempts)) == (1, 1, 1)
    assert len(found.notes) == 1
    assert found.events == RUN


def test_a_history_can_be_fed_while_the_run_goes_on():
    found = History()
    assert (found.stage, found.best, found.baseline, found.trials, found.seconds) == (None, None, None, [], 0.0)
    assert found.usage == ev.Usage()
    stages = []
    for event in RUN:
        found(event)
        stages.append(found.stage)
    assert list(dict.fromkeys(stages)) == [None, "bootstrap", "propose", "search"]
    assert found.seconds >= 0


def test_of_equals_the_earliest_is_best():
    assert history(trial(0, "baseline", 0.5), trial(1, "full", 0.5, 1)).best.number == 0
    assert history(trial(0, "baseline", 0.5), trial(1, "full", 1.0, 1), trial(2, "full", 1.0, 2)).best.number == 1
    assert history(trial(0, "baseline", 0.0), trial(1, "full", 0.0, 1)).best.number == 0


def test_only_full_evaluations_that_are_finished_can_be_best():
    started = [ev.TrialStarted(2, "full", (2,), (), 2, 2), ev.ExampleScored(2, 0, 1.0), ev.ExampleScored(2, 1, 1.0)]
    found = history(trial(0, "baseline", 0.5), trial(1, "minibatch", 1.0, 1), started)
    assert found.best.number == 0
    found(ev.TrialFinished(2, 1.0, 2, 0))
    assert found.best.number == 2


def test_trials_that_miss_examples_are_compared_on_those_that_both_have():
    before, gap = [0.0] + [0.5] * 19, [None] + [0.5] * 19  # the mean of what is left is higher, but not the scores
    found = history(trial(0, "baseline", 9.5 / 20, scores=before), trial(1, "full", 0.5, 1, scores=gap))
    assert found.best.number == 0
    better = [None, 1.0] + [0.5] * 18
    found = history(trial(0, "baseline", 9.5 / 20, scores=before), trial(1, "full", 10 / 19, 1, scores=better))
    assert found.best.number == 1
    few = [None] * 10 + [1.0] * 10
    found = history(trial(0, "baseline", 9.5 / 20, scores=before), trial(1, "full", 1.0, 1, scores=few))
    assert found.best.number == 0


def test_a_trial_of_which_all_calls_failed_has_no_score():
    found = history(trial(0, "baseline", None, scores=[None, None]), trial(1, "full", 0.0, 1))
    assert (found.trials[0].score, found.trials[0].failed, found.baseline) == (None, 2, None)
    assert found.best.number == 1


def test_usage_is_summed_by_stage_and_over_all():
    found = History(RUN)
    assert found.usage_by_stage["propose"] == ev.Usage(3, 1, 150, 15, 0.75)
    assert found.usage == ev.Usage(7, 1, 350, 35, 1.75)
    found(ev.LMUsed("search", ev.Usage(1, 0, 1, 1, None)))
    assert (found.usage.calls, found.usage.cost) == (8, None)
    assert found.usage_by_stage["propose"].cost == 0.75


# ---- files


def test_what_is_written_is_read(tmp_path):
    History(RUN).write(tmp_path / "run.jsonl")
    found = History.read(tmp_path / "run.jsonl")
    assert found.events == RUN
    assert [event.at for event in found.events] == [event.at for event in RUN]
    assert len((tmp_path / "run.jsonl").read_bytes().split(b"\n")) == len(RUN) + 1


def test_a_run_directory_is_read_while_its_log_is_open(tmp_path):
    with EventLog(tmp_path / "new" / "run") as log:
        for event in RUN:
            log(event)
        assert History.read(tmp_path / "new" / "run").events == RUN
    with EventLog(tmp_path / "new" / "run") as log:
        log(ev.RunResumed())
    assert History.read(tmp_path / "new" / "run" / "events.jsonl").events == [*RUN, ev.RunResumed()]


def test_the_half_line_of_a_crash_is_passed_over_where_a_resumed_run_went_on(tmp_path):
    with EventLog(tmp_path) as log:
        log(STARTED)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "Noted", "st')
    assert History.read(tmp_path).events == [STARTED]
    with EventLog(tmp_path) as log:
        log(ev.RunResumed())
        log(ev.Noted("x", "y"))
    assert History.read(tmp_path).events == [STARTED, ev.RunResumed(), ev.Noted("x", "y")]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path):
    with EventLog(tmp_path) as log:
        log(STARTED)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "Noted", "st\n')
    with EventLog(tmp_path) as log:
        log(ev.Noted("x", "y"))
    with pytest.raises(LoadError, match="line 2"):
        History.read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "\u2028 \u2029 \u0085 \x0b \x0c \x1c \x1d \x1e",
        "\r\n\r\n",
        "\ud800 alone",
        "a \udcff b",
        "\0",
        "日本語 🫖",
        '"\\',
    ],
)
def test_any_text_survives(tmp_path, text):
    events = [STARTED, ev.InstructionProposed("self", 0, text, "proposed"), ev.Noted("x", text)]
    History(events).write(tmp_path / "a.jsonl")
    assert History.read(tmp_path / "a.jsonl").events == events
    with EventLog(tmp_path) as log:
        for event in events:
            log(event)
    assert History.read(tmp_path).events == events


def test_values_that_json_does_not_know_are_written_as_text(tmp_path):
    event = ev.DemosBootstrapped("self", 0, "labeled", ({"q": {1}, "u": ev.Usage()},), 0)
    History([event]).write(tmp_path / "a.jsonl")
    demo = History.read(tmp_path / "a.jsonl").events[0].demos[0]
    assert demo["q"] == "{1}"
    assert demo["u"]["calls"] == 0


def written(tmp_path, change):
    History(RUN).write(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_bytes().split(b"\n")
    change(lines)
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    return tmp_path / "a.jsonl"


@pytest.mark.parametrize(
    "end", [b'{"event": "Not', b'{"event": "Noted", "stage": "x", "message": "caf\xc3', b"", b"  "]
)
def test_a_half_line_at_the_end_is_dropped(tmp_path, end):
    def cut(lines):
        lines[-1] = end

    assert History.read(written(tmp_path, cut)).events == RUN


def test_a_whole_line_at_the_end_needs_no_line_break(tmp_path):
    assert History.read(written(tmp_path, lambda lines: lines.pop())).events == RUN


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"garbage", "Expecting value"),
        (b"", "Expecting value"),
        (b'{"event": "Wedding"}', "'Wedding' is not known"),
        (b"[]", "an event is a JSON object"),
        (b"3", "an event is a JSON object"),
        (
            b'{"event": "TrialFinished", "trial": 99, "score": 1, "examples": 1, "failed": 0}',
            "trial 99 was never started",
        ),
    ],
)
def test_garbage_in_the_middle_is_refused_with_its_line(tmp_path, line, said):
    def spoil(lines):
        lines[4] = line

    with pytest.raises(LoadError) as caught:
        History.read(written(tmp_path, spoil))
    assert f"{tmp_path / 'a.jsonl'}, line 5: " in str(caught.value)
    assert said in str(caught.value)


def test_lines_that_windows_ended_are_read(tmp_path):
    History(RUN).write(tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "a.jsonl").write_bytes(text)
    assert History.read(tmp_path / "a.jsonl").events == RUN


def test_a_file_that_is_missing_says_the_nearest(tmp_path):
    History(RUN).write(tmp_path / "router.jsonl")
    with pytest.raises(LoadError, match=r"ruoter.jsonl doesn't exist.*Did you mean 'router.jsonl'\?"):
        History.read(tmp_path / "ruoter.jsonl")
    with pytest.raises(LoadError, match="doesn't exist"):
        History.read(tmp_path)  # no run directory


def test_an_empty_file_is_an_empty_history(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    assert History.read(tmp_path / "a.jsonl").events == []


def test_no_line_is_more_than_json(tmp_path):
    History(RUN).write(tmp_path / "a.jsonl")
    for line in (tmp_path / "a.jsonl").read_bytes().splitlines()[:3]:
        assert set(json.loads(line)) >= {"event", "at"}


def search(*events):
    return mn.History([ev.StageStarted("search", 4, at=0.0), ev.TrialStarted(0, "baseline", (0,), (), 2, 2), *events])


def test_a_trial_has_an_interval_of_its_own_scores():
    history = search(ev.ExampleScored(0, 0, 1.0), ev.ExampleScored(0, 1, 0.0), ev.TrialFinished(0, 0.5, 2, 0))
    assert (history.baseline.low, history.baseline.high) == verdict.interval(0.5, 2)
    history = search(ev.ExampleScored(0, 0, 0.25), ev.ExampleScored(0, 1, 0.75), ev.TrialFinished(0, 0.5, 2, 0))
    assert (history.baseline.low, history.baseline.high) == verdict.interval(0.5, 2, 0.25)


def test_pauses_dont_count_as_work():
    history = search(ev.RunPaused(True, at=10.0))
    assert (history.paused, history.working_seconds(500.0)) == (True, 10.0)
    history(ev.RunPaused(False, at=110.0))
    assert (history.paused, history.working_seconds(120.0)) == (False, 20.0)


def test_an_extension_brings_the_search_back():
    history = search(ev.TrialFinished(0, 0.5, 2, 0), ev.StageStarted("verdict", 1, at=20.0))
    history(ev.RunFinished("finished", at=30.0))
    assert history.stage == "verdict"
    history(ev.RunExtended(3, 4, at=100.0))
    assert (history.stage, history.reason, history.stages["search"].total) == ("search", None, 8)
    assert history.working_seconds(105.0) == 25.0
    history(ev.StageStarted("verdict", 1, at=110.0))
    assert history.working_seconds(111.0) == 1.0


def test_a_run_that_pauses_by_itself_says_why():
    history = search(ev.RunPaused(True, "the LM doesn't answer; next try in 1 s", at=10.0))
    history(ev.RunPaused(True, "the LM doesn't answer; next try in 2 s", at=11.0))
    assert history.pause_reason == "the LM doesn't answer; next try in 2 s"
    assert history.working_seconds(500.0) == 10.0
    history(ev.RunPaused(False, at=110.0))
    assert (history.paused, history.pause_reason, history.working_seconds(120.0)) == (False, "", 20.0)


def test_the_limit_of_calls_in_flight_is_the_last_that_was_told():
    history = search(ev.ConcurrencyChanged(8, "some/model"), ev.ConcurrencyChanged(4, "some/model"))
    assert history.concurrency == {"some/model": 4}


def test_a_stop_while_paused_isnt_a_pause():
    history = search(ev.RunPaused(True, at=10.0), ev.RunFinished("stopped: as asked", at=11.0))
    assert not history.paused


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "StageStarted", "stage": "search", "total": 3, "at": null}',
        '{"event": "StageStarted", "stage": "search", "total": 3, "at": "now"}',
        '{"event": "StageStarted", "stage": "search", "total": 3, "at": NaN}',
        '{"event": "StageStarted", "stage": "search", "total": 3, "at": 1e300}',
        '{"event": "LMUsed", "stage": "search", "usage": 3}',
        "[" * 100_000,
    ],
    ids=["None", "text", "NaN", "huge", "usage", "nested"],
)
def test_a_damaged_line_is_named_and_at_the_end_dropped(tmp_path, line):
    path = tmp_path / "events.jsonl"
    good = '{"event": "StageStarted", "stage": "search", "total": 3, "at": 1.0}\n'
    path.write_text(good + line + "\n" + good)
    with pytest.raises(LoadError, match="line 2"):
        History.read(path)
    path.write_text("\ufeff" + good + line)
    assert len(History.read(path).events) == 1


def test_a_history_writes_its_report(tmp_path):
    assert "MIPROv2" in histories.finished().report(tmp_path / "found.md").read_text()


def newer(tmp_path, **more):
    started = ev.RunStarted("id", "Route", ("self",), {}, {}, {}, {"mipro_nb": "99.0"})
    History([started, ev.StageStarted("search", 3)]).write(tmp_path / "events.jsonl")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "StageStarted", "at": 1.0, "stage": "search", "total": 3, **more}) + "\n")
    return tmp_path


@pytest.mark.parametrize("more", [{"event": "Teleported"}, {"colour": "red"}], ids=["event", "field"])
def test_a_log_of_a_newer_version_is_refused_and_named(tmp_path, more):
    with pytest.raises(LoadError, match=r"line 3: .*written by mipro_nb 99\.0, and this is "):
        History.read(newer(tmp_path, **more))
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3


def test_a_half_line_is_dropped_loudly(tmp_path, caplog):
    def cut(lines):
        lines[-1] = b'{"event": "Noted", "sta'

    History.read(written(tmp_path, cut))
    assert "the last line is cut off, as a crash or a full disk leaves it" in caplog.text
    assert f"{len(RUN)} events before it are read" in caplog.text
    caplog.clear()
    History.read(written(tmp_path, lambda lines: None))
    assert not caplog.text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"garbage", "Expecting value"),
        (b'{"event": "ExampleScored", "at": 1.0, "trial": 9, "example": 0, "score": 1.0, "error": "", "feedback": "", '
         b'"output": "", "calls": []}', "trial 9 was never started"),
        (b'{"event": "LMUsed", "at": 1.0, "stage": "search", "usage": {"calls": 1}, "colour": 3}', "other fields"),
    ],
    ids=["garbage", "unknown trial", "field"],
)  # fmt: skip
def test_garbage_in_a_long_log_is_refused_too(tmp_path, monkeypatch, line, said):
    monkeypatch.setattr("mipro_nb.history.HELD", 0)
    with pytest.raises(LoadError, match=f"line 5: .*{said}"):
        History.read(written(tmp_path, lambda lines: lines.__setitem__(4, line)))


@pytest.mark.slow
def test_a_long_log_tells_the_same_as_a_short_one(tmp_path, monkeypatch):
    for name, make in histories.ALL.items():
        make().write(tmp_path / f"{name}.jsonl")
        whole = History.read(tmp_path / f"{name}.jsonl")
        with monkeypatch.context() as patch:
            patch.setattr("mipro_nb.history.HELD", 0)
            found = History.read(tmp_path / f"{name}.jsonl")
        assert found.events == whole.events
        assert found.usage == whole.usage
        assert (found.reason, found.verdict, found.posterior, found.stage, found.searched) == (
            whole.reason, whole.verdict, whole.posterior, whole.stage, whole.searched)  # fmt: skip
        assert [wire.trial_row(one) for one in found.trials] == [wire.trial_row(one) for one in whole.trials]
        assert closeup.examples(found) == closeup.examples(whole)
        assert wire.stats(found) == wire.stats(whole)
        assert (found.latest, found.turns) == (whole.latest, whole.turns)


@pytest.mark.parametrize("held", [0, 10**6], ids=["long", "short"])
def test_what_a_crash_left_in_the_middle_is_passed_over_where_the_run_was_resumed(tmp_path, monkeypatch, held):
    monkeypatch.setattr("mipro_nb.history.HELD", held)
    with EventLog(tmp_path) as log:
        for event in RUN[:-1]:
            log(event)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "Noted", "sta')
    again = [ev.RunResumed(at=RUN[-2].at + 500.0), RUN[-1]]
    with EventLog(tmp_path) as log:
        for event in again:
            log(event)
    found = History.read(tmp_path)
    assert found.events == [*RUN[:-1], *again]
    assert found.events[-3] == RUN[-2]
    assert found.reason == "finished"


def test_a_number_that_a_resumed_run_gives_to_another_trial_begins_anew():
    """Allowed more than before, a run goes on with its search where it was judged the first time."""
    first = [*trial(0, "baseline", 0.0), *trial(1, "full", 1.0, 1), *trial(2, "test_baseline", 0.0)]
    told = history(first, [ev.RunFinished("stopped: max_calls"), ev.RunResumed()], trial(2, "full", 0.5, 2, [0, 1]))
    assert [one.score for one in told.trials] == [0.0, 1.0, 0.5]
    told = history(first, [ev.RunResumed()], trial(1, "full", 0.5, 3, [0, 1]))
    assert [(one.choice[0], one.score) for one in told.trials] == [((0,), 0.0), ((3,), 0.5)]
    assert told.trials_of(((1,), ())) == []
    assert told.best is told.trials[1]
    told = history(first, [ev.RunResumed()], trial(1, "partial", 0.5, 3, [0, 1]))
    assert told.best is told.baseline


def test_the_time_between_two_processes_is_not_the_runs():
    trial = ev.TrialStarted(0, "baseline", (0,), (), 2, 2, at=107.0)
    torn = [
        ev.StageStarted("search", 3, at=100.0),
        trial,
        ev.RunResumed(at=5000.0),
        ev.RunFinished("stopped", at=5002.0),
    ]
    assert mn.History(torn).seconds == 9
    more = [ev.RunExtended(4, 4, at=9000.0), ev.RunFinished("finished", at=9003.0)]
    assert mn.History([*torn, *more]).seconds == 12
