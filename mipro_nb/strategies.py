"""The strategies of stage 3, by the name that ``MIPROv2(search=...)`` takes."""

from __future__ import annotations

from typing import Any

from mipro_nb.tpe import MiproStrategy

STRATEGIES: dict[str, Any] = {"mipro": MiproStrategy}
