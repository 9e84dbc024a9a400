"""What the words of a ``%%mipro`` cell stand for in the notebook: data, program, metric, language models."""

from __future__ import annotations

import builtins
import contextlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import mipro_nb
from mipro_nb import local
from mipro_nb.errors import ConfigError, nearest
from mipro_nb.lm import LM
from mipro_nb.metrics import exact_match
from mipro_nb.module import Module
from mipro_nb.notebook.cellbody import Body, Short
from mipro_nb.notebook.cellspec import CellSpec, python_name
from mipro_nb.predict import Predict
from mipro_nb.signature import Signature

MODELS = (
    "local/smollm2-135m",
    "openai/gpt-5-mini",
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-flash",
    "ollama/llama3",
)
MODEL_FORM = "a model is named as provider/model, such as openai/gpt-5-mini or local/smollm2-135m"

PUBLIC = (*mipro_nb.__all__, "Literal")  # names that need no import in the cell

Namespace = MutableMapping[str, Any]


@contextlib.contextmanager
def lent(body: Body, namespace: Namespace) -> Iterator[None]:
    """Put the names of mipro_nb, and Literal, that the body uses into the notebook while it runs.

    A name that the notebook has already, or that is Python's own, is left as it is. Afterwards the lent
    names are taken back, save those that the body's functions look up when they are called later (a
    metric that returns ``Score(...)``): these stay, or the functions would break.
    """
    ours = {name: _public(name) for name in sorted(body.used) if _is_public(name)}
    ours = {name: value for name, value in ours.items() if name not in namespace and not hasattr(builtins, name)}
    namespace.update(ours)
    try:
        yield
    finally:
        for name, value in ours.items():
            kept = name in body.late or name in body.lines or "*" in body.imported
            if not kept and namespace.get(name) is value:
                del namespace[name]


def _is_public(name: str) -> bool:
    return name in PUBLIC


def _public(name: str) -> Any:
    return typing.Literal if name == "Literal" else getattr(mipro_nb, name)


def program_of(spec: CellSpec, namespace: Namespace) -> Module:
    """Return the program: ``--program``, the short form, or the one Module or else Signature that the body defines.

    Raises:
        ConfigError: there is none, or several.
    """
    body = spec.body
    if spec.program is not None and body.short:
        raise ConfigError(f"line {body.short[0].line} is a signature, and --program is given too: drop one of them.")
    if spec.program is not None:
        where = f"--program {spec.program}"
        return _made(where, look_up(where, spec.program, namespace, (Module, Signature, type)))
    defined = {name: namespace[name] for name in body.lines if name in namespace}
    signatures = _kind(defined, lambda value: is_kind(value, (Signature,)))
    found = [(f"line {short.line}", short) for short in body.short]
    if found:
        found += [(name, defined[name]) for name in signatures]
    else:
        modules = _kind(defined, lambda value: is_kind(value, (Module,)))
        own = {name: value for name, value in defined.items() if name not in body.imported}
        classes = _kind(own, lambda value: is_kind(value, (type,)) and issubclass(value, Module))
        found = [(name, defined[name]) for name in modules or classes or signatures]
    if not found:
        raise ConfigError(_no_program(body, namespace))
    if len(found) > 1:
        listed = ", ".join(_placed(name, body) for name, _ in found)
        last = found[-1][0]
        way = f"name one with --program {last}" if last.isidentifier() else "keep one"
        raise ConfigError(f"the cell defines {len(found)} programs or signatures ({listed}): {way}.")
    name, value = found[0]
    if isinstance(value, Short):
        return Predict(_signature(value, body, namespace))
    return _made(_placed(name, body), value)


def _kind(values: Mapping[str, Any], wanted: Callable[[Any], bool]) -> list[str]:
    """Return the names of the values of a kind; of two names for one value the first."""
    names = [name for name, value in values.items() if wanted(value)]
    return [name for place, name in enumerate(names) if not any(values[name] is values[n] for n in names[:place])]


def _placed(name: str, body: Body) -> str:
    return f"{name} in line {body.lines[name]}" if name in body.lines else name


def _no_program(body: Body, namespace: Namespace) -> str:
    hidden = [n for n in sorted(body.used) if _is_public(n) and n in namespace and namespace[n] is not _public(n)]
    if hidden:
        return f"the cell defines no program: {hidden[0]} is not mipro_nb's in this notebook; import it from mipro_nb."
    return (
        "the cell defines no program: write a Signature class, or a line such as  message -> team: bool , under "
        "%%mipro, or give --program NAME."
    )


def _made(where: str, value: Any) -> Module:
    if isinstance(value, Module):
        return value
    if isinstance(value, Signature):
        return Predict(value)
    if isinstance(value, type) and issubclass(value, Module):
        try:
            made: Module = value()
        except Exception as error:  # the user's own code
            raise ConfigError(
                f"{where}: {value.__name__}() raised {type(error).__name__}: {error}; make the program yourself in the "
                f"cell, as in  program = {value.__name__}(...)"
            ) from error
        return made
    raise ConfigError(f"{where}: a program or a Signature is needed, {type(value).__name__} given.")


def _signature(short: Short, body: Body, namespace: Namespace) -> Signature:
    """Read the short form where the body's names are seen: its types may be the notebook's own models."""
    make: Callable[..., Signature] = eval("lambda make, *given: make(*given)", dict(namespace))
    try:
        return make(Signature, short.spec, body.instruction)
    except ConfigError as error:
        raise ConfigError(f"line {short.line}: {error}") from error


def metric_of(spec: CellSpec, namespace: Namespace) -> Callable[..., Any]:
    """Return ``--metric``, or the body's ``metric``, or exact match.

    Raises:
        ConfigError: it can't be called with an example and a prediction.
    """
    where, name = "--metric", spec.metric
    if name is None:
        if "metric" not in spec.body.lines or "metric" not in namespace:
            return exact_match
        where, name = f"line {spec.body.lines['metric']}", "metric"
    found = exact_match if name == "exact_match" else look_up(f"{where} {name}", name, namespace, (Callable,))
    needed = "a function of (example, prediction) or (example, prediction, trace) is needed"
    if not callable(found):
        raise ConfigError(f"{where}: {name} is {type(found).__name__}; {needed}.")
    try:
        parameters = inspect.signature(found)
    except (TypeError, ValueError):  # some built-in functions
        return found
    if not any(_takes(parameters, count) for count in (2, 3)):
        raise ConfigError(f"{where}: {name}{parameters} can't be called with an example and a prediction; {needed}.")
    return found


def _takes(parameters: inspect.Signature, count: int) -> bool:
    try:
        parameters.bind(*range(count))
    except TypeError:
        return False
    return True


def model_of(option: str, name: str, namespace: Namespace) -> LM:
    """Return the LM that a model's name, or a name of the notebook, stands for. What isn't one is not repeated.

    Raises:
        ConfigError: neither.
    """
    found = namespace.get(python_name(name))
    if isinstance(found, LM):
        return found
    provider, slash, model = name.partition("/")
    if not (provider and slash and model) or any(character.isspace() for character in name):
        raise ConfigError(f"{option}: {MODEL_FORM}.{nearest(name, MODELS)}")
    if f"{provider}/" == local.PREFIX and model not in local.NAMES:
        local.weights(model)  # says what is wrong; a file isn't loaded
    return LM(name)


def look_up(where: str, name: str, namespace: Namespace, kinds: tuple[Any, ...]) -> Any:
    """Return an object of the notebook; ConfigError with the nearest name, first among those of the kinds wanted."""
    if name in namespace:
        return namespace[name]
    known = dict(named(namespace))
    fitting = [key for key, value in known.items() if is_kind(value, kinds)]
    close = nearest(name, fitting) or nearest(name, known)
    raise ConfigError(f"{where}: nothing in the notebook has this name.{close}")


def named(namespace: Namespace) -> list[tuple[str, Any]]:
    """Return (name, object) of all in the notebook that isn't hidden by an underscore."""
    return [(name, value) for name, value in list(namespace.items()) if isinstance(name, str) and name[:1] != "_"]


def is_kind(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a value is of one of the kinds: types, or the names of types that are not imported here.

    The value itself is not asked: a lazy proxy may load what it stands for, or raise.
    """
    own = type(value)
    types = tuple(kind for kind in kinds if not isinstance(kind, str))
    try:
        return issubclass(own, types) or own.__name__ in kinds
    except Exception:  # noqa: BLE001 (an odd metaclass; the other objects of the notebook are still to be found)
        return False
