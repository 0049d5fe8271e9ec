"""Requests to a language model, its replies, and the interface of a chat model."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self


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
        text = json.dumps(self.description, sort_keys=True, separators=(",", ":"), allow_nan=False)
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
        Cost in US dollars at the prices configured at that time.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency: float | None = None
    finish_reason: str = "stop"
    cost: float | None = None


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


class ChatModel(ABC):
    """Source of answers: ``async with model: reply = await model.complete(request)``, with concurrent requests."""

    #: Maximum number of concurrent requests; further requests wait.
    max_concurrency: int = 1

    @abstractmethod
    async def complete(self, request: Request) -> Reply:
        """Return the answer to a request, possibly with an empty text.

        Raises
        ------
        UserError
            If the request cannot be answered; the message is one line with the reason and a remedy.
        Stopped
            If the model was stopped before the request was sent or answered.
        """

    def stop(self) -> None:  # noqa: B027 (most models have nothing to stop)
        """Send no more requests until the model is opened again; open requests finish within their time-out."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of the given numbers of tokens in US dollars."""
        return 0.0

    def worst_cost(self, request: Request) -> float:
        """Return the maximum cost of a request in US dollars."""
        return 0.0

    def identify(self, model: str) -> str:
        """Return the name under which the answers of ``model`` are cached."""
        return model

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


class Stopped(Exception):
    """A request ended without an answer because the model was stopped."""
