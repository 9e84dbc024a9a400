"""The documentation: ``help()`` is the reference, its examples run as they stand, and the README tells the truth."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mipro_nb as mn
from mipro_nb import errors, testing
from mipro_nb.demo import messages
from mipro_nb.notebook.cellspec import read_cell
from mipro_nb.notebook.view import RunView
from mipro_nb.options import Options
from mipro_nb.settings import settings

PUBLIC: dict[str, Any] = {name: getattr(mn, name) for name in mn.__all__}
FAKES: dict[str, Any] = {
    name: getattr(testing, name) for name in ("FakeLM", "RecordingLM", "ReplayLM", "EventRecorder")
}
SHOWN = {**PUBLIC, **FAKES, "messages": messages}  # what has an example
DESCRIBED = {**SHOWN, "Options": Options, "RunView": RunView}
CHECKS = {"check_range", "check_choice", "check_metric", "check_threshold", "as_lm"}  # they raise a ConfigError
CLASSES = {name: thing for name, thing in DESCRIBED.items() if inspect.isclass(thing)}


def own(kind: type) -> list[str]:
    """The public methods and properties that a class has, but for those of other classes described here."""
    parts = [kind, *(base for base in kind.__mro__ if base not in CLASSES.values() and "mipro_nb" in base.__module__)]
    kinds = property | staticmethod | classmethod
    found = {n: one for part in parts for n, one in vars(part).items() if n[0] != "_" or n == "__call__"}
    return [name for name, member in found.items() if inspect.isfunction(member) or isinstance(member, kinds)]


def attributes(kind: type) -> set[str]:
    """The public attributes that a class's fields, or its constructor, give to its instances."""
    if "__dataclass_fields__" in vars(kind):
        return set(vars(kind)["__dataclass_fields__"])
    return {name for line in CONSTRUCTOR.findall(source_of(kind)) for name in re.findall(r"\bself\.([a-z]\w*)", line)}


CONSTRUCTOR = re.compile(r"^ +((?:self\.\w+, )*self\.\w+(?:: .+?)?) = ", re.MULTILINE)


def source_of(kind: type) -> str:
    """The code of a class's own constructor; empty if it has none, or a dataclass's, which stands in no file."""
    written = "__init__" in vars(kind) and "__dataclass_fields__" not in vars(kind)
    return textwrap.dedent(inspect.getsource(kind.__init__)) if written else ""  # type: ignore[misc]


METHODS = [f"{name}.{member}" for name, kind in CLASSES.items() for member in own(kind)]
MADE = (mn.Run, RunView)  # by start and optimize: their constructors aren't public
CALLED = [n for n, thing in DESCRIBED.items() if thing not in MADE and (not inspect.isclass(thing) or source_of(thing))]


def find(name: str) -> tuple[Any, Any]:
    """(the object of a name such as ``Run.stop``, its class or None)"""
    first, _, member = name.partition(".")
    thing = DESCRIBED[first]
    return (getattr(thing, member), thing) if member else (thing, thing if inspect.isclass(thing) else None)


FUNCTIONS = [name for name in METHODS if not isinstance(find(name)[0], property)]


def told(thing: Any, kind: Any, seen: frozenset[str] = frozenset()) -> str:
    """The text of an object's help: its own docstring, its class's, and those that they refer to."""
    text = f"{inspect.getdoc(thing) or ''}\n{(inspect.getdoc(kind) or '') if kind else ''}"
    for name in set(re.findall(r"``([A-Za-z_][\w.]*)``", text)) - seen:
        other = DESCRIBED.get(name) or getattr(kind, name, None)
        if name.startswith("mipro_nb."):
            module, _, last = name.rpartition(".")
            other = getattr(importlib.import_module(module), last)
        if other is not None and getattr(other, "__module__", "").startswith("mipro_nb"):
            text += told(other, None if inspect.isclass(other) else kind, seen | {name})
    return text


@pytest.mark.parametrize("name", SHOWN)
def test_every_public_name_has_an_example_that_runs_as_it_stands(name: str, capsys: Any) -> None:
    thing, before = SHOWN[name], settings()
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {"__name__": "pasted"}, name, None, None)
    assert example.examples, "no example"
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.failed == 0, "".join(said)
    assert settings() == before
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", METHODS)
def test_every_public_method_and_property_is_described(name: str) -> None:
    assert inspect.getdoc(find(name)[0])


@pytest.mark.parametrize("name", [*CALLED, *FUNCTIONS])
def test_every_parameter_is_described(name: str) -> None:
    thing, kind = find(name)
    named = list(inspect.signature(thing).parameters.values())
    if name not in CALLED and len(named) < 3:  # the sentence tells what the one argument is
        return
    if not (thing.__doc__ or inspect.isclass(thing)):  # as the method that it stands for, and passes options on to
        named = [parameter for parameter in named if parameter.kind is not parameter.VAR_KEYWORD]
    text = told(thing, kind)
    assert not [p.name for p in named if p.name != "self" and not re.search(rf"\b{p.name}\b", text)]


@pytest.mark.parametrize("name", [*CALLED, *METHODS])
def test_what_is_raised_is_described(name: str) -> None:
    thing, kind = find(name)
    text = f"{inspect.getdoc(thing)}\n{inspect.getdoc(kind) if kind else ''}"
    for error in raised(
        source_of(thing) if inspect.isclass(thing) else inspect.getsource(getattr(thing, "fget", thing))
    ):
        names = [part.__name__ for part in error.__mro__ if part.__module__ == errors.__name__]
        assert any(re.search(rf"\b{part}\b", text) for part in names), error.__name__


def raised(code: str) -> set[Any]:
    """The errors of this package that a function raises itself."""
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(code))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(getattr(errors, node.exc.func.id, None))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CHECKS:
            found.add(errors.ConfigError)
    return found - {None}


@pytest.mark.parametrize("name", CLASSES)
def test_every_attribute_is_described(name: str) -> None:
    kind = CLASSES[name]
    text = told(kind, kind)
    inner = {"job"} if kind in MADE else set()
    assert not [one for one in attributes(kind) - set(own(kind)) - inner if not re.search(rf"\b{one}\b", text)]


def test_the_tree_of_errors_is_whole() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert len(kinds) > 10
    for kind in kinds:
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__ or ""), kind
        assert inspect.getdoc(kind)


README = (Path(mn.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
MAGIC = [code for language, code in BLOCKS if not language and code.startswith("%%mipro")]
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.M | re.S))
# what the names of the README's examples stand for
VARIABLES = {
    "view": RunView,
    "view.run": mn.Run,
    "view.history": mn.History,
    "history": mn.History,
    "optimizer": mn.MIPROv2,
    "best": mn.Predict,
    "program": mn.Predict,
    "data": list,
    "lm": mn.LM,
}


def compiled(code: str) -> Any:
    return compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def trees() -> Iterator[ast.AST]:
    """The README's Python: its blocks, and what stands between backquotes in its sentences, if that is Python."""
    for code in PYTHON:
        yield ast.parse(code)
    for code in INLINE:
        try:
            yield ast.parse(code.replace("(...)", "()").replace("self", "_"))
        except SyntaxError:
            assert not code.startswith("mn."), code


def resolve(node: ast.AST) -> Any:
    """The object that ``mn.x``, ``view.run.x`` or a call of them in the README stands for; None if it can't be told."""
    match node:
        case ast.Attribute(value=ast.Name(id="mn"), attr=name):
            assert name in mn.__all__, f"mn.{name}"
            return getattr(mn, name)
        case ast.Attribute(value=value, attr=name):
            owner = VARIABLES.get(ast.unparse(value)) or resolve(value)
            if not inspect.isclass(owner):
                return None
            owners = [*owner.__mro__, *(mn.Run.__mro__ if owner is RunView else ())]  # a view has the names of its run
            assert any(name in {*vars(one), *attributes(one)} for one in owners if one is not object), ast.unparse(node)
            return next((vars(one)[name] for one in owners if name in vars(one)), None)
        case ast.Call(func=function):
            return resolve(function)
    return None


def test_the_readme_has_examples() -> None:
    assert len(PYTHON) >= 3
    assert len(MAGIC) >= 2
    assert len(list(trees())) > 30


@pytest.mark.parametrize("code", PYTHON)
def test_the_readmes_python_compiles(code: str) -> None:
    assert compiled(code)


def test_the_readme_names_what_exists() -> None:
    for tree in trees():
        for node in ast.walk(tree):
            resolve(node)
    for name in {found for code in INLINE for found in re.findall(r"\bmipro_nb(?:\.\w+)+", code)}:
        importlib.import_module(name)


def test_the_readmes_keywords_exist() -> None:
    seen = 0
    for tree in trees():
        for node in ast.walk(tree):
            target = resolve(node.func) if isinstance(node, ast.Call) else None
            if target is None or not callable(target):
                continue
            parameters = inspect.signature(target).parameters
            for keyword in node.keywords:
                seen += 1
                known = keyword.arg in parameters or any(
                    p.kind is p.VAR_KEYWORD and f"``{keyword.arg}``" in told(target, None) for p in parameters.values()
                )
                assert known, ast.unparse(node)
    assert seen > 20


def test_the_readme_gives_the_defaults_of_an_lm() -> None:
    line = next(code for code in INLINE if code.startswith("mn.LM("))
    parameters = inspect.signature(mn.LM).parameters
    keywords = ast.parse(line, mode="eval").body.keywords  # type: ignore[attr-defined]
    assert {k.arg: ast.literal_eval(k.value) for k in keywords} == {k.arg: parameters[k.arg].default for k in keywords}


@pytest.mark.parametrize("code", MAGIC)
def test_the_readmes_magic_is_read(code: str) -> None:
    line, _, cell = code.partition("\n")
    spec = read_cell(line.removeprefix("%%mipro"), cell)
    assert (spec.data, spec.into) == ("tickets", "router")


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f'"{row.message}",{row.team}\n' for row in messages("team")[:100] if '"' not in row.message]
    (tmp_path / "tickets.csv").write_text("message,team\n" + "".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def answer(messages: testing.Messages) -> str:
        return "reasoning: so\nanswer: billing" if "reasoning" in messages[0]["content"] else "billing"

    monkeypatch.setattr(mn, "LM", lambda name: testing.FakeLM(answer))
    names: dict[str, Any] = {"my_search": lambda query: [query]}
    ran = asyncio.new_event_loop()
    for code in PYTHON:
        found = eval(compiled(code.replace("print(", "str(")), names)
        if inspect.iscoroutine(found):
            ran.run_until_complete(found)
    ran.close()
    assert mn.load("router").predictors[0].signature == names["best"].predictors[0].signature
    assert names["Answer"]()(question="why?").answer == "billing"
    names["view"].close()
