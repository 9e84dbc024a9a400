"""Lines of a log: read fast, and as json reads them."""

import json
import random

import pytest

from mipro_nb import events as ev
from mipro_nb import reading
from mipro_nb.eventlog import to_line

SCORED = ev.ExampleScored(3, 7, 0.5, "", "more", "Prediction()", ({"predictor": "self", "inputs": {}},))


def told(event):
    return reading.parser()(to_line(event).encode())


def test_a_line_is_read_as_json_reads_it():
    rng = random.Random(1)
    parse = reading.parser()
    for number in [0.1, 1e-7, 1.5e300, 2**60, -0.0, *(rng.random() * 10 ** rng.randrange(-9, 9) for _ in range(500))]:
        line = json.dumps({"at": number, "text": "é 🫖 \u2028 \\ \x00"}).encode()
        assert parse(line) == json.loads(line)


@pytest.mark.parametrize("line", [b'{"a": "\\ud800"}', b'{"a": "caf\xc3"}', b'{"a": NaN}'])
def test_what_the_fast_parser_refuses_is_read_all_the_same(line):
    assert "a" in reading.parser()(line)


def test_lines_come_with_their_places(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes("\ufeffone\u2028\r\n\ntwo".encode())
    assert list(reading.lines(path)) == [(0, "one\u2028\r\n".encode()), (11, b"\n"), (12, b"two")]


@pytest.mark.parametrize(
    "change",
    [{}, {"score": None}, {"score": 1}, {"score": 0.0}],
)
def test_a_result_with_all_its_fields_needs_no_closer_look(change):
    assert reading.is_scored({**told(SCORED), **change})


@pytest.mark.parametrize(
    "change",
    [{"score": "1"}, {"trial": "3"}, {"example": None}, {"at": -1}, {"at": None}, {"calls": {}}, {"colour": "red"}],
    ids=str,
)
def test_anything_else_does(change):
    assert not reading.is_scored({**told(SCORED), **change})
    assert not reading.is_scored(list(told(SCORED)))
    assert not reading.is_used({**told(ev.LMUsed("search", ev.Usage())), **change})


def test_use_is_recognized():
    used = told(ev.LMUsed("search", ev.Usage(1, 2, 3, 4, None)))
    assert reading.is_used(used)
    assert not reading.is_used({**used, "usage": {**used["usage"], "colour": 1}})
    assert not reading.is_used({**used, "usage": 3})


def test_the_version_that_wrote_a_log_is_told_if_it_is_another():
    versions = {"mipro_nb": "99.1"}
    started = ev.RunStarted("id", "Route", ("self",), {}, {}, {}, versions)
    assert "written by mipro_nb 99.1, and this is " in reading.writer_text(started)
    assert reading.writer_text(None) == ""
