"""What an example's evaluation tells: its events, cut to a bearable length and still true to what was sent.

The messages of a call aren't told again and again: the log knows signatures and demos, and ``transcript`` rebuilds
them. A digest shows that they are those that were sent; what can't be rebuilt is told in full.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from mipro_nb import adapter
from mipro_nb import events as ev
from mipro_nb.example import fields_of
from mipro_nb.fieldtypes import plain
from mipro_nb.module import Module, Step
from mipro_nb.scoring import LONGEST_OUTPUT, ExampleResult
from mipro_nb.signature import Signature

if TYPE_CHECKING:
    from mipro_nb.predict import Predict

K = TypeVar("K", int, str)

LONGEST_INPUT = 20_000  # characters of a call's inputs that events carry
LONGEST_REPLY = 20_000  # and of a reply
CUT = "[cut here by mipro_nb: {}]"


def report(emit: ev.Listener, stage: str, trial: int, names: Mapping[int, Known], result: ExampleResult) -> None:
    """Emit what one example gave and used; ``names`` as of ``names_of``, before the program ran."""
    for event in result.told:
        emit(replace(event, trial=trial) if isinstance(event, ev.ExampleScored) and event.trial != trial else event)
    if result.told:
        return
    emit(ev.LMUsed(stage, result.usage))
    for note in result.notes:
        emit(ev.Noted(stage, note))
    output = _shown(result.prediction) if result.prediction is not None else ""
    calls = tuple(_call(names.get(id(step.predictor), Known()), step) for step in result.steps)
    feedback = _cut(result.feedback, LONGEST_OUTPUT)
    answers = tuple(key[: ev.KEY] for key in result.answers)
    emit(ev.ExampleScored(trial, result.example, result.score, result.error, feedback, output, calls, answers))


@dataclass(frozen=True, slots=True)
class Known:
    """What a run's events tell of a predictor before it is called: enough to rebuild its prompts from its inputs.

    Nothing is known of a predictor that the program makes while it runs.
    """

    name: str = ""
    signature: Signature | None = None
    head: tuple[adapter.Message, ...] = ()

    def messages(self, inputs: Mapping[str, Any]) -> list[adapter.Message]:
        """Return the messages that ``transcript`` rebuilds; none if these can't be a prompt's inputs."""
        if self.signature is None or not self.signature.input_fields.keys() <= inputs.keys():
            return []
        return [*self.head, adapter.messages(self.signature, (), inputs)[-1]]


def names_of(program: Module) -> dict[int, Known]:
    """Return what the events tell of a program's predictors, by their ``id``."""
    return {id(predictor): _known(name, predictor) for name, predictor in program.named_predictors()}


def _known(name: str, predictor: Predict) -> Known:
    try:
        signature = Signature.from_json(predictor.signature.to_json())
        demos = [plain(fields_of(demo)) for demo in predictor.demos]
        head = adapter.messages(signature, demos, dict.fromkeys(signature.input_fields, ""))[:-1]
    except Exception:  # noqa: BLE001 (of types or demos of the user's own: the messages are told as they were sent)
        return Known(name)
    return Known(name, signature, tuple(head))


def _call(known: Known, step: Step) -> dict[str, Any]:
    """Tell of a call so that the messages that were sent can be shown; in full only what can't be rebuilt."""
    whole = {name: plain(value) for name, value in step.inputs.items()}
    inputs, replies = _fitted(whole), [_cut(reply, LONGEST_REPLY) for reply in step.replies]
    told: dict[str, Any] = {"predictor": known.name, "inputs": inputs, "replies": replies}
    if not step.messages:
        return told
    rebuilt = known.messages(whole)
    at_hand = _with_first_reply(rebuilt, step.replies)
    sent = [n if at_hand[n : n + 1] == [message] else message for n, message in enumerate(step.messages)]
    if sent != list(range(len(rebuilt))):
        texts = _fitted({n: one["content"] for n, one in enumerate(sent) if not isinstance(one, int)})
        told["messages"] = [one if isinstance(one, int) else {**one, "content": texts[n]} for n, one in enumerate(sent)]
    told["digest"] = digest(resolved(rebuilt if inputs == whole else known.messages(inputs), told))
    return told


def _with_first_reply(rebuilt: Sequence[adapter.Message], replies: Sequence[str]) -> list[adapter.Message]:
    return [*rebuilt, *({"role": "assistant", "content": reply or "(empty)"} for reply in replies[:1])]


def resolved(rebuilt: Sequence[adapter.Message], told: Mapping[str, Any]) -> list[adapter.Message]:
    """Return the messages of a call as its event tells them: places in what can be rebuilt, or the texts themselves.

    Args:
        rebuilt: from the predictor's signature and demos and the inputs that are told.
    """
    at_hand = _with_first_reply(rebuilt, told["replies"])
    return [at_hand[one] if isinstance(one, int) else one for one in told.get("messages", range(len(rebuilt)))]


def digest(messages: Sequence[adapter.Message]) -> str:
    """Return a short fingerprint of messages."""
    text = json.dumps([[message["role"], message["content"]] for message in messages])
    return hashlib.blake2s(text.encode(), digest_size=8).hexdigest()


def _cut(text: str, most: int) -> str:
    """Cut a long text, and say so."""
    return text if len(text) <= most else f"{text[:most]}\n{CUT.format(f'{len(text):,} characters in all')}"


def _fitted(values: Mapping[K, Any]) -> dict[K, Any]:
    """Cut values to ``LONGEST_INPUT`` characters in all: short ones stay whole, the others share what is left."""
    sizes = {key: len(json.dumps(value, ensure_ascii=False)) for key, value in values.items()}
    fitted, left = dict(values), LONGEST_INPUT
    if sum(sizes.values()) > left:
        for place, key in enumerate(sorted(values, key=sizes.__getitem__)):
            share = left // (len(values) - place)
            left -= min(share, sizes[key])
            if sizes[key] > share:
                fitted[key] = _fit(values[key], share)[0]
    return fitted


def _fit(value: Any, room: int) -> tuple[Any, int]:
    """Return a plain value cut to so many characters, and how many are left."""
    if isinstance(value, str):
        return _cut(value, room), max(0, room - len(value))
    if not isinstance(value, dict | list):
        return value, max(0, room - 4)
    pairs: Iterable[tuple[str, Any]] = value.items() if isinstance(value, dict) else (("", part) for part in value)
    parts: list[tuple[str, Any]] = []
    for key, part in pairs:
        room -= len(key) + 2
        if room <= 0:
            parts.append((CUT.format("the rest"), CUT.format(f"{len(value) - len(parts):,} more of {len(value):,}")))
            break
        made, room = _fit(part, room)
        parts.append((key, made))
    return dict(parts) if isinstance(value, dict) else [part for _, part in parts], max(0, room)


def _shown(prediction: Any) -> str:
    try:
        return _cut(repr(prediction), LONGEST_OUTPUT)
    except Exception as error:  # noqa: BLE001 (a repr of the user's own)
        return f"a {type(prediction).__name__} whose repr raised {type(error).__name__}"
