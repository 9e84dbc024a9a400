"""Asks an LM for instructions, side by side, and takes those that can be used, in order.

Nothing that the LM answers ends a run: what is of no use is asked for once more, then dropped and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LMRefused, MiproError
from mipro_nb.instruction import cut_text, keeping, usable
from mipro_nb.learning import ORIGINS, Approach
from mipro_nb.pool import Pool
from mipro_nb.predict import Predict
from mipro_nb.settings import sampling
from mipro_nb.signature import Signature
from mipro_nb.usage import reported

TRIES = 2  # for each instruction; the second one after a reply of no use


@dataclass(frozen=True, slots=True)
class Wanted:
    """One instruction to ask for.

    Attributes:
        label: what notes call it.
        prompt, given: what the LM is told to do, and the inputs that it is shown.
        rollout: tells repeated draws apart.
        parents: indices of the instructions that are shown, to be worked on.
    """

    predictor: str
    label: str
    approach: Approach
    prompt: str
    given: Mapping[str, str]
    rollout: int
    round: int = 0
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposed:
    """An instruction that was written, and its ``index`` among those of its predictor."""

    predictor: str
    index: int
    text: str
    approach: Approach
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    wanted: Wanted
    text: str
    dropped: str


def ask_for(
    wanted: Sequence[Wanted], known: dict[str, list[str]], pool: Pool, keep: Sequence[str] = ()
) -> list[Proposed]:
    """Ask for instructions; those that can be used are added to ``known``, by predictor, and told.

    Args:
        known: all instructions so far; a proposal that is one of them is of no use.
        pool: does the work, and gets the usage, every instruction, and a note for whatever is dropped or mended.
        keep: texts that are put into every instruction that lacks them.

    Raises:
        LMRefused, ConfigError: the key or model is refused, or there is no LM. Other failures are notes.
    """
    found: list[Proposed] = []
    for attempt in range(TRIES):
        wanted = _round(wanted, known, pool, keep, found, last=attempt == TRIES - 1)
    return found


def _round(
    wanted: Sequence[Wanted],
    known: dict[str, list[str]],
    pool: Pool,
    keep: Sequence[str],
    found: list[Proposed],
    *,
    last: bool,
) -> list[Wanted]:
    """Ask for all side by side; take them in order; return those to ask for again."""
    again: list[Wanted] = []

    def take(answer: _Answer) -> None:
        one, own = answer.wanted, known[answer.wanted.predictor]
        text, why = (answer.text, answer.dropped) if answer.dropped else usable(answer.text)
        if text and keep:
            text, why = _mended(text, why, keep)
        if text and text.casefold() in (other.casefold() for other in own):
            text, why = "", "it is the same as another candidate"
        if why:
            then = "" if text or last else "; asked again"
            pool.emit(ev.Noted("propose", f"{one.label}: {why}{then}"))
        if not text:
            again.append(replace(one, rollout=one.rollout + 1000))
            return
        found.append(Proposed(one.predictor, len(own), text, one.approach, one.parents))
        _tell(found[-1], one.round, pool)
        own.append(text)

    pool.each(lambda one: _ask(one, pool.tell), wanted, take)
    return again


def _mended(text: str, why: str, keep: Sequence[str]) -> tuple[str, str]:
    """Put back what an instruction must keep, and say so."""
    whole = keeping(text, keep)
    lost = [repr(cut_text(one, 60)) for one in keep if one not in text]
    said = f"it lacked what must be kept, which was added: {', '.join(lost)}" if whole != text else ""
    return whole, "; ".join(part for part in (why, said) if part)


def _tell(made: Proposed, number: int, pool: Pool) -> None:
    how = made.approach
    asked = (number, how.kind, how.temperature, how.summary, how.demos, made.parents)
    pool.emit(ev.InstructionProposed(made.predictor, made.index, made.text, ORIGINS[how.kind], how.tip, *asked))


def _ask(one: Wanted, tell: ev.Listener) -> _Answer:
    ask = Predict(Signature(f"{', '.join(one.given)} -> instruction", one.prompt))
    with reported("propose", tell), sampling(temperature=one.approach.temperature, rollout=one.rollout):
        try:
            return _Answer(one, str(ask(**one.given).instruction), "")
        except (LMRefused, ConfigError):
            raise
        except MiproError as error:
            return _Answer(one, "", f"{type(error).__name__}: {error}")
