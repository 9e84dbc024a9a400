"""The exact messages behind a score, rebuilt from the events: instruction, demos, inputs, replies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mipro_nb import adapter
from mipro_nb.errors import MiproError
from mipro_nb.eventlist import ExampleRecord
from mipro_nb.history import History, TrialRecord
from mipro_nb.signature import Signature
from mipro_nb.telling import digest, resolved

DIFFER = "These messages are rebuilt from a log of another version, and differ from those that were sent."


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a predictor: the messages as they were sent, and the reply.

    After a reply that could not be read the messages include it and the request to mend it. Long texts are cut and say
    so, and a message of the role ``note`` says what else isn't as it was sent.
    """

    predictor: str
    messages: tuple[adapter.Message, ...]
    reply: str


def calls(history: History, trial: TrialRecord, result: ExampleRecord) -> list[Call]:
    """Return the calls that a trial's program made on an example, in order."""
    return [_call(history, trial, told) for told in result.calls]


def _call(history: History, trial: TrialRecord, told: Mapping[str, Any]) -> Call:
    name, heard = told["predictor"], list(told["replies"])
    last = heard[-1] if heard else ""
    try:
        rebuilt = _rebuilt(history, trial, told)
        turns = resolved(rebuilt, told)
        if len(heard) == 1 and told.get("messages", ())[-2:-1] == [len(rebuilt)]:
            last = ""  # the request to mend the only reply was not answered
        if digest(turns) != told.get("digest", digest(turns)):
            turns.insert(0, {"role": "note", "content": DIFFER})
    except (MiproError, LookupError, TypeError, ValueError) as error:
        # a log of another version, or an input that isn't of its field's type: shown as far as it goes
        turns = [{"role": "note", "content": f"The messages can't be rebuilt: {type(error).__name__}: {error}"}]
        turns.append({"role": "user", "content": "\n".join(f"{k}: {v}" for k, v in told["inputs"].items())})
    return Call(name, tuple(turns), last)


def _rebuilt(history: History, trial: TrialRecord, told: Mapping[str, Any]) -> list[adapter.Message]:
    if not any(isinstance(message, int) for message in told.get("messages", [0])):
        return []  # all are told as they were sent
    name = told["predictor"]
    return adapter.messages(_signature(history, trial, name), _demos(history, trial, name), told["inputs"])


def _signature(history: History, trial: TrialRecord, name: str) -> Signature:
    if history.started is None:
        raise LookupError("the run's start is not in its events")
    place = history.started.predictors.index(name)
    texts = {p.index: p.text for p in history.instructions if p.predictor == name}
    signature = Signature.from_json(history.started.signatures[name])
    return signature.with_instructions(texts[trial.instructions[place]])


def _demos(history: History, trial: TrialRecord, name: str) -> list[Mapping[str, Any]]:
    """The demos of the trial's set; in a zero-shot run those that the student brought."""
    sets = [made for made in history.demo_sets if made.predictor == name]
    if history.started is None or not trial.demos:
        return [demo for made in sets if made.origin == "student" for demo in made.demos]
    chosen = trial.demos[history.started.predictors.index(name)]
    return list(next(made.demos for made in sets if made.index == chosen))
