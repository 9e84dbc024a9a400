"""The drawing of the chart of trials: Altair layers over the rows of ``charts``. Nothing here knows a run.

Only what Vega-Lite 5 knows is used: JupyterLab draws frozen charts with it. Colours are Okabe and Ito's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

Rows = Sequence[Mapping[str, Any]]
WIDTH, HEIGHT = 400, 230
COLORS = {"baseline": "#767676", "minibatch": "#0072B2", "partial": "#0072B2", "full": "#D55E00"}
SHAPES = {"baseline": "square", "minibatch": "circle", "partial": "circle", "full": "diamond"}
BEST = "#009E73"
INK = "#808080"  # letters that hold on white and on black; the live view sets the signal ``ink`` by its theme
GRID = "rgba(128,128,128,0.25)"
_WORDS = ("kind", "choice", "instruction", "demos")
_NUMBERS = ("trial", "score", "low", "high", "examples", "best_so_far", "baseline")
TRIALS = dict.fromkeys(_NUMBERS, "number") | dict.fromkeys(_WORDS, "string")
TRIALS |= {"selected": "boolean", "dim": "boolean"}


def data(name: str, rows: Rows | None, fields: Mapping[str, str]) -> Any:
    """Return an empty dataset with a name for the live view, or rows as CSV with the types of their fields.

    A notebook file writes every value of JSON rows on a line of its own: CSV is a fifth of that.
    """
    import altair as alt

    if rows is None:
        return alt.NamedData(name=name)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows({field: _cell(row.get(field)) for field in fields} for row in rows)
    return alt.InlineData(values=out.getvalue(), format=alt.CsvDataFormat(type="csv", parse=dict(fields)))


def _cell(value: Any) -> Any:
    """Write missing and false as nothing: shorter, and read back as null."""
    if value is False:
        return None
    return round(value, 5) if isinstance(value, float) else value


def scores(rows: Rows | None) -> Any:
    """Draw the trials."""
    import altair as alt

    base = alt.Chart(data("trials", rows, TRIALS))
    known = base.transform_filter("isValid(datum.score)").transform_joinaggregate(
        trials="count()", most="max(examples)"
    )
    ink = ink_of(rows)
    layers = [
        _frame(known),
        _intervals(known, rows),
        *_baseline(base, ink),
        *_best(base, ink),
        _points(known, ink, rows),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, description="score of every trial")
    params = [alt.param(name="ink", value=INK), alt.param(name="kinds", value=kinds(()))]
    return chart.add_params(*params) if rows is None else chart


def kinds(rows: Rows) -> list[str]:
    """Return the kinds of trials that the legend names: a search has minibatches or partial trials."""
    other = "minibatch" if any(row["kind"] == "partial" for row in rows) else "partial"
    return [kind for kind in COLORS if kind != other]


def ink_of(rows: Rows | None) -> Any:
    """Return the colour of letters and outlines: a signal in the live view, which knows the theme."""
    import altair as alt

    return alt.ExprRef("ink") if rows is None else INK


def _x(field: str = "trial") -> alt.X:
    import altair as alt

    scale = alt.Scale(zero=False, nice=False)
    return alt.X(
        field, type="quantitative", title="trial", scale=scale, axis=alt.Axis(format="d", tickMinStep=1, grid=False)
    )


def _y(field: str) -> alt.Y:
    import altair as alt

    scale, axis = alt.Scale(zero=False), alt.Axis(format=".0%", tickCount=6, gridColor=GRID)
    return alt.Y(field, type="quantitative", title="score", scale=scale, axis=axis)


def _frame(known: Any) -> Any:
    """Nothing to see: it keeps the axes wide when there is one trial, or when all scores are the same."""
    bounds = known.transform_calculate(
        bottom="min(datum.score, isValid(datum.low) ? datum.low : 1)",
        top="max(datum.score, isValid(datum.high) ? datum.high : 0)",
    ).transform_aggregate(last="max(trial)", bottom="min(bottom)", top="max(top)")
    frame = bounds.transform_calculate(
        start="-0.5",
        end="max(datum.last + 0.5, 9.5)",
        bottom="max(0, datum.bottom - 0.03)",
        top="min(1, datum.top + 0.03)",
    )
    return frame.mark_rule(opacity=0, aria=False).encode(_x("start"), x2="end", y=_y("bottom"), y2="top")


def _intervals(known: Any, rows: Rows | None) -> Any:
    import altair as alt

    rules = known.transform_filter("isValid(datum.low)").transform_calculate(
        faint="(datum.dim ? 0.1 : datum.selected ? 0.9 : 0.5) * min(1, max(0.2, 120 / datum.trials))"
    )
    opacity = alt.Opacity("faint:Q", scale=None)
    return rules.mark_rule(strokeWidth=1.5, aria=False).encode(
        _x(), y=_y("low"), y2="high", color=_color(rows), opacity=opacity
    )


def _color(rows: Rows | None) -> alt.Color:
    import altair as alt

    return alt.Color("kind:N", scale=alt.Scale(domain=list(COLORS), range=list(COLORS.values())), legend=_legend(rows))


def _legend(rows: Rows | None) -> Any:
    import altair as alt

    shown = alt.ExprRef("kinds") if rows is None else kinds(rows)
    label = "datum.label == 'full' ? 'full evaluation' : datum.label"
    return alt.Legend(title=None, values=shown, orient="top", symbolType="circle", symbolSize=90, labelExpr=label)


def _points(known: Any, ink: Any, rows: Rows | None) -> Any:
    """Areas follow the examples; crowds get smaller points."""
    import altair as alt

    area = "datum.examples / max(1, datum.most) * (datum.kind == 'minibatch' || datum.kind == 'partial' ? 130 : 200)"
    sized = known.transform_calculate(
        area=f"max(12, {area} * min(1, max(0.2, 60 / datum.trials)))",
        shown="datum.dim ? 0.15 : 0.9",
        interval="isValid(datum.low) ? format(datum.low, '.1%') + ' to ' + format(datum.high, '.1%') : 'unknown'",
    )
    tips = [
        alt.Tooltip("trial:Q"),
        alt.Tooltip("kind:N"),
        alt.Tooltip("score:Q", format=".1%"),
        alt.Tooltip("interval:N", title="95% interval"),
        alt.Tooltip("examples:Q"),
        *(alt.Tooltip(f"{word}:N") for word in _WORDS[1:]),
    ]
    chosen = "datum.selected === true"
    return sized.mark_point(filled=True, cursor="pointer").encode(
        _x(),
        _y("score"),
        color=_color(rows),
        shape=alt.Shape(
            "kind:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=_legend(rows)
        ),
        size=alt.Size("area:Q", scale=None),
        opacity=alt.Opacity("shown:Q", scale=None),
        stroke=alt.condition(chosen, alt.value(ink), alt.value("transparent")),
        strokeWidth=alt.condition(chosen, alt.value(3), alt.value(0)),
        tooltip=tips,
    )


def _baseline(base: Any, ink: Any) -> list[Any]:
    one = base.transform_filter("isValid(datum.baseline)").transform_aggregate(baseline="max(baseline)")
    rule = one.mark_rule(strokeDash=[5, 4], strokeWidth=1.5, aria=False, color=ink).encode(y=_y("baseline"))
    return [rule, _label(one, "baseline", "'baseline '", 8, ink)]


def _best(base: Any, ink: Any) -> list[Any]:
    known = base.transform_filter("isValid(datum.best_so_far)")
    line = known.mark_line(interpolate="step-after", strokeWidth=2.5, color=BEST, aria=False, opacity=0.9)
    last = known.transform_joinaggregate(last="max(trial)").transform_filter("datum.trial === datum.last")
    better = last.transform_filter("datum.best_so_far > datum.baseline || !isValid(datum.baseline)")
    return [line.encode(_x(), _y("best_so_far")), _label(better, "best_so_far", "'best '", -4, ink)]


def _label(one: Any, field: str, words: str, dy: float, ink: Any) -> Any:
    """Write a line's name and value beside its right end."""
    import altair as alt

    text = one.transform_calculate(text=f"{words} + format(datum.{field}, '.1%')")
    style = {"align": "left", "dx": 5, "dy": dy, "fontWeight": "bold", "aria": False}
    return text.mark_text(color=ink, **style).encode(y=_y(field), x=alt.value("width"), text="text:N")


def together(top: alt.LayerChart, below: alt.LayerChart | alt.FacetChart, left_out: str = "") -> Any:
    """Put both charts into one, with letters and lines that hold on white and on black.

    Args:
        left_out: what the first chart doesn't show, in words.
    """
    import altair as alt

    named = {"text": "Score of the trials", "subtitle": left_out, "subtitleColor": INK} if left_out else None
    above = top.properties(title=named or "Score of every trial")
    under = below.properties(title="Mean score by instruction and demo set; the best combination so far is outlined")
    return neutral(alt.vconcat(above, under, spacing=24).resolve_scale(color="independent", shape="independent"))


def nothing(words: str) -> Any:
    """Return a chart that only says why there is none."""
    import altair as alt

    chart = alt.Chart(alt.InlineData(values=[{}])).mark_text(fontSize=14, color=INK).encode(text=alt.value(words))
    return neutral(chart.properties(width=WIDTH, height=60))


def neutral(chart: Any) -> Any:
    """Give a chart letters and lines that hold on white and on black."""
    lines = {"domainColor": INK, "tickColor": INK, "labelColor": INK, "titleColor": INK, "gridColor": GRID}
    chart = chart.properties(background="transparent").configure_view(stroke=None).configure_axis(**lines)
    chart = chart.configure_legend(labelColor=INK).configure_header(labelColor=INK)
    return chart.configure_title(color=INK, anchor="start", frame="group", fontSize=13)
