"""Error messages of servers, which have many forms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MESSAGES = ("message", "detail", "msg", "error_description", "reason", "title")
_CODES = ("code", "type", "status")
# Status that a code stands for, where it comes without one.
_STATUSES = {"not_found": 404, "unsupported": 400, "invalid_request": 400, "invalid_parameter": 400, "rate_limit": 429}


@dataclass(frozen=True)
class ErrorBody:
    """What a server says about an error.

    Parameters
    ----------
    message
        Its words; empty if it says nothing.
    codes
        All codes and types that it gives.
    parameters
        Names of the parameters that the error is about, if the server names them apart from its words.
    status
        HTTP status that the body gives, for errors in a response with status 200; None if it gives none.
    wait
        Seconds that it asks to wait; 0 if it does not.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    status: int | None = None
    wait: float = 0.0

    @property
    def likely_status(self) -> int:
        """The status that the body gives, or that its codes stand for; 500 if they say nothing."""
        by_code = (status for code, status in _STATUSES.items() if any(code in said.casefold() for said in self.codes))
        return self.status or next(by_code, 500)


def read_error(text: str) -> ErrorBody:
    """Read the body of an error: OpenAI's form, a list of such, ``detail`` (FastAPI), ``errors``, a text or a page.

    Examples
    --------
    >>> read_error('[{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}]').message
    'API key not valid'
    >>> read_error('{"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}').message
    'Extra inputs are not permitted (body.seed)'
    >>> read_error("<html><head><title>502 Bad Gateway</title></head></html>").message
    '502 Bad Gateway'
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ErrorBody(" ".join(re.sub(r"<[^<>]*>", " ", text).split()))
    return to_error(value)


def to_error(value: Any) -> ErrorBody:
    """Read an error from the JSON value of a body."""
    inner = value
    for _ in range(4):  # an error may be packed into objects and lists
        if isinstance(inner, Mapping) and isinstance(inner.get("error"), Mapping | list | str):
            inner = inner["error"]
        elif isinstance(inner, list) and inner and isinstance(inner[0], Mapping) and "msg" not in inner[0]:
            inner = inner[0]
    parts = [part for part in (value, inner) if isinstance(part, Mapping)]
    parts += [part["innererror"] for part in parts if isinstance(part.get("innererror"), Mapping)]
    codes = frozenset(str(part[name]) for part in parts for name in _CODES if isinstance(part.get(name), str | int))
    named = frozenset(part["param"] for part in parts if isinstance(part.get("param"), str))
    status = next((int(code) for code in sorted(codes) if re.fullmatch(r"[45]\d\d", code)), None)
    message = "; ".join(dict.fromkeys(_messages(inner)))
    return ErrorBody(message, codes, named | _locations(inner), status, _wait(message, value))


def _wait(message: str, value: Any) -> float:
    """Return the seconds that an error asks to wait, in its words or as Gemini's ``retryDelay``."""
    found = re.search(r"(?:try again|retry)[^.]{0,20}? (?:in|after) (\d+(?:\.\d+)?) ?(ms|m|s)", message, re.IGNORECASE)
    if found:
        return float(found[1]) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[found[2].lower()]
    delay = re.search(r'"retryDelay": ?"(\d+(?:\.\d+)?)s"', json.dumps(value))
    return float(delay[1]) if delay else 0.0


def _messages(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, Mapping):
        inner = next((value[name] for name in (*_MESSAGES, "errors", "error") if value.get(name)), None)
        where = _location(value)
        for message in _messages(inner):
            yield f"{message} ({where})" if where else message
    elif isinstance(value, list):
        for part in value[:5]:
            yield from _messages(part)


def _location(value: Mapping[str, Any]) -> str:
    where = value.get("loc")
    return ".".join(map(str, where)) if isinstance(where, Sequence) and not isinstance(where, str) else ""


def _locations(value: Any) -> frozenset[str]:
    """Return the last names of the places that FastAPI's validation errors are about."""
    if isinstance(value, Mapping):
        value = value.get("detail")
    parts = value if isinstance(value, list) else []
    places = [_location(part).split(".") for part in parts if isinstance(part, Mapping)]
    return frozenset(name for place in places for name in place if name and name != "body")
