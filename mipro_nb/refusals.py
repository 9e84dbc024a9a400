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
    unavailable.kind = _kind(kind, status)
    return unavailable


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
