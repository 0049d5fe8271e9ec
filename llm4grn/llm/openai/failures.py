"""Failed attempts: whether a repetition may succeed, what they may cost, and messages for the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm4grn.llm.openai.error_body import ErrorBody
from llm4grn.llm.openai.limits import retry_after
from llm4grn.llm.openai.usage import Usage

KEPT = "the answers so far are kept, so the same command goes on from here"
_TRANSIENT = {408, 409, 425, 429}  # and all status codes >= 500
# The gateway gave up, and the model behind it may have gone on.
_MAYBE_BILLED = {502, 504, 520, 522, 524}
_NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_NO_ACCESS = {"invalid_api_key", "authentication_error", "permission_error", "permission_denied"}
_NO_KEY_WORDS = re.compile(r"api[ _-]?key (?:is )?(?:not valid|invalid)|(?:invalid|incorrect) api[ _-]?key", re.I)
_NO_CREDIT_WORDS = re.compile(
    r"credit balance is too low|exceeded your current quota|insufficient (?:credit|balance)", re.I
)
_FILTER = {
    "content_filter",
    "content_policy_violation",
    "ResponsibleAIPolicyViolation",
    "data_inspection_failed",
    "invalid_prompt",
    "moderation_blocked",
}
_FILTER_WORDS = re.compile(
    r"content (?:management |filter|policy)|usage polic|flagged|moderation|safety (?:filter|system)", re.I
)
_TOO_LONG = {"context_length_exceeded", "string_above_max_length", "request_too_large"}
_TOO_LONG_WORDS = re.compile(
    r"context (?:length|window|size|limit)|maximum context|prompt is too long|input is too long"
    r"|too many (?:input )?tokens|max(?:imum)?[_ ](?:model|seq(?:uence)?)[_ ]len",
    re.I,
)
_TIMED_OUT = "raise llm.timeout, or let fewer be asked at once with llm.max_concurrency"
_UNREACHED = "check the server, or raise llm.timeout or llm.max_retries"


@dataclass(frozen=True)
class Failure:
    """An attempt without an answer.

    Parameters
    ----------
    reason
        What happened, for the user.
    transient
        Whether a repetition may succeed.
    wait
        Seconds that the server asks to wait.
    rate_limited
        Whether all requests have to wait.
    timed_out
        Whether the answer did not come in time.
    billed
        Whether the provider may have billed it.
    usage
        What the provider states that it bills; None if it does not say.
    declined
        Whether the provider refuses this question only, because of its content.
    error
        The server's error about the request, which a change of its parameters may repair.
    remedy
        What the user can do when all attempts have failed.
    of_question
        Whether it may be this question that the server does not accept, and no other.
    """

    reason: str
    transient: bool = False
    wait: float = 0.0
    rate_limited: bool = False
    timed_out: bool = False
    billed: bool = False
    usage: Usage | None = None
    declined: bool = False
    error: ErrorBody | None = None
    remedy: str = _UNREACHED
    of_question: bool = False


def time_out(seconds: float) -> Failure:
    """Return the failure of an attempt that gave no answer within its time limit."""
    return Failure(f"no answer within {seconds:g} s", True, timed_out=True, billed=True, remedy=_TIMED_OUT)


def refusal(
    status: int,
    message: str,
    error: ErrorBody,
    *,
    headers: Mapping[str, str],
    key_variable: str | None,
    with_schema: bool,
) -> Failure:
    """Interpret a response with an error status, or with an error in its body.

    Parameters
    ----------
    status
        HTTP status code.
    message
        The server's error message, without secrets.
    error
        The server's error.
    headers
        Headers of the response.
    key_variable
        Environment variable with the key; None for a server without keys.
    with_schema
        Whether the request contained a JSON schema, which not every model supports.
    """
    if status < 500 and (error.codes & _FILTER or (status in (400, 403, 422) and _FILTER_WORDS.search(error.message))):
        return Failure(f"the question is declined for its content ({message})", declined=True)
    if 300 <= status < 400:
        target = urlsplit(headers.get("location", ""))
        where = f"{target.scheme}://{target.hostname}" if target.hostname else "elsewhere"
        return Failure(
            f"the server sends on to {where} ({status}), where the key is not sent; set llm.base_url to the address "
            "of the server itself"
        )
    if status in (400, 401, 403) and _NO_KEY_WORDS.search(error.message):
        status = 401
    if status in (401, 403) or error.codes & _NO_ACCESS:
        place = f"the key in the environment variable {key_variable}" if key_variable else "no key"
        remedy = "check it" if key_variable else "set llm.api_key_env to the variable that holds one"
        # A 401 may repeat parts of the key.
        said = f" ({message})" if status == 403 else ""
        return Failure(f"the server refuses {place} ({status}); {remedy}, and that it may use this model{said}")
    if status == 407:
        return Failure(f"the proxy wants a user and a password ({message}); put them into HTTPS_PROXY")
    waits = retry_after(headers) or error.wait  # a limit by the minute, in the words of a quota
    no_credit = error.codes & _NO_CREDIT or (status < 500 and not waits and _NO_CREDIT_WORDS.search(error.message))
    if status == 402 or no_credit:
        return Failure(f"the account has no credit or quota left ({status}); add some and run again: {KEPT}")
    if status == 404 or "unexpected endpoint" in error.message.casefold():
        return Failure(f"no such model or address ({message}); check llm.model and llm.base_url", error=error)
    if status in (400, 413, 422, 500) and (error.codes & _TOO_LONG or _TOO_LONG_WORDS.search(error.message)):
        return Failure(
            f"the question and its answer are longer than the model's context ({message}); offer fewer TFs "
            "(dataset.preprocessing.n_tfs), ask about fewer targets at once (inferer.targets_per_question), lower "
            "llm.max_tokens, or take a model with a longer context",
            of_question=True,
        )
    if status >= 500 and "UnsupportedParams" in error.message:
        status = 400  # of litellm
    if status in _TRANSIENT or status >= 500:
        wait, timed_out = retry_after(headers) or error.wait, status in (408, 504, 524)
        return Failure(
            message,
            transient=True,
            wait=wait,
            rate_limited=status == 429 or wait > 0,
            timed_out=timed_out,
            billed=status in _MAYBE_BILLED,
            remedy=_TIMED_OUT if timed_out else _UNREACHED,
            of_question=status >= 500 and not wait,
        )
    remedy = "try llm.answer_format=text, or check" if with_schema else "check"
    return Failure(
        f"the server does not accept the question ({message}); {remedy} llm.model and llm.parameters",
        error=error,
        of_question=True,
    )
