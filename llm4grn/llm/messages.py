"""What goes to a language model and what comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


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
