"""LM: any language model that litellm reaches, and the embedded one, behind one call.

Around litellm's ``completion`` stand a cache, retries, a time limit, and an account of what
was used. litellm is imported at the first call, and only here.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_nb import local
from mipro_nb.cache import Cache, default_directory, request_key, shared_cache
from mipro_nb.errors import ConfigError, LMError, LMUnavailable, UnknownPrompt, check_range
from mipro_nb.events import Usage
from mipro_nb.flow import ENDED, Stopped, cancelled, hold, refuse
from mipro_nb.refusals import refused_parameter, translate, without_keys, without_secrets
from mipro_nb.traffic import Anew, Attempt, guarded, traffic
from mipro_nb.usage import book, note

logger = logging.getLogger(__name__)

LONGEST_WAIT = 60.0  # seconds between two tries, unless the server asks for more
PRICES = {  # how prices are named in litellm's table: those of a call (0), a prompt token (1), a completion token (2)
    "input_cost_per_request": 0,
    "input_cost_per_query": 0,
    "input_cost_per_token": 1,
    "input_cost_per_character": 1,
    "cache_creation_input_token_cost": 1,
    "output_cost_per_token": 2,
    "output_cost_per_reasoning_token": 2,
}
LOCAL_MAX_TOKENS = 160  # a small model that starts to ramble doesn't stop by itself


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        text: what the LM wrote; may be empty.
        cached: whether it was free.
        finish_reason: ``stop``, ``length``, ... as the LM said.
        usage: what this call used.
    """

    text: str
    cached: bool
    finish_reason: str
    usage: Usage


class LM:
    """A language model. Nothing is sent before the first call; ``lm("a prompt")`` returns the answer's text.

    Args:
        model: litellm's name, such as ``"openai/gpt-5-mini"`` or ``"ollama/llama3"``;
            ``"local/smollm2-135m"`` or ``"local/path/to/any.gguf"`` for the embedded one.
        temperature: sampling temperature, 0 or more. A model that refuses it is asked without.
        max_tokens: longest answer, in tokens, 1 or more; None is the model's default (embedded: 160).
        api_base: URL of the server, where litellm doesn't know it.
        api_key: the key; None lets litellm find it in the environment. It is never written anywhere, and
            never sent to an executor's workers.
        timeout: seconds that one wait for the server may take, above 0.
        num_retries: further tries after a rate limit, server error, timeout or dropped connection, 0 or more.
        retry_wait: seconds before the first retry, 0 or more; doubles, with jitter, up to 60.
        cache: True (on disk, shared by all LMs), False, or a ``mipro_nb.cache.Cache`` of one's own.
        **kwargs: passed to litellm as they are.

    Attributes:
        model, temperature, max_tokens, num_retries: as given.
        is_local: whether it is the embedded one.
        cache: the ``Cache``, which ``lm.cache.clear()`` empties, or None.

    Raises:
        ConfigError: an argument is wrong. What a call can raise stands at ``complete``.

    >>> import mipro_nb as mn
    >>> mn.LM("openai/gpt-5-mini", api_key="secret")
    LM('openai/gpt-5-mini', temperature=0.0)
    """

    def __init__(
        self,
        model: str,
        *,
        temperature: float = 0.0,
        max_tokens: int | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        num_retries: int = 8,
        retry_wait: float = 0.5,
        cache: bool | Cache = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, str) or not model.strip():
            raise ConfigError(f"model={model!r}: a name such as 'openai/gpt-5-mini' or 'local/smollm2-135m' is needed.")
        if not isinstance(temperature, int | float) or not temperature >= 0:
            raise ConfigError(f"temperature={temperature!r}: a number of 0 or more is needed. Nearest valid: 0.")
        if max_tokens is not None:
            check_range("max_tokens", max_tokens, 1)
        check_range("num_retries", num_retries, 0)
        for name, seconds, least in (("timeout", timeout, 0.001), ("retry_wait", retry_wait, 0)):
            if not isinstance(seconds, int | float) or not seconds >= least:
                raise ConfigError(f"{name}={seconds!r}: seconds, {least} or more, are needed. Nearest valid: {least}.")
        if not isinstance(cache, bool | Cache):
            raise ConfigError(f"cache={cache!r}: True, False or a mipro_nb.cache.Cache is needed.")
        self.model = model
        self.is_local = model.startswith(local.PREFIX)
        self.temperature = float(temperature)
        self.max_tokens = LOCAL_MAX_TOKENS if max_tokens is None and self.is_local else max_tokens
        self.num_retries = num_retries
        self.cache: Cache | None = shared_cache(default_directory() / "lm") if cache is True else cache or None
        self._api_base, self._api_key = api_base, api_key
        self._timeout, self._retry_wait = timeout, retry_wait
        self._extra = kwargs
        self._dropped: set[str] = set()
        self._answered = threading.Event()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, temperature={self.temperature})"

    def _given(self) -> dict[str, Any]:
        """What was given beside the settings that a run tells of: keys may be among it."""
        return {**self._extra, "api_key": self._api_key, "api_base": self._api_base}

    @property
    def more_options(self) -> tuple[str, ...]:
        """The names of what was given beside model, temperature and max_tokens; values may be secret."""
        return tuple(sorted(name for name, value in self._given().items() if value is not None and name != "api_key"))

    def __deepcopy__(self, memo: Any) -> LM:
        return self  # a handle: programs that are copied go on using the same LM

    def __copy__(self) -> LM:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: all but keys, headers included; a worker has them in its own environment."""
        kept = {"_api_key": None, "_extra": without_secrets(self._extra), "_dropped": set(self._dropped)}
        return {**vars(self), **kept, "_answered": self.answered}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._answered = threading.Event()
        self.learn((state["_answered"], ()))

    @property
    def learned(self) -> tuple[bool, tuple[str, ...]]:
        """Whether the LM has ever answered, and the parameters that it refuses."""
        return self.answered, tuple(sorted(self._dropped))

    def learn(self, learned: tuple[bool, tuple[str, ...]]) -> None:
        """Take over what this LM's twin on a worker has learned."""
        self._dropped |= set(learned[1])
        if learned[0]:
            self._answered.set()

    @property
    def answered(self) -> bool:
        """Whether this LM has ever answered."""
        return self._answered.is_set()

    @property
    def address(self) -> str:
        """What tells servers apart: model and URL."""
        return f"{self.model}@{self._api_base or ''}"

    @property
    def concurrency(self) -> int:
        """How many calls in flight are worth it: the embedded LM's slots and one in waiting, else 16."""
        return local.SLOTS + 1 if self.is_local else 16

    @property
    def supports_schema(self) -> bool:
        """Whether the LM can be held to a JSON schema."""
        if self.is_local:
            return True
        litellm = _litellm()
        try:
            return bool(litellm.supports_response_schema(model=self.model)) and "response_format" not in self._dropped
        except Exception:  # noqa: BLE001 (litellm raises many kinds for a model that it doesn't know)
            return False

    def prices(self) -> tuple[float, float] | None:
        """Return US dollars per prompt and per completion token by litellm's table, or None if unknown."""
        if self.is_local:
            return 0.0, 0.0
        litellm = _litellm()
        try:
            # few tokens: long prompts have other prices
            prompt, completion = litellm.cost_per_token(model=self.model, prompt_tokens=1000, completion_tokens=1000)
            known = prompt > 0 or completion > 0 or _is_free(litellm, self.model)
        except Exception:  # noqa: BLE001 (litellm raises bare Exceptions for a model without a price)
            return None
        return (prompt / 1000, completion / 1000) if known else None

    def dearest(self) -> tuple[float, float, float] | None:
        """Return US dollars at most per call, per prompt token and per completion token, or None if unknown.

        The dearest that litellm's table holds: of long prompts, of a faster service, of writing to a provider's cache.
        """
        usual = self.prices()
        if usual is None or usual == (0.0, 0.0):
            return None if usual is None else (0.0, 0.0, 0.0)
        prices = [0.0, *usual]
        for name, price in _numbers(_table(self.model)):
            place = next((place for start, place in PRICES.items() if name.startswith(start)), None)
            if place is not None:
                prices[place] = max(prices[place], price)
        return prices[0], prices[1], prices[2]

    def longest_answer(self, sampling: Mapping[str, Any] | None = None) -> int | None:
        """Return how many tokens an answer can have at most: ``max_tokens``, else by litellm's table; None if unknown.

        Args:
            sampling: what is sent beside the messages; None: what is sent without a schema.
        """
        sent = self._kept(self._sampling(None, None, None)) if sampling is None else sampling
        given = [int(sent[name]) for name in ("max_completion_tokens", "max_tokens") if sent.get(name)]
        if not given:
            table = _table(self.model) if not self.is_local else {}
            given = [int(table[name]) for name in ("max_output_tokens", "max_tokens") if table.get(name)][:1]
        return max(given) * int(sent.get("n") or 1) if given else None

    def __call__(self, prompt: str | Sequence[Mapping[str, str]], **options: Any) -> str:
        """Return the text of the answer to a prompt, or to a list of messages; options as in ``complete``."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return self.complete(messages, **options).text

    def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float | None = None,
        rollout: int | None = None,
    ) -> Reply:
        """Ask the LM, or the cache.

        Args:
            messages: ``role`` and ``content`` of each.
            schema: JSON schema that the answer must follow, where the LM can be held to one.
            temperature: instead of the LM's own, 0 or more.
            rollout: whole number that tells apart repeated draws; without it the same request gives the same answer.

        Raises:
            LMUnavailable: an outage outlasted the retries.
            LMRefused: the key, model name or an argument is refused.
            PromptRefused: this prompt is refused (too long, filtered).
        """
        sampling = self._sampling(schema, temperature, rollout)
        key = request_key(self._identity(), messages, sampling, rollout)
        answers = traffic().answers

        def call() -> dict[str, Any]:
            keep = functools.partial(answers.keep, key) if answers is not None else None
            return self._with_retries([dict(message) for message in messages], sampling, keep)

        known = answers.take(key, self.cache is not None) if answers is not None else None
        if known is not None:
            answer, free = known
        elif self.cache is None:
            answer, free = call(), False
        else:
            answer, free = self.cache.get_or_call(key, call)
        usage = Usage(cached_calls=1) if free else Usage(1, 0, answer["prompt"], answer["completion"], answer["cost"])
        book(usage, "" if free or answers is None else key)
        return Reply(answer["text"], free, answer["finish"], usage)

    def _identity(self) -> str:
        if self.is_local and self.model.endswith(".gguf"):
            path = local.weights(self.model.removeprefix(local.PREFIX))
            return f"{path.resolve()}:{path.stat().st_size}:{path.stat().st_mtime_ns}"
        return self.address

    def _sampling(
        self, schema: Mapping[str, Any] | None, temperature: float | None, rollout: int | None
    ) -> dict[str, Any]:
        sampling: dict[str, Any] = {"temperature": self.temperature if temperature is None else float(temperature)}
        if self.max_tokens is not None:
            sampling["max_tokens"] = self.max_tokens
        if schema is not None:
            named = {"name": "reply", "schema": dict(schema), "strict": True}
            sampling["response_format"] = {"type": "json_schema", "json_schema": named}
        if self.is_local:
            sampling["seed"] = rollout or 0  # llama.cpp draws by seed: a run can be repeated without its cache
        return {**sampling, **self._extra}

    def _with_retries(
        self,
        messages: list[dict[str, str]],
        sampling: dict[str, Any],
        keep: Callable[[Mapping[str, Any]], None] | None,
    ) -> dict[str, Any]:
        import tenacity

        given_up = cancelled.get() or threading.Event()

        def once() -> dict[str, Any]:
            while True:
                hold()
                if given_up.is_set():
                    raise LMUnavailable(f"{self.model} was not asked: {ENDED}.")
                attempt = Attempt(self, messages, self._kept(sampling))
                with guarded(attempt):
                    attempt.answer = self._once(messages, attempt.sampling)
                    if attempt.answer is not None and keep is not None:
                        keep(attempt.answer)  # before a guard takes it for settled
                if attempt.answer is not None:
                    return attempt.answer

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(LMUnavailable),
            stop=lambda state: given_up.is_set() or state.attempt_number > self.num_retries,
            wait=self._wait,
            sleep=tenacity.sleep_using_event(given_up),
            reraise=True,
        )
        while True:
            try:
                answer: dict[str, Any] = retrying(once)
            except Anew:
                continue
            except LMUnavailable:
                if given_up.is_set():  # a program that catches this must not pass for one that the LM has answered
                    refuse(Stopped(ENDED))
                raise
            self._answered.set()
            return answer

    def _wait(self, state: Any) -> float:
        """Exponential backoff with jitter, or what the server's Retry-After asks for if that is longer."""
        grown = min(LONGEST_WAIT, self._retry_wait * 2.0 ** (state.attempt_number - 1))
        error = state.outcome.exception()
        asked = float(getattr(error, "retry_after", 0.0))
        jittered: float = grown * random.uniform(0.5, 1.0)
        return max(asked, jittered)

    def _kept(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in sampling.items() if name not in self._dropped}

    def _once(self, messages: list[dict[str, str]], sampling: Mapping[str, Any]) -> dict[str, Any] | None:
        """One try; None: the model refuses a parameter, which is dropped from now on."""
        try:
            return self._send(messages, sampling)
        except (LMError, UnknownPrompt):
            raise
        except Exception as error:  # noqa: BLE001 (litellm raises many kinds; all are translated)
            refused = refused_parameter(error, sampling)
            if refused is None:
                raise translate(error, self.model, without_keys(str(error), self._given()), self.answered) from None
            self._drop(refused)
            return None

    def _drop(self, parameter: str) -> None:
        if parameter not in self._dropped:
            self._dropped.add(parameter)
            message = f"{self.model} refuses {parameter}; it is asked without."
            logger.warning(message)
            note(message)

    def _send(self, messages: list[dict[str, str]], sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Call litellm once. Overridden by the fakes in ``testing``."""
        litellm = _litellm()
        where: dict[str, Any] = {"model": self.model, "api_base": self._api_base, "api_key": self._api_key}
        if self.is_local:
            url = local.server_url(self.model.removeprefix(local.PREFIX))
            where = {"model": "hosted_vllm/local", "api_base": url, "api_key": "none"}
        response = litellm.completion(messages=messages, timeout=self._timeout, num_retries=0, **where, **sampling)
        if not getattr(response, "choices", None):
            empty = LMUnavailable(f"{self.model} sent an answer without choices.")
            empty.perhaps_billed = True
            raise empty
        choice, usage = response.choices[0], getattr(response, "usage", None)
        return {
            "text": choice.message.content or "",
            "finish": str(choice.finish_reason or ""),
            "prompt": int(getattr(usage, "prompt_tokens", 0) or 0),
            "completion": int(getattr(usage, "completion_tokens", 0) or 0),
            "cost": 0.0 if self.is_local else _cost(litellm, response, self.model),
        }


def _litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import fetches a file
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


def _cost(litellm: Any, response: Any, model: str) -> float | None:
    """Return dollars by litellm's price table, or None when the price isn't known."""
    try:
        cost = float(litellm.completion_cost(completion_response=response, model=model))
        return cost if cost > 0 or _is_free(litellm, model) else None
    except Exception:  # noqa: BLE001 (litellm raises bare Exceptions for a model without a price)
        return None


def _is_free(litellm: Any, model: str) -> bool:
    """Whether a price of 0 is the table's, or that of a server on this machine; litellm also makes it up."""
    info = litellm.get_model_info(model)
    return info["key"] in litellm.model_cost or info["litellm_provider"] == "ollama"


def _table(model: str) -> Mapping[str, Any]:
    """Return what litellm's table says of a model; empty for one that it doesn't know."""
    litellm = _litellm()
    try:
        info = litellm.get_model_info(model)
        return {**info, **litellm.model_cost.get(info["key"], {})}
    except Exception:  # noqa: BLE001 (litellm raises bare Exceptions for a model that it doesn't know)
        return {}


def _numbers(entry: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Give every number in an entry of the table with its name; prices by tiers stand in lists."""
    if isinstance(entry, Mapping):
        for inner, value in entry.items():
            yield from _numbers(value, str(inner))
    elif isinstance(entry, list):
        for value in entry:
            yield from _numbers(value, name)
    elif isinstance(entry, int | float):
        yield name, float(entry)
