"""How to run it again: Python made of what the log holds. What it can't hold is said, never made up."""

from __future__ import annotations

import inspect
import keyword
import math
import re
from collections.abc import Mapping
from typing import Any

from mipro_nb import events as ev
from mipro_nb.errors import MiproError
from mipro_nb.fieldtypes import to_text
from mipro_nb.history import History
from mipro_nb.notebook.document import Block, Heading, Paragraph, Verbatim
from mipro_nb.notebook.ledger import defaults
from mipro_nb.options import Params
from mipro_nb.signature import Signature
from mipro_nb.text import cut

MISSING = (
    "The log of a run holds no data, no metric, no code of a program and no keys, nor whether the validation set was "
    "given or split off the training set: put your own where three dots stand. "
    "With the same of these, the same versions and the same replies of the LMs the run comes out the same; LMs, above "
    "all those of others, don't always reply the same."
)
PLAIN = re.compile(r"[\w.+!-]+")  # a version, or a package's name
PINNED = ("mipro_nb", "litellm", "optuna", "pydantic")
LMS = ("prompt_model", "task_model")
TYPING = ("Any", "Literal", "Optional", "Union")
TAKEN = (*TYPING, "Signature", "mn", "metric", "program", "optimizer", "best")  # names that the code uses itself
KINDS = ("Predict", "ChainOfThought")
SIZES = {"trainset": "training", "valset": "validation", "testset": "test"}


def reproduce(history: History) -> list[Block]:
    """The code, and the packages that it needs."""
    started = history.started
    if started is None:
        return []
    parts: list[Block] = [Heading("How to run it again", short="Run it again"), Paragraph(MISSING)]
    known = {name: str(started.versions[name]) for name in PINNED if name in started.versions}
    pinned = [f'"{name}=={version}"' for name, version in known.items() if PLAIN.fullmatch(version)]
    if pinned:
        python = cut(str(started.versions.get("python", "")), 40)
        parts.append(
            Verbatim(f"pip install {' '.join(pinned)}", f"packages; Python was {python}" if python else "", "sh")
        )
    told = started.settings.get("lms")
    for name, lm in told.items() if isinstance(told, Mapping) else ():
        if isinstance(lm, Mapping) and lm.get("more"):
            more = ", ".join(cut(str(option), 40) for option in lm["more"])
            parts.append(Paragraph(f"{name} was also given {more}, whose values the log doesn't hold."))
    return [*parts, Verbatim(code(started), "Python", "python")]


def code(started: ev.RunStarted) -> str:
    """Return the code. Texts of the log stand in it as literals and in comments of one line, nowhere else."""
    program = _program(started)
    used = [name for name in TYPING if any(re.search(rf"\b{name}\b", line) for line in program)]
    constructor, keywords = _settings(started)
    metric = cut(str(started.settings.get("metric", "metric")), 80)
    data = [
        f"{name} = ...  # {int(started.sizes.get(kind, 0)):,} {kind} examples: mn.examples(...), mn.split(...)"
        for name, kind in SIZES.items()
        if started.sizes.get(kind)
    ]
    given = [f"{name}={name}" for name in SIZES if started.sizes.get(SIZES[name])]
    return "\n".join(
        [
            *([f"from typing import {', '.join(used)}", ""] if used else []),
            "import mipro_nb as mn",
            "",
            *program,
            "",
            *data,
            "",
            "def metric(example, prediction, trace=None):",
            f"    ...  # it was: {metric}",
            "",
            _call("optimizer = mn.MIPROv2", ["metric", *constructor]),
            _call("best = optimizer.compile", ["program", *given, *keywords]),
        ]
    )


def _call(function: str, arguments: list[str]) -> str:
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= 88 and "\n" not in line:
        return line
    return "\n".join([f"{function}(", *(f"    {argument}," for argument in arguments), ")"])


def _settings(started: ev.RunStarted) -> tuple[list[str], list[str]]:
    """Return the arguments of the constructor and of ``compile``: the seed, and what differs from the defaults."""
    usual, own = defaults(), set(Params.__slots__)
    plan, given = dict(started.plan), dict(started.settings)
    if given.get("auto") is None and plan.get("auto") is None and given.get("num_trials") is None:
        given["num_trials"] = plan.get("num_trials")
    if plan.get("minibatch_size") is None and not plan.get("auto") and "num_trials" in plan:
        given.setdefault("minibatch", False)
    for name, planned in (("minibatch_size", "minibatch_size"), ("minibatch_full_eval_steps", "full_eval_steps")):
        if name not in given and plan.get(planned) is not None:
            given[name] = plan[planned]
    sides: tuple[list[str], list[str]] = ([], [])
    for name, value in given.items():
        if name == "metric" or name not in usual or (name != "seed" and value == usual[name]):
            continue
        sides[name not in own].append(f"{name}={_literal(name, value, given)}")
    return sides


def _literal(name: str, value: Any, given: Mapping[str, Any]) -> str:
    if name in LMS and isinstance(value, str):
        return _lm(value, given.get("lms"), name)
    if name == "teacher":
        return "..."  # a program or an LM, by name: which of both isn't told
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return ascii(value) if isinstance(value, bool | int | float | str | None) else "..."


def _lm(model: str, told: Any, name: str) -> str:
    options = told.get(name) if isinstance(told, Mapping) else None
    more = ""
    for option in ("temperature", "max_tokens"):
        value = options.get(option) if isinstance(options, Mapping) else None
        more += f", {option}={value!r}" if isinstance(value, int | float) else ""
    return f"mn.LM({model!r}{more})"


def _program(started: ev.RunStarted) -> list[str]:
    """Return the signatures as classes, and the program that stands on them."""
    lines: list[str] = []
    names: list[str] = []
    alone = started.program in KINDS and len(started.predictors) == 1
    for place, predictor in enumerate(started.predictors):
        thinks = alone and started.program == "ChainOfThought"
        written = _signature(started, predictor, f"Signature{place + 1}", thinks, {*names, *TAKEN})
        names.append(written[0])
        lines += [] if alone else [f"# of the predictor {cut(predictor, 80)}"]
        lines += [*written[1], ""]
    if alone:
        return [*lines, f"program = mn.{started.program}({names[0]})"]
    return [*lines, f"program = ...  # {cut(started.program, 80)}, with these signatures"]


def _signature(
    started: ev.RunStarted, predictor: str, spare: str, thinks: bool, taken: set[str]
) -> tuple[str, list[str]]:
    """Return a signature's name and the lines that make it.

    Args:
        spare: its name where its own can't serve, or is ``taken``.
        thinks: its reasoning is put before by its program.
    """
    saved = started.signatures.get(predictor)
    try:
        signature = Signature.from_json(saved or {})
    except (MiproError, LookupError, TypeError, ValueError, AttributeError):
        return "...", [f"# {spare}: the log doesn't hold this signature."]
    name = signature.name if _is_name(signature.name) and signature.name not in taken else spare
    fields = [field for field in signature.fields.values() if not (thinks and field.name == "reasoning")]
    if (saved or {}).get("models") or not all(_is_name(field.name) for field in fields):
        return name, [f"{name} = mn.Signature.from_json({saved!a})"]
    lines = [f"class {name}(mn.Signature):", f"    {_docstring(signature.instructions)}", ""]
    for field in fields:
        described = f"desc={field.desc!a}" if field.desc else ""
        lines.append(f"    {field.name}: {to_text(field.type)} = mn.{field.kind.title()}Field({described})")
    text = signature.instructions
    if not text or inspect.cleandoc(text) != text:  # a docstring would be trimmed
        lines += ["", f"{name} = {name}.with_instructions({text!a})"]
    return name, lines


def _docstring(text: str) -> str:
    plain = text.isprintable() and not text.endswith('"') and '"""' not in text and "\\" not in text
    return f'"""{text}"""' if plain else ascii(text)


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text) and not text.startswith("__")
