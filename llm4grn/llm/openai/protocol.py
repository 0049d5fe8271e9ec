"""The OpenAI protocol: what is sent for a request, and what an answer says."""

from __future__ import annotations

import json
from typing import Any

from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.openai.limits import estimate_tokens

_MOST_TOKENS = 10**9  # a server that counts more cannot count


def to_body(request: Request) -> dict[str, Any]:
    """What is posted to ``/chat/completions``."""
    messages = [{name: encodable(text) for name, text in message.items()} for message in request.messages]
    body = {"model": request.model, "messages": messages, **request.parameters}
    if body.get("seed") is not None:
        # Independent answers to the same question; with the same seed they would be one answer.
        body["seed"] += request.sample
    return body


def to_reply(text: str, prompt_tokens: int) -> Reply:
    """The reply in a body; tokens are estimated (those of the prompt: as given) where the server does not count.

    Raises
    ------
    ValueError
        If it is not of the protocol.
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
    """``text`` without halves of surrogate pairs, which a model can answer and no request can hold."""
    return text.encode(errors="replace").decode()


def _count(value: object, otherwise: int) -> int:
    return value if type(value) is int and 0 < value < _MOST_TOKENS else otherwise
