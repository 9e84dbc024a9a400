"""Errors of the magics: one line that says what to change, in the magic's own words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from mipro_nb.errors import MiproError
from mipro_nb.text import visible

CONFIGURE = "call mipro_nb.configure(lm=mipro_nb.LM('local/smollm2-135m'))"
OPTION_OF = {
    "num_trials": "--trials",
    "num_candidates": "--candidates",
    "max_bootstrapped_demos": "--demos",
    "max_labeled_demos": "--demos",
    "max_cost": "--max-cost",
    "storage": "--storage",
    "task_model": "--lm",
    "prompt_model": "--prompt-lm",
    "student": "--program",
}


class MagicError(MiproError):
    """A magic was used wrongly, or its run failed. Shown as one line; the cell fails, as with any error."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Turn the package's own errors into a ``MagicError`` that speaks of options instead of arguments."""
    try:
        yield
    except MagicError:
        raise
    except MiproError as error:
        told = str(error).replace(CONFIGURE, "type %mipro_lm local/smollm2-135m")
        told = re.sub(
            rf"\b({'|'.join(OPTION_OF)})\b(=\.)?",
            lambda found: OPTION_OF[found[1]] + found[0][len(found[1]) + 1 :],
            told,
        )
        raise MagicError(" ".join(visible(told).split())) from error
