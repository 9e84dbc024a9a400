import datetime

import histories
import pytest

from mipro_nb import History, frames, verdict
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError

EMPTY = History()
BEFORE = History([ev.RunStarted("id", "P", ("a", "b"), {}, {}, {}, {}), ev.StageStarted("bootstrap", 3)])


def scored(trial, *scores):
    return [
        ev.ExampleScored(trial, example, score, "" if score else "why", output=f"t{trial}") for example, score in scores
    ]


RUN = History(
    [
        ev.RunStarted("id", "P", ("a", "b"), {}, {}, {}, {}),
        ev.InstructionProposed("a", 0, "Do.", "original"),
        ev.InstructionProposed("a", 1, "Do it.", "proposed", "simple"),
        ev.InstructionProposed("b", 0, "Go.", "original"),
        ev.DemosBootstrapped("b", 1, "labeled", ({"q": "é", "at": datetime.date(2026, 1, 2)},), 0),
        ev.TrialStarted(0, "baseline", (0, 0), (0, 0), 3, 3),
        *scored(0, (0, 1.0), (1, 0.0), (2, 0.0)),
        ev.TrialFinished(0, 1 / 3, 3, 0),
        ev.TrialStarted(1, "minibatch", (1, 0), (0, 1), 1, 1),
        *scored(1, (1, 1.0)),
        ev.TrialFinished(1, 1.0, 1, 0),
        ev.TrialStarted(2, "full", (1, 0), (0, 1), 3, 2),
        *scored(2, (0, 0.0), (2, 1.0)),
        ev.TrialFinished(2, 2 / 3, 3, 0),
        ev.TrialStarted(3, "full", (0, 0), (0, 1), 3, 3),
        ev.ExampleScored(3, 0, None, "down"),
        ev.TrialStarted(4, "test_best", (1, 0), (0, 1), 2, 2),
        ev.TrialFinished(4, 0.5, 2, 0),
    ]
)


def test_trials_are_rows_with_the_choice_of_every_predictor():
    table = frames.trials(RUN)
    assert list(table["trial"]) == [0, 1, 2, 3]
    assert list(table["kind"]) == ["baseline", "minibatch", "full", "full"]
    assert list(table["examples"]) == [3, 1, 3, 0]
    assert list(table["a.instruction"]) == [0, 1, 1, 0]
    assert list(table["b.demos"]) == [0, 1, 1, 1]


def test_the_best_so_far_counts_full_evaluations_alone():
    assert list(frames.trials(RUN)["best_so_far"].round(2)) == [0.33, 0.33, 0.67, 0.67]
    assert frames.trials(RUN)["score"].isna().tolist() == [False, False, False, True]


def test_a_zero_shot_run_has_no_demo_columns():
    history = History([ev.TrialStarted(0, "baseline", (0,), (), 1, 1), ev.TrialFinished(0, 1.0, 1, 0)])
    assert list(frames.trials(history)) == [*frames.TRIALS, "0.instruction"]


def test_candidates_are_rows_with_their_weighted_mean():
    table = frames.candidates(RUN).set_index(["predictor", "kind", "index"])
    own, new = table.loc[("a", "instruction", 0)], table.loc[("a", "instruction", 1)]
    assert (own["origin"], own["examples"], own["trials"], own["mean"]) == ("original", 3, 1, pytest.approx(1 / 3))
    assert (new["tip"], new["text"], new["examples"], new["trials"]) == ("simple", "Do it.", 3, 2)
    assert new["mean"] == pytest.approx(2 / 3)  # example 1, known from the minibatch, counts once
    assert table.loc[("b", "demos", 1)]["text"] == '{"q": "é", "at": "2026-01-02"}'


def trial(number, kind, choice, planned, *scores):
    """A trial of a zero-shot run; its score is that of all that is planned."""
    yield ev.TrialStarted(number, kind, choice, (), len(planned), len(scores))
    yield from scored(number, *scores)
    yield ev.TrialFinished(number, sum(planned) / len(planned), len(planned), 0)


def standing(*events):
    history = History([ev.RunStarted("id", "P", ("a", "b"), {}, {}, {}, {}), *(e for part in events for e in part)])
    return frames.standings(history)[0, "instruction", 0]


def test_the_same_example_in_several_trials_of_a_combination_is_no_new_evidence():
    half = [(0, 1.0), (1, 0.0)]
    once = standing(trial(0, "full", (0, 0), [1.0, 0.0], *half))
    again = [trial(n, "minibatch", (0, 0), [1.0, 0.0]) for n in range(1, 9)]
    often = standing(trial(0, "full", (0, 0), [1.0, 0.0], *half), *again)
    assert (often.examples, often.trials, once.trials) == (2, 9, 1)
    assert (often.mean, often.interval) == (once.mean, once.interval) == (0.5, verdict.interval(0.5, 2))


def test_minibatches_of_a_combination_add_up_to_the_examples_that_they_know():
    first = trial(0, "minibatch", (0, 0), [1.0, 0.0], (0, 1.0), (1, 0.0))
    second = trial(1, "minibatch", (0, 0), [0.0, 0.0], (2, 0.0))  # example 1 is known
    found = standing(first, second)
    assert (found.examples, found.mean) == (3, pytest.approx(1 / 3))


def test_an_example_counts_once_for_each_partner():
    alone = trial(0, "minibatch", (0, 0), [0.5], (0, 0.5))
    found = standing(alone, trial(1, "full", (0, 1), [0.75, 1.0, 0.25], (0, 0.75), (1, 1.0), (2, 0.25)))
    assert (found.examples, found.trials, found.mean) == (4, 2, 0.625)
    assert found.interval == verdict.interval(0.625, 4, verdict.spread_of([0.5, 0.75, 1.0, 0.25]))


def test_a_candidate_that_was_never_tried_has_no_mean():
    history = History([ev.InstructionProposed("a", 5, "New.", "proposed")])
    assert frames.candidates(history)["mean"].isna().all()
    assert list(frames.candidates(history)["examples"]) == [0]


def test_examples_stand_beside_each_other_before_and_after():
    table = frames.examples(RUN)
    assert list(table["example"]) == [0, 1, 2]
    assert list(table["baseline"]) == [1.0, 0.0, 0.0]
    assert list(table["best"]) == [0.0, 1.0, 1.0]  # example 1 was scored in the minibatch
    assert list(table["change"]) == ["broken", "fixed", "fixed"]
    assert list(table["output"]) == ["t2", "t1", "t2"]
    assert list(table["error"]) == ["why", "", ""]


def test_an_example_that_is_missing_on_one_side_is_not_judged():
    before = [(0, 0.0), (1, 1.0), (2, None), *((n, 0.5) for n in range(3, 20))]
    after = [(0, 1.0), (1, 1.0), (2, 1.0), *((n, 0.5) for n in range(3, 20))]
    history = History(
        [
            ev.TrialStarted(0, "baseline", (0,), (), 20, 20),
            *scored(0, *before),
            ev.TrialFinished(0, 9.5 / 19, 19, 1),
            ev.TrialStarted(1, "full", (1,), (), 20, 20),
            *scored(1, *after),
            ev.TrialFinished(1, 11.5 / 20, 20, 0),
        ]
    )
    assert list(frames.examples(history)["change"]) == ["fixed", "same", "", *["same"] * 17]


def test_while_the_best_is_the_baseline_nothing_is_compared():
    history = History(trial(0, "baseline", (0, 0), [1.0, 0.0], (0, 1.0), (1, 0.0)))
    table = frames.examples(history)
    assert list(table["change"]) == ["", ""]
    assert list(table["output"]) == ["t0", "t0"]


@pytest.mark.parametrize("history", [EMPTY, BEFORE])
def test_tables_of_a_run_that_has_just_begun_have_their_columns(history):
    assert list(history.trials_frame().columns) == frames.TRIALS
    assert list(history.candidates_frame().columns) == frames.CANDIDATES
    assert list(history.examples_frame()) == ["example", "input", "baseline", "best", "change", "error", "output"]
    assert len(history.trials_frame()) == len(history.candidates_frame()) == len(history.examples_frame()) == 0


def test_the_test_set_has_a_table_of_its_own_once_the_verdict_is_there():
    history = histories.finished()
    table = frames.examples(history, "test")
    assert len(table) == history.verdict.examples
    counts = table["change"].value_counts()
    assert (counts["fixed"], counts.get("broken", 0)) == (history.verdict.fixed, history.verdict.broken)
    assert table["baseline"].mean() == pytest.approx(history.verdict.baseline)
    assert table["best"].mean() == pytest.approx(history.verdict.best)
    assert frames.examples(histories.middle(), "test").empty
    assert not frames.examples(histories.middle()).empty


def test_another_split_is_an_error_that_says_which_there_are():
    with pytest.raises(ConfigError, match="'validation', 'test'"):
        histories.finished().examples_frame("train")


def learnt(candidates):
    """A run with proposals of its own and those of a later round, and what the search makes of them."""
    mean = {"mean": 0.5, "low": 0.4, "high": 0.6}
    asked = {"temperature": 0.5, "summary": True, "demos": False}
    return [
        ev.InstructionProposed("self", 0, "Do.", "original"),
        ev.InstructionProposed("self", 1, "Do it.", "proposed", "simple", kind="fresh", **asked),
        ev.InstructionProposed("self", 2, "Do it well.", "fixed", "simple", 1, "fix", parents=(1,), **asked),
        ev.PosteriorUpdated((2,), (), mean, mean, mean, {}, tuple(candidates), {}, 9),
    ]


def part(index, gain, kind="instruction"):
    return {"place": 0, "kind": kind, "index": index, "mean": 0.5, "low": 0.4, "high": 0.6, "gain": gain, "error": 0.01}


def test_what_worked_has_a_row_for_each_way_of_asking():
    table = History(learnt([part(0, 0.0), part(1, 0.05), part(2, 0.25), part(1, 0.9, "demos")])).approaches_frame()
    assert list(table.columns) == frames.APPROACHES
    assert list(table["level"]) == ["fresh", "fix", "simple", "0.5", "yes", "no"]
    assert list(table["tried"]) == [1, 1, 2, 2, 2, 2]
    gain = table.set_index("level")["gain"]
    assert gain["fix"] > gain["simple"] > gain["fresh"] > 0
    assert (table["low"] < table["gain"]).all()
    assert (table["gain"] < table["high"]).all()


@pytest.mark.parametrize("events", [[], learnt([])[:-1], learnt([])])
def test_what_worked_is_empty_until_it_is_known(events):
    table = frames.approaches(History(events))
    assert list(table.columns) == frames.APPROACHES
    assert table.empty


def test_half_a_character_in_data_replies_or_prompts_is_named():
    half = "x \ud83d y"
    call = {"predictor": "a", "inputs": {"q": half}, "outputs": {}, "messages": (), "replies": ()}
    history = History(
        [
            ev.RunStarted("id", "P", ("a",), {}, {}, {}, {}),
            ev.InstructionProposed("a", 0, half, "original"),
            ev.TrialStarted(0, "baseline", (0,), (), 1, 1),
            ev.ExampleScored(0, 0, 0.0, half, output=half, calls=(call,)),
            ev.TrialFinished(0, 0.0, 1, 0),
        ]
    )
    shown = "x ⟨U+D83D⟩ y"
    row = history.examples_frame().loc[0]
    assert (row.input, row.error, row.output) == (f"q: {shown}", shown, shown)
    assert shown in history.examples_frame()._repr_html_()
    assert history.candidates_frame().text[0] == shown
