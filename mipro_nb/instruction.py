"""The text of a proposed instruction: what of an LM's reply can be used, and what must go."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST_INSTRUCTION = 3_000  # characters; longer proposals are cut at the end of a sentence


def cut_text(text: str, longest: int) -> str:
    """Cut a text at the last end of a sentence (or word) before ``longest`` characters, and mark the cut."""
    if len(text) <= longest:
        return text
    head = text[:longest]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)", head)]
    if ends and ends[-1] > longest // 2:
        return head[: ends[-1]]
    return head.rsplit(None, 1)[0][:longest] + " [...]"


def keeping(text: str, keep: Sequence[str]) -> str:
    """Return an instruction that holds each text of ``keep``, word for word: those that it lacks come at its end.

    >>> keeping("Answer.", ["Name no prices.", "Answer."])
    'Answer.\\nName no prices.'
    """
    for one in keep:
        if one not in text:
            text = f"{text.rstrip()}\n{one}" if text.strip() else one
    return text


LABEL = re.compile(
    r"""^[\s>*#"'`]*                                     # Markdown, quotes
        (?:(?:sure|certainly|of\ course|okay|ok)[^\n:]{0,60}[!,.:]\s*)?
        (?:here(?:'s|\ is|\ are)\b[^\n:]{0,80}:\s*)?
        [\s>*#"'`]*
        (?:(?:the\ |my\ |your\ )?(?:new\ |proposed\ |improved\ |final\ |basic\ |revised\ )*instructions?\s*\**\s*:\s*)?
        [\s*"'`]*""",
    re.IGNORECASE | re.VERBOSE,
)
REFUSAL = re.compile(
    r"^\W*(i'?m (very |so )?sorry|sorry,|i apologi[sz]e|unfortunately,? i|i (can ?not|can't|won't|do not|don't)"
    r"|i am (un|not )able|as an? (ai|artificial|language model)[^.]{0,80}(can ?not|can't|unable|not able|do not))\b",
    re.IGNORECASE,
)
TAGS_BEFORE = re.compile(r"\s*(</?[a-z][^<>]*>\s*)*", re.IGNORECASE)
TAGS_AFTER = re.compile(r"(</?[a-z][^<>]*>\s*)+$", re.IGNORECASE)
SCORE = re.compile(r"\s*\(?\bscore [\d.]+% on \d+ examples\)?", re.IGNORECASE)  # as ``revising`` shows it, repeated
READ = 20_000  # characters of a reply that are looked at


def usable(reply: str) -> tuple[str, str]:
    """Take the instruction out of a proposer's reply.

    Returns:
        (instruction, remark): an empty instruction if nothing in the reply can be used, and why; a
        remark beside an instruction says what was done to it.
    """
    text = reply.strip()[:READ]
    fenced = re.search(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    text = fenced.group(1) if fenced and len(fenced.group(1).strip()) > 20 else text
    text = "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
    text = TAGS_AFTER.sub("", _after(TAGS_BEFORE, text))
    text = SCORE.sub("", text)
    text = _after(LABEL, text).strip().strip("\"'`*").strip()
    if not re.search(r"[^\W\d_]{2}", text):
        return "", "the reply held no instruction"
    if REFUSAL.match(text):
        return "", f"the reply was a refusal ({text[:60]!r})"
    if len(text) > LONGEST_INSTRUCTION:
        return cut_text(text, LONGEST_INSTRUCTION), f"the reply of {len(reply):,} characters was cut"
    return text, ""


def _after(pattern: re.Pattern[str], text: str) -> str:
    """Return the text behind what a pattern that may be empty matches at its beginning."""
    found = pattern.match(text)
    return text[found.end() :] if found else text
