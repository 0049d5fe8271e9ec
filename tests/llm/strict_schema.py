"""What OpenAI checks of a ``response_format`` before it answers, and an answer that keeps to it.

The rules of strict mode, as https://platform.openai.com/docs/guides/structured-outputs gives them, and its limits of
2024, which other servers still have. What is not known to be allowed is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_KEYWORDS = {
    "object": {"type", "properties", "required", "additionalProperties", "$defs"},
    "array": {"type", "items", "minItems", "maxItems"},
    "string": {"type", "enum"},
}
_DEEPEST, _MOST_PROPERTIES, _MOST_CHOICES, _MANY_CHOICES, _MOST_CHARACTERS = 5, 100, 500, 250, 7_500


def problem(response_format: Any) -> str | None:
    """Why OpenAI would answer 400, or None."""
    if not isinstance(response_format, dict) or response_format.keys() != {"type", "json_schema"}:
        return "response_format: expected type and json_schema"
    outer = response_format["json_schema"]
    if response_format["type"] != "json_schema" or outer.keys() != {"name", "strict", "schema"}:
        return "json_schema: expected name, strict and schema"
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", outer["name"]) or outer["strict"] is not True:
        return "json_schema.name: at most 64 letters, digits, _ and -; strict: true"
    if outer["schema"].get("type") != "object":
        return "schema must be a JSON Schema of type object"
    nodes = list(_nodes(outer["schema"], outer["schema"], depth=1))
    choices = [choice for node, _ in nodes for choice in node.get("enum", ())]
    properties = sum(len(node.get("properties", ())) for node, _ in nodes)
    if len(choices) > _MOST_CHOICES or properties > _MOST_PROPERTIES:
        return f"Expected at most {_MOST_CHOICES} enum values and {_MOST_PROPERTIES} properties"
    return next((wrong for node, depth in nodes if (wrong := _wrong(node, depth))), None)


def _wrong(node: dict, depth: int) -> str | None:
    if "$ref" in node:
        return None if node.keys() == {"$ref"} else "$ref cannot have keywords beside it"
    allowed = _KEYWORDS.get(node.get("type"))
    if allowed is None or not node.keys() <= allowed:
        return f"not permitted: {sorted(node.keys() - (allowed or set()))} in type {node.get('type')}"
    if depth > _DEEPEST:
        return f"more than {_DEEPEST} levels"
    if node["type"] == "object":
        if node.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false"
        if sorted(node.get("required", ())) != sorted(node["properties"]):
            return "'required' is required to be supplied and to be an array including every key in properties"
    choices = node.get("enum", ["any"])
    if not choices or len(set(choices)) < len(choices) or not all(isinstance(choice, str) for choice in choices):
        return "enum: expected different strings"
    if len(choices) > _MANY_CHOICES and sum(map(len, choices)) > _MOST_CHARACTERS:
        return f"enum: more than {_MOST_CHARACTERS} characters"
    return None


def _nodes(node: dict, root: dict, depth: int) -> Iterator[tuple[dict, int]]:
    """All subschemas with their depth; what is referred to counts once, where it is defined."""
    if "$ref" in node:
        assert node["$ref"].removeprefix("#/$defs/") in root["$defs"], "$ref to nowhere"
    yield node, depth
    for definition in node.get("$defs", {}).values():
        yield from _nodes(definition, root, depth)
    for child in node.get("properties", {}).values():
        yield from _nodes(child, root, depth + 1)
    if "items" in node:
        yield from _nodes(node["items"], root, depth)


def instance(response_format: dict, k: int) -> str:
    """A JSON text that keeps to the schema; lists without a length have ``k`` elements."""
    root = response_format["json_schema"]["schema"]

    def build(node: dict, at: int = 0) -> Any:
        if "$ref" in node:
            node = root["$defs"][node["$ref"].removeprefix("#/$defs/")]
        if node["type"] == "object":
            return {name: build(child) for name, child in node["properties"].items()}
        if node["type"] == "array":
            return [build(node["items"], i) for i in range(node.get("minItems", k))]
        return node["enum"][at % len(node["enum"])] if "enum" in node else f"text {at}"

    return json.dumps(build(root))
