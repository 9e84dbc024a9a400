"""How fast a long log opens, beside what merely parsing its lines as JSON takes.

pytest -m benchmark -s tests/benchmarks/test_huge_log.py
"""

from __future__ import annotations

import json
import time

import huge_log
import pytest

from mipro_nb import History

pytestmark = pytest.mark.benchmark

SCORED = 200_000


def test_a_long_log_opens_hardly_slower_than_json_parses_it(tmp_path):
    path = huge_log.write(tmp_path, SCORED)
    began = time.process_time()
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
    parsed = time.process_time()
    History.read(path)
    opened = time.process_time()
    print(f"\nopened in {opened - parsed:.2f} s of computing, parsed by json in {parsed - began:.2f} s")
    print(f"{1e6 * (opened - parsed) / SCORED:.1f} microseconds an evaluation")
    assert opened - parsed < 2 * (parsed - began)
