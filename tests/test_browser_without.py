"""A front end without widgets (nbclient): plain text updated in place, then the frozen output. No browser needed."""

import re
from pathlib import Path

import lab
import nbformat
import pytest

pytestmark = pytest.mark.slow

WIDGET = "application/vnd.jupyter.widget-view+json"
WAIT = "import time\nwhile view.status == 'running': time.sleep(0.1)\ntime.sleep(1)"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run cells by nbclient in a folder of their own; return what the second one shows, each time that it changes."""
    monkeypatch.setenv("PYTHONPATH", str(Path(lab.__file__).parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONWARNINGS", "")

    def run(*cells):
        from nbclient import NotebookClient

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        seen = []

        class Client(NotebookClient):
            def process_message(self, message, cell, number):
                found = super().process_message(message, cell, number)
                if message["msg_type"] == "update_display_data" and cell.outputs is not None:
                    seen.append(message["content"]["data"])
                return found

        path = {"metadata": {"path": str(tmp_path)}}
        Client(notebook, timeout=lab.PATIENCE, store_widget_state=False, resources=path).execute()
        return notebook, seen

    return run


def test_text_is_updated_in_place_and_then_frozen(run):
    notebook, seen = run(
        "from scene import *", "view = optimize(slow(0.2), num_trials=15)\nview", "_ = await view", WAIT
    )
    texts = [data["text/plain"] for data in seen if "text/html" not in data]
    found = [int(re.search(r"(\d+) calls", text)[1]) for text in texts if "calls" in text]
    assert len(found) >= 2
    assert found == sorted(found)
    assert found[0] < found[-1]
    frozen, chart = notebook.cells[1].outputs
    assert set(frozen.data) == {"text/html", "text/plain"}
    assert "test examples" in frozen.data["text/html"]
    assert set(chart.data) == {"application/vnd.vegalite.v5+json", "image/png", "text/plain"}
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.outputs)


def test_who_waits_sees_text_that_is_updated_in_place(run):
    notebook, seen = run("from scene import *", "view = optimize(slow(0.1))\nview", "view.wait()", WAIT)
    lines = [data["text/plain"] for data in seen if data.get("text/plain", "").startswith("Predict: ")]
    assert len(set(lines)) >= 3
    waited = [output for output in notebook.cells[2].outputs if output.output_type == "display_data"]
    assert [output.data["text/plain"].splitlines()[0] for output in waited] == ["Predict: finished"]
    assert "test examples" in notebook.cells[1].outputs[0].data["text/html"]


def test_a_run_that_is_waited_for_in_its_own_cell_leaves_its_frozen_output(run):
    notebook, _ = run("from scene import *", "view = optimize(fake())\ndisplay(view)\nview.run.wait()", WAIT)
    shown = notebook.cells[1].outputs
    assert any("test examples" in output.data.get("text/html", "") for output in shown if "data" in output)
    assert not any(WIDGET in output.data for output in shown if "data" in output)
