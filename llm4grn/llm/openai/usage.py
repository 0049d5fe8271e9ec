"""Tokens and cost of an answer, as servers state them in many ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MOST_TOKENS = 10**9  # larger counts are errors of the server


@dataclass(frozen=True)
class Usage:
    """Tokens that are billed for one answer; None where the server does not count.

    Parameters
    ----------
    prompt_tokens, completion_tokens
        Tokens of the question, and of the answer with its hidden reasoning.
    cached_tokens
        Tokens of the question that were read from the server's prompt cache.
    reasoning_tokens
        Tokens of hidden reasoning.
    cost
        Cost in US dollars, if the server states it.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None


def read_usage(usage: object) -> Usage:
    """Read the ``usage`` of a response.

    OpenAI counts hidden reasoning as part of ``completion_tokens``; others leave it out there and state it beside it,
    or only in ``total_tokens``. It is billed everywhere, so the larger number counts. DeepSeek names cached tokens
    ``prompt_cache_hit_tokens``; OpenRouter states ``cost``. Anthropic's names, and numbers as text, are read too.

    Examples
    --------
    >>> read_usage({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 42}).completion_tokens
    32
    """
    if not isinstance(usage, Mapping):
        return Usage()
    prompt = _count(usage.get("prompt_tokens")) or _count(usage.get("input_tokens"))
    completion = _count(usage.get("completion_tokens")) or _count(usage.get("output_tokens"))
    reasoning = _count(_inside(usage, "completion_tokens_details", "reasoning_tokens"))
    cached = _count(_inside(usage, "prompt_tokens_details", "cached_tokens")) or _count(
        usage.get("prompt_cache_hit_tokens")
    )
    if prompt is not None and (total := _count(usage.get("total_tokens"))) is not None and total > prompt:
        completion = max(completion or 0, total - prompt)
    if reasoning is not None and completion is not None and reasoning > completion:
        completion += reasoning
    if cached is not None and prompt is not None:
        cached = min(cached, prompt)
    return Usage(prompt, completion, cached, reasoning, _amount(usage.get("cost")))


def _inside(usage: Mapping[str, Any], name: str, inner: str) -> object:
    details = usage.get(name)
    return details.get(inner) if isinstance(details, Mapping) else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() and 0 < number < _MOST_TOKENS else None


def _amount(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number < 1e6 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
