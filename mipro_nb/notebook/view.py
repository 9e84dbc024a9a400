"""The live view of a run, and ``optimize``, which starts a run and shows it."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import traitlets

from mipro_nb.errors import ConfigError, MiproError, nearest
from mipro_nb.example import Example
from mipro_nb.mipro import MIPROv2, takes
from mipro_nb.module import Module
from mipro_nb.notebook import charts, closeup, static
from mipro_nb.notebook.feed import LIVE, Feed
from mipro_nb.notebook.kernel import at_shutdown, present, soon
from mipro_nb.notebook.outputs import Outputs, bundle_of
from mipro_nb.notebook.part import SENDING, Part
from mipro_nb.notebook.wire import sendable
from mipro_nb.opened import Opened
from mipro_nb.options import Options
from mipro_nb.playback import Replay
from mipro_nb.run import Run
from mipro_nb.scoring import Metric

MOST = 1_000  # trials that one press of Extend adds at most
PATIENCE = 3.0  # seconds in which a front end that can show widgets says so
TEXT_PERIOD = 2.0  # seconds between two updates of plain text
_shown: set[tuple[Path, int]] = set()  # saved runs of which a frozen page was shown, and their numbers of events


class RunView(Part):
    """The live view of a run: a widget with the run's own methods.

    ``view.progress``, ``view.chart``, ``view.candidates``, ``view.examples`` and ``view.prompt`` are its
    parts, each a widget to be shown alone; what is selected in one is selected in all. When the run ends,
    the cell's output freezes into text, tables and a chart that a saved notebook keeps; shown again,
    the view is live again.

    Attributes:
        run: the ``Run``, or the ``Replay``.
    """

    def __init__(self, run: Run | Replay) -> None:
        self.run = run
        self._outputs = Outputs()
        self._shown_frozen = self._as_text = False
        self._next_text = 0.0
        self._parts: dict[str, Part] = {}
        self._feed = Feed(run, self._write)
        super().__init__("all", self._feed.state(), self._heard)
        run.listen(self._feed, self._finish)
        self._feed.attach(self)
        at_shutdown(self._shut_down)

    @property
    def progress(self) -> Part:
        """Stages, what was found, what was spent, and the buttons."""
        return self._part_alone("progress")

    @property
    def chart(self) -> Part:
        """The trials' scores, and instructions by demo sets."""
        return self._part_alone("chart")

    @property
    def candidates(self) -> Part:
        """The table of instructions and demo sets. (``view.run.candidates`` is the DataFrame.)"""
        return self._part_alone("candidates")

    @property
    def examples(self) -> Part:
        """The examples, baseline beside best. (``view.run.examples`` is the DataFrame.)"""
        return self._part_alone("examples")

    @property
    def prompt(self) -> Part:
        """The exact messages of the best program, before and after."""
        return self._part_alone("prompt")

    def _part_alone(self, kind: str) -> Part:
        part = self._parts.get(kind)
        if part is None or part.closed:
            part = self._parts[kind] = Part(kind, self._feed.state(), self._heard, selected=self.selected)
            traitlets.link((self, "selected"), (part, "selected"))
            self._feed.attach(part)
        return part

    def freeze(self, status: str | None = None) -> None:
        """Put text, tables and a chart that need no kernel in place of the live views shown so far.

        Args:
            status: told instead of the run's own.
        """
        self._freeze(status, ending=False)

    def _freeze(self, status: str | None, ending: bool) -> None:
        history = self.run.history
        moment = len(history.events)
        if self._outputs.older_than(moment, ending=ending):
            page = static.frozen(history, status or self.run.status, self.run.aside)
            self._outputs.freeze(page, static.frozen_chart(history), moment, ending=ending)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in _public(self.run):
            return getattr(self.run, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        run = self.__dict__.get("run")
        if isinstance(getattr(type(run), name, None), property) and not hasattr(type(self), name):
            setattr(run, name, value)  # such as a replay's speed
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_public(self.run)]

    def __await__(self) -> Generator[Any, None, Any]:
        return self.run.__await__()

    def __repr__(self) -> str:
        return repr(self.run)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:  # inside other widgets
        return bundle_of(self.model_id, repr(self)), {}

    def _ipython_display_(self) -> None:
        text = static.plain(self.run.history, self.run.now) if self.run.history.events else repr(self)
        if not present():
            print(text)
            return
        with SENDING:  # the end sends before it freezes: what was shown before it is among what it freezes
            over = self.run.status not in (*LIVE, "waiting")
            moment = len(self.run.history.events) if over else None
            saved = {(self.run.directory, moment)} if isinstance(self.run, Opened) and moment is not None else set()
            live = not over or self._code.heard_of or self._shown_frozen or bool(saved & _shown)
            self._outputs.show(bundle_of(self.model_id, text) if live else {"text/plain": text}, moment)
        if live:
            soon(PATIENCE, self._listen_for_a_widget)
            threading.Thread(target=charts.warm_up, name="mipro_nb warm-up", daemon=True).start()
        else:  # perhaps a front end without widgets: shown a second time it is live
            self.freeze()
            self._shown_frozen = True
            _shown.update(saved)  # opened again by the same cell it is another object

    def _listen_for_a_widget(self) -> None:
        """Begin to write text where the front end, having had the time, didn't say that it shows widgets."""
        self._as_text = not self._code.heard_of

    def _write(self) -> None:
        """In a front end without widgets: plain text, updated in place."""
        if self._as_text and not self._code.heard_of and time.monotonic() >= self._next_text:
            self._next_text = time.monotonic() + TEXT_PERIOD
            self._outputs.update(bundle_of(self.model_id, static.plain(self.run.history, self.run.now)))

    def close(self) -> None:
        """Show nothing more, here and in the parts; the run goes on."""
        self.run.forget(self._feed, self._finish)
        self._feed.end()
        for part in self._parts.values():
            part.close()
        super().close()

    def _finish(self) -> None:
        self._feed.flush()
        self._freeze(None, ending=True)

    def _shut_down(self) -> None:
        self.run.stop("the kernel was shut down", evaluate=False)
        status = "stopped" if self.run.status == "stopping" else self.run.status
        self._outputs.update(static.frozen(self.run.history, status, self.run.aside))  # its chart may come too late
        self.freeze(status)

    def _heard(self, part: Part, content: Any) -> None:
        """Do what a button or a click asks; what isn't understood is left."""
        match content:
            case {"do": "hello"}:
                self._code.heard_of = True
            case {"do": "start"}:
                with contextlib.suppress(MiproError):  # its run directory can't be had; the view says so
                    self.run.start()
            case {"do": "pause" | "unpause" as wish}:
                getattr(self.run, wish)()
            case {"do": "stop"}:
                self.run.stop()
            case {"do": "extend", "n": int(count)} if 1 <= count <= MOST:
                self._extend(count)
            case {"do": "example", "id": int(number), "ask": int(ask)}:
                part.send(sendable({"to": ask, **closeup.example(self.run.history, number)}))
            case {"do": "examples", "change": str(wanted), "query": str(query), "start": int(first), "ask": int(ask)}:
                found = closeup.examples(self.run.history, wanted, query, max(0, first))
                part.send(sendable({"to": ask, **found}))
        self._feed.poke()

    def _extend(self, count: int) -> None:
        with contextlib.suppress(MiproError):  # the run has failed since the button was drawn; the view will say so
            self.run.extend(count)


def view_of(run: Run | Replay) -> RunView:
    """Return the view of a run: always the same one, unless it was closed."""
    known: RunView | None = run._view
    if known is None or known.closed:
        known = RunView(run)
        run._view = known
    return known


def _public(run: Run | Replay) -> list[str]:
    """The public names of a run, which its view has too."""
    return [name for name in (*dir(type(run)), *vars(run)) if not name.startswith("_")]


def replay(path: str | os.PathLike[str], speed: float = 10.0) -> RunView:
    """Play a recorded run in the live view, at once and without an LM; return the view.

    Args:
        path: a run directory (the ``run_dir`` of a run), or the ``events.jsonl`` in it.
        speed: how much faster than the run was, above 0; ``math.inf`` shows its end at once. Between two events
            it waits 3 seconds at most. ``view.speed`` changes it while it plays.

    ``view.pause()``, ``unpause()``, ``stop()``, and the buttons, work as for a run; ``await view`` and
    ``view.result()`` give the ``History`` at the end.

    Raises:
        LoadError: no recording there, or not one that this version reads.
        ConfigError: ``speed`` is no number above 0.

    >>> import math, tempfile, mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> folder, lm = tempfile.TemporaryDirectory(), FakeLM(lambda messages: "1")
    >>> data = mn.examples([{"q": "1", "a": "1"}] * 8, inputs=["q"])
    >>> optimizer = mn.MIPROv2(mn.exact_match, task_model=lm, prompt_model=lm)
    >>> with mn.context(progress=False):
    ...     best = optimizer.compile(mn.Predict("q -> a"), trainset=data, num_trials=2, run_dir=folder.name)
    >>> view = mn.replay(folder.name, speed=math.inf)
    >>> folder.cleanup()
    >>> view.result().best.score, view.status
    (1.0, 'finished')
    """
    record = Replay(path, speed)
    record.start()
    return view_of(record)


@takes(Options, MIPROv2)
def optimize(program: Module, *, metric: Metric, trainset: Sequence[Example], **options: Any) -> RunView:
    """Optimize a program; return the live view of the run at once.

    Takes every setting of ``MIPROv2`` and every keyword of its ``compile``, described there and at
    ``mipro_nb.options.Options``.

    Raises:
        ConfigError, DataError: before anything is spent.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> data = mn.examples([{"q": "1", "a": "1"}] * 8, inputs=["q"])
    >>> with mn.context(lm=FakeLM(lambda messages: "1"), progress=False):
    ...     view = mn.optimize(mn.Predict("q -> a"), metric=mn.exact_match, trainset=data, num_trials=2)
    ...     best = view.result()
    >>> best.predictors[0].signature.instructions
    'Given the fields `q`, produce the fields `a`.'
    """
    compiles, known = [field.name for field in fields(Options)], list(inspect.signature(optimize).parameters)
    for name in options:
        if name not in known:
            raise ConfigError(f"argument {name!r} is not known; accepted: {', '.join(known)}.{nearest(name, known)}")
    constructs = {name: value for name, value in options.items() if name not in compiles}
    rest = {name: value for name, value in options.items() if name in compiles}
    run = MIPROv2(metric, **constructs).start(program, trainset=trainset, **rest)
    try:
        return view_of(run)
    except BaseException:  # an interrupt, most likely: nobody would have a hold of the run
        run.stop("its view could not be made", evaluate=False)
        raise
