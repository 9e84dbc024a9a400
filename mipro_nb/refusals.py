"""Errors of litellm's sorted into our tree: an outage, a refused request, a refused prompt, a refused parameter."""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from mipro_nb.errors import RATE_LIMIT, TIMEOUT, LMError, LMRefused, LMUnavailable, PromptRefused

MISSING_KEY = re.compile(r"missing\b.{0,40}\b(api key|credentials)", re.IGNORECASE)
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "AUTH", "HEADERS")  # what such a thing's name holds
WORKED = (408, 504, 524)  # somebody waited for the model, and gave up
NOT_BILLED = ("HTTPStatusError", "ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError", "gaierror")
LONGEST_ASKED = 600.0  # seconds; a server that asks for a longer wait is asked again before


def refused_parameter(error: Exception, sent: Mapping[str, Any]) -> str | None:
    """Return the sampling parameter that a 400 complains about, or None."""
    if type(error).__name__ != "UnsupportedParamsError" and getattr(error, "status_code", None) != 400:
        return None
    text = str(error).lower()
    words = ("support", "unknown", "unrecognized", "not allowed", "invalid parameter", "not permitted", "extra")
    named = [name for name in ("temperature", "max_tokens", "response_format") if name in sent and name in text]
    return named[0] if named and any(word in text for word in words) else None


def translate(error: Exception, model: str, text: str, answered: bool) -> LMError:
    """Sort an exception of litellm's into our tree, by kind and HTTP status."""
    kind, status = type(error).__name__, getattr(error, "status_code", None)
    text = text.partition("\nTraceback (most recent call last)")[0][:500]
    too_long = status == 400 and "context" in text and ("exceed" in text or "length" in text)
    if too_long or kind in ("ContextWindowExceededError", "ContentPolicyViolationError"):
        return PromptRefused(f"{model} refuses this prompt: {text}")
    if status in (401, 403):
        return LMRefused(f"{model} refuses the key: set the provider's environment variable or api_key=. ({text})")
    if status == 404:
        return LMRefused(f"{model} is not known to the server: check the model's name and api_base. ({text})")
    if MISSING_KEY.search(text):  # some clients find it out themselves, and call it a server error
        return LMRefused(f"{model} needs a key: set the provider's environment variable or api_key=. ({text})")
    if "LLM Provider NOT provided" in text:
        return LMRefused(f"model={model!r}: name the provider too, as in 'openai/gpt-5-mini' or 'ollama/llama3'.")
    if status == 402 or "insufficient_quota" in f"{text} {getattr(error, 'body', '')}":
        return LMRefused(f"{model}: the account has no credit left. ({text})")
    if status in (400, 422):
        told = f"{model} refuses the request: {text}"
        return PromptRefused(told) if answered else LMRefused(told)
    unavailable = LMUnavailable(f"{model} doesn't answer ({kind}): {text}")
    unavailable.retry_after = _retry_after(error)
    unavailable.perhaps_billed = _perhaps_billed(error, status)
    unavailable.kind = _kind(kind, status)
    return unavailable


def _perhaps_billed(error: Exception, status: Any) -> bool:
    """Whether the server may have worked: not if it couldn't be reached, or answered that it won't or can't.

    The status alone doesn't say: litellm gives connections that break, and replies that can't be read, a 500 of its
    own; what was raised below tells them from a server's 500.
    """
    if status in WORKED:
        return True
    if status in (429, 503, 529) or (isinstance(status, int) and 400 <= status < 500):
        return False
    below: BaseException | None = error
    while below is not None:
        if type(below).__name__ in NOT_BILLED:
            return False
        below = below.__cause__ or below.__context__
    return True


def _kind(name: str, status: int | None) -> str:
    """Return what fewer calls at a time would help against, or an empty text."""
    if status == 429 or "RateLimit" in name:
        return RATE_LIMIT
    return TIMEOUT if status in (408, 504) or "Timeout" in name else ""


def _retry_after(error: Exception) -> float:
    """Return the seconds that the server's Retry-After header asks for, or 0."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    more = getattr(error, "litellm_response_headers", None) or {}
    given = headers.get("retry-after") or more.get("retry-after") or "0"
    try:
        asked = float(given)
    except ValueError:
        asked = _seconds_until(str(given))
    return min(LONGEST_ASKED, max(0.0, asked))


def _seconds_until(date: str) -> float:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return 0.0


def _names_a_secret(name: str) -> bool:
    return any(word in name.upper() for word in SECRET)


def _texts(value: Any) -> list[str]:
    """Return all texts that are not empty in a value."""
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) and value.strip() else []


def without_keys(text: str, given: Mapping[str, Any]) -> str:
    """Blot out every key: whatever looks like one in what an LM was given (headers too), or in the environment."""
    secrets = {value for name, value in os.environ.items() if _names_a_secret(name)}
    for name, value in given.items():
        if _names_a_secret(name):
            secrets |= {word for told in _texts(value) for word in (told, told.split()[-1])}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    return text


def without_secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out whatever looks like a key by its name, in nested values too; numbers (``max_tokens``) are none."""
    return {
        name: _without_secrets(value)
        for name, value in given.items()
        if value is None or isinstance(value, int | float) or not _names_a_secret(str(name))
    }


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    return [_without_secrets(part) for part in value] if isinstance(value, list | tuple) else value
