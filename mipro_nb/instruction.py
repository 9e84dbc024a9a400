"""The text of a proposed instruction: what of an LM's reply can be used, and what must go."""

from __future__ import annotations

import re

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
    r"^\W*(i'?m (very |so )?sorry|sorry|i apologi[sz]e|unfortunately,? i|as an? (ai|artificial|language model)"
    r"|i (can ?not|can't|am unable|am not able|won't|do not|don't))\b",
    re.IGNORECASE,
)


def usable(reply: str) -> tuple[str, str]:
    """Take the instruction out of a proposer's reply.

    Returns:
        (instruction, remark): an empty instruction if nothing in the reply can be used, and why; a
        remark beside an instruction says what was done to it.
    """
    fenced = re.search(r"```[a-z]*\n(.*?)```", reply, re.DOTALL)
    text = fenced.group(1) if fenced and len(fenced.group(1).strip()) > 20 else reply
    text = "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
    text = text[LABEL.match(text).end() :].strip().strip("\"'`*").strip()  # type: ignore[union-attr]
    if not re.search(r"[^\W\d_]{2}", text):
        return "", "the reply held no instruction"
    if REFUSAL.match(text):
        return "", f"the reply was a refusal ({text[:60]!r})"
    if len(text) > LONGEST_INSTRUCTION:
        return cut_text(text, LONGEST_INSTRUCTION), f"the reply of {len(text):,} characters was cut"
    return text, ""
