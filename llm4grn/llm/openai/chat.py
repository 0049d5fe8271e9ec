"""A chat model at a server with the OpenAI protocol, including the retry policy."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from llm4grn.errors import UserError
from llm4grn.llm.messages import ChatModel, Reply, Request
from llm4grn.llm.openai.client import check_address, check_variable, new_client, read_key
from llm4grn.llm.openai.failures import KEPT, Failure, refusal
from llm4grn.llm.openai.limits import Limits, estimate_tokens
from llm4grn.llm.openai.protocol import encodable, to_body, to_reply
from llm4grn.validation import Amount, NonNegative, Positive, Rate, Seconds, check_fields

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

logger = logging.getLogger("llm4grn")

_LONGEST_BACK_OFF = 60.0
_LONGEST_WAIT = 600.0  # seconds; a longer requested wait (a daily quota) is an error
_EXPECTED_ANSWER = 500  # tokens of an answer, if max_tokens is not set
# Servers without keys are given words such as EMPTY or x; replacing these would damage answers.
_SHORTEST_SECRET = 8


@dataclass
class OpenAIChat(ChatModel):
    """A chat model at any server with the OpenAI protocol.

    Requests are repeated after rate limits (429), time-outs, broken connections, server errors and unreadable answers,
    with a growing random delay that is never shorter than the server requests; during a delay requested by the server,
    all other requests wait too. Errors that a repetition cannot repair are raised at once.

    Parameters
    ----------
    base_url
        Address such as ``http://localhost:8000/v1``; None for OpenAI or the value of ``OPENAI_BASE_URL``.
    api_key_env
        Name of the environment variable with the key, read when the model is opened; None for a server without keys.
    timeout
        Time limit of one attempt in seconds, from sending to the last byte.
    max_retries
        Number of attempts after the first.
    max_concurrency
        Maximum number of concurrent requests.
    requests_per_minute, tokens_per_minute
        Limits of the account; None for no limit. Prompt and completion tokens count.
    price_prompt, price_completion
        Prices in US dollars per million tokens.
    backoff
        Maximum delay in seconds before the first repetition; it doubles with each repetition, up to a minute.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    base_url: str | None = None
    api_key_env: str | None = "OPENAI_API_KEY"
    timeout: Seconds = 120.0
    max_retries: NonNegative = 6
    max_concurrency: Positive = 32
    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    price_prompt: Amount = 0.0
    price_completion: Amount = 0.0
    backoff: Amount = 1.0

    def __post_init__(self) -> None:
        if self.api_key_env is not None:
            check_variable(self.api_key_env)
        if self.base_url is not None:
            check_address(self.base_url)
        check_fields(self, "llm")
        self._client: AsyncOpenAI | None = None
        self._key: str | None = None

    def worst_cost(self, request: Request) -> float:
        """Return an upper bound of a request's cost in US dollars.

        No tokenizer makes more tokens than bytes. Without ``max_tokens`` the length of the answer is only estimated.
        """
        prompt_tokens = sum(len(encodable(message["content"]).encode()) + 16 for message in request.messages)
        return self.cost(prompt_tokens, _answer_tokens(request.parameters))

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.price_prompt + completion_tokens * self.price_completion) / 1e6

    async def __aenter__(self) -> Self:
        self._key = read_key(self.api_key_env) if self.api_key_env else None
        self._client = new_client(self.base_url, self._key, self.max_concurrency)
        self._limits = Limits(self.max_concurrency, self.requests_per_minute, self.tokens_per_minute)
        return self

    async def aclose(self) -> None:
        client, self._client, self._key = self._client, None, None
        if client is not None:
            await client.close()

    def stop(self) -> None:
        if self._client is not None:
            self._limits.stop()

    async def complete(self, request: Request) -> Reply:
        if self._client is None:
            raise RuntimeError("use the model inside `async with model:`")
        prompt_tokens = sum(estimate_tokens(message["content"]) for message in request.messages)
        async with self._limits.slot(prompt_tokens + _answer_tokens(request.parameters)) as slot:
            for attempt in range(1, self.max_retries + 2):
                outcome = await self._attempt(self._client, request, prompt_tokens)
                if isinstance(outcome, Reply):
                    slot.used((outcome.prompt_tokens or 0) + (outcome.completion_tokens or 0))
                    return outcome
                failure: Failure = outcome
                if not failure.transient:
                    raise UserError(f"{self._name(request)}: {failure.reason}")
                if failure.wait > _LONGEST_WAIT:
                    hours = f"{failure.wait / 3600:.1f} h"
                    raise UserError(f"{self._name(request)}: told to wait {hours} ({failure.reason}); later, {KEPT}")
                if attempt <= self.max_retries:
                    await self._back_off(attempt, failure)
                    slot = await self._limits.again(slot)
        times = "1 attempt" if attempt == 1 else f"{attempt} attempts"
        raise UserError(
            f"{self._name(request)}: no answer after {times}, the last time for this reason: {failure.reason}; "
            f"check the server, or raise llm.timeout or llm.max_retries; {KEPT}"
        )

    async def _back_off(self, attempt: int, failure: Failure) -> None:
        """Sleep before the next attempt, and pause the other requests if the server asks for it."""
        delay = failure.wait + random.uniform(0, min(_LONGEST_BACK_OFF, self.backoff * 2 ** (attempt - 1)))
        if failure.rate_limited:
            self._limits.pause(failure.wait or delay)
        level = logging.WARNING if delay > 5 else logging.DEBUG
        logger.log(level, "attempt %d failed (%s), the next one in %.1f s", attempt, failure.reason, delay)
        await self._limits.rest(delay)

    async def _attempt(self, client: AsyncOpenAI, request: Request, prompt_tokens: int) -> Reply | Failure:
        """Send one request.

        Failures are returned, not raised: an exception would contain the server's text, which may include the key.
        """
        import httpx2
        import openai

        started = time.perf_counter()
        try:
            # One time-out for the whole attempt; httpx's own would restart with each byte. The raw response is used
            # because building the client's typed objects takes longer than everything else.
            async with asyncio.timeout(self.timeout):
                response = await client.post(
                    "/chat/completions", body=to_body(request), cast_to=httpx2.Response, options={"timeout": None}
                )
        except TimeoutError:
            return Failure(f"no answer within {self.timeout:g} s", transient=True)
        except openai.APIStatusError as error:
            return self._refused(error, request)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            return Failure(f"no connection: {self._clean(f'{type(cause).__name__} {cause}')}", transient=True)
        latency = time.perf_counter() - started
        text = response.content.decode(errors="replace")
        try:
            reply = to_reply(text, prompt_tokens)
        except ValueError:
            return Failure(f"an answer that is not of the protocol: {self._clean(text, 80)!r}", transient=True)
        cost = self.cost(reply.prompt_tokens or 0, reply.completion_tokens or 0)
        return replace(reply, text=self._scrub(reply.text), latency=latency, cost=cost)

    def _refused(self, error: APIStatusError, request: Request) -> Failure:
        return refusal(
            error.status_code,
            self._clean(error.message),
            codes={str(error.code), str(error.type)},
            headers=error.response.headers,
            key_variable=self.api_key_env,
            with_schema="response_format" in request.parameters,
        )

    def _name(self, request: Request) -> str:
        address = urlsplit(str(self._client.base_url)) if self._client else urlsplit(self.base_url or "")
        host = address.netloc.rpartition("@")[2]  # OPENAI_BASE_URL may contain a password
        return f"llm.model={request.model} at {address.scheme}://{host}{address.path.rstrip('/')}"

    def _scrub(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key and len(self._key) >= _SHORTEST_SECRET else text

    def _clean(self, text: str, length: int = 200) -> str:
        """Return the text as one short printable line without the key."""
        # Some servers escape slashes in JSON.
        text = "".join(char if char.isprintable() else " " for char in self._scrub(text.replace("\\/", "/")))
        text = " ".join(text.split())
        return text if len(text) <= length else text[: length - 3] + "..."


def _answer_tokens(parameters: Mapping[str, Any]) -> int:
    return parameters.get("max_tokens") or parameters.get("max_completion_tokens") or _EXPECTED_ANSWER
