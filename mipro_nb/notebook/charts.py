"""History -> rows -> Altair: the score of every trial, and the mean of every combination as a heat map.

The numbers are made by ``trial_rows`` and ``cell_rows``; the charts only draw them. What an LM or a
dataset wrote goes into rows, never into a spec. Altair and vl-convert are imported inside the call.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro_nb.notebook import heat, marks, thinned
from mipro_nb.notebook.marks import Rows
from mipro_nb.text import cut

if TYPE_CHECKING:
    import altair as alt

    from mipro_nb.history import History, TrialRecord

LONGEST = 120  # characters of a text in a tooltip
MOST_TEXT = 20_000  # characters of texts in the tooltips of a frozen chart
LARGEST_PNG = 80_000  # bytes
V5_TESTED = "5.8"
SPECS = Path(__file__).parent / "js" / "bundle" / "specs.json"
V5 = "https://vega.github.io/schema/vega-lite/v5.json"


def choice_text(predictors: Sequence[str], trial: TrialRecord) -> str:
    """Name a trial's combination: ``instruction 1, demos 2``, with the predictor's name when there are several."""
    parts = []
    for place, instruction in enumerate(trial.instructions):
        name = f"{predictors[place]}: " if len(trial.instructions) > 1 and place < len(predictors) else ""
        parts.append(f"{name}instruction {instruction}" + (f", demos {trial.demos[place]}" if trial.demos else ""))
    return "; ".join(parts)


def trial_rows(history: History) -> list[dict[str, Any]]:
    """Return one row per trial that is shown: the dataset ``trials``. Scores are fractions, None while unknown."""
    names = history.started.predictors if history.started else ()
    instructions = {(one.predictor, one.index): one.text for one in list(history.instructions)}
    demos = {(one.predictor, one.index): _demos_text(one.origin, one.demos) for one in list(history.demo_sets)}
    baseline = history.baseline.score if history.baseline else None
    if history.posterior is not None:  # as the best so far is an estimate, so is what it is compared with
        baseline = history.posterior.baseline["mean"]
    return [
        {
            "trial": trial.number,
            "kind": trial.kind,
            "score": trial.score,
            "low": trial.low,
            "high": trial.high,
            "examples": trial.examples,
            "best_so_far": trial.best_so_far,
            "baseline": baseline,
            "choice": cut(choice_text(names, trial), LONGEST),
            "instruction": _texts(names, trial.instructions, instructions),
            "demos": _texts(names, trial.demos, demos),
            "selected": False,
            "dim": False,
        }
        for trial in thinned.trials(history)
    ]


def cell_rows(history: History) -> list[dict[str, Any]]:
    """Return a row per trial with a score and predictor: the dataset ``cells``; of many see ``thinned.combinations``.

    ``demos`` is None without demo sets; ``position`` is the predictor's place in the program; ``winner`` tells the
    rows of the best combination so far.
    """
    names = history.started.predictors if history.started else ()
    best = history.best
    rows = []
    for trial, score, examples in thinned.combinations(history):
        won = best is not None and trial.choice == best.choice
        for place, instruction in enumerate(trial.instructions):
            rows.append(
                {
                    "predictor": cut(names[place] if place < len(names) else str(place), LONGEST),
                    "position": place,
                    "instruction": instruction,
                    "demos": trial.demos[place] if trial.demos else None,
                    "score": score,
                    "examples": examples,
                    "winner": won,
                }
            )
    return rows


def _texts(names: Sequence[str], chosen: Sequence[int], known: Mapping[tuple[str, int], str]) -> str:
    each = LONGEST // max(1, len(chosen)) - (3 if len(chosen) > 1 else 0)
    return " | ".join(cut(known.get((name, index), ""), each) for name, index in zip(names, chosen, strict=False))


def _demos_text(origin: str, demos: Sequence[Mapping[str, Any]]) -> str:
    first = ", ".join(f"{name}: {value}" for name, value in demos[0].items()) if demos else ""
    return f"{origin}, {len(demos)} demos" + (f", the first {first}" if first else "")


def scores_chart(rows: Rows | None = None) -> alt.LayerChart:
    """Return the chart of all trials: points sized by examples, intervals, the best so far, and the baseline.

    Args:
        rows: of ``trial_rows``; None makes a spec with an empty dataset named ``trials``.
    """
    chart: alt.LayerChart = marks.scores(rows)
    return chart


def heat_chart(rows: Rows | None = None) -> alt.LayerChart | alt.FacetChart:
    """Return the heat map of instruction x demo set: means weighted by examples.

    Args:
        rows: of ``cell_rows``; a part for each predictor. None makes a spec with an empty dataset named ``cells`` that
            draws the predictor named by its signal ``predictor``, or all when that is null.
    """
    predictors = list(dict.fromkeys(row["predictor"] for row in rows or ()))
    chart: alt.LayerChart | alt.FacetChart
    chart = heat.heat(rows) if len(predictors) < 2 else heat.heats(rows or (), len(predictors))
    return chart


def run_chart(history: History) -> alt.VConcatChart | alt.Chart:
    """Return both charts of a run, in colours that hold on white and on black; a notebook shows them offline too."""
    trials, cells = trial_rows(history), cell_rows(history)
    chart: alt.VConcatChart | alt.Chart
    if not cells:
        chart = marks.nothing("no trials yet")
    else:
        left_out = thinned.text(history)
        chart = marks.together(scores_chart(_shortened(trials)), heat_chart(cells), left_out)
    kind: Any = type(chart)
    object.__setattr__(chart, "__class__", _offline(kind))  # an attribute set else is a part of the spec
    return chart


@functools.cache
def _offline(kind: Any) -> Any:
    """Return a kind of chart that brings along what a notebook draws; Altair's own way fetches a library first."""
    return type(kind.__name__, (kind,), {"_repr_mimebundle_": lambda chart, *_, **__: v5_bundle(chart)})


def _shortened(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cut the texts of many trials shorter: a saved notebook must stay small, and its tables have them."""
    each = MOST_TEXT // (2 * len(trials))
    shown = [{name: cut(row[name], each) if each >= 20 else "" for name in ("instruction", "demos")} for row in trials]
    return [{**row, **texts} for row, texts in zip(trials, shown, strict=True)]


@functools.cache
def vega_specs() -> str:
    """Return the Vega specs of the live view as JSON text, by name; they are the same for every run.

    Their datasets ``trials`` and ``cells`` are empty. The signals ``width``, ``ink`` (colour of direct labels and of
    the outline of what is selected) and, of the heat map, ``predictor`` are set by the front end. They lie beside the
    front end's bundle, since Altair's import and the compiling take seconds; ``python -m mipro_nb.notebook.charts``
    makes them anew.
    """
    return str(json.dumps(json.loads(SPECS.read_text(encoding="utf-8"))["specs"], separators=(",", ":")))


def warm_up() -> None:
    """Import what the frozen chart is drawn with: when a kernel is asked to end there is no time for it."""
    import altair  # noqa: F401
    import vl_convert  # noqa: F401


def schema_version() -> str:
    """Return the version of Vega-Lite that Altair writes, as vl-convert wants it."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def compiled() -> dict[str, Any]:
    """Compile the live view's specs from the charts; ``altair`` tells by which version of it."""
    import altair as alt
    import vl_convert

    specs = {}
    for name, chart in (("scores", scores_chart()), ("heat", heat_chart())):
        fitting = chart.properties(
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), background="transparent"
        )
        specs[name] = vl_convert.vegalite_to_vega(fitting.to_dict(), vl_version=schema_version())
    return {"altair": alt.__version__, "specs": specs}


def v5_bundle(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return a display bundle: Vega-Lite 5 (what JupyterLab draws by itself), PNG and a word of text.

    Altair 6 writes Vega-Lite 6, but the charts use only what version 5 knows too.
    """
    spec = {**chart.to_dict(), "$schema": V5}
    return {
        "application/vnd.vegalite.v5+json": spec,
        "image/png": base64.b64encode(_png(spec)).decode("ascii"),
        "text/plain": "chart of the trials' scores",
    }


def _png(spec: dict[str, Any]) -> bytes:
    """Draw a Vega-Lite 5 spec; a crowded one at a smaller scale, since it goes into a notebook file."""
    import vl_convert

    small = b""
    for scale in (1.5, 1.0):
        small = _squeezed(vl_convert.vegalite_to_png(spec, vl_version=V5_TESTED, scale=scale))
        if len(small) <= LARGEST_PNG:
            break
    return small


def _squeezed(png: bytes) -> bytes:
    """Compress a PNG's pixels again, harder: vl-convert hardly does, and its charts shrink to a quarter."""
    head, pixels, place = png[:8], b"", 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        name, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if name == b"IDAT":
            pixels += body
        elif name != b"IEND":
            head += _chunk(name, body)
        place += 12 + length
    return head + _chunk(b"IDAT", zlib.compress(zlib.decompress(pixels), 9)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


if __name__ == "__main__":
    SPECS.write_text(json.dumps(compiled(), indent=1) + "\n", encoding="utf-8")
