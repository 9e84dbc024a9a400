"""The drawing of the heat map, instruction x demo set: Altair layers over the rows of ``charts``."""

from __future__ import annotations

from typing import Any

from mipro_nb.notebook.marks import INK, WIDTH, Rows, data, ink_of

STEP = 28  # height of a row of the heat map
CELLS = {"predictor": "string", "winner": "boolean"}
CELLS |= dict.fromkeys(("position", "instruction", "demos", "score", "examples"), "number")


def heat(rows: Rows | None) -> Any:
    """Draw one predictor's combinations; the live view's dataset may hold several."""
    import altair as alt

    base = alt.Chart(data("cells", rows, CELLS))
    if rows is None:
        base = base.transform_filter("predictor === null || datum.predictor === predictor")
    chart = _heat(_means(base), ink_of(rows)).properties(height=alt.Step(STEP))
    if rows is not None:
        return chart.properties(width=alt.Step(_column(_most(rows, "demos"), 1)))
    params = [alt.param(name="ink", value=INK), alt.param(name="predictor", value=None)]
    return chart.properties(width=WIDTH).add_params(*params)


def _column(columns: int, beside: int) -> int:
    """Return the width of a column: wide, unless those of the heat maps beside each other are many."""
    return max(STEP, min(2 * STEP, (WIDTH // beside - 40) // max(1, columns)))


def _most(rows: Rows, field: str) -> int:
    """Return how many values a field has, for the predictor that has most."""
    seen: dict[str, set[Any]] = {}
    for row in rows:
        seen.setdefault(row["predictor"], set()).add(row[field])
    return max(map(len, seen.values()), default=0)


def heats(rows: Rows, count: int) -> Any:
    """Draw a part for each of several predictors."""
    import altair as alt

    means = _means(alt.Chart(data("cells", rows, CELLS)))
    columns = _most(rows, "demos")
    # sizes in numbers: Vega-Lite warns of steps in facets of layers
    size = {"width": columns * _column(columns, 2), "height": _most(rows, "instruction") * STEP}
    bare = _heat(alt.Chart(), INK).properties(**size)
    order = alt.EncodingSortField(field="position", op="min", order="ascending")
    names = alt.Facet("predictor:N", title=None, sort=order, header=alt.Header(labelLimit=240, labelFontWeight="bold"))
    parts = bare.facet(names, data=means.data, columns=min(2, count)).resolve_scale(x="independent", y="independent")
    parts.transform = means.transform
    return parts


def _means(base: Any) -> Any:
    """Weigh the trials of a combination by their examples; ``place`` is where its mean lies among all, from 0 to 1."""
    summed = base.transform_calculate(
        product="datum.score * datum.examples", column="isValid(datum.demos) ? datum.demos : -1"
    ).transform_aggregate(
        product="sum(product)",
        examples="sum(examples)",
        trials="count()",
        winner="max(winner)",
        groupby=["predictor", "position", "instruction", "column"],
    )
    spread = summed.transform_calculate(mean="datum.product / max(1, datum.examples)").transform_joinaggregate(
        least="min(mean)", most="max(mean)"
    )
    return spread.transform_calculate(
        # ten points at least from one end of the colours to the other: noise shall not look like a difference
        place="(datum.mean - (datum.least + datum.most) / 2) / max(0.1, datum.most - datum.least) + 0.5",
        shown="datum.column < 0 ? 'none' : toString(datum.column)",
    )


def _heat(means: Any, ink: Any) -> Any:
    import altair as alt

    none = alt.Axis(labelExpr="datum.value < 0 ? 'no demos' : datum.label", labelAngle=0, orient="bottom")
    cells = means.encode(alt.X("column:O", title="demo set", axis=none), alt.Y("instruction:O", title="instruction"))
    tips = [
        alt.Tooltip("predictor:N"),
        alt.Tooltip("instruction:O"),
        alt.Tooltip("shown:N", title="demo set"),
        alt.Tooltip("mean:Q", title="mean score", format=".1%"),
        alt.Tooltip("examples:Q"),
        alt.Tooltip("trials:Q"),
    ]
    scale = alt.Scale(scheme="viridis", domain=[0, 1])
    rects = cells.mark_rect().encode(color=alt.Color("place:Q", scale=scale, legend=None), tooltip=tips)
    outline = {"filled": False, "strokeWidth": 3, "cornerRadius": 2, "aria": False, "color": ink}
    opaque = alt.condition("datum.winner", alt.value(1), alt.value(0))
    won = cells.mark_rect(**outline).encode(opacity=opaque)
    letters = cells.mark_text(aria=False, fontSize=11).encode(
        text=alt.Text("mean:Q", format=".0%"),
        color=alt.condition("datum.place > 0.6", alt.value("black"), alt.value("white")),
        tooltip=tips,
    )
    return alt.layer(rects, won, letters)
