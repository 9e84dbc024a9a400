import io
import re

import pytest
from programs import fake, metric, rows
from rich.console import Console

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.history import History
from mipro_nb.progress import TerminalProgress, duration_text, score_text, seconds_left, summary_lines, usage_text


def searching():
    plan = {"trials_shown": 4}
    return History(
        [
            ev.RunStarted("id", "Predict", ("self",), {}, plan, {}, {}, at=0.0),
            ev.StageStarted("search", 4, at=100.0),
            ev.TrialStarted(0, "baseline", (0,), (0,), 10, 10, at=100.0),
            ev.LMUsed("search", ev.Usage(10, 2, 1000, 50, 0.25), at=105.0),
            ev.TrialFinished(0, 0.5, 10, 0, at=110.0),
            ev.TrialStarted(1, "full", (1,), (1,), 10, 10, at=110.0),
            ev.TrialFinished(1, 0.8, 10, 0, at=120.0),
        ]
    )


def test_time_left_follows_the_pace_of_the_stage():
    assert seconds_left(searching(), now=120.0) == 20.0
    assert seconds_left(History(), now=0.0) is None


def test_the_summary_names_stage_best_baseline_and_spend():
    assert summary_lines(searching(), now=120.0) == [
        "3/3 search, 2 of 4; this stage: 20 s left",
        "best 80.0% on 10 examples; baseline 50.0% on 10 examples",
        "10 calls, 2 cached, 1,000 + 50 tokens, $0.2500",
    ]


OUT = "the LM doesn't answer; next try in 4 s"


def test_a_pause_that_nobody_asked_for_is_explained():
    history = searching()
    history(ev.RunPaused(True, OUT))
    assert summary_lines(history, now=120.0)[1] == f"paused: {OUT}"
    history(ev.RunPaused(False))
    assert not [line for line in summary_lines(history, now=120.0) if "paused" in line]


def test_it_is_written_once_and_so_is_its_end():
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=200))
    for event in (ev.RunPaused(True), ev.RunPaused(True, OUT), ev.RunPaused(True, "again"), ev.RunPaused(False)):
        progress(event)
    assert out.getvalue().splitlines() == [f"paused: {OUT}", "the run goes on"]


def test_numbers_are_written_for_people():
    assert duration_text(59.6) == "1 min 00 s"
    assert duration_text(3.2) == "3 s"
    assert duration_text(None) == "unknown"
    assert score_text(None, 0) == "no score yet"
    assert usage_text(ev.Usage(1, 0, 2, 3, None)).endswith("price unknown")


def compile_on(console):
    lm, progress = fake(), TerminalProgress(console)
    with mn.context(lm=lm):
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), trainset=rows(30), testset=rows(5, 90), listeners=[progress])


def test_without_a_terminal_every_step_is_a_line():
    out = io.StringIO()
    compile_on(Console(file=out, width=200))
    text = out.getvalue()
    for words in ("1/3 bootstrap", "2/3 propose", "3/3 search", "trial 0 baseline", "best ", "verdict: ", "finished; "):
        assert words in text
    assert "\x1b" not in text


def test_on_a_terminal_a_panel_is_drawn_and_taken_away():
    out = io.StringIO()
    compile_on(Console(file=out, width=100, force_terminal=True))
    assert "MIPROv2" in out.getvalue()
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).rstrip().splitlines()[-1].startswith("finished; ")


def test_markup_in_an_instruction_is_shown_as_text():
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=200))
    progress(ev.InstructionProposed("self", 1, "[red]Be bold[/red] [/nonsense]", "proposed"))
    assert "[red]Be bold[/red] [/nonsense]" in out.getvalue()


def test_compile_shows_progress_unless_it_is_switched_off(capsys):
    for shown in (True, False):
        mn.configure(progress=shown, lm=fake())
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), trainset=rows(10))
        assert ("3/3 search" in capsys.readouterr().out) is shown


def evil():
    return [
        ev.RunStarted("id", "Predict", ("self",), {}, {"trials_shown": 1}, {}, {}, at=0.0),
        ev.InstructionProposed("self", 1, "Be \x1b]0;evil\x07 bold.\r\n\x1b[2J :warning: \u202eend", "proposed"),
        ev.Noted("search", "the LM said: \x1b[2J\n  trial 9 full: 100.0%"),
        ev.RunFinished("failed: \x1b]0;evil\x07"),
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_texts_of_an_lm_cannot_command_the_terminal(terminal):
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=200, highlight=False, force_terminal=terminal))
    for event in evil():
        progress(event)
    text = out.getvalue()
    for bad in ("\x1b]", "\x1b[2J", "\x07", "\u202e"):
        assert bad not in text
    assert "Be ⟨U+001B⟩]0;evil⟨U+0007⟩ bold. ⟨U+001B⟩[2J :warning: ⟨U+202E⟩end" in text
    assert "note: the LM said: ⟨U+001B⟩[2J trial 9 full: 100.0%" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_wait_that_begins_later_knows_the_past_and_does_not_print_it_again(terminal):
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, force_terminal=terminal)
    past = searching().events
    for _ in range(3):
        progress = TerminalProgress(console, past=past)
        progress.close()
    assert "trial 0" not in out.getvalue()
    assert ("3/3 search, 2 of 4; this stage: " in out.getvalue()) is terminal
    progress = TerminalProgress(console, past=past)
    progress(ev.TrialStarted(2, "full", (2,), (1,), 10, 10, at=120.0))
    progress(ev.TrialFinished(2, 0.9, 10, 0, at=130.0))
    progress.close()
    assert "trial 2 full (instructions [2], demos [1]): 90.0% on 10 examples; best 90.0%" in out.getvalue()
    assert "trial 1" not in out.getvalue()


def test_no_panel_is_drawn_for_a_run_that_has_ended_until_it_is_extended():
    out = io.StringIO()
    past = [*searching().events, ev.RunFinished("finished", at=121.0)]
    progress = TerminalProgress(Console(file=out, width=100, force_terminal=True), past=past)
    assert out.getvalue() == ""
    progress(ev.RunExtended(2, 2, at=130.0))
    progress(ev.RunFinished("finished", at=131.0))
    assert "3/3 search, 2 of 6" in out.getvalue()
    assert "\x1b[?25h" in out.getvalue().split("2 of 6")[-1]  # the cursor is back: the panel is gone


def test_events_of_trials_whose_start_was_missed_are_no_obstacle():
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=200))
    for event in (ev.ExampleScored(7, 1, 1.0), ev.TrialFinished(7, 0.5, 10, 1), ev.RunExtended(3, 3)):
        progress(event)
    assert "trial 7: 50.0% on 10 examples, 1 failed" in out.getvalue()
