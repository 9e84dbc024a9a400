"""Module: programs composed of predictors, their traces and their copies."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from mipro_nb import adapter
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.lm import LM
from mipro_nb.saving import read_program, write_program
from mipro_nb.settings import as_lm, settings

if TYPE_CHECKING:
    from mipro_nb.predict import Predict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a predictor in a trace.

    Attributes:
        predictor: the object itself.
        inputs, outputs: by field, as they were then; ``outputs`` is empty where the call failed or its reply can't
            be read.
        replies: what the LM wrote; two after a repair.
        messages: as they were sent; after a repair those of the second call.
    """

    predictor: Predict
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    replies: tuple[str, ...] = ()
    messages: tuple[adapter.Message, ...] = ()


trace: contextvars.ContextVar[list[Step] | None] = contextvars.ContextVar("mipro_nbtrace", default=None)
showing: contextvars.ContextVar[bool] = contextvars.ContextVar("mipro_nbshowing", default=False)


class Shown(BaseException):
    """Carries the messages out of a program that is asked to show and not to send; see ``Module.messages``."""

    def __init__(self, messages: list[adapter.Message]) -> None:
        super().__init__()
        self.messages = messages


@contextlib.contextmanager
def tracing() -> Iterator[list[Step]]:
    """Collect the steps of the programs called inside."""
    steps: list[Step] = []
    token = trace.set(steps)
    try:
        yield steps
    finally:
        trace.reset(token)


class PredictorList(list["Predict"]):
    """A program's predictors. ``program.predictors[0]`` and DSPy's ``program.predictors()[0]`` both work."""

    def __call__(self) -> PredictorList:
        return self


class Module:
    """A program: a class with predictors or other modules as attributes (in lists and dicts too) and a ``forward``.

    Call it with its inputs by name, as in ``program(question="1 + 1?")``; ConfigError if one is given by position.

    >>> import mipro_nb as mn
    >>> class Answer(mn.Module):
    ...     def __init__(self):
    ...         self.rewrite = mn.Predict("question -> search")
    ...         self.answer = mn.Predict("question, search -> answer")
    ...     def forward(self, question):
    ...         return self.answer(question=question, search=self.rewrite(question=question).search)
    >>> [name for name, _ in Answer().named_predictors()]
    ['rewrite', 'answer']
    >>> from mipro_nb.testing import FakeLM
    >>> with mn.context(lm=FakeLM(["capital France", "Paris"])):
    ...     Answer()(question="What is the capital of France?").answer
    'Paris'
    """

    is_predictor = False

    def forward(self, /, **inputs: Any) -> Any:
        """Do the work; subclasses define it with named parameters. ConfigError if a class doesn't."""
        raise ConfigError(f"{type(self).__name__} has no forward method; define forward(self, ...) in the class.")

    def __call__(self, /, *args: Any, **inputs: Any) -> Any:
        """Run the program on inputs given by name.

        Raises:
            ConfigError: ``args``: inputs by position aren't taken; else as ``Predict.forward``.
        """
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
        if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
            return None
        return [p.name for p in parameters if p.default is p.empty]

    def deepcopy(self) -> Self:
        """Return an independent copy; LMs, and what can't be copied (clients, locks), are shared.

        Raises:
            ConfigError: a predictor is in something that can't be copied.
        """
        clone: Self = _clone(self, {})
        shared = {id(predictor) for predictor in clone.predictors} & {id(predictor) for predictor in self.predictors}
        if shared:
            path = next(name for name, predictor in self.named_predictors() if id(predictor) in shared)
            raise ConfigError(f"{type(self).__name__}: predictor {path!r} is in a container that can't be copied.")
        return clone

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _clone(self, memo)

    def reset_copy(self) -> Self:
        """Return a copy without demos."""
        clone = self.deepcopy()
        for predictor in clone.predictors:
            predictor.demos = []
        return clone

    def set_lm(self, lm: LM | str | None) -> None:
        """Give every predictor an LM (or a model's name) of its own; None returns them to the configured one.

        Raises:
            ConfigError: neither an LM nor a name nor None.
        """
        own = as_lm(lm)
        for predictor in self.predictors:
            predictor.lm = own

    def messages(self, **inputs: Any) -> list[adapter.Message]:
        """Return the exact messages that the first step would send for these inputs, without sending them.

        Raises:
            ConfigError: an input is missing or unknown, or ``forward`` calls no predictor.
        """
        token = showing.set(True)
        try:
            self(**inputs)
        except Shown as shown:
            return shown.messages
        finally:
            showing.reset(token)
        raise ConfigError(f"{type(self).__name__} calls no predictor for these inputs.")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write instructions, signatures and demos as JSON; ``.json`` is added where it is missing.

        No code, no key and no pickle is in the file. Returns its path; an OSError says why it can't be written.
        """
        states = {name: predictor.to_json() for name, predictor in self.named_predictors()}
        lm = settings().lm
        return write_program(path, type(self).__name__, lm.model if lm else None, states)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take signatures and demos from a file that ``save`` wrote; return this program.

        It must have the same predictors as the one that was saved. Its LMs stay its own.

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


def _walk(value: Any, path: str, found: list[tuple[str, Predict]], seen: set[int]) -> None:
    if id(value) in seen:
        return
    if isinstance(value, Module) and value.is_predictor:
        seen.add(id(value))
        found.append((path or "self", cast("Predict", value)))
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


def copied(value: T) -> T:
    """Return an independent copy of modules, containers and plain data; what refuses to be copied is shared."""
    return _clone(value, {})


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
    if isinstance(value, list | dict | tuple):
        memo[id(value)] = _clone_container(value, memo)
        return cast(T, memo[id(value)])
    try:
        return copy.deepcopy(value, memo)
    except (TypeError, AttributeError, RuntimeError, copy.Error):
        return value


def _clone_container(value: Any, memo: dict[int, Any]) -> Any:
    """Copy a list, dict or tuple, or a kind of it (OrderedDict, namedtuple), item by item."""
    if isinstance(value, tuple):
        items = [_clone(part, memo) for part in value]
        make = getattr(type(value), "_make", type(value))
        return make(items)
    twin = copy.copy(value)
    if isinstance(value, list):
        twin[:] = [_clone(part, memo) for part in value]
    else:
        for key, part in value.items():
            twin[key] = _clone(part, memo)
    return twin
