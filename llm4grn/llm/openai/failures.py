"""Failed attempts: whether a repetition may succeed, and messages for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm4grn.llm.openai.limits import retry_after

KEPT = "the answers so far are kept, so the same command goes on from here"
_TRANSIENT = {408, 409, 429}  # and all status codes >= 500
_NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}


@dataclass(frozen=True)
class Failure:
    """Reason of a failed attempt, whether a repetition may succeed, and the seconds that the server asks to wait."""

    reason: str
    transient: bool = False
    wait: float = 0.0
    rate_limited: bool = False


def refusal(
    status: int,
    message: str,
    *,
    codes: set[str],
    headers: Mapping[str, str],
    key_variable: str | None,
    with_schema: bool,
) -> Failure:
    """Interpret a response with an error status.

    Parameters
    ----------
    status
        HTTP status code.
    message
        The server's error message, without secrets.
    codes
        OpenAI's error codes (``code``, ``type``), if the response has any.
    headers
        Headers of the response.
    key_variable
        Environment variable with the key; None for a server without keys.
    with_schema
        Whether the request contained a JSON schema, which not every model supports.
    """
    if status in (401, 403):
        place = f"the key in the environment variable {key_variable}" if key_variable else "no key"
        remedy = "check it" if key_variable else "set llm.api_key_env to the variable that holds one"
        return Failure(f"the server refuses {place} ({status}); {remedy}, and that it may use this model")
    if status == 402 or codes & _NO_CREDIT:
        return Failure(f"the account has no credit or quota left ({status}); add some and run again: {KEPT}")
    if status == 404:
        return Failure(f"no such model or address ({message}); check llm.model and llm.base_url")
    if status in _TRANSIENT or status >= 500:
        wait = retry_after(headers)
        return Failure(message, transient=True, wait=wait, rate_limited=status == 429 or wait > 0)
    remedy = "try llm.answer_format=text, or check" if with_schema else "check"
    return Failure(f"the server does not accept the question ({message}); {remedy} llm.model and llm.parameters")
