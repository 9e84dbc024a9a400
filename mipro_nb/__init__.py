"""mipro_nb: optimize the prompts of language-model programs from a notebook, with MIPROv2.

>>> import mipro_nb as mn
>>> program = mn.Predict("message -> team: Literal['billing', 'bug']")
>>> program.predictors[0].signature.instructions
'Given the fields `message`, produce the fields `team`.'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mipro_nb.data import examples, split
    from mipro_nb.evaluate import Evaluate, EvaluationResult
    from mipro_nb.example import Example, Prediction, Score
    from mipro_nb.fewshot import BootstrapFewShot
    from mipro_nb.history import History
    from mipro_nb.listing import runs
    from mipro_nb.lm import LM
    from mipro_nb.metrics import exact_match
    from mipro_nb.mipro import MIPROv2
    from mipro_nb.module import Module
    from mipro_nb.notebook.view import optimize, replay
    from mipro_nb.plan import Plan
    from mipro_nb.predict import ChainOfThought, Predict, load
    from mipro_nb.propose import GroundedProposer
    from mipro_nb.run import Run
    from mipro_nb.settings import configure, context
    from mipro_nb.signature import InputField, OutputField, Signature

_HOMES = {
    "LM": "lm",
    "configure": "settings",
    "context": "settings",
    "Signature": "signature",
    "InputField": "signature",
    "OutputField": "signature",
    "Example": "example",
    "Prediction": "example",
    "Score": "example",
    "examples": "data",
    "split": "data",
    "Module": "module",
    "Predict": "predict",
    "ChainOfThought": "predict",
    "load": "predict",
    "Evaluate": "evaluate",
    "EvaluationResult": "evaluate",
    "BootstrapFewShot": "fewshot",
    "GroundedProposer": "propose",
    "MIPROv2": "mipro",
    "Plan": "plan",
    "History": "history",
    "Run": "run",
    "optimize": "notebook.view",
    "replay": "notebook.view",
    "runs": "listing",
    "exact_match": "metrics",
}

__all__ = [
    "LM",
    "BootstrapFewShot",
    "ChainOfThought",
    "Evaluate",
    "EvaluationResult",
    "Example",
    "GroundedProposer",
    "History",
    "InputField",
    "MIPROv2",
    "Module",
    "OutputField",
    "Plan",
    "Predict",
    "Prediction",
    "Run",
    "Score",
    "Signature",
    "configure",
    "context",
    "exact_match",
    "examples",
    "load",
    "optimize",
    "replay",
    "runs",
    "split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        import difflib

        close = difflib.get_close_matches(name, __all__, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise AttributeError(f"module 'mipro_nb' has no attribute {name!r}.{hint}")
    value = getattr(importlib.import_module(f"mipro_nb.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext mipro_nb``: the magics ``%%mipro``, ``%mipro`` and ``%mipro_lm``."""
    from mipro_nb.notebook import magic

    magic.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext mipro_nb``: IPython as it was."""
    from mipro_nb.notebook import magic

    magic.unload_ipython_extension(ipython)


def __dir__() -> list[str]:
    return __all__
