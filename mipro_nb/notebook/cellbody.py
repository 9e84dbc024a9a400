"""The Python under ``%%mipro``: its short form, and the names that it defines and uses. Nothing is run here. Pure."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SHORT = re.compile(rf"(?!(?:{'|'.join(keyword.kwlist)})\b)[^\W\d][^=()]*->")
SPECIAL = re.compile(r"(\s*)(?:[\w., ]+=\s*)?(?:[%!?].*|.*\?\s*)$")  # IPython's own: %magic, !command, x = !ls, name?
NAME = re.compile(r"[^\W\d]\w*")
HEADER_LINES = 1  # the magic's own line stands above the first of the body
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Short:
    """A signature in its short form, ``message -> team``, and its line in the cell."""

    spec: str
    line: int


@dataclass(frozen=True, slots=True)
class Body:
    """The lines under the magic.

    Attributes:
        code: the text for IPython: short forms are comments in it, so that all lines keep their numbers.
        short: signatures in the short form.
        instruction: the text at the top, if there is one: the short form's instruction.
        lines: where in the cell each name that the body binds at its top level is bound last.
        imported: those of them that are imported; ``*`` for a star.
        used: every name in the body.
        late: those that functions and methods look up when they are called.
        awaits: the line of an ``await`` outside functions, or None.
        idle: whether there is nothing to run.
    """

    code: str = ""
    short: tuple[Short, ...] = ()
    instruction: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    imported: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    awaits: int | None = None
    idle: bool = True


def read_body(cell: str) -> Body:
    """Read the lines under the magic. Code that isn't Python is left for IPython to complain about.

    >>> body = read_body('"Route it."\\nmessage -> team\\n')
    >>> body.short, body.instruction, body.idle
    ((Short(spec='message -> team', line=3),), 'Route it.', True)
    """
    lines = cell.split("\n")
    python = list(lines)
    short: list[Short] = []
    while isinstance(tree := _parse(python), SyntaxError):
        place = (tree.lineno or 0) - 1
        line = python[place] if 0 <= place < len(python) else ""
        if SHORT.match(line):
            short.append(Short(line.strip(), place + 1 + HEADER_LINES))
            lines[place], python[place] = f"# {line}", ""
        elif SPECIAL.fullmatch(line):
            python[place] = SPECIAL.sub(r"\1pass", line)
        else:
            return Body("\n".join(lines), tuple(short), used=_names(cell), idle=False)
    instruction = ast.get_docstring(tree)
    imported = {name for name, _, is_import in _bound(tree) if is_import}
    awaits = next(_awaits(tree), None)
    return Body(
        code="\n".join(lines),
        short=tuple(short),
        instruction=instruction,
        lines={name: line + HEADER_LINES for name, line, _ in _bound(tree)},
        imported=frozenset(imported),
        used=_names(cell),
        late=frozenset(_late(tree)),
        awaits=awaits + HEADER_LINES if awaits is not None else None,
        idle=len(tree.body) == (instruction is not None),
    )


def _parse(lines: list[str]) -> ast.Module | SyntaxError:
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):  # a null byte; too deep
        return SyntaxError("unreadable")


def _names(text: str) -> frozenset[str]:
    return frozenset(NAME.findall(text))


def _bound(node: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """Yield (name, line, whether by an import) of what the top level binds, in order."""
    for part in ast.iter_child_nodes(node):
        match part:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield part.name, part.lineno, False
            case ast.Import() | ast.ImportFrom():
                yield from ((alias.asname or alias.name.split(".")[0], part.lineno, True) for alias in part.names)
            case ast.Name(ctx=ast.Store()):
                yield part.id, part.lineno, False
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                pass
            case _:
                yield from _bound(part)


def _late(tree: ast.Module) -> Iterator[str]:
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS):
            yield from (part.id for part in ast.walk(function) if isinstance(part, ast.Name))


def _awaits(node: ast.AST) -> Iterator[int]:
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield part.lineno
        elif not isinstance(part, FUNCTIONS):
            yield from _awaits(part)
