"""Fakes for tests, ours and yours: an LM without a model, a replayed LM, an event recorder.

>>> lm = FakeLM(lambda messages: "42")
>>> lm("What is six times seven?"), lm.calls
('42', 1)
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mipro_nb import events as ev
from mipro_nb.cache import Cache, request_key
from mipro_nb.errors import ConfigError, LoadError, UnknownPrompt
from mipro_nb.lm import LM, Reply
from mipro_nb.usage import book

Messages = list[dict[str, str]]
K = TypeVar("K", bound=ev.Event)


class FakeLM(LM):
    """An LM that answers from a function or a script; it goes through the same cache and retries as ``LM``.

    Args:
        replies: a function of the messages that returns the text (or raises, to fake an outage); a
            list of texts, given in turn; or a dict from a piece of the prompt to the text.
        model: its name.
        price: US dollars per call, 0 or more; None fakes an unknown price.
        supports_schema: whether it claims to follow JSON schemas.
        cache: as for ``LM``, but False unless given.
        **options: as for ``LM``; retries don't wait unless ``retry_wait`` is given.

    Attributes:
        prompts: the messages of every call, in order.
        sampling: what else each call asked for: temperature, max_tokens, ...

    Raises:
        ConfigError: ``replies`` is a text alone.

    With an ``executor`` ``replies`` must be a function that can be pickled; what workers ask isn't in ``prompts``.
    A prompt that the script doesn't know raises ``errors.UnknownPrompt`` (an AssertionError) with the prompt.

    >>> from mipro_nb.testing import FakeLM
    >>> lm = FakeLM({"sky": "blue", "grass": "green"})
    >>> lm("What colour is grass?"), lm.calls, lm.prompts[0][0]["content"]
    ('green', 1, 'What colour is grass?')
    """

    def __init__(
        self,
        replies: Callable[[Messages], str] | Sequence[str] | Mapping[str, str],
        *,
        model: str = "fake/lm",
        price: float | None = 0.0,
        supports_schema: bool = False,
        cache: bool | Cache = False,
        **options: Any,
    ) -> None:
        super().__init__(model, cache=cache, **{"retry_wait": 0.0, **options})
        self._answer = replies if callable(replies) else _script(replies)
        self._price, self._schema = price, supports_schema
        self._counting = threading.Lock()
        self.prompts: list[Messages] = []
        self.sampling: list[dict[str, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_counting": None, "prompts": [], "sampling": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._counting = threading.Lock()

    @property
    def calls(self) -> int:
        """How many calls reached the fake."""
        return len(self.prompts)

    @property
    def supports_schema(self) -> bool:
        return self._schema

    def prices(self) -> tuple[float, float] | None:
        return (0.0, 0.0) if self._price == 0 else None

    def dearest(self) -> tuple[float, float, float] | None:
        return None if self._price is None else (self._price, 0.0, 0.0)

    def longest_answer(self, sampling: Mapping[str, Any] | None = None) -> int | None:
        return self.max_tokens

    def _send(self, messages: Messages, sampling: Mapping[str, Any]) -> dict[str, Any]:
        with self._counting:
            self.prompts.append(messages)
            self.sampling.append(dict(sampling))
        text = self._answer(messages)
        prompt = sum(len(message["content"].split()) for message in messages)
        words = len(text.split())
        return {"text": text, "finish": "stop", "prompt": prompt, "completion": words, "cost": self._price}


def _script(replies: Sequence[str] | Mapping[str, str]) -> Callable[[Messages], str]:
    if isinstance(replies, str):
        raise ConfigError(f"replies={replies!r}: a function, a list of texts or a dict is needed; try [{replies!r}].")
    lock, waiting = threading.Lock(), list(replies) if not isinstance(replies, Mapping) else []

    def answer(messages: Messages) -> str:
        prompt = "\n".join(message["content"] for message in messages)
        if isinstance(replies, Mapping):
            known = [text for piece, text in replies.items() if piece in prompt]
            if not known:
                raise UnknownPrompt(f"FakeLM doesn't know this prompt:\n{prompt}")
            return known[0]
        with lock:
            if not waiting:
                told = f"FakeLM's script of {len(replies)} replies is used up; the next prompt was:\n{prompt}"
                raise UnknownPrompt(told)
            return waiting.pop(0)

    return answer


class RecordingLM(LM):
    """Passes every call on to another LM and appends request and answer to a JSON-lines file, for ``ReplayLM``.

    The file holds answers and the digests of the requests: no prompt and no key.

    Args:
        lm: the LM that answers.
        path: of the file; it is made, or gets more lines.

    >>> import tempfile
    >>> from mipro_nb.testing import FakeLM, RecordingLM, ReplayLM
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     RecordingLM(FakeLM(["blue"]), f"{directory}/calls.jsonl")("What colour is the sky?")
    ...     ReplayLM(f"{directory}/calls.jsonl")("What colour is the sky?")
    'blue'
    'blue'
    """

    def __init__(self, lm: LM, path: str | os.PathLike[str]) -> None:
        super().__init__(lm.model, temperature=lm.temperature, cache=False)
        self._inner, self._path, self._writing = lm, Path(path), threading.Lock()

    @property
    def supports_schema(self) -> bool:
        return self._inner.supports_schema

    def prices(self) -> tuple[float, float] | None:
        return self._inner.prices()

    def dearest(self) -> tuple[float, float, float] | None:
        return self._inner.dearest()

    def longest_answer(self, sampling: Mapping[str, Any] | None = None) -> int | None:
        return self._inner.longest_answer(sampling)

    def complete(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        reply = self._inner.complete(messages, **options)
        usage = [reply.usage.prompt_tokens, reply.usage.completion_tokens]
        row = {"key": _replay_key(messages, options), "text": reply.text, "usage": usage}
        with self._writing, self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return reply


class ReplayLM(LM):
    """Answers from a file that ``RecordingLM`` wrote; an unknown prompt raises ``errors.UnknownPrompt``.

    Args:
        path: of the file.
        model: its name.

    Raises:
        LoadError: the file isn't such a recording.

    >>> import tempfile
    >>> from mipro_nb.testing import FakeLM, RecordingLM, ReplayLM
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     said = RecordingLM(FakeLM(["blue"]), f"{directory}/calls.jsonl")("What colour is the sky?")
    ...     ReplayLM(f"{directory}/calls.jsonl")("What colour is the sky?") == said
    True
    """

    def __init__(self, path: str | os.PathLike[str], *, model: str = "replay/lm") -> None:
        super().__init__(model, cache=False)
        self._known: dict[str, Reply] = {}
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")  # splitlines() cuts at U+2028 too
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                usage = ev.Usage(1, 0, *row["usage"])
                self._known[row["key"]] = Reply(row["text"], False, "stop", usage)
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise LoadError(
                    f"{os.fspath(path)}, line {number}: not a recording of RecordingLM ({error})."
                ) from error

    @property
    def supports_schema(self) -> bool:
        return False

    def prices(self) -> tuple[float, float] | None:
        return 0.0, 0.0

    def longest_answer(self, sampling: Mapping[str, Any] | None = None) -> int | None:
        return 0  # nothing is sent

    def complete(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        reply = self._known.get(_replay_key(messages, options))
        if reply is None:
            raise UnknownPrompt(f"the recording doesn't hold this prompt:\n{json.dumps(list(messages), indent=1)}")
        book(reply.usage)
        return reply


def _replay_key(messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]) -> str:
    return request_key("", messages, {k: v for k, v in options.items() if v is not None and k != "schema"})


class EventRecorder:
    """A listener that keeps all events: ``compile(..., listeners=[recorder])``.

    Attributes:
        events: all of them, in order, see ``mipro_nb.events``.

    >>> from mipro_nb import events as ev
    >>> from mipro_nb.testing import EventRecorder
    >>> recorder = EventRecorder()
    >>> recorder(ev.StageStarted("search", 3))
    >>> [event.total for event in recorder.of(ev.StageStarted)]
    [3]
    """

    def __init__(self) -> None:
        self.events: list[ev.Event] = []

    def __call__(self, event: ev.Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def of(self, kind: type[K]) -> list[K]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]
