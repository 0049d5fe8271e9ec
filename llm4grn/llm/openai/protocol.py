"""The OpenAI protocol: conversion of requests to bodies and of responses to replies."""

from __future__ import annotations

import json
from typing import Any

from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.openai.limits import estimate_tokens

_MOST_TOKENS = 10**9  # larger counts are errors of the server


def to_body(request: Request) -> dict[str, Any]:
    """Return the body to post to ``/chat/completions``."""
    messages = [{name: encodable(text) for name, text in message.items()} for message in request.messages]
    body = {"model": request.model, "messages": messages, **request.parameters}
    if body.get("seed") is not None:
        # With the same seed, independent answers to the same question would be identical.
        body["seed"] += request.sample
    return body


def to_reply(text: str, prompt_tokens: int) -> Reply:
    """Parse the body of a response.

    Parameters
    ----------
    text
        Body of the response.
    prompt_tokens
        Estimated tokens of the prompt, used if the server does not count tokens; those of the answer are estimated.

    Raises
    ------
    ValueError
        If the body does not follow the protocol.
    """
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        answer = choice["message"].get("content") or choice["message"].get("refusal") or ""
        usage = data.get("usage") or {}
        counted = usage.get("prompt_tokens"), usage.get("completion_tokens")
        finish_reason = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("not of the protocol") from None
    if not isinstance(answer, str):
        raise ValueError("the answer is no text")
    return Reply(
        text=answer,
        prompt_tokens=_count(counted[0], prompt_tokens),
        completion_tokens=_count(counted[1], estimate_tokens(answer)),
        finish_reason=finish_reason if isinstance(finish_reason, str) and finish_reason.isidentifier() else "stop",
    )


def encodable(text: str) -> str:
    """Replace lone surrogates, which a model can answer but a request cannot contain."""
    return text.encode(errors="replace").decode()


def _count(value: object, otherwise: int) -> int:
    return value if type(value) is int and 0 < value < _MOST_TOKENS else otherwise
