"""Adaptation of requests to a server that refuses one of their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm4grn.llm.messages import LENGTH_LIMITS
from llm4grn.llm.openai.error_body import ErrorBody

# Parts of a JSON schema that servers with a simpler grammar do not know; the parser checks the answers anyway.
_KEYWORDS = ("minItems", "maxItems", "additionalProperties")
_OTHER_LIMIT = dict(zip(LENGTH_LIMITS, reversed(LENGTH_LIMITS), strict=True))
# A limit is renamed if its name is unknown, but not if its value is too large.
_UNKNOWN_NAME = re.compile(
    r"unsupported|not (?:supported|permitted|allowed|available)|unknown|unrecogni[sz]ed|unexpected|invalid "
    r"(?:argument|param)|extra (?:inputs|fields)|cannot find field|instead|deprecated|must not be set|\buse max_",
    re.I,
)
# The value is refused and not the parameter: what the user asked for is not to be replaced by a default.
_VALUE = re.compile(
    r"less than|greater than|at (?:most|least)|[<>]=|out of range|must be one of"
    r"|(?<!not )\bsupported(?: values)?(?: are)?: ",
    re.I,
)
_KEPT = {"model", "messages", *LENGTH_LIMITS}


@dataclass
class Adaptation:
    """What has to be changed in each request to one server, learned from its errors.

    Attributes
    ----------
    renamed
        Parameters that are sent by another name.
    left_out
        Parameters that are not sent.
    keywords_left_out
        Keywords that are not sent in a JSON schema.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    keywords_left_out: set[str] = field(default_factory=set)

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body as the server accepts it."""
        adapted = {self.renamed.get(name, name): value for name, value in body.items() if name not in self.left_out}
        if self.keywords_left_out and "response_format" in adapted:
            adapted["response_format"] = _without(adapted["response_format"], self.keywords_left_out)
        return adapted

    def learn(self, sent: Mapping[str, Any], error: ErrorBody) -> str | None:
        """Change what the server refuses in the body that was sent; return the change in words, or None if it is none.

        The limit of the answer's length is never left out, as it limits the cost: it is only sent by its other name.
        """
        limit = next((name for name in LENGTH_LIMITS if name in sent), None)
        if (
            limit
            and _names(error, limit)
            and _UNKNOWN_NAME.search(error.message)
            and not _VALUE.search(error.message)
            and limit not in self.renamed.values()
        ):
            self.renamed[limit] = _OTHER_LIMIT[limit]
            return f"{limit} is sent as {_OTHER_LIMIT[limit]}"
        return self._leave_out_keyword(sent, error) or self._leave_out(sent, error)

    def _leave_out_keyword(self, sent: Mapping[str, Any], error: ErrorBody) -> str | None:
        schema = str(sent.get("response_format", ""))
        named = {word for word in _KEYWORDS if word in schema and _names(error, word)}
        if not named:
            return None
        if "minItems" in named or "maxItems" in named:
            named |= {"minItems", "maxItems"}  # a server that lacks one lacks the other
        self.keywords_left_out |= named
        return f"the schema is sent without {' and '.join(sorted(named))}"

    def _leave_out(self, sent: Mapping[str, Any], error: ErrorBody) -> str | None:
        if _VALUE.search(error.message) and not _names(error, "response_format"):
            return None
        named = _named(error, [name for name in sent if name not in _KEPT])
        if (
            not named
            and "response_format" in sent
            and re.search(r"json.?schema|structured output", error.message, re.I)
        ):
            named = ["response_format"]
        if not named:
            return None
        self.left_out |= set(named)
        return f"{' and '.join(named)} {'is' if len(named) == 1 else 'are'} left out"

    @property
    def description(self) -> str | None:
        """All changes in one line; None if there is none."""
        parts = [f"{old} as {new}" for old, new in sorted(self.renamed.items())]
        parts += [f"without {name}" for name in sorted(self.left_out)]
        parts += [f"schema without {word}" for word in sorted(self.keywords_left_out)]
        return ", ".join(parts) or None


def _named(error: ErrorBody, parameters: list[str]) -> list[str]:
    """Return the parameters that an error is about, in the order of the request."""
    stated = [name for name in parameters if any(part.split(".")[0] == name for part in error.parameters)]
    return stated or [name for name in parameters if _names(error, name)]


def _names(error: ErrorBody, word: str) -> bool:
    # Without the question, which some servers repeat.
    said = re.sub(r"\{[^{}]*[\"'](?:messages|input)[\"']: .*\}", "", error.message)
    return word in error.parameters or bool(re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", said))


def _without(schema: Any, keywords: set[str]) -> Any:
    """Return a JSON value without the given keys at any depth."""
    if isinstance(schema, Mapping):
        return {key: _without(value, keywords) for key, value in schema.items() if key not in keywords}
    return [_without(part, keywords) for part in schema] if isinstance(schema, list) else schema
