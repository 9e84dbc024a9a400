"""Errors of litellm's, sorted: by kind, status and words."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest

from mipro_nb.errors import RATE_LIMIT, TIMEOUT, LMError, LMRefused, LMUnavailable, PromptRefused
from mipro_nb.refusals import refused_parameter, translate, without_keys

SENT = {"temperature": 0.0, "max_tokens": 5, "response_format": {}}


def fault(kind: str = "BadRequestError", status: int | None = 400, text: str = "", **more: Any) -> Exception:
    """An exception as litellm raises it."""
    error: Any = type(kind, (Exception,), {})(text)
    vars(error).update({"status_code": status, **more})
    return error


class Response:
    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("Unsupported value: 'temperature' does not support 0.0 with this model.", "temperature"),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", "max_tokens"),
        ("'response_format' of type json_schema is not supported", "response_format"),
        ("Unrecognized request argument supplied: response_format", "response_format"),
        ("body.temperature: Extra inputs are not permitted", "temperature"),
        ("top_p is not supported", None),
        ("the temperature outside is 3 degrees", None),
        ("", None),
    ],
)
def test_a_complaint_names_its_parameter(text: str, parameter: str | None) -> None:
    assert refused_parameter(fault(text=text), SENT) == parameter


def test_only_what_was_sent_and_only_a_400_is_such_a_complaint() -> None:
    text = "temperature is not supported"
    assert refused_parameter(fault(text=text), {"max_tokens": 5}) is None
    assert refused_parameter(fault(status=500, text=text), SENT) is None
    assert refused_parameter(fault("UnsupportedParamsError", None, text), SENT) == "temperature"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (fault("AuthenticationError", 401), LMRefused),
        (fault("PermissionDeniedError", 403), LMRefused),
        (fault("NotFoundError", 404), LMRefused),
        (fault("BadRequestError", 400), LMRefused),
        (fault("UnprocessableEntityError", 422), LMRefused),
        (fault("APIError", 402), LMRefused),
        (fault("RateLimitError", 429, body={"code": "insufficient_quota"}), LMRefused),
        (fault("ContextWindowExceededError", 400), PromptRefused),
        (fault("ContentPolicyViolationError", 400), PromptRefused),
        (fault("RateLimitError", 429), LMUnavailable),
        (fault("Timeout", 408), LMUnavailable),
        (fault("InternalServerError", 500), LMUnavailable),
        (fault("APIConnectionError", 500), LMUnavailable),
        (fault("APIError", 529), LMUnavailable),
        (fault("SomethingNew", None), LMUnavailable),
    ],
)
def test_every_error_has_its_place(error: Exception, kind: type[LMError]) -> None:
    found = translate(error, "some/model", "the server's words", answered=False)
    assert type(found) is kind
    assert "some/model" in str(found)
    assert "the server's words" in str(found)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (fault("RateLimitError", 429), RATE_LIMIT),
        (fault("Timeout", 408), TIMEOUT),
        (fault("APITimeoutError", None), TIMEOUT),
        (fault("APIError", 504), TIMEOUT),
        (fault("InternalServerError", 500), ""),
        (fault("APIConnectionError", 500), ""),
    ],
)
def test_what_fewer_calls_would_help_against_is_told_apart(error: Exception, kind: str) -> None:
    found = translate(error, "some/model", "the server's words", answered=True)
    assert isinstance(found, LMUnavailable)
    assert found.kind == kind


@pytest.mark.parametrize("status", [400, 422])
def test_a_model_that_has_answered_refuses_the_prompt_and_not_the_request(status: int) -> None:
    assert type(translate(fault(status=status), "m", "no", answered=True)) is PromptRefused
    assert type(translate(fault(status=401), "m", "no", answered=True)) is LMRefused


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 4097 tokens.",
        "the request exceeds the available context size, try increasing it",
    ],
)
def test_a_prompt_too_long_is_known_by_its_words(text: str) -> None:
    assert type(translate(fault(), "m", text, answered=False)) is PromptRefused


def test_a_long_page_of_html_is_cut() -> None:
    assert len(str(translate(fault(status=500), "m", "<p>" * 10_000, answered=False))) < 600


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("3", 3.0), ("0.25", 0.25), ("-1", 0.0), ("soon", 0.0), ("nan", 0.0), ("1e9", 600.0), ("inf", 600.0)],
)
def test_retry_after_in_seconds(given: str, seconds: float) -> None:
    error = fault("RateLimitError", 429, response=Response(retry_after=given))
    assert translate(error, "m", "", answered=False).retry_after == seconds  # type: ignore[attr-defined]


@pytest.mark.parametrize(("ahead", "low", "high"), [(100, 50, 100), (-100, 0, 0), (10**6, 600, 600)])
def test_retry_after_as_a_date(ahead: int, low: float, high: float) -> None:
    date = email.utils.formatdate(time.time() + ahead, usegmt=True)
    error = fault("RateLimitError", 429, litellm_response_headers={"retry-after": date})
    assert low <= translate(error, "m", "", answered=False).retry_after <= high  # type: ignore[attr-defined]


def test_keys_are_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_API_KEY", "acme-0123456789")
    monkeypatch.setenv("HF_TOKEN", "acme-0123456789-and-more")
    monkeypatch.setenv("EMPTY_KEY", "")
    monkeypatch.setenv("SHORT_KEY", "none")
    told = "bad keys: acme-0123456789, acme-0123456789-and-more, sk-callers; none"
    assert without_keys(told, {"api_key": "sk-callers"}) == "bad keys: ***, ***, ***; none"
    assert without_keys("all well", {}) == "all well"


@pytest.mark.parametrize(
    "text",
    [
        "APIConnectionError: Missing Gemini API key. Set the GEMINI_API_KEY or GOOGLE_API_KEY environment variable.",
        "AzureException APIError - Missing credentials. Please pass one of `api_key`, `azure_ad_token`",
    ],
)
def test_a_key_that_a_client_misses_is_no_outage(text: str) -> None:
    found = translate(fault("APIConnectionError", 500, text), "gemini/x", text, answered=False)
    assert isinstance(found, LMRefused)
    assert "needs a key" in str(found)


def test_a_traceback_is_nothing_that_a_person_should_read() -> None:
    text = 'down\nTraceback (most recent call last):\n  File "x.py", line 1'
    found = translate(fault("APIConnectionError", 500, text), "gemini/x", text, answered=False)
    assert isinstance(found, LMUnavailable)
    assert str(found).endswith("down")


def test_a_key_in_a_header_or_an_option_is_blotted_out_too() -> None:
    given = {
        "extra_headers": {"Authorization": "Bearer tok-123456789", "X-Auth": "other-987654"},
        "aws_secret_access_key": "aws-abcdef",
        "top_p": "harmless",
    }
    told = "tok-123456789, other-987654, aws-abcdef, harmless"
    assert without_keys(told, given) == "***, ***, ***, harmless"
