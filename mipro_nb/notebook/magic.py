"""``%%mipro``, ``%mipro`` and ``%mipro_lm``: parse the cell, call the public API, nothing else.

``%load_ext mipro_nb`` loads them; ``%%mipro --help`` explains them.
"""

from __future__ import annotations

import inspect
import re
import weakref
from typing import Any, cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from IPython.display import display

import mipro_nb
from mipro_nb.errors import ConfigError, nearest
from mipro_nb.metrics import exact_match
from mipro_nb.mipro import MIPROv2
from mipro_nb.module import Module
from mipro_nb.notebook import completing
from mipro_nb.notebook.celldata import datasets_of
from mipro_nb.notebook.cellnames import MODELS, PUBLIC, lent, metric_of, model_of, program_of
from mipro_nb.notebook.celloptions import help_text
from mipro_nb.notebook.cellspec import CellSpec, Word, read_cell, split_line
from mipro_nb.notebook.oneline import MagicError, in_one_line
from mipro_nb.notebook.runbook import ASKED, COMMANDS, RunBook, diff_text, is_active, status_text, table
from mipro_nb.settings import configure, settings
from mipro_nb.text import visible

EMPTY_CELL = re.compile(r"%%mipro\b.*")


@magics_class
class MiproMagics(Magics):
    """The magics of one shell.

    Args:
        shell: IPython's.
        book: of the runs that were started in it.
    """

    def __init__(self, shell: InteractiveShell, book: RunBook) -> None:
        super().__init__(shell)
        self._ipython = shell
        self.book = book

    @line_cell_magic
    def mipro(self, line: str, cell: str | None = None) -> None:
        """Optimize the program that the cell defines, or (``%mipro``) list the runs. ``%%mipro --help`` tells more."""
        with in_one_line():
            if cell is not None:
                self._cell(line, cell)
            else:
                self._command(line)

    @line_magic
    def mipro_lm(self, line: str) -> None:
        """Set the default language model, as in ``%mipro_lm openai/gpt-5-mini``; without a name tell which it is."""
        with in_one_line():
            words = split_line(line)
            if len(words) > 1 or words[:1] == [Word("--help")]:
                raise ConfigError("%mipro_lm takes one model, as in %mipro_lm openai/gpt-5-mini.")
            if words:
                configure(lm=model_of("%mipro_lm", words[0], self._ipython.user_ns))
            lm = settings().lm
            print(f"The language model is {lm.model}." if lm else f"No language model is set: %mipro_lm {MODELS[0]}")

    def _cell(self, line: str, cell: str) -> None:
        spec, names = read_cell(line, cell), self._ipython.user_ns
        if spec.help:
            print(help_text())
            return
        with lent(spec.body, names):
            self._run_body(line, spec)
            program, metric = program_of(spec, names), metric_of(spec, names)
        sets, said = datasets_of(spec, names, program, metric)
        keywords: dict[str, Any] = {"metric": metric, **spec.keywords, **sets}
        if spec.lm is not None:
            lm = model_of("--lm", spec.lm, names)
            program = program.deepcopy()  # the user's own keeps its LM; the best program goes on with this one
            program.set_lm(lm)
            keywords |= {"task_model": lm, "prompt_model": lm}
        if spec.prompt_lm is not None:
            keywords["prompt_model"] = model_of("--prompt-lm", spec.prompt_lm, names)
        used = "exact match" if metric is exact_match else getattr(metric, "__name__", type(metric).__name__)
        if metric is exact_match and spec.metric is None and callable(names.get("metric")):
            used += " (--metric metric would take the notebook's function)"
        if spec.plan:
            plan = _plan(program, keywords)
            print(f"{said} Metric: {used}.\n{visible(str(plan))}")
            return
        self.book.check_free(spec.into)
        self._start(spec, program, keywords, f"{said} Metric: {used}.")

    def _run_body(self, line: str, spec: CellSpec) -> None:
        if spec.body.idle:
            return
        if spec.body.awaits is not None:
            raise ConfigError(
                f"line {spec.body.awaits}: await can't stand in a %%mipro cell; move it to a cell before."
            )
        code = f"#%%mipro {line}\n{spec.body.code}"  # the first line keeps the line numbers of tracebacks right
        result = self._ipython.run_cell(code, store_history=False)  # type: ignore[no-untyped-call]
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise MagicError(f"the cell's code failed ({type(error).__name__}, shown above); nothing was optimized.")

    def _start(self, spec: CellSpec, program: Module, keywords: dict[str, Any], said: str) -> None:
        before = self.book.earlier(spec.into)
        view = None
        try:
            view = mipro_nb.optimize(program, **keywords)
            self.book.follow(spec.into, cast(mipro_nb.Run, view.run))
        except BaseException:
            if view is not None:
                view.run.stop("the cell failed", evaluate=False)  # no name leads to it: nobody else could
            raise
        print(f"{said}\n{spec.into} is the best program so far, at any time; {spec.into}_run is the run.")
        if before is not None:
            print(f"The run that was called {spec.into} before goes on: see %mipro.")
        display(view)  # type: ignore[no-untyped-call]
        if spec.wait:
            view.run.wait()
            self.book.refresh()
            if view.run.status == "failed":
                error = view.run.error
                told = f"{type(error).__name__}: {error}" if error is not None else view.run.history.reason
                raise MagicError(f"the run failed: {' '.join(visible(str(told)).split())}") from error

    def _command(self, line: str) -> None:
        words = split_line(line)
        command = str(words[0]) if words else "list"
        if command not in COMMANDS:
            if any(word.startswith("--") for word in words) or command in self._ipython.user_ns:
                self._cell(line, "")  # the whole of a cell that needs no body, as with --program
                return
            raise ConfigError(
                f"%mipro {command} is not known; accepted: {', '.join(COMMANDS)}.{nearest(command, COMMANDS)}"
            )
        words = split_line(line, numbers=True)
        if len(words) > 2:
            raise ConfigError(f"%mipro {command} takes one NAME; {words[2]!r} is one too many.")
        name = str(words[1]) if len(words) > 1 else ""
        if command == "list":
            print(table(self.book.runs()))
        elif command == "help":
            print(help_text())
        elif command in ("status", "diff"):
            self._tell(command, name)
        else:
            self._ask(command, name)

    def _tell(self, command: str, name: str) -> None:
        picked = self.book.pick(name)
        told = status_text if command == "status" else diff_text
        print(told(*picked) if picked else table([]))

    def _ask(self, command: str, name: str) -> None:
        """Stop, pause or unpause a run."""
        fitting, told = ASKED[command]
        picked = self.book.pick(name, fitting)
        if picked is None:
            print(f"No run to {command}: see %mipro.")
            return
        label, run = picked
        if not is_active(run):
            print(f"{label} has ended: {run.status}.")
            return
        getattr(run, command)()
        print(f"{label}: {told}")

    @context_matcher()  # type: ignore[untyped-decorator]
    def complete(self, context: CompletionContext) -> SimpleMatcherResult:
        """Complete options and names in a magic's line, in place of the Python that IPython and Jedi would offer."""
        symbol = context.token
        if context.cursor_line and context.full_text.startswith("%%mipro"):
            found = [name for name in PUBLIC if symbol and name.startswith(symbol)]
            return {"completions": [SimpleCompletion(text=name) for name in found]}
        found = self._completions(context.line_with_cursor, context.text_until_cursor, symbol)
        made = [SimpleCompletion(text=text, type="magic") for text in found]
        return {"completions": made, "suppress": True, "ordered": True}

    def _completions(self, line: str, before: str, symbol: str) -> list[str]:
        names = self._ipython.user_ns
        match line.split(None, 1)[:1]:
            case ["%%mipro"] if before != "%%mipro":
                return completing.in_cell_line(before, symbol, names)
            case ["%mipro"] if before != "%mipro":
                return completing.in_command(before, symbol, names, [name for _, name, _ in self.book.runs()])
            case ["%mipro_lm"] if before != "%mipro_lm":
                return [model for model in completing.models(names) if model.startswith(symbol)]
        return []


def _plan(program: Module, keywords: dict[str, Any]) -> Any:
    own = [name for name in keywords if name in inspect.signature(MIPROv2).parameters]
    optimizer = MIPROv2(**{name: keywords[name] for name in own})
    return optimizer.plan(program, **{name: value for name, value in keywords.items() if name not in own})


def fill_empty_cell(lines: list[str]) -> list[str]:
    """Give a ``%%mipro`` cell without a body an empty line: IPython would refuse it before ``--help`` is read."""
    if lines and EMPTY_CELL.match(lines[0]) and not "".join(lines[1:]).strip():
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


_books: weakref.WeakKeyDictionary[InteractiveShell, RunBook] = weakref.WeakKeyDictionary()


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magics, their completion, and what keeps their results current. For ``%load_ext mipro_nb``."""
    if MiproMagics.__name__ in ipython.magics_manager.registry:
        return
    magics = MiproMagics(ipython, _books.setdefault(ipython, RunBook(ipython.user_ns)))
    ipython.register_magics(magics)
    ipython.events.register("pre_run_cell", magics.book.refresh)
    ipython.input_transformers_cleanup.append(fill_empty_cell)
    ipython.Completer.custom_matchers.append(magics.complete)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take everything back that ``load_ipython_extension`` registered. What cells have made stays."""
    magics = ipython.magics_manager.registry.pop(MiproMagics.__name__, None)
    if magics is None:
        return
    if magics in ipython.configurables:
        ipython.configurables.remove(magics)
    for kind, named in magics.magics.items():
        for name in named:
            ipython.magics_manager.magics[kind].pop(name, None)
    ipython.events.unregister("pre_run_cell", magics.book.refresh)
    ipython.input_transformers_cleanup.remove(fill_empty_cell)
    ipython.Completer.custom_matchers.remove(magics.complete)
