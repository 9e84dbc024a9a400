"""How long ``import mipro_nb`` takes, beside ``import dspy``. Prints; asserts no time.

    pytest -m benchmark -s tests/benchmarks/test_import.py

``MIPRO_NB_DSPY_PYTHON`` names a python that has dspy, if this one hasn't.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROUNDS = 5
CLOCK = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
EVERYTHING = "import mipro_nb; [getattr(mipro_nb, name) for name in mipro_nb.__all__]"  # names load on first use


def seconds(python: str, code: str) -> float:
    found = subprocess.run([python, "-c", CLOCK.format(code)], capture_output=True, text=True, check=True, timeout=120)
    return float(found.stdout.split()[-1])


@pytest.mark.benchmark
def test_import_beside_dspy() -> None:
    python = os.environ.get("MIPRO_NB_DSPY_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import dspy"], capture_output=True).returncode:  # this also warms the disk
        pytest.skip(f"{python} has no dspy; set MIPRO_NB_DSPY_PYTHON to one that has")
    ways = [(sys.executable, "import mipro_nb"), (sys.executable, EVERYTHING), (python, "import dspy")]
    rounds = [[seconds(*way) for way in ways] for _ in range(ROUNDS + 1)]  # taken in turn
    ours, whole, theirs = (min(column) for column in zip(*rounds[1:], strict=True))
    print(f"\nimport dspy: {theirs:.3f} s")
    print(f"import mipro_nb: {ours:.3f} s; dspy takes {theirs / ours:.1f} times as long")
    print(f"mipro_nb with every public name: {whole:.3f} s; dspy takes {theirs / whole:.1f} times as long")
