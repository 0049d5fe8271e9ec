"""Requests to a language model, its replies, and the interface of a chat model."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self

from llm4grn.errors import UserError

# Parameters that limit the length of an answer, by their names at different servers.
LENGTH_LIMITS = ("max_tokens", "max_completion_tokens")
# Finish reasons of a question that the provider or the model declined to answer.
DECLINED = ("content_filter", "refusal")
# Finish reason of a question that gave no answer while others did; such a reply is not stored.
FAILED = "failed"


@dataclass(frozen=True)
class Request:
    """One call of a chat model, described by exactly what can affect its answer.

    Parameters
    ----------
    model
        Name of the model at its server.
    messages
        The conversation: messages with ``role`` (system, user, assistant) and ``content``.
    parameters
        Further parameters of the server (temperature, max_tokens, response_format and so on), as JSON values.
    sample
        Index of this answer among several independent answers to the same question, from 0.

    Attributes
    ----------
    key
        SHA-256 of the description, in hexadecimal.
    base_key
        The same without the limit of the answer's length: an answer that was not cut off holds under any limit.
    length_limit
        Maximum number of tokens of the answer; None without a limit.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sample: int = 0

    @property
    def description(self) -> dict[str, Any]:
        """The request as plain JSON values."""
        return {
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            "parameters": dict(self.parameters),
            "sample": self.sample,
        }

    @cached_property
    def key(self) -> str:
        return _digest(self.description)

    @cached_property
    def base_key(self) -> str:
        parameters = {name: value for name, value in self.parameters.items() if name not in LENGTH_LIMITS}
        return _digest({**self.description, "parameters": parameters})

    @property
    def length_limit(self) -> int | None:
        limits = [self.parameters[name] for name in LENGTH_LIMITS if type(self.parameters.get(name)) is int]
        return min(limits) if limits else None

    @property
    def schema(self) -> str:
        """The form that the answer must have, in JSON, which servers count with the prompt; empty without one."""
        form = self.parameters.get("response_format")
        return json.dumps(form, separators=(",", ":")) if form else ""


def _digest(description: Mapping[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """A model's answer to one request, with its tokens, latency and cost; None where these were not recorded.

    Parameters
    ----------
    text
        Unmodified text of the answer, possibly empty.
    prompt_tokens, completion_tokens
        Numbers of tokens as counted by the server.
    latency
        Seconds from sending the successful request to receiving the complete answer.
    finish_reason
        Reason given by the server: ``stop``, ``length`` and others.
    cost
        Cost in US dollars: what the server states, or its tokens at the prices configured at that time.
    cached_tokens
        Tokens of the prompt that the server read from its prompt cache, as part of ``prompt_tokens``.
    reasoning_tokens
        Tokens of hidden reasoning, as part of ``completion_tokens``.
    served_model
        Name of the model that answered, as the server states it.
    lost
        Highest possible cost in US dollars of the attempts at this request that were billed and gave no answer.
    adapted
        How the request that was sent differs from its description, because the server refused a parameter.
    server
        Address of the server that answered.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency: float | None = None
    finish_reason: str = "stop"
    cost: float | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    served_model: str | None = None
    lost: float | None = None
    adapted: str | None = None
    server: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the answer was cut off at the limit of its length."""
        return self.finish_reason == "length"

    @property
    def is_declined(self) -> bool:
        """Whether the provider or the model declined to answer, which asking again does not change."""
        return self.finish_reason in DECLINED

    @property
    def has_failed(self) -> bool:
        """Whether the server gave no answer to this question, and did to others."""
        return self.finish_reason == FAILED


NOT_RECORDED = "not recorded"


def recorded_sum(values: Iterable[float | None]) -> float | None:
    """Sum the recorded values; return None if there are values but none was recorded.

    Examples
    --------
    >>> recorded_sum([1, None, 2]), recorded_sum([None]), recorded_sum([])
    (3, None, 0)
    """
    values = list(values)
    recorded = [value for value in values if value is not None]
    return sum(recorded) if recorded or not values else None


class Ledger(Protocol):
    """Account of what one request may cost, kept by its sender."""

    async def again(self, lost: float) -> None:
        """Count ``lost`` US dollars for an attempt without an answer, and reserve the cost of another attempt.

        Raises
        ------
        UserError
            If another attempt could exceed the budget.
        """

    def lose(self, lost: float) -> None:
        """Count ``lost`` US dollars for the last attempt, which gave no answer either."""


class ChatModel(ABC):
    """Source of answers: ``async with model: reply = await model.complete(request)``, with concurrent requests."""

    #: Maximum number of concurrent requests; further requests wait.
    max_concurrency: int = 1

    #: Share of the prices that a batch costs; None for a model without a Batch API.
    price_batch: float | None = None

    @abstractmethod
    async def complete(self, request: Request, ledger: Ledger | None = None) -> Reply:
        """Return the answer to a request, possibly with an empty text.

        Parameters
        ----------
        request
            The request.
        ledger
            Account that is told of attempts that may be billed and gave no answer; None for no account.

        Raises
        ------
        UserError
            If the request cannot be answered; the message is one line with the reason and a remedy.
        Stopped
            If the model was stopped before the request was sent or answered.
        """

    def stop(self) -> None:  # noqa: B027 (most models have nothing to stop)
        """Send no more requests until the model is opened again; open requests finish within their time-out."""

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Return the cost in US dollars; ``cached_tokens`` of the prompt are read from the server's cache."""
        return 0.0

    @property
    def has_prices(self) -> bool:
        """Whether costs are known, so that they can be limited; True if there are none."""
        return True

    def worst_cost(self, request: Request) -> float:
        """Return the maximum cost of a request in US dollars."""
        return 0.0

    def identify(self, model: str) -> str:
        """Return the name under which the answers of ``model`` are cached."""
        return model

    @property
    def server(self) -> str | None:
        """Address of the server that is asked; None if there is none, or if it is the usual one."""
        return None

    @property
    def recording(self) -> str | None:
        """Name of the recording that the answers are read from; None if a model is asked."""
        return None

    def has(self, request: Request) -> bool:
        """Return True if the answer is known without asking a model."""
        return False

    def fingerprint(self) -> dict[str, str]:
        """Return the digest of the file that the answers come from; empty if a model is asked."""
        return {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:  # noqa: B027 (most models have nothing to close)
        """Release connections and processes; the model can be opened again."""


class QuestionError(UserError):
    """A question that the server does not answer, while it may answer others; ``lost`` is what it may have cost."""

    lost: float = 0.0


class Stopped(Exception):
    """A request ended without an answer because the model was stopped."""
