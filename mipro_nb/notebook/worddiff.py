"""What changed between two texts, word by word."""

from __future__ import annotations

import difflib
import re
from collections import Counter

MOST_PAIRS = 200_000  # of equal words in both texts: what the comparison looks at; beyond, it takes seconds
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def word_diff(old: str, new: str) -> list[tuple[str, str]]:
    """Return ``(op, text)`` pairs, op ``same``, ``del`` or ``add``.

    The texts that aren't ``add`` joined give ``old`` exactly, those that aren't ``del`` give ``new``. Long
    texts of the same few words (``MOST_PAIRS``) count as replaced, apart from what both begin and end with.

    >>> word_diff("Name the team.", "Name one team.")
    [('same', 'Name '), ('del', 'the'), ('add', 'one'), ('same', ' team.')]
    """
    before, after = _WORD.findall(old), _WORD.findall(new)
    start = _shared(before, after)
    end = _shared(before[start:][::-1], after[start:][::-1])
    tail = before[len(before) - end :]
    changed = _changes(before[start : len(before) - end], after[start : len(after) - end])
    parts = [("same", before[:start]), *changed, ("same", tail)]
    return [(op, "".join(words)) for op, words in parts if words]


def _shared(before: list[str], after: list[str]) -> int:
    """Return how many words both begin with."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(before), len(after)))


def _changes(before: list[str], after: list[str]) -> list[tuple[str, list[str]]]:
    here, there = Counter(before), Counter(after)
    if sum(count * there[word] for word, count in here.items() if not word.isspace()) > MOST_PAIRS:
        return [("del", before), ("add", after)]
    found: list[tuple[str, list[str]]] = []
    # spaces are junk, matched only beside words: all spaces are alike, so that pairing them is slow and means nothing
    for op, a, b, c, d in difflib.SequenceMatcher(str.isspace, before, after, autojunk=False).get_opcodes():
        found += [("same", before[a:b])] if op == "equal" else [("del", before[a:b]), ("add", after[c:d])]
    return found
