"""Texts of LMs and datasets made fit for the eye: nothing in them can hide, turn or break what stands around."""

from __future__ import annotations

import re

# control characters, marks that turn the direction of writing, and letters that can't be seen
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_HALF = re.compile("[\ud800-\udfff]")  # of a character beyond U+FFFF, left over where one was cut in two


def whole(text: str) -> str:
    """Return a text in which half characters, which no encoding takes, are named as by ``visible``; all else stays.

    >>> whole("half \\ud83d, and \\u200b")
    'half ⟨U+D83D⟩, and \\u200b'
    """
    return _HALF.sub(_name, text)


def visible(text: str) -> str:
    """Return a text in which hidden characters are named, ``⟨U+202E⟩``; tabs and line breaks stay.

    >>> visible("pay \\u202etis")
    'pay ⟨U+202E⟩tis'
    """
    return _HIDDEN.sub(_name, text.replace("\r\n", "\n"))


def _name(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩"


def cut(text: str, length: int) -> str:
    """Return a text, made visible, on one line of at most ``length`` characters."""
    line = " ".join(visible(text[: 8 * length]).split())
    return line if len(line) <= length and len(text) <= 8 * length else line[: length - 1] + "…"
