"""JSON schemas for servers that enforce them, which restrict answers to the offered names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Limits that every server accepts: those of OpenAI in 2024, still used by Azure; OpenAI now allows 1000 and 15,000.
_MOST_CHOICES = 500
_MANY_CHOICES, _MOST_CHARACTERS_OF_MANY = 250, 7_500


def answer_schema(
    offered: Sequence[str],
    targets: Sequence[str] | None = None,
    k: int | None = None,
    reasoning: bool = False,
    signs: bool = False,
) -> dict[str, Any]:
    """Return the ``response_format`` for an OpenAI-compatible server that admits only the ``offered`` names.

    The schema respects OpenAI's strict mode (https://platform.openai.com/docs/guides/structured-outputs) and vLLM's
    grammars: every object is closed, and every property is required.

    Parameters
    ----------
    offered
        Names to choose from. More than 500 names, or very long ones, are not enumerated because servers reject them;
        then the answer can hold any name, and the parser drops those that were not offered.
    targets
        Targets of a question about several targets, for each of which ``answer`` has one list; None for one target.
    k
        Number of names in each list; None admits any number.
    reasoning
        Whether a text ``reasoning`` precedes ``answer``.
    signs
        Whether each name is an object of ``tf``, the name, and ``sign``: ``+``, ``-`` or ``?``.
    """
    choices = list(dict.fromkeys(offered))
    name = {"type": "string", "enum": choices} if _can_be_enumerated(choices) else {"type": "string"}
    definitions: dict[str, Any] = {"name": name}
    if signs:
        definitions["edge"] = _object({"tf": {"$ref": "#/$defs/name"}, "sign": {"type": "string", "enum": [*"+-?"]}})
    names: dict[str, Any] = {"type": "array", "items": {"$ref": f"#/$defs/{'edge' if signs else 'name'}"}}
    if k is not None:
        names |= {"minItems": k, "maxItems": k}
    answer = names if targets is None else _object({target: names for target in targets})
    fields = {"reasoning": {"type": "string"}, "answer": answer} if reasoning else {"answer": answer}
    schema = {**_object(fields), "$defs": definitions}
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
