"""The end of a run: the verdict on the sealed test set."""

from __future__ import annotations

import functools

from mipro_nb import events as ev
from mipro_nb.budget import OutOfBudget
from mipro_nb.evaluate import evaluate
from mipro_nb.history import History
from mipro_nb.past import Retelling
from mipro_nb.plan import Job
from mipro_nb.pool import Pool
from mipro_nb.search import Choice
from mipro_nb.spending import Spending
from mipro_nb.stage import SearchStage
from mipro_nb.telling import names_of, report
from mipro_nb.verdict import judge

OPENED = "the test set is opened for the {times}. time: a choice made after seeing its result is no longer blind to it."
UNAFFORDABLE = "there is no verdict: {why}."
NOTHING_SCORED = "no test example could be scored: there is no verdict."


class Judging:
    """Opens the test set, for the baseline and the winner alone, each time that a search has ended.

    Args:
        emit: knows what the run's log tells of it already.
        spending: says whether a verdict can be afforded.
    """

    def __init__(self, job: Job, history: History, emit: Retelling, spending: Spending) -> None:
        self._job, self._history, self._emit, self._spending = job, history, emit, spending
        self._judged: list[Choice] = []

    def run(self, stage: SearchStage, pool: Pool) -> None:
        """Reach a verdict on what the search found; without a test set, or on the same winner again, do nothing.

        Raises:
            OutOfBudget: it doesn't fit any more.
            Stopped, LMError, TooManyErrors: as of ``evaluate``.
        """
        winner = stage.winner()
        if not self._job.testset or (self._judged and self._judged[-1] == winner):
            return
        try:
            self._judge(stage, winner, pool)
        except OutOfBudget as out:
            self._emit(ev.Noted("verdict", UNAFFORDABLE.format(why=out)))
            raise

    def _judge(self, stage: SearchStage, winner: Choice, pool: Pool) -> None:
        baseline = stage.candidates.baseline
        pool.check()
        self._spending.funds.check_verdict(self._left(baseline), self._left(winner) if winner != baseline else 0)
        tests = sum(trial.kind.startswith("test") for trial in self._history.trials_by_number.values())
        self._emit(ev.StageStarted("verdict", tests + (2 if winner != baseline else 1)))
        if tests:
            self._emit(ev.Noted("verdict", OPENED.format(times=len(self._judged) + 1)))
        before = self._scores("test_baseline", stage, baseline, pool)
        after = self._scores("test_best", stage, winner, pool) if winner != baseline else before
        both = [number for number in before if number in after]
        if not both:
            self._emit(ev.Noted("verdict", NOTHING_SCORED))
            return
        verdict = judge([before[number] for number in both], [after[number] for number in both], self._job.seed)
        self._judged.append(winner)
        self._emit(ev.VerdictReached(verdict))

    def _left(self, choice: Choice) -> int:
        """Return on how many examples a combination is still to be run."""
        return sum(not self._emit.past.has(True, choice, number) for number in range(len(self._job.testset)))

    def _scores(self, kind: str, stage: SearchStage, choice: Choice, pool: Pool) -> dict[int, float]:
        """Run a combination on the test set; return the scores of the examples that didn't fail."""
        data, params, trial = self._job.testset, self._job.params, len(self._history.trials_by_number)
        self._emit(ev.TrialStarted(trial, kind, choice.instructions, choice.demos, len(data), len(data)))
        program = stage.with_(choice)
        done = functools.partial(report, self._emit, "verdict", trial, names_of(program))
        known = functools.partial(self._emit.past.result, True, choice)
        results = evaluate(program, list(enumerate(data)), params.metric, pool, done, params.max_errors, known)
        scores = {result.example: result.score for result in results if result.score is not None}
        mean = sum(scores.values()) / len(scores) if scores else None
        self._emit(ev.TrialFinished(trial, mean, len(scores), len(data) - len(scores)))
        return scores
