import dataclasses
import json
import logging

import pytest

from mipro_nb import events as ev
from mipro_nb.errors import LoadError
from mipro_nb.verdict import Verdict

USAGE = ev.Usage(3, 1, 200, 40, 0.25)
EVENTS = [
    ev.RunStarted(
        "id", "Route", ("self", "a.b"), {"seed": 0, "auto": None}, {"trials": 3}, {"val": 9}, {"python": "3"}
    ),
    ev.StageStarted("search", 10),
    ev.LMUsed("propose", USAGE),
    ev.LMUsed("propose", ev.Usage(cost=None)),
    ev.ExampleBootstrapped(4, 1.0, True),
    ev.ExampleBootstrapped(5, None, False, "failed"),
    ev.DemosBootstrapped("self", 1, "labeled", ({"q": "1", "n": 2}, {"q": None}), 1),
    ev.InstructionProposed("self", 0, "Do.\nWell: é 🫖", "proposed", "simple"),
    ev.InstructionProposed("self", 3, "Do.", "combined", "simple", 2, "combine", 0.7, True, False, (1, 2)),
    ev.TrialStarted(0, "baseline", (0, 1), (), 9, 9),
    ev.ExampleScored(0, 3, None, "LMUnavailable: down"),
    ev.ExampleScored(0, 4, 0.5, "", "half", "a: 1"),
    ev.ExampleScored(0, 5, 1.0, calls=({"predictor": "self", "inputs": {"q": "1"}, "replies": ["a: 1"]},)),
    ev.RunPaused(True),
    ev.RunExtended(5, 7),
    ev.Wished(3, {"kind": "extend", "num_trials": 2}),
    ev.RunResumed(),
    ev.TrialFinished(0, None, 0, 9),
    ev.PosteriorUpdated(
        (1,),
        (0,),
        {"mean": 0.8, "low": 0.7, "high": 0.9},
        {"mean": 0.5, "low": 0.4, "high": 0.6},
        {"mean": 0.3, "low": 0.1, "high": 0.5, "better": 0.99},
        {"instructions": {"mean": 0.3, "low": 0.1, "high": 0.5}},
        ({"place": 0, "kind": "instruction", "index": 1, "mean": 0.8, "low": 0.7, "high": 0.9},),
        {},
        64,
    ),
    ev.CandidateBanned("self", "demos", 2),
    ev.VerdictReached(Verdict("improved", 40, 0.5, 0.75, 0.25, 0.1, 0.4, 0.01, 12, 2)),
    ev.Noted("data", "a sample was taken"),
    ev.RunFinished("stopped: budget"),
]


def test_every_kind_of_event_is_in_this_test():
    assert {type(event) for event in EVENTS} == set(ev.KINDS.values())


@pytest.mark.parametrize("event", EVENTS, ids=[type(event).__name__ for event in EVENTS])
def test_an_event_goes_through_json_unchanged(event):
    twin = ev.from_json(json.loads(json.dumps(ev.to_json(event))))
    assert twin == event
    assert type(twin) is type(event)
    assert twin.at == event.at


@pytest.mark.parametrize("event", EVENTS, ids=[type(event).__name__ for event in EVENTS])
def test_an_event_is_frozen(event):
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 0.0


def test_when_it_happened_makes_no_difference():
    assert ev.StageStarted("search", 1, at=1.0) == ev.StageStarted("search", 1, at=2.0)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"event": "TrialFinishd"}, "'TrialFinishd' is not known; accepted: .*Did you mean 'TrialFinished'"),
        ({}, "event None is not known"),
        ({"event": ["x"]}, "is not known"),
        ({"event": "Event"}, "'Event' is not known"),
        ({"event": "RunFinished"}, "'RunFinished' has other fields than this version knows"),
        ({"event": "RunFinished", "reason": "x", "colour": "red"}, "other fields"),
        ({"event": "LMUsed", "stage": "search"}, "other fields"),
        ({"event": "LMUsed", "stage": "search", "usage": {"cals": 3}}, "other fields"),
        ({"event": "LMUsed", "stage": "search", "usage": 3}, "other fields"),
        ([1], "an event is a JSON object; list given"),
        (3, "an event is a JSON object; int given"),
        (None, "an event is a JSON object; NoneType given"),
    ],
)
def test_what_is_no_event_is_refused(saved, said):
    with pytest.raises(LoadError, match=said):
        ev.from_json(saved)


def test_usage_adds_up_and_an_unknown_cost_stays_unknown():
    twice = USAGE + USAGE
    assert twice == ev.Usage(6, 2, 400, 80, 0.5)
    assert (USAGE + ev.Usage(1, cost=None)) == ev.Usage(4, 1, 200, 40, None)
    assert (ev.Usage(cost=None) + USAGE).cost is None
    assert ev.Usage() + USAGE == USAGE


def test_a_listener_that_raises_is_dropped_and_logged_once(caplog):
    first, last, tries = [], [], []

    def broken(event):
        tries.append(event)
        raise RuntimeError("no screen")

    emit = ev.Emitter([first.append, broken, last.append])
    with caplog.at_level(logging.ERROR):
        for event in EVENTS:
            emit(event)
    assert first == last == EVENTS
    assert len(tries) == 1
    assert [record.message.split(";")[0] for record in caplog.records] == ["a listener failed and gets no more events"]
    assert "no screen" in caplog.text


def test_an_interrupt_in_a_listener_is_no_drawing_bug():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ev.Emitter([interrupted])(EVENTS[0])


def test_an_instruction_of_an_older_log_says_nothing_of_how_it_was_asked_for():
    old = {"event": "InstructionProposed", "predictor": "self", "index": 1, "text": "Do.", "origin": "proposed"}
    event = ev.from_json({**old, "tip": "simple", "at": 1.0})
    assert (event.round, event.kind, event.temperature, event.summary, event.parents) == (0, "", None, None, ())
