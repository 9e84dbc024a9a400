"""Run: the handle of an optimization that goes on in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro_nb import console, interrupts
from mipro_nb import events as ev
from mipro_nb.control import Added, Banned, Control
from mipro_nb.engine import Execution
from mipro_nb.errors import ConfigError, MiproError, check_choice
from mipro_nb.history import History
from mipro_nb.module import Module
from mipro_nb.plan import Job, Plan
from mipro_nb.progress import TerminalProgress
from mipro_nb.record import Record
from mipro_nb.scoring import Metric
from mipro_nb.settings import settings

if TYPE_CHECKING:
    import os

    from mipro_nb.opened import Opened

logger = logging.getLogger(__name__)

EVALUATING = "evaluating the best so far; stop again to end at once"


class Run(Record):
    """A run of MIPROv2 in a thread of its own. ``MIPROv2.start`` and ``mipro_nb.optimize`` make it.

    Displays as the live view in a notebook. ``result()``, ``wait()`` or ``await run`` wait for its end; a
    kernel interrupt while they wait stops the run, and keeps the best so far. While ``wait()`` holds the
    kernel the view's buttons can't be heard; ``await run`` leaves them free.

    Attributes:
        plan: what the run does and may cost.
        history: what happened so far.
        error: what ended the run, or None.

    >>> import mipro_nb as mn
    >>> from mipro_nb.testing import FakeLM
    >>> data = mn.examples([{"q": f"question {n}", "a": "yes"} for n in range(10)], inputs=["q"])
    >>> with mn.context(lm=FakeLM(lambda messages: "yes"), progress=False):
    ...     run = mn.MIPROv2(mn.exact_match).start(mn.Predict("q -> a"), trainset=data, num_trials=2)
    ...     best = run.result()
    >>> run.status, run.history.best.score, best.predictors[0].signature.instructions
    ('finished', 1.0, 'Given the fields `q`, produce the fields `a`.')
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._control = Control()
        self._execution = Execution(job, tuple(job.options.listeners), self._control)
        self._context = contextvars.copy_context()  # settings and the notebook cell that prints go to
        self._lock = threading.Lock()
        self._begun = self._over = False
        self._ended: Future[Module] = Future()
        self._last_words: list[Callable[[], None]] = []

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Opened:
        """Return a run as its directory holds it, ended or cut off: tables, chart, report, live view; no LM is called.

        Args:
            path: a run directory (see ``mipro_nb.runs``), or the ``events.jsonl`` in it.

        Raises:
            LoadError: there is none, or this version can't read it.
        """
        from mipro_nb.opened import Opened

        return Opened(path)

    @classmethod
    def resume(cls, path: str | os.PathLike[str], program: Module, metric: Metric, **changes: Any) -> Run:
        """Go on with a run that was cut off, stopped or ended, in a thread of its own; return it at once.

        What it has paid for is not paid for again, and it ends as if it had never been disturbed. ``compile(...,
        run_dir=path)`` with the arguments of the first time does the same.

        Args:
            path: its directory.
            program: as it was given the first time.
            metric: the same function.
            **changes: of ``MIPROv2`` and ``compile``: LMs, ``teacher``, ``listeners`` and ``stop``, which no file
                holds; data that JSON can't hold; limits and ``num_threads``, which may be others.

        Raises:
            LoadError: there is no run that this version can go on with.
            ConfigError: program, metric, data or settings are others, and which; or another process holds it.
        """
        from mipro_nb.mipro import resume

        return resume(path, program, metric, **changes)

    @property
    def name(self) -> str:
        """The program's class."""
        return type(self.job.student).__name__

    @property
    def plan(self) -> Plan:
        return self.job.plan

    @property
    def max_cost(self) -> float | None:
        """US dollars that the run may spend, or None."""
        return self.job.options.max_cost

    @property
    def aside(self) -> str:
        return EVALUATING if self._execution.settling else ""

    @property
    def history(self) -> History:
        return self._execution.history

    @property
    def directory(self) -> Path | None:
        """The directory that the run is kept in; None before it begins, or if it isn't kept."""
        return self._execution.directory

    @property
    def status(self) -> str:
        """Where it is: waiting (for permission), running, paused, stopping, finished, stopped or failed."""
        if not self._over and not self._begun:
            return "waiting"
        if not self._over:
            return "stopping" if self._control.stop_reason else "paused" if self._paused else "running"
        reason = self.history.reason or ""
        if self.error is not None or reason.startswith("failed"):
            return "failed"
        return "finished" if reason == "finished" else "stopped"

    @property
    def _paused(self) -> bool:
        return self._control.paused or bool(self._execution.outage)

    @property
    def program(self) -> Module:
        """The best fully evaluated program so far, as a new one; the program itself before there is one."""
        return self._execution.best_program()

    def listen(self, listener: ev.Listener, at_end: Callable[[], None] | None = None) -> None:
        """Hand a listener all events from now on, in the run's thread; it must return soon.

        Args:
            at_end: called each time the run is over, before those who wait are told.
        """
        self._execution.emit.add(listener)
        if at_end is not None:
            self._last_words.append(at_end)

    def forget(self, listener: ev.Listener, at_end: Callable[[], None] | None = None) -> None:
        """Take back what ``listen`` did."""
        self._execution.emit.remove(listener)
        if at_end in self._last_words:
            self._last_words.remove(at_end)

    def start(self) -> None:
        """Begin, once permission is given; a run that has begun goes on undisturbed.

        Raises:
            ConfigError, LoadError: ``run_dir`` can't be had, or holds another run.
        """
        with self._lock:
            if not self._begun and not self._over:
                try:
                    self._execution.claim()
                except MiproError as error:
                    self.error, self._over = error, True
                    self._say_last_words()
                    self._ended.set_exception(error)
                    raise
                self._begin(self._execution.run)

    def stop(self, reason: str = "as asked", evaluate: bool = True) -> None:
        """End soon: calls in flight come in, the best so far is kept. A run that has ended stays as it is.

        A best that was found in the search and never fully evaluated is evaluated before, if the limits allow and the
        run isn't paused; ``stop`` once more ends that at once.

        Args:
            reason: told in ``history.reason``.
            evaluate: whether to evaluate the best.
        """
        with self._lock:
            waited, live = self.status == "waiting", not self._over
            self._over = self._over or waited
        if waited:
            self._say_last_words()
            self._ended.set_result(self.program)
        elif live:
            self._control.stop(reason, evaluate)

    def pause(self) -> None:
        """Make no new call until ``unpause``; calls in flight come in."""
        self._control.pause()

    def unpause(self) -> None:
        """Go on after ``pause``. A run that waits for an LM which doesn't answer tries it at once."""
        self._execution.unpause()

    def extend(self, num_trials: int = 10) -> None:
        """Try so many combinations more; a run that has ended goes on, and reaches its verdict anew.

        Raises:
            ConfigError: no whole number of 1 or more, or the run ended before its search began.
        """
        with self._lock:
            ending = self._over or self._control.stop_reason is not None
            if ending and not self.extendable:
                raise ConfigError("the run ended before its search began, or failed: start a new one.")
            self._control.extend(num_trials)
            if self._over:
                self._control.unpause()
                before, self._ended, self._over = self._ended, Future(), False

                def go_on() -> Module:
                    before.exception()  # its last words are said first
                    return self._execution.extend(self._control.take_more())

                self._begin(go_on)

    def add_instruction(self, predictor: str, text: str) -> None:
        """Let the search try an instruction of your own, beside those that were proposed.

        It is taken in before the next round of the search, also one that ``extend`` begins. With ``keep=`` texts that
        it lacks come at its end.

        Args:
            predictor: name of the predictor, as in ``run.candidates``; "self" is the program that is one itself.
            text: the instruction.

        Raises:
            ConfigError: no such predictor, a frozen one, no text, or ``search="mipro"``, which can't.
        """
        self._check_wish(predictor)
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"text={text!r:.200}: an instruction, a text that isn't empty, is needed.")
        self._control.wish(Added(predictor, text.strip()))

    def ban(self, candidate: Any, kind: str | None = None, index: int | None = None) -> None:
        """Take an instruction or demo set out of the search, from its next round on; it can't win any more.

        Args:
            candidate: a row of ``run.candidates``, as in ``run.ban(run.candidates.loc[3])``; or a predictor's name,
                with ``kind`` ("instruction" or "demos") and ``index``.
            kind, index: beside a name.

        Raises:
            ConfigError: there is no such candidate, or ``search="mipro"``, which can't.
        """
        if not isinstance(candidate, str):
            try:
                candidate, kind, index = str(candidate["predictor"]), str(candidate["kind"]), int(candidate["index"])
            except (TypeError, KeyError, ValueError, IndexError):
                raise ConfigError(
                    f"candidate={candidate!r:.200}: a row of run.candidates, or a predictor's name, is needed."
                ) from None
        self._check_wish(candidate)
        check_choice("kind", kind, ("instruction", "demos"))
        made = self.history.instructions if kind == "instruction" else self.history.demo_sets
        known = [one.index for one in made if one.predictor == candidate]
        if index not in known or isinstance(index, bool):
            raise ConfigError(
                f"index={index!r}: {candidate!r} has no such {kind}; there is "
                + (f"0 to {max(known)}." if known else "none yet.")
            )
        self._control.wish(Banned(candidate, str(kind), index))

    def _check_wish(self, predictor: Any) -> None:
        check_choice("predictor", predictor, [name for name, _ in self.job.student.named_predictors()])
        if predictor in self.job.options.freeze:
            raise ConfigError(f"predictor={predictor!r} is frozen: it stays as it is.")
        if self.job.params.search == "mipro":
            raise ConfigError("search='mipro' settles its candidates before it begins; search='paired' takes others.")

    @property
    def extendable(self) -> bool:
        """Whether ``extend`` can add trials."""
        return self.error is None and self._execution.candidates is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, with one line of progress; return whether it was reached.

        Args:
            timeout: seconds, or None for as long as it takes.

        A keyboard interrupt stops the run, and the wait goes on until it has ended; a second one is raised, and the run
        ends at once, without its calls in flight.

        Raises:
            ConfigError: the run waits for permission.
        """
        return self._wait(self._ended, timeout)

    def _wait(self, ended: Future[Module], timeout: float | None) -> bool:
        if self.status == "waiting":
            raise ConfigError("the run waits for permission: call start(), or press Start.")
        until = None if timeout is None else time.monotonic() + timeout
        interrupted = False
        with self._shown() as show:
            while True:
                try:
                    while not ended.done() and (until is None or time.monotonic() < until):
                        show()
                        with contextlib.suppress(TimeoutError):
                            ended.exception(0.2 if until is None else min(0.2, max(0.0, until - time.monotonic())))
                    return ended.done()
                except KeyboardInterrupt:
                    if interrupted:
                        self._execution.abandon()
                        raise
                    interrupted = True
                    self.stop("interrupted")

    def result(self, timeout: float | None = None) -> Module:
        """Wait, then return the best program.

        Args:
            timeout: seconds, or None for as long as it takes.

        Raises:
            TimeoutError: the run goes on.
            MiproError: what ended the run, if it has nothing to return.
        """
        ended = self._ended
        if not self._wait(ended, timeout):
            raise TimeoutError(f"the run goes on after {timeout:g} s; it is {self.status}.")
        return ended.result()

    def __await__(self) -> Generator[Any, None, Module]:
        return self._awaited().__await__()

    async def _awaited(self) -> Module:
        """Wait; an interrupt stops the run and gives the best so far, a cancellation or timeout leaves it running.

        A second interrupt is raised, and the run ends without its calls in flight.
        """
        ended = asyncio.wrap_future(self._ended)
        with interrupts.noted() as seen:
            try:
                return await asyncio.shield(ended)
            except asyncio.CancelledError:
                if not seen:
                    raise
                self.stop("interrupted")
            try:
                return await asyncio.shield(ended)
            except asyncio.CancelledError:
                if len(seen) > 1:
                    self._execution.abandon()
                raise

    def _begin(self, work: Callable[[], Module]) -> None:
        self._begun = True
        self._ended.set_running_or_notify_cancel()  # who awaits can't cancel it any more
        inside = self._context.copy().run
        threading.Thread(target=inside, args=(self._work, work, self._ended), name="mipro_nb run", daemon=True).start()

    def _work(self, work: Callable[[], Module], ended: Future[Module]) -> None:
        try:
            program = work()
            while more := self._wanted():
                program = self._execution.extend(more)
        except BaseException as error:  # noqa: BLE001 (kept for result(), and shown by every view)
            self.error, self._over = error, True
            self._say_last_words()
            ended.set_exception(error)
        else:
            self._say_last_words()
            ended.set_result(program)

    def _wanted(self) -> int:
        """Return how many trials were asked for while the verdict was under way; none: the run is over."""
        with self._lock:
            more = self._control.take_more() if self.extendable else 0
            self._over = not more
        return more

    def _say_last_words(self) -> None:
        for last_words in list(self._last_words):
            try:
                last_words()
            except Exception:
                logger.exception("the end of the run could not be shown")

    @contextlib.contextmanager
    def _shown(self) -> Iterator[Any]:
        """Give a function that shows progress while somebody waits: text in a notebook, a panel on a terminal."""
        if not settings().progress or self._ended.done():
            yield lambda: None
        elif console.in_kernel():
            from mipro_nb.notebook.outputs import line_of

            with line_of(self) as show:
                yield show
        else:
            emit = self._execution.emit
            with emit.lock:
                panel = TerminalProgress(past=self.history)
                emit.add(panel)
            try:
                yield lambda: None
            finally:
                emit.remove(panel)
                panel.close()
