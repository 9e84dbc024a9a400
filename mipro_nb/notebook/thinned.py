"""The trials that are drawn and listed: all of them, or of thousands some hundred. The tables have every one."""

from __future__ import annotations

from mipro_nb.history import Choice, History, TrialRecord

MANY = 2_500  # trials that are all shown
MOST = 600  # trials that are shown of more than that, and combinations
LEADING = 100  # of these the ones with the highest scores, on the most examples; and as many of the newest


def trials(history: History) -> list[TrialRecord]:
    """Return the search's trials, in order; of many the leading, the newest, and of the others every so manieth.

    As a run goes on the same are chosen again and again, until there are twice as many.
    """
    found = history.trials
    return found if len(found) <= MANY else _chosen(history, found)


def combinations(history: History) -> list[tuple[TrialRecord, float, int]]:
    """Return the trials whose combinations are shown, each with the mean score that it stands for, and on how many.

    Of many trials one stands for all of its combination; of many combinations some are shown, as of ``trials``.
    """
    scored = [(one, one.score, one.examples) for one in history.trials if one.score is not None]
    if len(scored) <= MANY and len({one.choice for one, *_ in scored}) <= MOST:
        return scored
    sums: dict[Choice, tuple[TrialRecord, float, int]] = {}
    for one, score, examples in scored:
        first, total, count = sums.get(one.choice, (one, 0.0, 0))
        sums[one.choice] = first, total + score * examples, count + examples
    shown = {one.choice for one in _chosen(history, history.trials)} if len(sums) > MOST else set(sums)
    return [(one, total / max(1, count), count) for choice, (one, total, count) in sums.items() if choice in shown]


def _chosen(history: History, found: list[TrialRecord]) -> list[TrialRecord]:
    wanted = {trial.number for trial in (history.best, history.baseline) if trial is not None}
    leading = sorted(found, key=lambda one: (-one.examples, -(one.score or 0.0), one.number))[:LEADING]
    wanted |= {trial.number for trial in (*leading, *found[-LEADING:], *found[:: _step(len(found))])}
    return [trial for trial in found if trial.number in wanted]


def _step(count: int) -> int:
    """Return the least power of 2 that leaves no more than are wanted."""
    step = 1
    while -(-count // step) > MOST - 2 * LEADING - 2:
        step *= 2
    return step


def text(history: History) -> str:
    """Say that not every trial is shown; empty when all are."""
    count = len(history.trials)
    if count <= MANY:
        return ""
    return (
        f"{len(trials(history)):,} of {count:,} trials are shown: the best, the newest, and of the others one in "
        f"{_step(count)}. run.trials has all."
    )
