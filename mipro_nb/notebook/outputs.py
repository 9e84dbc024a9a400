"""Where a view is shown: displays that can be updated, frozen when the run is over, or written as plain text."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro_nb.notebook.part import SENDING

if TYPE_CHECKING:
    from mipro_nb.notebook.wire import Source

VIEW = "application/vnd.jupyter.widget-view+json"
PERIOD = 1.0  # seconds between two lines of text, at least
LIVE = -1  # isn't frozen
EMPTY: Mapping[str, Any] = {"text/plain": ""}


@dataclass
class Output:
    """A pair of displays, and two moments: of the end after which it was shown, and at which it was frozen."""

    view: str
    chart: str
    over: int | None
    frozen: int = LIVE

    def older_than(self, moment: int, ending: bool) -> bool:
        return self.frozen != moment and not (ending and self.over == moment)


class Outputs:
    """The cells' outputs that show one widget: each a pair of displays, of the view and of the frozen chart.

    A moment is a number of events. What is shown once the run is over is live on purpose: that end, whose chart takes
    seconds to draw, doesn't freeze it. A later end does, and so does the kernel's.
    """

    def __init__(self) -> None:
        self._shown: list[Output] = []

    def older_than(self, moment: int, *, ending: bool) -> bool:
        """Whether something is displayed that is to be frozen at this moment, by the run's end or by something else."""
        return any(output.older_than(moment, ending) for output in self._shown)

    def show(self, bundle: Mapping[str, Any], over: int | None = None) -> None:
        """Display a bundle, and below it room for a chart.

        Args:
            over: the moment of the run's end, if it is over.
        """
        output = Output(uuid.uuid4().hex, uuid.uuid4().hex, over)
        with SENDING:
            self._shown.append(output)
            _publish(bundle, output.view, update=False)
            _publish(EMPTY, output.chart, update=False)

    def update(self, bundle: Mapping[str, Any]) -> None:
        """Put a bundle in place of what is displayed live; the charts stay."""
        for output in list(self._shown):
            if output.frozen == LIVE:
                _publish(bundle, output.view, update=True)

    def freeze(self, bundle: Mapping[str, Any], chart: Mapping[str, Any], moment: int, *, ending: bool) -> None:
        """Put what a saved notebook can show in place of the views."""
        with SENDING:
            for output in self._shown:
                if output.older_than(moment, ending):
                    _publish(bundle, output.view, update=True)
                    _publish(chart, output.chart, update=True)
                    output.frozen = moment


def bundle_of(model_id: str, text: str) -> dict[str, Any]:
    """Return what displays a widget, and a text for front ends that can't."""
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": model_id}, "text/plain": text}


def _publish(bundle: Mapping[str, Any], display_id: str, *, update: bool) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display, update_display

    if not InteractiveShell.initialized():  # the shell has gone: nothing is left to display to
        return
    show: Callable[..., Any] = update_display if update else display
    publish = functools.partial(show, dict(bundle), raw=True, display_id=display_id)
    with SENDING:
        if not update:
            publish()
            return
        # told as part of the cell that runs now, not of the one that the run was started in: nbclient hears only that
        try:
            contextvars.Context().run(publish)
        except LookupError:  # ipykernel 7.0 knows no other cell than the one that the context tells
            publish()


@contextlib.contextmanager
def line_of(source: Source) -> Iterator[Callable[[], None]]:
    """Give a function that writes where the run is, in a few lines of this cell's output that are updated in place."""
    from mipro_nb.progress import summary_lines

    here, shown, last = uuid.uuid4().hex, False, 0.0

    def show(final: bool = False) -> None:
        nonlocal shown, last
        now = time.time()
        if final or now - last >= PERIOD:
            text = "\n".join([f"{source.name}: {source.status}", *summary_lines(source.history, now)])
            _publish({"text/plain": text}, here, update=shown)
            shown, last = True, now

    try:
        yield show
    finally:
        show(final=True)
