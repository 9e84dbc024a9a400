"""Cases of a test that takes long together: some run with the fast tests, the others with the slow ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def slow_but(cases: Iterable[tuple[Any, ...]], fast: Callable[..., bool]) -> list[Any]:
    """Return arguments for ``parametrize``: those for which ``fast`` isn't true are slow."""
    return [case if fast(*case) else pytest.param(*case, marks=pytest.mark.slow) for case in cases]
