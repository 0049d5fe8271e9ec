"""Chat models: one question in, one answer out, with the one retry policy there is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from llm4grn.errors import UserError
from llm4grn.llm.limits import Limits, estimate_tokens, retry_after
from llm4grn.llm.messages import Reply, Request

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

logger = logging.getLogger("llm4grn")

_TRANSIENT = {408, 409, 429}  # and all from 500 on
_NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_LONGEST_BACK_OFF = 60.0
_LONGEST_WAIT = 600.0  # a server that asks for more (a daily quota) is not waited for
_EXPECTED_ANSWER = 500  # tokens, where no max_tokens is set
_KEPT = "the answers so far are kept, so the same command goes on from here"


class ChatModel(ABC):
    """What answers questions: ``async with model: reply = await model.complete(request)``, any number at once."""

    #: Requests that it has under way at once; more only wait.
    max_concurrency: int = 1

    @abstractmethod
    async def complete(self, request: Request) -> Reply:
        """The answer, possibly with an empty text.

        Raises
        ------
        UserError
            If there will be no answer, in one line that says why and what to do.
        """

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return 0.0

    def worst_cost(self, request: Request) -> float:
        """US dollars that a request may cost at most."""
        return 0.0

    def identify(self, model: str) -> str:
        """The name under which the answers of ``model`` are kept."""
        return model

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:  # noqa: B027 (most have nothing to close)
        """Let go of connections and processes. It can be opened again."""


@dataclass
class OpenAIChat(ChatModel):
    """A model behind any server that speaks the OpenAI protocol.

    Rate limits (429), time-outs, broken connections, server errors and unreadable answers are asked again, after
    a growing random delay that is never shorter than the server asks for; while it asks for one, the other requests
    wait too. What asking again cannot repair ends at once.

    Parameters
    ----------
    base_url
        For instance ``http://localhost:8000/v1``. None is OpenAI, or what ``OPENAI_BASE_URL`` says.
    api_key_env
        Name of the environment variable with the key, read when the model is opened; None for a server without keys.
    timeout
        Seconds for one attempt, from sending to the last byte.
    max_retries
        Attempts after the first.
    max_concurrency
        Requests under way at once.
    requests_per_minute, tokens_per_minute
        Limits of the account, None for none. Tokens count both ways.
    price_prompt, price_completion
        US dollars per million tokens.
    backoff
        Seconds: the longest delay before the first repetition. It doubles with each, up to a minute.

    Raises
    ------
    UserError
        For a setting that cannot work.
    """

    base_url: str | None = None
    api_key_env: str | None = "OPENAI_API_KEY"
    timeout: float = 120.0
    max_retries: int = 6
    max_concurrency: int = 32
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    price_prompt: float = 0.0
    price_completion: float = 0.0
    backoff: float = 1.0

    def __post_init__(self) -> None:
        # A key set here by mistake has small letters or hyphens; it must not be printed.
        if self.api_key_env and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise UserError(
                "llm.api_key_env: not the name of an environment variable (capitals, digits, underscores); put the key "
                "itself into that variable only, and its name here"
            )
        if self.base_url is not None and not re.match(r"https?://[^/]", self.base_url):
            raise UserError(f"llm.base_url={self.base_url}: not an address like http://localhost:8000/v1")
        for name, least in {"timeout": 1e-3, "max_retries": 0, "max_concurrency": 1, "backoff": 0}.items():
            if getattr(self, name) < least:
                raise UserError(f"llm.{name}={getattr(self, name)}: must be at least {least}")
        self._client: AsyncOpenAI | None = None
        self._key: str | None = None

    def worst_cost(self, request: Request) -> float:
        """At most: no tokenizer makes more tokens than bytes; set ``max_tokens``, or the answer is only guessed at."""
        prompt_tokens = sum(len(message["content"].encode()) + 16 for message in request.messages)
        return self.cost(prompt_tokens, _answer_tokens(request.parameters))

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.price_prompt + completion_tokens * self.price_completion) / 1e6

    async def __aenter__(self) -> Self:
        self._key = self._read_key()
        self._client = _new_client(self.base_url, self._key, self.max_concurrency)
        self._limits = Limits(self.max_concurrency, self.requests_per_minute, self.tokens_per_minute)
        return self

    async def aclose(self) -> None:
        client, self._client, self._key = self._client, None, None
        if client is not None:
            await client.close()

    def _read_key(self) -> str | None:
        if not self.api_key_env:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not re.fullmatch(r"[!-~]+", key):
            state = "is not set" if not key else "holds spaces or special characters, which no key has"
            raise UserError(
                f"the environment variable {self.api_key_env} {state}; export it with the API key and run again"
            )
        return key

    async def complete(self, request: Request) -> Reply:
        if self._client is None:
            raise RuntimeError("use the model inside `async with model:`")
        prompt_tokens = sum(estimate_tokens(message["content"]) for message in request.messages)
        async with self._limits.slot(prompt_tokens + _answer_tokens(request.parameters)) as slot:
            for attempt in range(1, self.max_retries + 2):
                outcome = await self._attempt(request, prompt_tokens)
                if isinstance(outcome, Reply):
                    slot.used(outcome.prompt_tokens + outcome.completion_tokens)
                    return outcome
                if not outcome.transient:
                    raise UserError(f"{self._name(request)}: {outcome.reason}")
                if outcome.wait > _LONGEST_WAIT:
                    hours = f"{outcome.wait / 3600:.1f} h"
                    raise UserError(f"{self._name(request)}: told to wait {hours} ({outcome.reason}); later, {_KEPT}")
                if attempt <= self.max_retries:
                    await self._hold_back(attempt, outcome)
                    slot = await self._limits.again(slot)
        times = "1 attempt" if attempt == 1 else f"{attempt} attempts"
        raise UserError(
            f"{self._name(request)}: no answer after {times}, the last time for this reason: {outcome.reason}; "
            f"check the server, or raise llm.timeout or llm.max_retries; {_KEPT}"
        )

    async def _hold_back(self, attempt: int, failure: _Failure) -> None:
        """Sleep before the next attempt, and make the others wait if the server asks for it."""
        delay = failure.wait + random.uniform(0, min(_LONGEST_BACK_OFF, self.backoff * 2 ** (attempt - 1)))
        if failure.rate_limited:
            self._limits.pause(failure.wait or delay)
        level = logging.WARNING if delay > 5 else logging.DEBUG
        logger.log(level, "attempt %d failed (%s), the next one in %.1f s", attempt, failure.reason, delay)
        await asyncio.sleep(delay)

    async def _attempt(self, request: Request, prompt_tokens: int) -> Reply | _Failure:
        """One request. Failures are returned, not raised: an exception would hold the server's text, and so a key."""
        import httpx2
        import openai

        started = time.perf_counter()
        try:
            # One time-out for the whole attempt; httpx's own would start again with each byte. The bare response, as
            # the client's typed objects take longer to build than all the rest.
            async with asyncio.timeout(self.timeout):
                response = await self._client.post(
                    "/chat/completions", body=_body(request), cast_to=httpx2.Response, options={"timeout": None}
                )
        except TimeoutError:
            return _Failure(f"no answer within {self.timeout:g} s", transient=True)
        except openai.APIStatusError as error:
            return self._refused(error)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            return _Failure(f"no connection: {self._clean(f'{type(cause).__name__} {cause}')}", transient=True)
        latency = time.perf_counter() - started
        text = response.content.decode(errors="replace")
        try:
            return self._reply(
                json.loads(text.replace(self._key, "***") if self._key else text), prompt_tokens, latency
            )
        except (ValueError, LookupError, TypeError, AttributeError):
            return _Failure(f"an answer that is not of the protocol: {self._clean(text, 80)!r}", transient=True)

    def _reply(self, data: Any, prompt_tokens: int, latency: float) -> Reply:
        choice = data["choices"][0]
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            raise TypeError("content")
        usage = data.get("usage") or {}
        prompt_tokens = int(usage.get("prompt_tokens") or prompt_tokens)
        completion_tokens = int(usage.get("completion_tokens") or estimate_tokens(text))
        return Reply(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            latency=latency,
            finish_reason=str(choice.get("finish_reason") or "stop"),
            cost=self.cost(prompt_tokens, completion_tokens),
        )

    def _refused(self, error: APIStatusError) -> _Failure:
        """What an answer with an error status means, and what the user can do about it."""
        status, said = error.status_code, self._clean(error.message)
        if status in (401, 403):
            place = f"the key in the environment variable {self.api_key_env}" if self.api_key_env else "no key"
            remedy = "check it" if self.api_key_env else "set llm.api_key_env to the variable that holds one"
            return _Failure(f"the server refuses {place} ({status}); {remedy}, and that it may use this model")
        if status == 402 or {error.code, error.type} & _NO_CREDIT:
            return _Failure(f"the account has no credit or quota left ({status}); add some and run again: {_KEPT}")
        if status == 404:
            return _Failure(f"no such model or address ({said}); check llm.model and llm.base_url")
        if status in _TRANSIENT or status >= 500:
            wait = retry_after(error.response.headers)
            return _Failure(said, transient=True, wait=wait, rate_limited=status == 429 or wait > 0)
        return _Failure(f"the server does not accept the question ({said}); check llm.model and llm.parameters")

    def _name(self, request: Request) -> str:
        address = urlsplit(str(self._client.base_url)) if self._client else urlsplit(self.base_url or "")
        host = address.netloc.rpartition("@")[2]  # an address may hold a password
        return f"llm.model={request.model} at {address.scheme}://{host}{address.path.rstrip('/')}"

    def _scrub(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _clean(self, text: str, length: int = 200) -> str:
        """One short line without the key."""
        text = " ".join(self._scrub(text).split())
        return text if len(text) <= length else text[: length - 3] + "..."


@dataclass(frozen=True)
class _Failure:
    """Why an attempt brought no answer, whether the next one may, and the seconds that the server asks to wait."""

    reason: str
    transient: bool = False
    wait: float = 0.0
    rate_limited: bool = False


def _new_client(base_url: str | None, key: str | None, connections: int) -> AsyncOpenAI:
    # Here, as it takes a second and most runs ask nothing.
    import httpx2
    import openai

    # At DEBUG these print the headers of answers, where a server may repeat the key; at INFO, a line per question.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Limits admits the requests; the pool only keeps their connections open.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=connections)
    # A proxy that is set for the internet must not get what is asked of this machine.
    local = urlsplit(base_url or "").hostname in {"localhost", "127.0.0.1", "::1"}
    transport = openai.DefaultAsyncHttpxClient(limits=limits, timeout=None, trust_env=not local)
    # Without a key of its own it would take OPENAI_API_KEY and send it to a server that is not OpenAI's.
    return openai.AsyncOpenAI(
        base_url=base_url, api_key=key or "none", max_retries=0, timeout=None, http_client=transport
    )


def _body(request: Request) -> dict[str, Any]:
    body = {"model": request.model, "messages": [dict(message) for message in request.messages], **request.parameters}
    if body.get("seed") is not None:
        # Independent answers to the same question; with the same seed they would be one answer.
        body["seed"] += request.sample
    return body


def _answer_tokens(parameters: Mapping[str, Any]) -> int:
    return parameters.get("max_tokens") or parameters.get("max_completion_tokens") or _EXPECTED_ANSWER
