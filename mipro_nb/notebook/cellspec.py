"""What a ``%%mipro`` cell asks for: the magic's line and the text under it, read into one frozen value. Pure."""

from __future__ import annotations

import builtins
import keyword
import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from mipro_nb.errors import ConfigError, check_choice, check_range, nearest
from mipro_nb.notebook.cellbody import Body, read_body
from mipro_nb.notebook.celloptions import BY_NAME, OPTIONS, Option
from mipro_nb.options import LARGEST_SEED

PIECE = re.compile(r""""([^"]*)"|'([^']*)'|([^\s"']+)|(\s+)|(["'])""")
NUMBER = re.compile(r"#\d+")  # of a run, as %mipro tells it
DASHES = "-\u2013\u2014"  # text editors turn -- into a longer dash


class Word(str):
    """A word of the line; ``quoted`` tells a path from a name of the notebook."""

    quoted = False

    @property
    def is_name(self) -> bool:
        """Whether it can name an object of the notebook."""
        return not self.quoted and self.isidentifier() and not keyword.iskeyword(self)

    def as_name(self) -> Word:
        """Return a name as Python reads it (a ligature is its letters); a path as it is."""
        return Word(python_name(self)) if self.is_name else self


@dataclass(frozen=True, slots=True)
class CellSpec:
    """A cell, read. The options are as in ``OPTIONS``; None was not given."""

    data: Word | None = None
    trainset: Word | None = None
    valset: Word | None = None
    testset: Word | None = None
    auto: str | None = None
    search: str | None = None
    trials: int | None = None
    candidates: int | None = None
    demos: int | None = None
    max_cost: float | None = None
    storage: str | None = None
    lm: str | None = None
    prompt_lm: str | None = None
    seed: int | None = None
    program: str | None = None
    metric: str | None = None
    into: str = "best"
    wait: bool = False
    plan: bool = False
    help: bool = False
    body: Body = field(default_factory=Body)

    @property
    def keywords(self) -> dict[str, Any]:
        """The settings of MIPROv2 that the options give as they are."""
        values = {option: getattr(self, option.attribute) for option in OPTIONS}
        return {name: value for option, value in values.items() for name in option.keywords if value is not None}


def read_cell(line: str, cell: str) -> CellSpec:
    """Read a cell.

    Args:
        line: what follows ``%%mipro``.
        cell: the lines under it.

    Raises:
        ConfigError: an option is wrong; the message says what to change.

    >>> spec = read_cell("tickets --auto light", 'message -> team: Literal["billing", "bug"]')
    >>> spec.data, spec.keywords, spec.body.short[0].line
    ('tickets', {'auto': 'light'}, 2)
    """
    given = _options(split_line(line))
    if "help" in given:
        return CellSpec(help=True)
    spec = CellSpec(**given, body=read_body(cell))
    _check_data(spec)
    _check_into(spec)
    if spec.auto is not None and (spec.trials is not None or spec.candidates is not None):
        extra = " and ".join(name for name in ("--trials", "--candidates") if getattr(spec, name[2:]) is not None)
        raise ConfigError(f"--auto {spec.auto} settles {extra} too: drop {extra}, or drop --auto.")
    return spec


def split_line(line: str, *, numbers: bool = False) -> list[Word]:
    """Split at white space, but for that in quotes; ``#`` begins a comment. A backslash is one, as in Windows' paths.

    Args:
        line: what follows the magic's name.
        numbers: whether ``#2``, the number of a run, is a word.

    Raises:
        ConfigError: a quote isn't closed.
    """
    words: list[Word] = []
    open_word = False
    for found in PIECE.finditer(line):
        double, single, bare, space, stray = found.groups()
        if stray:
            raise ConfigError(f"a quote is not closed: {line[found.start() :].strip()}")
        if bare and bare.startswith("#") and not open_word and not (numbers and NUMBER.fullmatch(bare)):
            break
        if not space:
            text = next(part for part in (double, single, bare) if part is not None)
            word = Word((words.pop() if open_word else "") + text)
            word.quoted = bare is None
            words.append(word)
        open_word = not space
    return words


def python_name(name: str) -> str:
    """Return a name as Python reads it in code: a ligature is its letters."""
    return unicodedata.normalize("NFKC", name)


def _options(words: list[Word]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if (word.quoted and "=" not in word) or word[:1] not in DASHES:
            if "data" in found:
                raise ConfigError(f"DATA is one name or path, and {word!r} is a second: see --valset and --testset.")
            found["data"] = word.as_name()
            continue
        name, equals, value = word.partition("=")
        option = BY_NAME.get(name)
        if option is None:
            raise ConfigError(f"option {name} is not known.{nearest(name, BY_NAME) or ' %%mipro --help lists all.'}")
        if option.attribute in found:
            raise ConfigError(f"{name} stands twice; keep one.")
        found[option.attribute] = _value(option, equals, value, word.quoted, rest)
    return found


def _value(option: Option, equals: str, value: str, quoted: bool, rest: list[Word]) -> Any:
    if not option.value:
        if equals:
            raise ConfigError(f"{option.name} takes no value; write {option.name} alone.")
        return True
    if equals:
        word = Word(value)
        word.quoted = quoted
    elif rest and (rest[0].quoted or (rest[0] not in BY_NAME and rest[0][:2] != "--")):
        word = rest.pop(0)
    else:
        word = Word()
    if not word:
        raise ConfigError(f"{option.name} needs a value: {option.name} {option.value}.")
    return _checked(option, word)


def _checked(option: Option, word: Word) -> Any:
    if option.kind == "choice":
        check_choice(option.name, str(word), option.choices)
    if option.name == "--max-cost":
        return _dollars(word)
    if option.least is not None:
        number = int(word) if re.fullmatch(r"-?\d{1,18}", word) else str(word)
        check_range(option.name, number, option.least, LARGEST_SEED if option.name == "--seed" else None)
        return number
    if option.kind == "data":
        return word.as_name()
    return python_name(word) if option.kind in ("program", "metric", "into") else str(word)


def _dollars(word: str) -> float:
    try:
        dollars = float(word)
    except ValueError:
        dollars = math.nan
    if not 0 < dollars < math.inf:
        raise ConfigError(f"--max-cost {word!r}: US dollars, a number above 0, are needed, as in --max-cost 2.50.")
    return dollars


def _check_data(spec: CellSpec) -> None:
    apart = [name for name in ("--trainset", "--valset", "--testset") if getattr(spec, name[2:]) is not None]
    if spec.data is not None and apart:
        raise ConfigError(
            f"{spec.data} would be split into train, val and test set, but {apart[0]} is given too: "
            f"write --trainset {spec.data}, or drop {apart[0]}."
        )
    if spec.data is None and spec.trainset is None:
        raise ConfigError("data is needed: %%mipro DATA, a DataFrame or list of the notebook, or a path in quotes.")


def _check_into(spec: CellSpec) -> None:
    for name in (spec.into, f"{spec.into}_run"):
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ConfigError(f"--into {spec.into!r}: a Python name is needed, as in --into best.")
        if hasattr(builtins, name):
            raise ConfigError(f"--into {spec.into} would hide Python's own {name}; give another name.")
        if name in (spec.data, spec.trainset, spec.valset, spec.testset):
            raise ConfigError(f"--into {spec.into} would overwrite the data {name}; give another name.")
