"""A chat model at a server with the OpenAI protocol, including the retry policy."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Self

from pydantic import Field

from llm4grn.errors import UserError
from llm4grn.llm.messages import DECLINED, ChatModel, Ledger, QuestionError, Reply, Request
from llm4grn.llm.openai.adaptation import Adaptation
from llm4grn.llm.openai.client import check_address, check_variable, new_client, read_key, read_values
from llm4grn.llm.openai.connection import Connection, Expected
from llm4grn.llm.openai.failures import KEPT, Failure
from llm4grn.llm.openai.limits import Limits, Slot
from llm4grn.llm.openai.protocol import encodable, to_body
from llm4grn.llm.openai.tokens import estimate_tokens
from llm4grn.llm.openai.usage import Usage
from llm4grn.validation import Amount, FilePath, NonNegative, Positive, Rate, Seconds, Share, check_fields

logger = logging.getLogger("llm4grn")

Variables = Annotated[
    Mapping[str, str], Field(description="expected names, each with that of an environment variable: {api-key: MY_KEY}")
]
_LONGEST_BACK_OFF = 60.0
_LONGEST_WAIT = 600.0  # seconds; a longer requested wait (a daily quota) is an error
_EXPECTED_ANSWER = 500  # tokens of an answer, if max_tokens is not set


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
        Share of the prices that questions in a batch cost; None for a server without a Batch API.
    batch_poll
        Seconds between two looks at the state of a batch.
    backoff
        Maximum delay in seconds before the first repetition; it doubles with each repetition, up to a minute.
    headers, query
        Further headers, and parts of the query, of every request: name to the name of the environment variable with the
        value.
    ca_file
        File with the certificates to trust, for a server or proxy with a CA of its own; None for the usual ones.

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
    price_batch: Share | None = 0.5
    batch_poll: Seconds = 30.0
    backoff: Amount = 1.0
    headers: Variables | None = None
    query: Variables | None = None
    ca_file: FilePath | None = None
    _adaptation: Adaptation = field(default_factory=Adaptation, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.api_key_env is not None:
            check_variable(self.api_key_env)
        if self.base_url is not None:
            check_address(self.base_url)
        check_fields(self, "llm")
        for name, variables in ("headers", self.headers), ("query", self.query):
            for part, variable in (variables or {}).items():
                check_variable(variable, f"{name}.{part}")
        self._connection: Connection | None = None

    def worst_cost(self, request: Request) -> float:
        """Return an upper bound of a request's cost in US dollars.

        No tokenizer makes more tokens than bytes. Without ``max_tokens`` the length of the answer is only a guess.
        """
        prompt_tokens = sum(len(encodable(message["content"]).encode()) + 16 for message in request.messages)
        prompt_tokens += len(request.schema.encode())
        return self.cost(prompt_tokens, _answer_tokens(request))

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        price_cached = self.price_prompt if self.price_cached is None else self.price_cached
        prompt = (prompt_tokens - cached_tokens) * self.price_prompt + cached_tokens * price_cached
        return (prompt + completion_tokens * self.price_completion) / 1e6

    @property
    def has_prices(self) -> bool:
        return self.price_prompt > 0 or self.price_completion > 0

    @property
    def server(self) -> str | None:
        return self.base_url and self.base_url.rstrip("/")

    async def __aenter__(self) -> Self:
        key = read_key(self.api_key_env) if self.api_key_env else None
        headers, query = read_values(self.headers, "headers"), read_values(self.query, "query")
        client = new_client(self.base_url, key, self.max_concurrency, headers, query, self.ca_file)
        self._connection = Connection(client, [key or "", *headers.values(), *query.values()], self.api_key_env)
        self._limits = Limits(self.max_concurrency, self.requests_per_minute, self.tokens_per_minute)
        return self

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.client.close()

    def stop(self) -> None:
        if self._connection is not None:
            self._limits.stop()

    @property
    def connection(self) -> Connection:
        """The open connection.

        Raises
        ------
        RuntimeError
            If the model is not open.
        """
        if self._connection is None:
            raise RuntimeError("use the model inside `async with model:`")
        return self._connection

    async def complete(self, request: Request, ledger: Ledger | None = None) -> Reply:
        connection, expected = self.connection, expectation(request)
        lost, attempt = 0.0, 1
        async with self._limits.slot(expected.prompt_tokens + _answer_tokens(request)) as slot:
            while True:
                sent = self.body(request)
                outcome = await connection.ask(sent, expected, self.timeout)
                if isinstance(outcome, Reply):
                    slot.used((outcome.prompt_tokens or 0) + (outcome.completion_tokens or 0))
                    return replace(self.priced(outcome), lost=lost or None)
                failure: Failure = outcome
                if failure.declined:
                    return replace(self.declined(request, failure), lost=lost or None)
                if self.adapt(request, sent, failure):
                    slot = await self._limits.again(slot)
                    continue
                cost = self.cost_of(failure, request)
                lost += cost
                self._raise_if_final(failure, attempt, request, ledger, cost, lost)
                slot.leave()  # others may go on meanwhile
                if ledger is not None:
                    await ledger.again(cost)
                await self._back_off(attempt, failure, slot)
                slot = await self._limits.again(slot)
                attempt += 1

    def body(self, request: Request) -> dict[str, Any]:
        """Return the body of a request, as far as is known as the server accepts it."""
        return self._adaptation.apply(to_body(request))

    def adapt(self, request: Request, sent: Mapping[str, Any], failure: Failure) -> bool:
        """Return True if a body that was refused can be sent again, changed by what the server's error says."""
        if failure.error is None:
            return False
        if self.body(request) != sent:
            return True  # changed since, by the answer to another request
        change = self._adaptation.learn(sent, failure.error)
        if change:
            said = self.connection.clean(failure.error.message, 120)
            logger.warning("%s: %s from now on, as the server says: %s", self._name(request), change, said)
        return bool(change)

    def priced(self, reply: Reply, share: float = 1.0) -> Reply:
        """Return the reply with its cost, at this share of the prices unless the server states the cost."""
        cost = reply.cost
        if cost is None:
            tokens = reply.prompt_tokens or 0, reply.completion_tokens or 0, reply.cached_tokens or 0
            cost = share * self.cost(*tokens)
        return replace(reply, cost=cost, adapted=self._adaptation.description, server=self.server)

    def declined(self, request: Request, failure: Failure, share: float = 1.0) -> Reply:
        """Return the reply to a question that the server declines for its content: empty, at what it states to bill."""
        logger.warning("%s: %s", self._name(request), failure.reason)
        usage = failure.usage or Usage()
        tokens = usage.prompt_tokens or 0, usage.completion_tokens or 0, usage.cached_tokens or 0
        cost = share * self.cost(*tokens) if usage.cost is None else usage.cost
        return Reply("", *tokens[:2], finish_reason=DECLINED[0], cost=cost, server=self.server)

    def cost_of(self, failure: Failure, request: Request) -> float:
        """Return the highest cost that a failed attempt may have had."""
        usage = failure.usage
        if usage is not None and usage.cost is not None:
            return usage.cost
        if usage is not None and usage.prompt_tokens is not None:
            completion = _answer_tokens(request) if usage.completion_tokens is None else usage.completion_tokens
            return self.cost(usage.prompt_tokens, completion, usage.cached_tokens or 0)
        return self.worst_cost(request) if failure.billed else 0.0

    def _raise_if_final(
        self, failure: Failure, attempt: int, request: Request, ledger: Ledger | None, cost: float, lost: float
    ) -> None:
        """Raise UserError if no other attempt is to be made: a QuestionError if it may be this question's fault."""
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
            if not failure.of_question:
                raise UserError(f"{self._name(request)}: {message}")
            raised = QuestionError(f"{self._name(request)}: {message}")
            raised.lost = lost
            raise raised

    async def _back_off(self, attempt: int, failure: Failure, slot: Slot) -> None:
        """Sleep before the next attempt; let fewer be sent after a time-out, and none while the server asks to wait."""
        delay = self.delay(attempt, failure)
        if failure.rate_limited:
            self._limits.pause(failure.wait or delay)
        if failure.timed_out and self._limits.fewer(slot.attempt.time):
            logger.warning("%s; from now on at most %d requests at once", failure.reason, self._limits.places)
        level = logging.WARNING if delay > 5 else logging.DEBUG
        logger.log(level, "attempt %d failed (%s), the next one in %.1f s", attempt, failure.reason, delay)
        await self._limits.rest(delay)

    def delay(self, attempt: int, failure: Failure) -> float:
        """Return the seconds to wait after a failed attempt."""
        return failure.wait + random.uniform(0, min(_LONGEST_BACK_OFF, self.backoff * 2 ** (attempt - 1)))

    def _name(self, request: Request) -> str:
        return f"llm.model={request.model} at {self.connection.address}"


def expectation(request: Request) -> Expected:
    """Return what is known of the answer to a request before it comes."""
    prompt_tokens = sum(estimate_tokens(message["content"]) for message in request.messages)
    prompt_tokens += estimate_tokens(request.schema)
    return Expected(prompt_tokens, request.length_limit, "response_format" in request.parameters)


def _answer_tokens(request: Request) -> int:
    return request.length_limit or _EXPECTED_ANSWER
