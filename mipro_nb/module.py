"""Programs: Predict and ChainOfThought, modules composed of them, settings, save and load."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import importlib.metadata
import inspect
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import pydantic_core

from mipro_nb import adapter
from mipro_nb.errors import ConfigError, LoadError, ParseError, nearest
from mipro_nb.example import Example, Prediction, fields_of
from mipro_nb.lm import LM
from mipro_nb.signature import OutputField, Signature, as_signature

FORMAT, FORMAT_VERSION = "mipro_nb.program", 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``configure`` sets.

    Attributes:
        lm: the LM of every program that has none of its own.
        num_threads: examples evaluated at the same time; None follows the LM (2 embedded, else 16).
        progress: whether ``compile`` shows progress in the terminal.
    """

    lm: LM | None = None
    num_threads: int | None = None
    progress: bool = True


_configured = Settings()
_overridden: contextvars.ContextVar[Settings | None] = contextvars.ContextVar("mipro_nb_settings", default=None)


def settings() -> Settings:
    """Return the settings in force here."""
    return _overridden.get() or _configured


def configure(**changes: Any) -> None:
    """Set defaults for the whole process: ``lm`` (an LM or its name), ``num_threads``, ``progress``.

    Raises:
        ConfigError: an unknown setting.
    """
    global _configured
    _configured = _changed(_configured, changes)


@contextlib.contextmanager
def context(**changes: Any) -> Iterator[None]:
    """Like ``configure``, inside a ``with`` block and for this thread alone."""
    token = _overridden.set(_changed(settings(), changes))
    try:
        yield
    finally:
        _overridden.reset(token)


def _changed(base: Settings, changes: Mapping[str, Any]) -> Settings:
    known = [name for name in Settings.__slots__]
    for name in changes:
        if name not in known:
            raise ConfigError(f"setting {name!r} is not known; accepted: {', '.join(known)}.{nearest(name, known)}")
    lm = changes.get("lm")
    if isinstance(lm, str):
        changes = {**changes, "lm": LM(lm)}
    elif lm is not None and not isinstance(lm, LM):
        raise ConfigError(f"lm={lm!r}: an LM or a model's name is needed, as in lm=mipro_nb.LM('openai/gpt-5-mini').")
    return replace(base, **changes)


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a predictor in a trace: the predictor object, its inputs and its outputs."""

    predictor: Predict
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


_trace: contextvars.ContextVar[list[Step] | None] = contextvars.ContextVar("mipro_nb_trace", default=None)
_showing: contextvars.ContextVar[bool] = contextvars.ContextVar("mipro_nb_showing", default=False)


class _Shown(BaseException):
    """Carries the messages out of a program that is asked to show and not to send; see ``Module.messages``."""

    def __init__(self, messages: list[adapter.Message]) -> None:
        super().__init__()
        self.messages = messages


@contextlib.contextmanager
def tracing() -> Iterator[list[Step]]:
    """Collect the steps of the programs called inside."""
    steps: list[Step] = []
    token = _trace.set(steps)
    try:
        yield steps
    finally:
        _trace.reset(token)


class PredictorList(list["Predict"]):
    """A program's predictors. ``program.predictors[0]`` and DSPy's ``program.predictors()[0]`` both work."""

    def __call__(self) -> PredictorList:
        return self


class Module:
    """A program: a class with predictors or other modules as attributes (in lists and dicts too) and a ``forward``.

    >>> class Answer(Module):
    ...     def __init__(self):
    ...         self.rewrite = Predict("question -> search")
    ...         self.answer = Predict("question, search -> answer")
    ...     def forward(self, question):
    ...         return self.answer(question=question, search=self.rewrite(question=question).search)
    >>> [name for name, _ in Answer().named_predictors()]
    ['rewrite', 'answer']
    """

    def forward(self, **inputs: Any) -> Any:
        """Do the work; subclasses define it with named parameters."""
        raise ConfigError(f"{type(self).__name__} has no forward method; define forward(self, ...) in the class.")

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        if args:
            names = ", ".join(self.input_names() or ["name"])
            raise ConfigError(f"{type(self).__name__} takes its inputs by name, as in program({names}=...).")
        return self.forward(**inputs)

    @property
    def predictors(self) -> PredictorList:
        """The predictors, each once, in the order of ``named_predictors``."""
        return PredictorList(predictor for _, predictor in self.named_predictors())

    def named_predictors(self) -> list[tuple[str, Predict]]:
        """Return (path, predictor) pairs, such as ``("steps[0].answer", ...)``; the same object counts once."""
        found: list[tuple[str, Predict]] = []
        _walk(self, "", found, set())
        return found

    def input_names(self) -> list[str] | None:
        """Return the inputs that ``forward`` requires, or None if that can't be told."""
        parameters = inspect.signature(self.forward).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return None
        return [p.name for p in parameters if p.default is p.empty]

    def deepcopy(self) -> Self:
        """Return an independent copy; LMs, and what can't be copied (clients, locks), are shared."""
        clone: Self = _clone(self, {})
        return clone

    def reset_copy(self) -> Self:
        """Return a copy without demos."""
        clone = self.deepcopy()
        for predictor in clone.predictors:
            predictor.demos = []
        return clone

    def set_lm(self, lm: LM | None) -> None:
        """Give every predictor an LM of its own; None returns them to the configured one."""
        for predictor in self.predictors:
            predictor.lm = lm

    def messages(self, **inputs: Any) -> list[adapter.Message]:
        """Return the exact messages that the first step would send for these inputs, without sending them."""
        token = _showing.set(True)
        try:
            self(**inputs)
        except _Shown as shown:
            return shown.messages
        finally:
            _showing.reset(token)
        raise ConfigError(f"{type(self).__name__} calls no predictor for these inputs.")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write instructions, signatures and demos as JSON; ``.json`` is added where it is missing.

        No code, no key and no pickle is in the file. Returns its path.
        """
        target = Path(path)
        target = target if target.suffix == ".json" else target.with_name(target.name + ".json")
        states = {name: predictor.to_json() for name, predictor in self.named_predictors()}
        lm = settings().lm
        saved = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "program": type(self).__name__,
            "lm": lm.model if lm else None,
            "versions": versions(),
            "predictors": states,
        }
        text = json.dumps(saved, ensure_ascii=False, indent=2)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(target.name + ".part")
        scratch.write_text(text + "\n", encoding="utf-8")
        os.replace(scratch, target)
        return target

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take signatures and demos from a file that ``save`` wrote; this program must have the same predictors.

        Raises:
            LoadError: not such a file, or other predictors.
        """
        saved = read_program(path)
        own = dict(self.named_predictors())
        if set(own) != set(saved["predictors"]):
            raise LoadError(
                f"{os.fspath(path)} holds the predictors {sorted(saved['predictors'])}, this program has {sorted(own)}."
            )
        for name, predictor in own.items():
            predictor.take(saved["predictors"][name])
        return self


class Predict(Module):
    """One step: a signature, its demos, one LM call.

    Args:
        signature: a Signature, or text such as ``"message -> team"``.
        instructions: instead of the signature's own.
        lm: the LM of this step; None uses the configured one.
        demos: examples for the prompt.

    Attributes:
        signature, demos, lm: may be replaced at any time.

    >>> Predict("question -> answer").messages(question="1 + 1?")[-1]
    {'role': 'user', 'content': 'question: 1 + 1?'}
    """

    def __init__(
        self,
        signature: Signature | type[Signature] | str,
        instructions: str | None = None,
        *,
        lm: LM | None = None,
        demos: Sequence[Example] = (),
    ) -> None:
        self.signature = as_signature(signature, instructions)
        self.demos: list[Example] = list(demos)
        self.lm = lm

    def input_names(self) -> list[str] | None:
        return list(self.signature.input_fields)

    def forward(self, **inputs: Any) -> Prediction:
        """Ask the LM; on a reply that can't be read ask once more, showing the error.

        Raises:
            ConfigError: an input is missing or unknown, or no LM is configured.
            ParseError: the second reply can't be read either; the first one's error and text are kept.
            LMError: the LM gave no answer.
        """
        self._check(inputs)
        turns = adapter.messages(self.signature, self.demos, inputs)
        if _showing.get():
            raise _Shown(turns)
        lm = self.lm or settings().lm
        if lm is None:
            raise ConfigError("no LM is configured: call mipro_nb.configure(lm=mipro_nb.LM('local/smollm2-135m')).")
        schema = adapter.json_schema(self.signature) if adapter.needs_json(self.signature) else None
        options: dict[str, Any] = {"schema": schema} if schema and lm.supports_schema else {}
        options |= _sampling.get()
        reply = lm.complete(turns, **options).text
        try:
            outputs = adapter.parse(self.signature, reply)
        except ParseError as first:
            again = lm.complete(adapter.repair(turns, first), **options).text
            try:
                outputs = adapter.parse(self.signature, again)
            except ParseError:
                raise first from None
        steps = _trace.get()
        if steps is not None:
            steps.append(Step(self, dict(inputs), outputs))
        return Prediction(outputs)

    def _check(self, inputs: Mapping[str, Any]) -> None:
        known = list(self.signature.input_fields)
        for name in inputs:
            if name not in known:
                raise ConfigError(f"input {name!r} is not in the signature; inputs: {known}.{nearest(name, known)}")
        missing = [name for name in known if name not in inputs]
        if missing:
            raise ConfigError(f"input {missing[0]!r} is missing; inputs: {known}.")

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``take`` reads."""
        demos = [pydantic_core.to_jsonable_python(fields_of(demo), fallback=str) for demo in self.demos]
        return {"kind": self.kind, "signature": self.signature.to_json(), "demos": demos}

    def take(self, saved: Mapping[str, Any]) -> None:
        """Take signature and demos from ``to_json``'s values."""
        self.signature = Signature.from_json(saved["signature"])
        self.demos = [Example(demo) for demo in saved["demos"]]

    @property
    def kind(self) -> str:
        """``"Predict"`` or ``"ChainOfThought"``, also for subclasses."""
        return "ChainOfThought" if isinstance(self, ChainOfThought) else "Predict"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature.spec!r}, demos={len(self.demos)})"


class ChainOfThought(Predict):
    """A Predict that first writes its ``reasoning``: a text output put before the others."""

    def __init__(
        self,
        signature: Signature | type[Signature] | str,
        instructions: str | None = None,
        *,
        lm: LM | None = None,
        demos: Sequence[Example] = (),
    ) -> None:
        plain = as_signature(signature, instructions)
        extended = plain if "reasoning" in plain.fields else plain.prepend("reasoning", OutputField())
        super().__init__(extended, lm=lm, demos=demos)


_sampling: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("mipro_nb_sampling", default={})


@contextlib.contextmanager
def sampling(**options: Any) -> Iterator[None]:
    """Add options of ``LM.complete`` (temperature, rollout) to every call made inside."""
    token = _sampling.set({**_sampling.get(), **options})
    try:
        yield
    finally:
        _sampling.reset(token)


def load(path: str | os.PathLike[str]) -> Predict:
    """Rebuild a Predict or ChainOfThought from a file that ``save`` wrote, without its class.

    Raises:
        LoadError: not such a file, or a program of several predictors (build it, then ``program.load(path)``).
    """
    saved = read_program(path)
    states = saved["predictors"]
    if list(states) != ["self"]:
        raise LoadError(
            f"{os.fspath(path)} holds a {saved['program']} with the predictors {list(states)}: its code isn't in the "
            f"file. Build the program, then call program.load({os.fspath(path)!r})."
        )
    state = states["self"]
    kind = ChainOfThought if state["kind"] == "ChainOfThought" else Predict
    program = kind(Signature.from_json(state["signature"]))
    program.take(state)
    return program


def read_program(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check a saved program's JSON."""
    target = Path(path)
    if not target.is_file() and target.suffix != ".json":
        target = target.with_name(target.name + ".json")
    try:
        saved = json.loads(target.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        close = nearest(target.name, [p.name for p in target.parent.glob("*.json")])
        raise LoadError(f"{target} doesn't exist.{close}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise LoadError(f"{target} can't be read as JSON: {error}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise LoadError(f"{target} is no program saved by mipro_nb (its 'format' isn't {FORMAT!r}).")
    if saved.get("format_version") != FORMAT_VERSION:
        raise LoadError(
            f"{target} has format version {saved.get('format_version')!r}; this mipro_nb reads {FORMAT_VERSION}."
        )
    _check_states(target, saved.get("predictors"))
    return saved


def _check_states(target: Path, states: Any) -> None:
    needed = {"kind", "signature", "demos"}
    whole = isinstance(states, dict) and all(isinstance(s, dict) and set(s) == needed for s in states.values())
    if not whole:
        raise LoadError(f"{target} is damaged: each predictor needs exactly {sorted(needed)}.")
    for name, state in states.items():
        try:
            Signature.from_json(state["signature"])
            [Example(demo) for demo in state["demos"]]
        except (KeyError, TypeError, ValueError) as error:
            raise LoadError(f"{target} is damaged: predictor {name!r} can't be rebuilt ({error}).") from error


def versions() -> dict[str, str]:
    """Return the versions that a saved program or run was made with."""
    found = {"python": platform.python_version()}
    for package in ("mipro_nb", "litellm", "optuna", "pydantic"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _walk(value: Any, path: str, found: list[tuple[str, Predict]], seen: set[int]) -> None:
    if id(value) in seen:
        return
    if isinstance(value, Predict):
        seen.add(id(value))
        found.append((path or "self", value))
    elif isinstance(value, Module):
        seen.add(id(value))
        for name, part in vars(value).items():
            _walk(part, f"{path}.{name}" if path else name, found, seen)
    elif isinstance(value, list | tuple):
        seen.add(id(value))
        for place, part in enumerate(value):
            _walk(part, f"{path}[{place}]", found, seen)
    elif isinstance(value, dict):
        seen.add(id(value))
        for key, part in value.items():
            _walk(part, f"{path}[{key!r}]", found, seen)


T = TypeVar("T")


def _clone(value: T, memo: dict[int, Any]) -> T:
    """Copy modules, containers and plain data; share what refuses to be copied."""
    if id(value) in memo:
        return memo[id(value)]  # type: ignore[no-any-return]
    if isinstance(value, Module):
        twin = object.__new__(type(value))
        memo[id(value)] = twin
        for name, part in vars(value).items():
            object.__setattr__(twin, name, _clone(part, memo))
        return twin
    if type(value) in (list, tuple):
        items = [_clone(part, memo) for part in value]  # type: ignore[attr-defined]
        memo[id(value)] = items if isinstance(value, list) else tuple(items)
        return memo[id(value)]  # type: ignore[no-any-return]
    if type(value) is dict:
        memo[id(value)] = {key: _clone(part, memo) for key, part in value.items()}
        return memo[id(value)]  # type: ignore[no-any-return]
    try:
        return copy.deepcopy(value, memo)
    except (TypeError, AttributeError, NotImplementedError, RecursionError):
        return value
