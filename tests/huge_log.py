"""The log of a day: 24 hours of a search, as many events as it takes, made from templates. No LM, no search."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

import histories

from mipro_nb import events as ev
from mipro_nb.eventlog import EVENTS, to_line

DAY = 86_400.0  # seconds
BEGUN = 1_700_000_000.0
EXAMPLES = 500  # of the validation set
STEP, WIDTH = 10, 40  # a round goes on with so many trials, each on so many examples more
ROUND = STEP * WIDTH
SIDE = 72  # instructions, and as many demo sets: pairs enough for 2 million results
MARK = 987_654_000  # a number that stands for what changes from line to line
TEXT = (
    "the order came with a broken lid and nobody answers my mails about the refund that was promised last week so "
    "please tell me whom to ask for the second invoice since the first one names another address than ours and café"
)
WORDS = TEXT.split(" ")


def write(folder: Path, scored: int) -> Path:
    """Write a run directory whose log holds so many ExampleScored, a multiple of ``ROUND``; return the log's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / EVENTS
    with path.open("wb", buffering=1 << 20) as file:
        file.writelines(to_line(event).encode() for event in _opening(scored))
        file.writelines(_search(scored))
        file.write(to_line(ev.RunFinished("finished", at=BEGUN + DAY)).encode())
    return path


def environment() -> dict[str, str]:
    """Return an environment in which another Python finds this folder's modules, and the package under test."""
    here = Path(__file__).parent
    path = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def _opening(scored: int) -> Iterator[ev.Event]:
    long = [f"{histories.ORIGINAL} Case {n}. " + "Think of what the customer needs. " * 12 for n in range(SIDE)]
    started = dataclasses.replace(
        histories.paired_plan(scored), sizes={"training": 200, "validation": EXAMPLES, "test": 0}
    )
    texts = (histories.ORIGINAL, *long[1:])
    for event in (started, *histories.bootstrap(sets=SIDE), *histories.propose(texts=texts)):
        yield dataclasses.replace(event, at=BEGUN)
    yield ev.StageStarted("search", scored, at=BEGUN)


def _search(scored: int) -> Iterator[bytes]:
    """Yield the lines of each round: trials go on, their results come in, the model says what it makes of them."""
    rng, at, pace = random.Random(7), BEGUN, DAY / scored
    lines = {(n, hit): _result(n, hit, rng) for n in range(EXAMPLES) for hit in (0, 1)}
    used = _template(ev.LMUsed("search", ev.Usage(1, 0, MARK, 40, 0.000212), at=MARK))
    begun = _template(ev.TrialStarted(MARK, "partial", (MARK,), (MARK,), MARK, STEP, at=MARK))
    ended = _template(ev.TrialFinished(MARK, MARK, MARK, 0, at=MARK))
    sums = [0] * WIDTH
    for number in range(scored // ROUND):
        group, turn = divmod(number, EXAMPLES // STEP)  # the same trials, until they have met every example
        first, met = group * WIDTH, turn * STEP
        sums = sums if turn else [0] * WIDTH
        now = b"%.3f" % at
        for trial in range(first, first + WIDTH):
            line = begun if trial else begun.replace(b'"partial"', b'"baseline"')
            yield line % (now, *_numbers(trial, trial // SIDE, trial % SIDE, met + STEP))
        for example in range(met, met + STEP):
            for place in range(WIDTH):
                at += pace
                hit = int(rng.random() < 0.5 + 0.01 * place)
                sums[place] += hit
                now = b"%.3f" % at
                yield used % (now, b"%d" % (300 + example))
                yield lines[example, hit] % (now, b"%d" % (first + place), b"%016x" % rng.getrandbits(64))
        for place in range(WIDTH):
            mean = b"%.4f" % (sums[place] / (met + STEP))
            yield ended % (now, b"%d" % (first + place), mean, b"%d" % (met + STEP))
        yield to_line(_posterior(first, (number + 1) * ROUND, at)).encode()


def _numbers(*numbers: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % number for number in numbers)


def _result(example: int, hit: int, rng: random.Random) -> bytes:
    """Return the template of an example's line: its time, trial and digest stay open."""
    message = " ".join(rng.choices(WORDS, k=24))
    team = "billing" if hit else "shipping"
    call = {
        "predictor": "self",
        "inputs": {"message": f"{message} ({example})"},
        "replies": [f"[[ ## team ## ]]\n{team}\n\n[[ ## completed ## ]]"],
        "digest": str(MARK),
    }
    output = f"Prediction(team={team!r})"
    return _template(ev.ExampleScored(MARK, example, float(hit), output=output, calls=(call,), at=MARK))


def _template(event: ev.Event) -> bytes:
    return to_line(event).encode().replace(b"%", b"%%").replace(b"%d" % MARK, b"%b")


def _posterior(leader: int, evaluations: int, at: float) -> ev.PosteriorUpdated:
    """What a model would say; the numbers don't matter here."""
    around = {"mean": 0.6123456789, "low": 0.5612345678, "high": 0.6634567891}
    gain = {"mean": 0.0612345678, "low": 0.0212345678, "high": 0.1012345678, "better": 0.991234567}
    candidates = [
        {"place": 0, "kind": kind, "index": index, **around, "gain": 0.0212345678, "error": 0.0112345678}
        for kind in ("instruction", "demos")
        for index in range(SIDE)
    ]
    return ev.PosteriorUpdated(
        *((leader // SIDE,), (leader % SIDE,), around, around, gain, {"both": gain}, tuple(candidates), {}),
        evaluations,
        at=at,
    )
