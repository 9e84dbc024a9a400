"""The committed notebooks: what somebody reads who doesn't run them. (nbval runs them, see pyproject.toml.)"""

from __future__ import annotations

import re

import nbformat
import pytest
from refresh_notebooks import METADATA, NOTEBOOKS

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LARGEST = 1_000_000  # bytes
books = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def outputs(path):
    return [out for cell in code(path) for out in cell.outputs]


def code(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@books
def test_it_is_small_and_holds_no_state_of_widgets(path):
    assert path.stat().st_size < LARGEST
    assert nbformat.read(path, as_version=4).metadata == METADATA


@books
def test_every_cell_ran_in_order_without_error_or_stderr(path):
    assert [cell.execution_count for cell in code(path)] == list(range(1, len(code(path)) + 1))
    assert not [out for out in outputs(path) if out.output_type == "error" or out.get("name") == "stderr"]


@books
def test_no_stored_output_is_a_warning_or_names_a_folder_of_the_machine_it_was_made_on(path):
    for out in outputs(path):
        texts = [out.get("text", ""), *(value for value in out.get("data", {}).values() if isinstance(value, str))]
        for text in texts:
            assert not re.search(r"Warning\b|Traceback|/tmp/|/home/|/root/|/work/", text), text[:300]


@books
def test_no_output_is_a_live_widget_that_a_saved_notebook_cannot_show(path):
    kinds = {kind for out in outputs(path) for kind in out.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" not in kinds


@books
def test_it_says_what_it_shows_how_long_it_takes_and_what_it_costs(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    for words in ("# ", "**What it shows:**", "**How long:**", "**What it costs:**"):
        assert words in first


@books
def test_the_model_is_swapped_in_one_line(path):
    sources = "\n".join(cell.source for cell in code(path))
    assert len(re.findall(r"^MODEL = ", sources, re.M)) == 1 or "LM(" not in sources
