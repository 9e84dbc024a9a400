"""Stage 3 as it is carried out: rounds of trials go from a strategy to the pool, and their scores back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mipro_nb import events as ev
from mipro_nb.errors import TooManyErrors
from mipro_nb.example import Example
from mipro_nb.flow import Stopped
from mipro_nb.history import History
from mipro_nb.module import Module
from mipro_nb.past import LATE, Past
from mipro_nb.pool import Pool
from mipro_nb.remote import score_example
from mipro_nb.scoring import ExampleResult, Metric
from mipro_nb.search import Choice, Strategy, Work
from mipro_nb.telling import Known, names_of, report

PROMPTS_DOING = ("ParseError", "PromptRefused")
UNSEEN = (
    "the program made no LM call that could be seen. Threads that it starts itself lose the run's LM and its account: "
    "start them with contextvars.copy_context().run."
)

OFTEN = 1.04  # growth of the evidence after which what is believed is told again


@dataclass(slots=True)
class _Trial:
    """A trial under way: what it runs, and what has come of it."""

    work: Work
    number: int
    program: Module
    names: Mapping[int, Known]
    waiting: int
    scores: dict[int, float] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    again: bool = False


Item = tuple[_Trial, int]


class Searching:
    """Runs what a strategy asks for, ``strategy.depth`` rounds at a time.

    A round is told when all of it is in, in the order of asking; so what the strategy decides doesn't depend on the
    order in which examples arrive.

    Args:
        program: gives the program of a combination.
        between: called each time before a round is asked for.
        past: what is known of a run that is resumed.

    Attributes:
        turn: rounds that have begun or ended so far, and those of proposals, see ``events.Wished``.
    """

    def __init__(
        self,
        strategy: Strategy,
        data: Sequence[Example],
        metric: Metric,
        max_errors: int,
        history: History,
        emit: ev.Listener,
        program: Callable[[Choice], Module],
        between: Callable[[], None],
        past: Past,
    ) -> None:
        self._strategy, self._data, self._metric, self._max_errors = strategy, data, metric, max_errors
        self._history, self._emit, self._program, self._between = history, emit, program, between
        self._past, self.turn = past, 0
        self._numbers: dict[int, int] = {}  # the strategy's number of a trial -> the run's: tests come in between
        self._rounds: deque[list[_Trial]] = deque()
        self._known = 0  # results that the strategy was told of
        self._told = 0  # those that the last posterior told stood on

    def run(self, pool: Pool) -> None:
        """Go on until the strategy has no more to ask for, or wants to be asked again later.

        Raises:
            Stopped: what has come in is kept.
            TooManyErrors: more than ``max_errors`` examples of a round failed, or all of the baseline's.
        """
        pool.check()
        self._rounds.clear()
        try:
            pool.feed(self._score, self._next_items(), self._arrived)
            self._cut_off()  # what is left, of a stopped search that is repeated
        except Stopped:
            self._cut_off()
            raise
        finally:
            self.tell_posterior()

    def _cut_off(self) -> None:
        for trial in (trial for group in self._rounds for trial in group):
            self._finish(trial, self._strategy.keep(trial.work, trial.scores))
        self._rounds.clear()

    def tell_posterior(self, growth: float = 1.0) -> None:
        """Emit what the strategy believes, if its evidence has grown by more than this factor since the last time."""
        if self._known > growth * self._told and (found := self._strategy.believed()) is not None:
            self._told = self._known
            self._emit(found)

    def _score(self, item: Item) -> ExampleResult:
        trial, number = item
        if (known := self._past.result(False, trial.work.choice, number)) is not None:
            return known
        return score_example(trial.program, number, self._data[number], self._metric, trace=False)

    def _next_items(self) -> list[Item]:
        """Ask for rounds until enough are under way; tell of the oldest when all of it is in.

        Whoever is asked knows the round ``depth`` before, and never one more that happens to be in already.
        """
        items: list[Item] = []
        while True:
            if len(self._rounds) < self._strategy.depth:
                self._between()
                if works := self._strategy.ask():
                    trials = [self._begin(work) for work in works]
                    self._rounds.append(trials)
                    self.turn += 1
                    items += [(trial, number) for trial in trials for number in trial.work.new]
                    continue
            if not self._rounds or any(trial.waiting for trial in self._rounds[0]):
                return items
            self._tell(self._rounds.popleft())

    def _begin(self, work: Work) -> _Trial:
        number = self._numbers.setdefault(work.trial, len(self._history.trials_by_number))
        choice, program = work.choice, self._program(work.choice)
        self._emit(
            ev.TrialStarted(number, work.kind, choice.instructions, choice.demos, len(work.examples), len(work.new))
        )
        return _Trial(work, number, program, names_of(program), len(work.new))

    def _arrived(self, item: Item, result: ExampleResult) -> list[Item]:
        trial, number = item
        if result is LATE:
            return []
        report(self._emit, "search", trial.number, trial.names, result)
        trial.waiting -= 1
        if result.score is None:
            trial.lost.append(number)
            self._check_errors(trial, result.error)
        else:
            trial.scores[number] = result.score
        if trial.waiting:
            return []
        if trial.lost and trial.scores and not trial.again:  # failed examples are tried once more, at the end
            again, trial.lost, trial.again = trial.lost, [], True
            trial.waiting = len(again)
            return [(trial, number) for number in again]
        return self._next_items()

    def _check_errors(self, trial: _Trial, error: str) -> None:
        group = next((group for group in self._rounds if trial in group), [trial])
        failed = sum(len(one.lost) for one in group)
        if failed > self._max_errors:
            raise TooManyErrors(f"{failed} examples failed, max_errors={self._max_errors}; the last: {error}")

    def _tell(self, group: list[_Trial]) -> None:
        self.turn += 1
        for trial in group:
            if trial.work.kind == "baseline":
                self._check_baseline(trial)
            self._finish(trial, self._strategy.tell(trial.work, trial.scores), failed=True)
        self.tell_posterior(OFTEN)

    def _finish(self, trial: _Trial, mean: float | None, *, failed: bool = False) -> None:
        """Tell of a trial's end; of one that a stop has cut off, only if it can stand as it is."""
        self._known += len(trial.scores)
        if mean is None and not failed:
            return
        missing = len(trial.work.new) - len(trial.scores)
        self._emit(ev.TrialFinished(trial.number, mean, len(trial.work.examples) - missing, missing if failed else 0))

    def _check_baseline(self, trial: _Trial) -> None:
        """End a run whose program fails throughout before more is spent on it; say what can't be seen."""
        scored = list(self._history.trials_by_number[trial.number].scored.values())
        failures = [one.error for one in scored if one.error and not one.error.startswith(PROMPTS_DOING)]
        if failures and len(failures) == len(scored):
            raise TooManyErrors(f"all {len(failures)} validation examples failed; the last: {failures[-1]}")
        used = self._history.usage_by_stage.get("search", ev.Usage())
        if not used.calls + used.cached_calls:
            self._emit(ev.Noted("search", UNSEEN))
