"""The options of ``%%mipro``, in one table: parsing, help and completion read it."""

from __future__ import annotations

from dataclasses import dataclass

from mipro_nb.options import AUTO
from mipro_nb.strategies import SEARCHES


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what it is called, what its value is called (empty: a switch), what it does, where it goes.

    Attributes:
        kind: of its value: ``data``, ``program``, ``metric``, ``model``, ``choice``, ``into``, ``number``, ``url`` or
            empty.
        least: the smallest whole number, for those that take one.
        keywords: of MIPROv2 that get the value as it is.
    """

    name: str
    value: str
    help: str
    kind: str = ""
    least: int | None = None
    keywords: tuple[str, ...] = ()

    @property
    def choices(self) -> list[str]:
        """The values that a ``choice`` takes."""
        return self.value.split("|")

    @property
    def attribute(self) -> str:
        """The field of ``CellSpec``."""
        return self.name.lstrip("-").replace("-", "_")


OPTIONS = (
    Option("--trainset", "DATA", "instead of the first DATA: examples for demos and proposals", "data"),
    Option("--valset", "DATA", "examples that score the trials; else most of the trainset", "data"),
    Option("--testset", "DATA", "sealed: first and best program are compared on it once, at the end", "data"),
    Option(
        "--auto",
        "|".join(AUTO),
        "the effort; light unless --trials or --candidates is given",
        "choice",
        None,
        ("auto",),
    ),
    Option("--search", "|".join(SEARCHES), "how it searches; else paired", "choice", None, ("search",)),
    Option("--trials", "N", "combinations to try", "number", 1, ("num_trials",)),
    Option("--candidates", "N", "instructions and demo sets per predictor", "number", 1, ("num_candidates",)),
    Option(
        "--demos",
        "N",
        "most bootstrapped and most labeled demos per set; 0 is zero-shot",
        "number",
        0,
        ("max_bootstrapped_demos", "max_labeled_demos"),
    ),
    Option("--max-cost", "USD", "the run ends with the best once these are spent", "number", None, ("max_cost",)),
    Option("--storage", "URL", "an Optuna study there shows the trials: sqlite:///runs.db", "url", None, ("storage",)),
    Option("--lm", "MODEL", "runs the program and writes the instructions; else the one of %mipro_lm", "model"),
    Option("--prompt-lm", "MODEL", "writes the instructions", "model"),
    Option("--seed", "N", "the same seed gives the same run", "number", 0, ("seed",)),
    Option("--program", "NAME", "a program of the notebook; the cell then needs no signature", "program"),
    Option("--metric", "NAME", "a function of the notebook; else the cell's `metric`, else exact match", "metric"),
    Option("--into", "NAME", "name of the result: NAME is the best program, NAME_run the run; else best", "into"),
    Option("--wait", "", "the cell ends when the run does, and fails if it fails; an interrupt stops the run"),
    Option("--plan", "", "only show the plan: trials, calls, dollars; nothing is spent"),
    Option("--help", "", "show this"),
)
BY_NAME = {option.name: option for option in OPTIONS}


def help_text() -> str:
    """Return what ``%%mipro --help`` shows."""
    named = [(f"{option.name} {option.value}".strip(), option.help) for option in OPTIONS]
    rows = [f"  {name:<28} {said}" for name, said in named]
    return "\n".join([*USAGE.strip("\n").splitlines(), *rows, *NOTES.rstrip("\n").splitlines()])


USAGE = """
%%mipro DATA [options]
    class Route(Signature):
        '''Route the customer message to the team that can solve it.'''
        message: str = InputField()
        team: Literal["billing", "bug"] = OutputField()

    def metric(example, prediction):
        return example.team == prediction.team

DATA is a DataFrame or list of the notebook, or a path (in quotes if it has spaces). It is split into 20% training,
40% validation and 40% test examples, always the same ones.
The cell is Python. Its one Signature is the program; or its one Module; or a line such as  message -> team: bool
instead, with the instruction as a text at the top of the cell. Names of mipro_nb and Literal need no import.

options:
"""
NOTES = """
%mipro                            the runs: status, best, cost
%mipro status|diff|stop|pause|unpause [NAME or #2]
%mipro_lm MODEL                   the language model, as in  %mipro_lm openai/gpt-5-mini
"""
