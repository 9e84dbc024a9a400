"""More demo sets at no cost: the traces and labels that stage 1 has at hand, put together anew."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from mipro_nb.bootstrap import Bootstrapping, DemoSet, labeled_demo, tell
from mipro_nb.events import Listener
from mipro_nb.example import Example, fields_of
from mipro_nb.fieldtypes import plain

PATIENCE = 5  # draws, per set wanted, that may turn out to be a set that is there already


def recombine(
    job: Bootstrapping, sets: Sequence[DemoSet], count: int, rng: random.Random, emit: Listener
) -> list[DemoSet]:
    """Return up to ``count`` demo sets that differ from those there are, and tell about them.

    A set holds one to as many of the teacher's traces as the largest set does, drawn at random, the same training
    examples for every predictor, filled up with labeled demos as in ``bootstrap``.
    """
    traces = _traces(sets)
    names = [name for name, _ in job.student.named_predictors() if name not in job.frozen]
    known = {_said(made) for made in sets}
    largest = max((len(next(iter(made.demos.values()))) for made in sets), default=0)
    most = max((max(made.bootstrapped.values()) for made in sets), default=0)
    found: list[DemoSet] = []
    for _ in range(count * PATIENCE):
        if len(found) == count:
            break
        chosen = rng.sample(traces, min(len(traces), rng.randint(1, most))) if most else []
        made = _filled(job, chosen, largest, rng)
        if _said(made) not in known:
            known.add(_said(made))
            found.append(made)
            tell(emit, len(sets) + len(found) - 1, made, names)
    return found


def _traces(sets: Sequence[DemoSet]) -> list[dict[str, Example]]:
    """Return the teacher's traces, each once, as a demo per predictor; predictors that don't agree are left out."""
    found: dict[str, dict[str, Example]] = {}
    for made in sets:
        counts = set(made.bootstrapped.values())
        if len(counts) != 1:
            continue
        for number in range(counts.pop()):
            trace = {name: demos[number] for name, demos in made.demos.items()}
            found.setdefault(_text(list(trace.values())), trace)
    return list(found.values())


def _filled(job: Bootstrapping, traces: Sequence[dict[str, Example]], largest: int, rng: random.Random) -> DemoSet:
    demos: dict[str, tuple[Example, ...]] = {}
    order = rng.sample(range(len(job.trainset)), len(job.trainset))
    for name, predictor in job.student.named_predictors():
        own = [trace[name] for trace in traces]
        shown = [_question(predictor.signature.input_fields, demo) for demo in own]
        for number in order:
            if len(own) >= min(largest, max(job.max_labeled, len(traces))):
                break
            label = labeled_demo(predictor.signature, job.trainset[number])
            if label is not None and _question(predictor.signature.input_fields, label) not in shown:
                own.append(label)
        demos[name] = tuple(own)
    return DemoSet("recombined", demos, dict.fromkeys(demos, len(traces)))


def _question(names: Iterable[str], demo: Example) -> str:
    return str([plain(demo[name]) if name in demo else None for name in names])


def _said(made: DemoSet) -> str:
    return "|".join(f"{name}:{_text(demos)}" for name, demos in made.demos.items())


def _text(demos: Sequence[Example]) -> str:
    return str([plain(fields_of(demo)) for demo in demos])
