"""A chat model at a server with the OpenAI protocol, including the retry policy."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from llm4grn.errors import UserError
from llm4grn.llm.messages import ChatModel, Ledger, Reply, Request
from llm4grn.llm.openai.adaptation import Adaptation
from llm4grn.llm.openai.client import check_address, check_variable, new_client, read_key
from llm4grn.llm.openai.error_body import ErrorBody, read_error
from llm4grn.llm.openai.failures import KEPT, Failure, refusal, time_out
from llm4grn.llm.openai.limits import Limits, Slot
from llm4grn.llm.openai.protocol import ProtocolError, encodable, to_body, to_reply
from llm4grn.llm.openai.tokens import estimate_tokens
from llm4grn.llm.openai.usage import Usage
from llm4grn.validation import Amount, NonNegative, Positive, Rate, Seconds, Share, check_fields

if TYPE_CHECKING:
    from openai import AsyncOpenAI

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
    all other requests wait too. After a time-out fewer requests are sent at once. A parameter that the server refuses
    by name is left out or renamed, once for all requests. Errors that a repetition cannot repair are raised at once.

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
        Prices in US dollars per million tokens. A cost that the server states takes precedence.
    price_cached
        Price of prompt tokens that the server reads from its cache; None for ``price_prompt``.
    price_batch
        Share of the prices that questions in a batch cost.
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
    price_cached: Amount | None = None
    price_batch: Share = 0.5
    backoff: Amount = 1.0
    _adaptation: Adaptation = field(default_factory=Adaptation, init=False, repr=False, compare=False)

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

        No tokenizer makes more tokens than bytes. Without ``max_tokens`` the length of the answer is only a guess.
        """
        prompt_tokens = sum(len(encodable(message["content"]).encode()) + 16 for message in request.messages)
        return self.cost(prompt_tokens, _answer_tokens(request.parameters))

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        price_cached = self.price_prompt if self.price_cached is None else self.price_cached
        prompt = (prompt_tokens - cached_tokens) * self.price_prompt + cached_tokens * price_cached
        return (prompt + completion_tokens * self.price_completion) / 1e6

    @property
    def has_prices(self) -> bool:
        return self.price_prompt > 0 or self.price_completion > 0

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

    async def complete(self, request: Request, ledger: Ledger | None = None) -> Reply:
        if self._client is None:
            raise RuntimeError("use the model inside `async with model:`")
        prompt_tokens = sum(estimate_tokens(message["content"]) for message in request.messages)
        body, lost, attempt = to_body(request), 0.0, 1
        async with self._limits.slot(prompt_tokens + _answer_tokens(request.parameters)) as slot:
            while True:
                sent = self._adaptation.apply(body)
                outcome = await self._attempt(self._client, sent, request, prompt_tokens)
                if isinstance(outcome, Reply):
                    slot.used((outcome.prompt_tokens or 0) + (outcome.completion_tokens or 0))
                    return replace(outcome, lost=lost or None, adapted=self._adaptation.description)
                failure: Failure = outcome
                if failure.declined:
                    logger.warning("%s: %s", self._name(request), failure.reason)
                    return Reply("", 0, 0, finish_reason="content_filter", cost=0.0, lost=lost or None)
                if failure.error is not None and self._adapt(body, sent, failure.error, request):
                    slot = await self._limits.again(slot)
                    continue
                cost = self._cost_of(failure, request)
                lost += cost
                self._raise_if_final(failure, attempt, request, ledger, cost)
                slot.leave()  # others may go on meanwhile
                if ledger is not None:
                    await ledger.again(cost)
                await self._back_off(attempt, failure, slot)
                slot = await self._limits.again(slot)
                attempt += 1

    def _adapt(self, body: Mapping[str, Any], sent: Mapping[str, Any], error: ErrorBody, request: Request) -> bool:
        """Return True if the request can be sent again, changed by what the server's error says."""
        if self._adaptation.apply(body) != sent:
            return True  # changed since, by the answer to another request
        change = self._adaptation.learn(sent, error)
        if change:
            said = self._clean(error.message, 120)
            logger.warning("%s: %s from now on, as the server says: %s", self._name(request), change, said)
        return bool(change)

    def _cost_of(self, failure: Failure, request: Request) -> float:
        """Return the highest cost that a failed attempt may have had."""
        if failure.cost is not None:
            return failure.cost
        return self.worst_cost(request) if failure.billed else 0.0

    def _raise_if_final(
        self, failure: Failure, attempt: int, request: Request, ledger: Ledger | None, cost: float
    ) -> None:
        """Raise UserError if no other attempt is to be made."""
        message = None
        if not failure.transient:
            message = failure.reason
        elif failure.wait > _LONGEST_WAIT:
            message = f"told to wait {failure.wait / 3600:.1f} h ({failure.reason}); later, {KEPT}"
        elif attempt > self.max_retries:
            times = "1 attempt" if attempt == 1 else f"{attempt} attempts"
            message = (
                f"no answer after {times}, the last time for this reason: {failure.reason}; {failure.remedy}; {KEPT}"
            )
        if message is not None:
            if ledger is not None:
                ledger.lose(cost)
            raise UserError(f"{self._name(request)}: {message}")

    async def _back_off(self, attempt: int, failure: Failure, slot: Slot) -> None:
        """Sleep before the next attempt; let fewer be sent after a time-out, and none while the server asks to wait."""
        delay = failure.wait + random.uniform(0, min(_LONGEST_BACK_OFF, self.backoff * 2 ** (attempt - 1)))
        if failure.rate_limited:
            self._limits.pause(failure.wait or delay)
        if failure.timed_out and self._limits.fewer(slot.attempt.time):
            logger.warning("%s; from now on at most %d requests at once", failure.reason, self._limits.places)
        level = logging.WARNING if delay > 5 else logging.DEBUG
        logger.log(level, "attempt %d failed (%s), the next one in %.1f s", attempt, failure.reason, delay)
        await self._limits.rest(delay)

    async def _attempt(
        self, client: AsyncOpenAI, body: Mapping[str, Any], request: Request, prompt_tokens: int
    ) -> Reply | Failure:
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
                    "/chat/completions", body=body, cast_to=httpx2.Response, options={"timeout": None}
                )
        except TimeoutError:
            return time_out(self.timeout)
        except openai.APIStatusError as error:
            response = error.response
            said = read_error(response.content.decode(errors="replace"))
            return self._refused(response.status_code, said, response.headers, body)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            # A connection that breaks after the question was sent does not end the work on it.
            return Failure(
                f"no connection: {self._clean(f'{type(cause).__name__} {cause}')}",
                transient=True,
                billed=not isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError),
            )
        latency = time.perf_counter() - started
        text = response.content.decode(errors="replace")
        try:
            reply = to_reply(text, prompt_tokens, request.length_limit)
        except ProtocolError as problem:
            if problem.error is not None:
                return self._refused(problem.error.status or 500, problem.error, response.headers, body)
            return Failure(
                f"an answer that is not of the protocol: {self._clean(text, 80)!r}",
                transient=True,
                billed=True,
                cost=self._billed(problem.usage),
            )
        cost = reply.cost
        if cost is None:
            cost = self.cost(reply.prompt_tokens or 0, reply.completion_tokens or 0, reply.cached_tokens or 0)
        served = reply.served_model and self._scrub(reply.served_model)
        return replace(reply, text=self._scrub(reply.text), latency=latency, cost=cost, served_model=served)

    def _billed(self, usage: Usage) -> float | None:
        """Return the cost of an unreadable answer, if its usage is readable."""
        if usage.cost is not None:
            return usage.cost
        if usage.prompt_tokens is None:
            return None
        return self.cost(usage.prompt_tokens, usage.completion_tokens or 0, usage.cached_tokens or 0)

    def _refused(self, status: int, error: ErrorBody, headers: Mapping[str, str], body: Mapping[str, Any]) -> Failure:
        said = self._clean(error.message)
        return refusal(
            status,
            f"Error code: {status}" + (f" - {said}" if said else ""),
            error,
            headers=headers,
            key_variable=self.api_key_env,
            with_schema="response_format" in body,
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
