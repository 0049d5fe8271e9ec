"""What goes to a language model and what comes back."""

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
    """One call of a chat model, described by everything that can change its answer and by nothing else.

    Parameters
    ----------
    model
        Name of the model, as its server knows it.
    messages
        The conversation: each with ``role`` (system, user, assistant) and ``content``.
    parameters
        What else the server is told: temperature, max_tokens, response_format and so on. JSON values only.
    sample
        Which of several independent answers to the same question this is, from 0.

    Attributes
    ----------
    key
        SHA-256 of all of it, in hexadecimal.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sample: int = 0

    @property
    def description(self) -> dict[str, Any]:
        """As plain JSON values."""
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
    """What a model answered to one request, and what that took; None where that was not recorded.

    Parameters
    ----------
    text
        The answer as it came, possibly empty.
    prompt_tokens, completion_tokens
        As the server counts them, for the bill.
    latency
        Seconds from sending the request that succeeded to its complete answer.
    finish_reason
        Of the server: ``stop``, ``length`` and others.
    cost
        In US dollars, by the prices that were configured at the time.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency: float | None = None
    finish_reason: str = "stop"
    cost: float | None = None


NOT_RECORDED = "not recorded"


def recorded_sum(values: Iterable[float | None]) -> float | None:
    """Sum of the values that were recorded; None if there are values and none of them was.

    Examples
    --------
    >>> recorded_sum([1, None, 2]), recorded_sum([None]), recorded_sum([])
    (3, None, 0)
    """
    values = list(values)
    recorded = [value for value in values if value is not None]
    return sum(recorded) if recorded or not values else None


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
        Stopped
            If it was not sent, or came back without an answer, when the model was stopped.
        """

    def stop(self) -> None:  # noqa: B027 (most have nothing to hold back)
        """Send nothing more until it is opened again. What is under way comes back, within its time-out."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return 0.0

    def worst_cost(self, request: Request) -> float:
        """US dollars that a request may cost at most."""
        return 0.0

    def identify(self, model: str) -> str:
        """The name under which the answers of ``model`` are kept."""
        return model

    @property
    def recording(self) -> str | None:
        """Name of the recording that the answers are read from; None if somebody is asked."""
        return None

    def has(self, request: Request) -> bool:
        """Return True if the answer is known without asking anybody."""
        return False

    def fingerprint(self) -> dict[str, str]:
        """Of the file that the answers come from, if they come from one."""
        return {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:  # noqa: B027 (most have nothing to close)
        """Let go of connections and processes. It can be opened again."""


class Stopped(Exception):
    """A request ends without an answer, as the model was stopped."""
