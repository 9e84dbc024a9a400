"""The settings of MIPROv2 and the keywords of its ``compile``, checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mipro_nb.errors import ConfigError, check_choice, check_range, nearest
from mipro_nb.events import Listener
from mipro_nb.example import Example
from mipro_nb.grounding import Grounding
from mipro_nb.lm import LM
from mipro_nb.mirror import check_storage
from mipro_nb.module import Module
from mipro_nb.scoring import Metric, check_metric, check_threshold

LARGEST_SEED = 2**32 - 1  # what NumPy, and so Optuna, takes
MINIBATCH = 35  # examples
PROPOSALS = ("learn", "once")
AUTO = {"light": (6, 100), "medium": (12, 300), "heavy": (18, 1000)}  # n, validation examples at most


@dataclass(frozen=True, slots=True)
class Options:
    """The keywords of ``compile``, ``start`` and ``plan``, in one place; ``optimize`` takes them too.

    Defaults are those of dspy 3.4.1 (teleprompt/mipro_optimizer_v2.py); ``testset``, and what stands from
    ``max_cost`` on, are added.

    Attributes:
        trainset: Examples for demos and proposals, 1 or more; 2 or more without a valset.
        valset: Examples that score the trials; None takes 80% of the trainset (at most 1,000), shuffled, stratified
            by label.
        testset: Examples, sealed; baseline and winner are compared on it once, at the end.
        teacher: a program, or an LM for the student, that bootstraps; None takes the constructor's.
        num_trials: combinations to try, 1 or more; not together with ``auto``; None: see ``MIPROv2``.
        max_bootstrapped_demos, max_labeled_demos: per set, 0 or more; None takes the constructor's.
        minibatch: score trials on ``minibatch_size`` examples; False evaluates each fully. In an auto mode 50
            validation examples or fewer are always evaluated fully.
        minibatch_size: examples per trial, 1 or more.
        minibatch_full_eval_steps: trials between full evaluations of the best one, 1 or more.
        program_aware_proposer: the proposer is shown the program's code, and descriptions of it.
        data_aware_proposer: it is shown a summary of the dataset.
        tip_aware_proposer: it gets a tip, drawn at random per instruction.
        fewshot_aware_proposer: it is shown demos that the program got right.
        view_data_batch_size: examples per call of the dataset's summary, 1 or more.
        seed: 0 to 2**32 - 1; None takes the constructor's.
        requires_permission_to_run: show the plan and ask before the first call: a prompt, or a Start button.
        max_cost: US dollars, above 0; the run ends with the best so far once they are spent. What is in flight then
            is still paid, at most one call per thread. None is no limit.
        listeners: functions that are called with every event, see ``mipro_nb.events``; a ``History`` is one.
        stop: ``stop(history)`` is asked again and again; a text, the reason, ends the run with the best so far.
        run_dir: the directory that the run is kept in; it is made if it isn't there. One that holds the same run, cut
            off or ended, goes on with it: nothing is paid for twice. None is a new one under
            ``mipro_nb.runs()``'s; False keeps nothing.
        keep: texts that every proposed instruction must hold, word for word.
        freeze: names of predictors that stay as they are.
        max_prompt_tokens: the longest that the program's prompts may be together, in tokens, about (4 characters
            each); combinations that are longer aren't tried. None is no limit.
        token_price: score, as a fraction, that 1,000 tokens of prompt must be worth, 0 or more: 0.01 prefers a program
            that is shorter by 1,000 tokens to one that scores 1 point more.
        memory: a JSON file, there already or to be made, that keeps over runs which ways of asking for instructions
            worked.
        storage: the URL of a database, such as ``"sqlite:///runs.db"``, or an Optuna storage, that gets the trials as
            an Optuna study while the run goes on, for optuna-dashboard. It is written to beside the run, and never
            read: one that is slow or broken is told once, and the run goes on.
    """

    trainset: Sequence[Example]
    valset: Sequence[Example] | None = None
    testset: Sequence[Example] | None = None
    teacher: Module | LM | None = None
    num_trials: int | None = None
    max_bootstrapped_demos: int | None = None
    max_labeled_demos: int | None = None
    minibatch: bool = True
    minibatch_size: int = MINIBATCH
    minibatch_full_eval_steps: int = 5
    program_aware_proposer: bool = True
    data_aware_proposer: bool = True
    tip_aware_proposer: bool = True
    fewshot_aware_proposer: bool = True
    view_data_batch_size: int = 10
    seed: int | None = None
    requires_permission_to_run: bool = False
    max_cost: float | None = None
    listeners: Sequence[Listener] = ()
    stop: Callable[[Any], str | None] | None = None
    run_dir: str | os.PathLike[str] | Literal[False] | None = None
    keep: Sequence[str] = ()
    freeze: Sequence[str] = ()
    max_prompt_tokens: int | None = None
    token_price: float = 0.0
    memory: str | os.PathLike[str] | None = None
    storage: Any = field(default=None, repr=False)  # its URL may hold a password

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Make Options of keywords; ConfigError for one that isn't known, or for a missing trainset."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"argument {name!r} is not known; accepted: {', '.join(names)}.{nearest(name, names)}"
                )
        if "trainset" not in given:
            raise ConfigError("trainset= is needed: a list of Examples (see mipro_nb.examples).")
        options = cls(**given)
        for name, low in (("minibatch_size", 1), ("minibatch_full_eval_steps", 1), ("view_data_batch_size", 1)):
            check_range(name, getattr(options, name), low)
        for name in ("num_trials", "max_bootstrapped_demos", "max_labeled_demos", "seed"):
            if getattr(options, name) is not None:
                high = LARGEST_SEED if name == "seed" else None
                check_range(name, getattr(options, name), 0 if name != "num_trials" else 1, high)
        for f in fields(cls):
            if isinstance(f.default, bool) and not isinstance(getattr(options, f.name), bool):
                raise ConfigError(f"{f.name}={getattr(options, f.name)!r}: True or False is needed.")
        cost = options.max_cost
        if cost is not None and not (isinstance(cost, int | float) and not isinstance(cost, bool) and cost > 0):
            raise ConfigError(f"max_cost={cost!r}: US dollars, a number above 0, or None, is needed.")
        where = options.run_dir
        if where is not None and where is not False:
            path = isinstance(where, str | os.PathLike)
            if not path or (os.path.exists(where) and not os.path.isdir(where)):
                raise ConfigError(f"run_dir={where!r}: the path of a directory is needed, there already or to be made.")
        for name, texts in (("keep", options.keep), ("freeze", options.freeze)):
            if isinstance(texts, str) or not all(isinstance(text, str) and text.strip() for text in texts):
                raise ConfigError(f"{name}={texts!r}: a list of texts is needed, as in {name}=['...'].")
        if options.max_prompt_tokens is not None:
            check_range("max_prompt_tokens", options.max_prompt_tokens, 1)
        price = options.token_price
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price <= 1:
            raise ConfigError(f"token_price={price!r}: score per 1,000 tokens, a number from 0 to 1, is needed.")
        check_storage(options.storage)
        if options.stop is not None and not callable(options.stop):
            raise ConfigError(f"stop={options.stop!r}: a function of the History, returning a text or None, is needed.")
        if not isinstance(options.listeners, Iterable) or not all(callable(one) for one in options.listeners):
            raise ConfigError(f"listeners={options.listeners!r}: a list of functions of an event is needed.")
        return options

    @property
    def grounding(self) -> Grounding:
        """The proposer's switches."""
        return Grounding(
            self.program_aware_proposer,
            self.data_aware_proposer,
            self.tip_aware_proposer,
            self.fewshot_aware_proposer,
            self.view_data_batch_size,
        )


@dataclass(frozen=True, slots=True)
class Params:
    """The settings of a MIPROv2, checked; see there."""

    metric: Metric
    prompt_model: LM | None
    task_model: LM | None
    teacher: Module | LM | None
    max_bootstrapped_demos: int
    max_labeled_demos: int
    auto: str | None
    num_candidates: int | None
    num_threads: int | None
    max_errors: int
    seed: int
    init_temperature: float
    metric_threshold: float | None
    search: str
    proposals: str | None


def check_params(params: Params, strategies: Sequence[str]) -> None:
    """Check the constructor's arguments; ConfigError names the first that is wrong."""
    check_metric(params.metric)
    if params.auto is not None:
        check_choice("auto", params.auto, AUTO)
    check_choice("search", params.search, strategies)
    if params.proposals is not None:
        check_choice("proposals", params.proposals, PROPOSALS)
        if params.proposals == "learn" and params.search == "mipro":
            raise ConfigError("proposals='learn' needs candidates that grow, which search='mipro' can't: drop one.")
    for name in ("max_bootstrapped_demos", "max_labeled_demos", "max_errors"):
        check_range(name, getattr(params, name), 0)
    check_range("seed", params.seed, 0, LARGEST_SEED)
    for name in ("num_candidates", "num_threads"):
        if getattr(params, name) is not None:
            check_range(name, getattr(params, name), 1)
    for name in ("prompt_model", "task_model"):
        if getattr(params, name) is not None and not isinstance(getattr(params, name), LM):
            raise ConfigError(
                f"{name}={getattr(params, name)!r}: an LM is needed, as in mipro_nb.LM('openai/gpt-5-mini')."
            )
    number = isinstance(params.init_temperature, int | float) and not isinstance(params.init_temperature, bool)
    if not number or not 0 <= params.init_temperature <= 2:
        raise ConfigError(
            f"init_temperature={params.init_temperature!r}: a number from 0 to 2 is needed. Nearest valid: 1.0."
        )
    check_threshold(params.metric_threshold)
