import base64
import json
import subprocess
import sys

import histories
import pytest

from mipro_nb import History
from mipro_nb import events as ev
from mipro_nb.notebook import charts, heat, marks

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def spec_of(chart):
    return {**chart.to_dict(), "$schema": charts.V5}


def svg(chart):
    import vl_convert

    return vl_convert.vegalite_to_svg(spec_of(chart), vl_version=charts.V5_TESTED)


# ---- rows


def test_each_trial_is_a_row_with_its_score_and_interval():
    rows = charts.trial_rows(histories.finished())
    assert [row["trial"] for row in rows] == list(range(16))  # those on the test set are not among them
    assert [row["kind"] for row in rows[:6]] == ["baseline", *["minibatch"] * 4, "full"]
    assert [row["examples"] for row in rows[:6]] == [100, *[35] * 4, 100]
    assert all(0 <= row["low"] <= row["score"] <= row["high"] <= 1 for row in rows)
    assert {row["baseline"] for row in rows} == {rows[0]["score"]}
    assert rows[-1]["best_so_far"] == max(row["score"] for row in rows if row["kind"] == "full")
    assert not any(row["selected"] or row["dim"] for row in rows)


def test_a_row_says_what_was_tried():
    row = charts.trial_rows(histories.finished())[5]
    assert row["choice"] == "instruction 1, demos 4"
    assert row["instruction"].startswith("You are the dispatcher of a help desk.")
    assert row["demos"] == ("student, 2 demos, the first message: I was charged twice this month., team: billing")


def test_texts_in_tooltips_are_cut():
    for make in (histories.hostile, histories.two_predictors, histories.finished):
        for row in charts.trial_rows(make()):
            assert all(len(row[name]) <= charts.LONGEST for name in ("choice", "instruction", "demos"))
    assert charts.trial_rows(histories.finished())[5]["instruction"].endswith("…")


def test_several_predictors_are_named_in_the_choice():
    row = charts.trial_rows(histories.two_predictors())[0]
    assert row["choice"] == "steps[0].answer: instruction 0, demos 0; judge: instruction 0, demos 0"
    assert row["instruction"].count(" | ") == 1


def test_a_trial_that_runs_or_failed_throughout_has_no_score():
    assert charts.trial_rows(histories.middle())[-1]["score"] is None
    failed = charts.trial_rows(histories.failed_examples())[1]
    assert (failed["score"], failed["low"], failed["examples"]) == (None, None, 0)
    assert [cell["instruction"] for cell in charts.cell_rows(histories.failed_examples())] == [0, 1]


def test_cells_tell_every_predictor_and_the_best_combination():
    history = histories.two_predictors()
    cells = charts.cell_rows(history)
    assert len(cells) == 2 * len(history.trials)
    assert [(cell["predictor"], cell["position"]) for cell in cells[:2]] == [("steps[0].answer", 0), ("judge", 1)]
    won = {(cell["position"], cell["instruction"], cell["demos"]) for cell in cells if cell["winner"]}
    assert won == {(place, history.best.instructions[place], history.best.demos[place]) for place in range(2)}


@pytest.mark.slow
def test_a_zero_shot_run_has_no_demo_sets():
    history = histories.zero_shot()
    assert {cell["demos"] for cell in charts.cell_rows(history)} == {None}
    assert {row["demos"] for row in charts.trial_rows(history)} == {""}
    assert charts.trial_rows(history)[0]["choice"] == "instruction 0"
    assert ">no demos<" in svg(charts.heat_chart(charts.cell_rows(history)))


@pytest.mark.parametrize("make", [histories.empty, histories.waiting, histories.bootstrapping, histories.proposing])
def test_before_the_first_trial_the_chart_says_so(make):
    assert (charts.trial_rows(make()), charts.cell_rows(make())) == ([], [])
    assert ">no trials yet<" in svg(charts.run_chart(make()))


def test_a_history_without_its_start_is_drawn():
    history = History([*histories.trial(0, "baseline", (0,), (), [1.0, 0.0])])
    assert charts.cell_rows(history)[0]["predictor"] == "0"
    assert "baseline 50.0%" in svg(charts.run_chart(history))


# ---- charts


def fields_of(value):
    """Every field that a spec reads, and those that its transforms make."""
    if isinstance(value, list):
        for part in value:
            yield from fields_of(part)
    if isinstance(value, dict):
        for key, part in value.items():
            if key in ("field", "as") and isinstance(part, str):
                yield key, part
            else:
                yield from fields_of(part)


@pytest.mark.parametrize(("chart", "fields"), [("scores_chart", marks.TRIALS), ("heat_chart", heat.CELLS)])
def test_every_field_that_is_drawn_is_in_the_rows(chart, fields):
    found = list(fields_of(getattr(charts, chart)().to_dict()))
    made = {name for kind, name in found if kind == "as"}
    assert {name for kind, name in found if kind == "field"} <= set(fields) | made
    rows = (
        charts.trial_rows(histories.finished()) if chart == "scores_chart" else charts.cell_rows(histories.finished())
    )
    assert set(rows[0]) == set(fields)


def test_the_heat_map_weighs_means_by_examples():
    cell = {"predictor": "self", "position": 0, "instruction": 1, "demos": 2, "winner": False}
    rows = [{**cell, "score": 0.5, "examples": 10}, {**cell, "score": 1.0, "examples": 30}]
    assert ">88%<" in svg(charts.heat_chart(rows))  # 87.5, not the 75 of the plain mean


def test_best_and_baseline_are_named_with_their_scores():
    drawn = svg(charts.scores_chart(charts.trial_rows(histories.finished())))
    assert ">baseline 25.0%<" in drawn
    assert ">best 64.0%<" in drawn


def test_the_best_line_is_not_named_while_it_is_the_baseline():
    drawn = svg(charts.scores_chart(charts.trial_rows(histories.middle(2))))
    assert ">baseline " in drawn
    assert ">best " not in drawn


@pytest.mark.slow
def test_predictors_have_a_heat_map_each_in_their_own_order():
    drawn = svg(charts.run_chart(histories.two_predictors()))
    assert 0 < drawn.index(">steps[0].answer<") < drawn.index(">judge<")


def test_what_is_selected_is_outlined_and_what_is_dim_is_faint():
    rows = charts.trial_rows(histories.middle())
    rows[1]["selected"], rows[2]["dim"] = True, True
    drawn = svg(charts.scores_chart(rows))
    assert f'stroke="{marks.INK}" stroke-width="3"' in drawn
    assert 'opacity="0.15"' in drawn


FAST = ("empty", "finished", "hostile")  # drawing takes a second each


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in sorted(histories.ALL)]
)
def test_every_run_can_be_drawn(name):
    bundle = charts.v5_bundle(charts.run_chart(histories.ALL[name]()))
    assert base64.b64decode(bundle["image/png"]).startswith(SIGNATURE)
    assert bundle["application/vnd.vegalite.v5+json"]["$schema"].endswith("/v5.json")
    json.dumps(bundle, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["5.8", "5.21", "6.4"])
@pytest.mark.parametrize("make", [histories.finished, histories.two_predictors, histories.zero_shot])
def test_the_frozen_chart_is_valid_for_old_and_new_vega_lite(make, version, capfd):
    import vl_convert

    vega = vl_convert.vegalite_to_vega(spec_of(charts.run_chart(make())), vl_version=version, show_warnings=True)
    assert vega["marks"]
    assert "WARN" not in capfd.readouterr().err


@pytest.mark.slow
def test_texts_are_data_and_never_part_of_the_spec():
    spec = spec_of(charts.run_chart(histories.hostile()))
    data = spec.pop("datasets")
    rest = json.dumps(spec)
    assert "pwned" in json.dumps(data)
    assert "pwned" not in rest
    drawn = svg(charts.run_chart(histories.hostile()))
    assert "<script" not in drawn
    assert "<img" not in drawn


def test_hidden_characters_are_named():
    texts = " ".join(row["instruction"] for row in charts.trial_rows(histories.hostile()))
    assert "\u202e" not in texts
    assert "\ud800" not in texts
    assert "⟨U+202E⟩" in texts


@pytest.mark.slow
def test_two_thousand_trials_are_drawn_and_stay_small():
    history = histories.large(2000, 20)
    bundle = charts.v5_bundle(charts.run_chart(history))
    assert len(charts.trial_rows(history)) == 2001
    assert len(json.dumps(bundle)) < 700_000


# ---- the live view's specs


def test_the_live_specs_have_empty_datasets_and_fit_a_width():
    specs = json.loads(charts.vega_specs())
    assert {name: spec["data"][0] for name, spec in specs.items()} == {
        "scores": {"name": "trials"},
        "heat": {"name": "cells"},
    }
    for spec in specs.values():
        assert spec["autosize"] == {"type": "fit-x", "contains": "padding"}
        assert isinstance(spec["width"], int)
        assert "ink" in [signal["name"] for signal in spec["signals"]]
    assert charts.vega_specs() is charts.vega_specs()
    made = charts.compiled()
    kept = json.loads(charts.SPECS.read_text())
    assert kept["specs"] == made["specs"] or kept["altair"] != made["altair"], "python -m mipro_nb.notebook.charts"
    assert len(charts.vega_specs()) < 20_000


@pytest.mark.parametrize("width", [320, 900])
def test_the_live_specs_draw_the_rows_at_any_width(width):
    import vl_convert

    history = histories.two_predictors()
    for name, rows in (("scores", charts.trial_rows(history)), ("heat", charts.cell_rows(history))):
        spec = json.loads(charts.vega_specs())[name]
        spec["width"] = width
        spec["data"][0]["values"] = rows
        drawn = vl_convert.vega_to_svg(spec)
        assert f'width="{width}"' in drawn
        assert "%<" in drawn


def test_the_live_heat_map_draws_the_predictor_that_is_asked_for():
    import vl_convert

    spec = json.loads(charts.vega_specs())["heat"]
    spec["data"][0]["values"] = [
        {"predictor": name, "position": 0, "instruction": 0, "demos": 0, "score": score, "examples": 4}
        for name, score in (("a", 0.25), ("b.c[0]", 0.75))
    ]
    next(signal for signal in spec["signals"] if signal["name"] == "predictor")["value"] = "b.c[0]"
    drawn = vl_convert.vega_to_svg(spec)
    assert ">75%<" in drawn
    assert ">25%<" not in drawn


def test_importing_the_charts_is_cheap():
    code = "import sys, mipro_nb.notebook.charts; print({'altair', 'vl_convert', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_events_of_a_choice_without_texts_leave_them_empty():
    history = History([histories.started(), ev.TrialStarted(0, "baseline", (7,), (9,), 1, 1)])
    assert charts.trial_rows(history)[0]["instruction"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("make", [histories.finished, histories.empty], ids=["finished", "empty"])
def test_a_notebook_shows_the_chart_without_a_network(make):
    chart = charts.run_chart(make())
    for shown in (chart, chart.properties(background="white")):  # as Altair's methods change it
        bundle = shown._repr_mimebundle_()
        assert bundle["application/vnd.vegalite.v5+json"]["$schema"] == charts.V5
        assert bundle["image/png"]
        assert "text/html" not in bundle  # Altair's asks a CDN
