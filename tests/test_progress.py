import io
import re

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
