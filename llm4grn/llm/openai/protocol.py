"""The OpenAI protocol: conversion of requests to bodies and of responses to replies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.openai.error_body import ErrorBody, to_error
from llm4grn.llm.openai.tokens import estimate_tokens
from llm4grn.llm.openai.usage import Usage, read_usage

_LONGEST_NAME = 200
_CUT = {"length", "max_tokens", "max_output_tokens", "max_completion_tokens"}


class ProtocolError(ValueError):
    """A response that holds no answer.

    Parameters
    ----------
    message
        What is wrong with it.
    usage
        What the server says it bills for it.
    error
        The server's error, if the response is one in spite of its status.
    """

    def __init__(self, message: str, usage: Usage | None = None, error: ErrorBody | None = None) -> None:
        super().__init__(message)
        self.usage = usage or Usage()
        self.error = error


def to_body(request: Request) -> dict[str, Any]:
    """Return the body to post to ``/chat/completions``."""
    messages = [{name: encodable(text) for name, text in message.items()} for message in request.messages]
    body = {"model": request.model, "messages": messages, **request.parameters}
    if body.get("seed") is not None:
        # With the same seed, independent answers to the same question would be identical.
        body["seed"] += request.sample
    return body


def to_reply(text: str, prompt_tokens: int, length_limit: int | None = None) -> Reply:
    """Parse the body of a response.

    An answer in parts is joined. If there is none beside the reasoning, the reasoning is the answer, as some servers
    put the whole text of a model there; the refusal of a model is one likewise.

    Parameters
    ----------
    text
        Body of the response.
    prompt_tokens
        Estimated tokens of the prompt, used if the server does not count tokens; those of the answer are estimated.
    length_limit
        Maximum number of tokens of the answer, which one that is cut off has.

    Raises
    ------
    ProtocolError
        If the body does not follow the protocol, or is an error in spite of its status.
    """
    try:
        data = json.loads(text) if not text.lstrip().startswith("data:") else _streamed(text)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise ProtocolError("not of the protocol") from None
    if not isinstance(data, Mapping):
        raise ProtocolError("not of the protocol")
    usage = read_usage(data.get("usage"))
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for part in (data, choice):
        if isinstance(part, Mapping) and part.get("error"):
            raise ProtocolError("an error", usage, to_error({"error": part["error"]}))
    if not isinstance(choice, Mapping) or not isinstance(choice.get("message"), Mapping):
        raise ProtocolError("not of the protocol", usage)
    message = choice["message"]
    finish_reason = choice.get("finish_reason")
    finish_reason = finish_reason if isinstance(finish_reason, str) and finish_reason.isidentifier() else ""
    if finish_reason.lower() in _CUT or (not finish_reason and (usage.completion_tokens or 0) >= (length_limit or 1e9)):
        finish_reason = "length"
    finish_reason = finish_reason or "stop"
    try:
        answer = _text(message.get("content"))
        refusal = _text(message.get("refusal"))
        reasoning = _text(message.get("reasoning_content") or message.get("reasoning"))
    except TypeError:
        raise ProtocolError("the answer is no text", usage) from None
    if not answer.strip() and refusal.strip():
        answer, finish_reason = refusal, "refusal"
    is_cut = finish_reason == "length"
    estimated = estimate_tokens(answer) + estimate_tokens(reasoning)
    served = data.get("model")
    return Reply(
        text=answer if answer.strip() or is_cut else answer + reasoning,
        prompt_tokens=usage.prompt_tokens or prompt_tokens,
        completion_tokens=usage.completion_tokens or ((is_cut and length_limit) or estimated),
        finish_reason=finish_reason,
        cost=usage.cost,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        served_model=served if isinstance(served, str) and served.isprintable() and served[:_LONGEST_NAME] else None,
    )


def _streamed(text: str) -> Any:
    """Return the answer in a stream of events, which some servers send although none was asked for."""
    events = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    parts = [json.loads(event) for event in events if event and event != "[DONE]"]
    for part in parts:
        if "error" in part or "message" in part["choices"][0]:
            return part
    choices = [part["choices"][0] for part in parts if part["choices"]]
    content = "".join(choice["delta"].get("content") or "" for choice in choices)
    usage = next((part["usage"] for part in parts if part.get("usage")), None)
    reason = next((choice["finish_reason"] for choice in choices if choice.get("finish_reason")), None)
    whole = [{"message": {"content": content}, "finish_reason": reason}]
    return {"choices": whole, "usage": usage, "model": parts[0].get("model")}


def encodable(text: str) -> str:
    """Replace lone surrogates, which a model can answer but a request cannot contain."""
    return text.encode(errors="replace").decode()


def _text(content: object) -> str:
    """Return the text of an answer, which may be in parts; raise TypeError if it is something else."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise TypeError
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Mapping):
            # Parts without a text are reasoning, or not for a reader.
            parts.append(part["text"] if isinstance(part.get("text"), str) else "")
        else:
            raise TypeError
    return "".join(parts)
