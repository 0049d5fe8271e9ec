"""JSON schemas for servers that enforce them: no name can be answered but those that were offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What every server takes: OpenAI's limits of 2024, which Azure still has; OpenAI's own are 1000 and 15,000 by now.
_MOST_CHOICES = 500
_MANY_CHOICES, _MOST_CHARACTERS_OF_MANY = 250, 7_500


def answer_schema(
    offered: Sequence[str], targets: Sequence[str] | None = None, k: int | None = None, reasoning: bool = False
) -> dict[str, Any]:
    """The ``response_format`` of an OpenAI-compatible server that admits no names but those ``offered``.

    Within what OpenAI's strict mode allows (https://platform.openai.com/docs/guides/structured-outputs) and vLLM's
    grammars enforce: every object closed, every property required.

    Parameters
    ----------
    offered
        The names to choose from. More than 500, or very long ones, are not enumerated, as servers refuse them: then any
        name can be answered, and those that were not offered are left out when it is read.
    targets
        For a question about several targets: then ``answer`` has one list for each.
    k
        How many names each list has; None admits any number.
    reasoning
        Whether a text ``reasoning`` comes before ``answer``.
    """
    choices = list(dict.fromkeys(offered))
    name = {"type": "string", "enum": choices} if _can_be_enumerated(choices) else {"type": "string"}
    names = {"type": "array", "items": {"$ref": "#/$defs/name"}}
    if k is not None:
        names |= {"minItems": k, "maxItems": k}
    answer = names if targets is None else _object({target: names for target in targets})
    fields = {"reasoning": {"type": "string"}, "answer": answer} if reasoning else {"answer": answer}
    schema = {**_object(fields), "$defs": {"name": name}}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _can_be_enumerated(choices: Sequence[str]) -> bool:
    if len(choices) > _MANY_CHOICES and sum(map(len, choices)) > _MOST_CHARACTERS_OF_MANY:
        return False
    return 0 < len(choices) <= _MOST_CHOICES


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
