"""Run notebooks top to bottom and store their outputs, as they are committed.

``python tests/refresh_notebooks.py [notebooks/quickstart.ipynb ...]``; all of them without an argument. Afterwards
``pytest tests/test_notebooks.py`` says whether what is stored is fit to be read.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def refresh(path: Path) -> float:
    """Run a notebook in its folder, store outputs without times, widget states and counts of a machine; say how long.

    Raises:
        CellExecutionError: a cell failed; the file stays as it was.
    """
    book = nbformat.read(path, as_version=4)
    book.metadata = nbformat.from_dict(METADATA)
    began = time.monotonic()
    client = NotebookClient(book, timeout=1800, store_widget_state=False, coalesce_streams=True)
    client.execute(cwd=str(path.parent))
    book.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    nbformat.write(book, path)
    return time.monotonic() - began


if __name__ == "__main__":
    for path in [Path(given) for given in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        print(f"{path.name}: {refresh(path.resolve()):.0f} s, {path.stat().st_size:,} bytes", flush=True)
