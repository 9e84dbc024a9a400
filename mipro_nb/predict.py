"""Predict and ChainOfThought: one step, one LM call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mipro_nb import adapter, replies
from mipro_nb.errors import ConfigError, LoadError, ParseError, nearest
from mipro_nb.example import Example, Prediction, fields_of
from mipro_nb.fieldtypes import adapter as adapter_of
from mipro_nb.fieldtypes import is_scalar, plain
from mipro_nb.lm import LM
from mipro_nb.module import Module, Shown, Step, copied, showing, trace
from mipro_nb.saving import read_program
from mipro_nb.settings import as_lm, sampling_in_force, settings
from mipro_nb.signature import OutputField, Signature, as_signature


class Predict(Module):
    """One step: a signature, its demos, one LM call. ``program(question=...)`` returns a ``Prediction``.

    Args:
        signature: a Signature, or text such as ``"message -> team"``.
        instructions: instead of the signature's own.
        lm: the LM of this step, or a model's name; None uses the configured one.
        demos: Examples for the prompt, with the fields of the signature.

    Attributes:
        signature, demos, lm: may be replaced at any time.

    Raises:
        SignatureError: the signature can't be read.
        ConfigError: ``lm`` is neither an LM nor a name. What a call can raise stands at ``forward``.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> program = mn.Predict("question -> answer: int", lm=FakeLM(["2"]))
    >>> program(question="1 + 1?").answer
    2
    >>> program.messages(question="1 + 1?")[-1]
    {'role': 'user', 'content': 'question: 1 + 1?'}
    """

    is_predictor = True

    def __init__(
        self,
        signature: Signature | type[Signature] | str,
        instructions: str | None = None,
        *,
        lm: LM | str | None = None,
        demos: Sequence[Example] = (),
    ) -> None:
        self.signature = self._completed(as_signature(signature, instructions))
        self.demos: list[Example] = list(demos)
        self.lm = as_lm(lm)

    def _completed(self, signature: Signature) -> Signature:
        """Return the signature with whatever the kind of predictor adds to it."""
        return signature

    def input_names(self) -> list[str] | None:
        return list(self.signature.input_fields)

    def forward(self, /, **inputs: Any) -> Prediction:
        """Ask the LM; on a reply that can't be read ask once more, showing the error.

        Raises:
            ConfigError: an input is missing or unknown, or no LM is configured.
            ParseError: the second reply can't be read either; the first one's error and text are kept.
            LMError: the LM gave no answer.
        """
        self._check(inputs)
        turns = adapter.messages(self.signature, self.demos, inputs)
        if showing.get():
            raise Shown(turns)
        lm = self.lm or settings().lm
        if lm is None:
            raise ConfigError("no LM is configured: call mipro_nb.configure(lm=mipro_nb.LM('local/smollm2-135m')).")
        schema = adapter.json_schema(self.signature) if adapter.needs_json(self.signature) else None
        options: dict[str, Any] = {"schema": schema} if schema and lm.supports_schema else {}
        options |= sampling_in_force()
        given, outputs = copied(dict(inputs)), dict[str, Any]()  # the program may go on to change its lists
        sent, heard = list[list[adapter.Message]](), list[str]()
        try:
            outputs = self._ask(lm, turns, options, sent, heard)
        finally:
            steps = trace.get()
            if steps is not None:
                steps.append(Step(self, given, outputs, tuple(heard), tuple(sent[-1])))
        return Prediction(outputs)

    def _ask(
        self,
        lm: LM,
        turns: list[adapter.Message],
        options: Mapping[str, Any],
        sent: list[list[adapter.Message]],
        heard: list[str],
    ) -> dict[str, Any]:
        """Ask, and once more if the reply can't be read; note what was sent and heard."""
        first: ParseError | None = None
        while True:
            sent.append(turns)
            heard.append(lm.complete(turns, **options).text)
            try:
                return replies.parse(self.signature, heard[-1])
            except ParseError as error:
                if first is not None:
                    raise first from None
                first, turns = error, replies.repair(turns, error)

    def _check(self, inputs: Mapping[str, Any]) -> None:
        known = list(self.signature.input_fields)
        for name in inputs:
            if name not in known:
                raise ConfigError(f"input {name!r} is not in the signature; inputs: {known}.{nearest(name, known)}")
        missing = [name for name in known if name not in inputs]
        if missing:
            raise ConfigError(f"input {missing[0]!r} is missing; inputs: {known}.")

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``take`` reads: kind, signature, demos, and the name of its own LM."""
        demos = [plain(fields_of(demo)) for demo in self.demos]
        lm = self.lm.model if self.lm is not None else None
        return {"kind": self.kind, "signature": self.signature.to_json(), "demos": demos, "lm": lm}

    def take(self, saved: Mapping[str, Any]) -> None:
        """Take signature and demos from ``to_json``'s values; where the fields are the same, one's own types stay."""
        read, own = Signature.from_json(saved["signature"]), self.signature
        same = own.with_instructions(read.instructions) == read
        self.signature = own.with_instructions(read.instructions) if same else read
        self.demos = [self._typed(demo) for demo in saved["demos"]]

    def _typed(self, demo: Mapping[str, Any]) -> Example:
        """Return a demo read from JSON, lists and models of the signature's types where they can be made."""
        values = dict(demo)
        for name in values:
            field = self.signature.fields.get(name)
            if field is not None and not is_scalar(field.type):
                with contextlib.suppress(ValueError, TypeError):
                    values[name] = adapter_of(field.type).validate_python(values[name])
        return Example(values)

    @property
    def kind(self) -> str:
        """``"Predict"`` or ``"ChainOfThought"``, also for subclasses."""
        return "ChainOfThought" if isinstance(self, ChainOfThought) else "Predict"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature.spec!r}, demos={len(self.demos)})"


class ChainOfThought(Predict):
    """A Predict that first writes its ``reasoning``: a text output put before the others.

    Arguments, attributes and errors are those of ``Predict``.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> program = mn.ChainOfThought("question -> answer", lm=FakeLM(['{"reasoning": "6 * 7", "answer": "42"}']))
    >>> program(question="What is six times seven?")
    Prediction(reasoning='6 * 7', answer='42')
    """

    def _completed(self, signature: Signature) -> Signature:
        return signature if "reasoning" in signature.fields else signature.prepend("reasoning", OutputField())


def load(path: str | os.PathLike[str]) -> Predict:
    """Rebuild a Predict or ChainOfThought from a file that ``save`` wrote, without its class.

    It asks the configured LM: the file holds the name of the program's own, and never its key.

    Args:
        path: of the file; ``.json`` may be left out.

    Raises:
        LoadError: not such a file, or a program of several predictors (build it, then ``program.load(path)``).

    >>> import tempfile
    >>> import mipro_nb as mn
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = mn.Predict("question -> answer", "Be brief.").save(f"{directory}/brief")
    ...     mn.load(path).signature.instructions
    'Be brief.'
    """
    saved = read_program(path)
    states = saved["predictors"]
    if list(states) != ["self"]:
        raise LoadError(
            f"{os.fspath(path)} holds {saved['program']} with the predictors {list(states)}: its code isn't in the "
            f"file. Build the program, then call program.load({os.fspath(path)!r})."
        )
    state = states["self"]
    kind = ChainOfThought if state["kind"] == "ChainOfThought" else Predict
    program = kind(Signature.from_json(state["signature"]))  # as ChainOfThought its reasoning is in it already
    program.take(state)
    return program
