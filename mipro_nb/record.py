"""Record: what can be read of a run, whether it goes on, has ended, or is played again."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mipro_nb.history import History
from mipro_nb.plan import Plan
from mipro_nb.progress import summary_lines

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from mipro_nb.playback import Replay
    from mipro_nb.run import Run


class Record(ABC):
    """What ``Run`` and ``Replay`` have in common: tables, chart, report, and the live view they display as.

    Attributes:
        error: what ended it, or None.
    """

    error: BaseException | None = None
    _view: Any = None  # kept by notebook.view, so that a record has one

    @property
    @abstractmethod
    def name(self) -> str:
        """The program's class."""

    @property
    @abstractmethod
    def status(self) -> str:
        """Where it is, in a word."""

    @property
    @abstractmethod
    def history(self) -> History:
        """What happened so far."""

    @property
    @abstractmethod
    def plan(self) -> Plan | None:
        """What the run does and may cost."""

    @property
    def now(self) -> float:
        """The run's present time, in seconds since the epoch."""
        return time.time()

    @property
    def pace(self) -> float:
        """Seconds of the run in a second of the clock on the wall."""
        return 1.0

    @property
    def aside(self) -> str:
        """What a view says beside the status; empty: nothing."""
        return ""

    @property
    def max_cost(self) -> float | None:
        """US dollars that it may spend, or None."""
        return None

    @property
    def extendable(self) -> bool:
        """Whether ``extend`` can add trials."""
        return False

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial, see ``mipro_nb.frames.trials``."""
        return self.history.trials_frame()

    @property
    def candidates(self) -> pd.DataFrame:
        """One row per instruction and demo set, see ``mipro_nb.frames.candidates``."""
        return self.history.candidates_frame()

    @property
    def examples(self) -> pd.DataFrame:
        """One row per validation example, baseline beside best, see ``mipro_nb.frames.examples``."""
        return self.history.examples_frame()

    def chart(self) -> alt.VConcatChart | alt.Chart:
        """Return the trials' scores, and instructions by demo sets, as an Altair chart."""
        from mipro_nb.notebook.charts import run_chart

        return run_chart(self.history)

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write all that is known so far into one file, and return its path: ``History.report``."""
        return self.history.report(path)

    def __repr__(self) -> str:
        lines = "\n".join(summary_lines(self.history, self.now))
        return f"{type(self).__name__} of {self.name}, {self.status}\n{lines}"

    def _ipython_display_(self) -> None:
        from mipro_nb.notebook.view import view_of

        view_of(cast("Run | Replay", self))._ipython_display_()
