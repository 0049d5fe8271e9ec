"""Parsing of a reply about several targets: which part of it is about which target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llm4grn.llm.parsing import lists
from llm4grn.llm.parsing.answers import Answer, is_echo, parse_answer, read_body, to_answer
from llm4grn.llm.parsing.tags import TAG, Body, answer_bodies, without_thoughts
from llm4grn.llm.parsing.vocabulary import Mention, Vocabulary, plain_text

_TOKEN = r"([^\s\"'*`,;:=\[\]{}()<>|]{1,60})"
_HEADING = re.compile(
    rf"\W*(?:(?:target|gene|for|regulators|tfs|transcription|factors|regulating|of|the)\b\W*){{0,6}}{_TOKEN}\W*", re.I
)
_KEY = re.compile(rf"(?<![^\s{{;,\]}}>*\"'`(]){_TOKEN}[\"'*`]{{0,4}}\s?(?::|=|->|→)")


def parse_answers(text: str, targets: Sequence[str], offered: Sequence[str]) -> dict[str, Answer]:
    """Parse the answers to a question about several targets, by target, like `parse_answer` for one target.

    Supported forms are ``<Answer> {"T1": ["A", "B"], "T2": []} </Answer>``, lines or headings ``T1: [A, B]`` within the
    tags, and one pair of tags per target. A target that is missing gets an answer with ``found`` False.
    """
    vocabulary, names = Vocabulary(offered), Vocabulary(targets)
    plain, thinking = without_thoughts(plain_text(text))
    bodies = answer_bodies(plain)
    mentions: dict[str, list[Mention]] = {}
    for closed in (True, False):
        for body in bodies if not mentions else ():
            if body.closed is closed:
                mentions |= _read_targets(body, names, vocabulary)
    if not mentions and not thinking:
        mentions = _untagged_targets(TAG.sub("\n", plain), names, vocabulary)
    if not mentions and len(targets) == 1:
        return {targets[0]: parse_answer(text, offered)}
    return {target: to_answer(mentions.get(target)) for target in targets}


def _read_targets(body: Body, names: Vocabulary, vocabulary: Vocabulary) -> dict[str, list[Mention]]:
    read = _by_target(body.text, names, vocabulary, body.cut)
    if (
        not read
        and (heading := _HEADING.fullmatch(body.before.rstrip().rpartition("\n")[2]))
        and (heading_target := names.find(heading[1]))
    ):
        mentions = read_body(body, vocabulary)
        return {} if mentions is None else {heading_target: mentions}
    return {target: mentions for target, mentions in read.items() if not mentions or not is_echo(mentions)}


def _untagged_targets(text: str, names: Vocabulary, vocabulary: Vocabulary) -> dict[str, list[Mention]]:
    text = lists.without_markup(text)
    whole = lists.parse_json(text) is not lists.NOT_JSON  # then an empty list is an answer
    read = _by_target(text, names, vocabulary, cut=True, brackets_only=True)
    return {
        target: mentions
        for target, mentions in read.items()
        if any(mention.symbol for mention in mentions) or (whole and not (mentions and is_echo(mentions)))
    }


def _by_target(
    text: str, names: Vocabulary, vocabulary: Vocabulary, cut: bool, brackets_only: bool = False
) -> dict[str, list[Mention]]:
    text = lists.without_markup(text)
    read: dict[str, list[Mention] | None] = {}
    for start, end in lists.groups(text)[: lists.MOST_GROUPS]:
        value = lists.parse_json(text[start:end])
        for target, content in _json_targets(value, names).items():
            read[target] = lists.read_json(content, vocabulary)
    if not read:
        headings = _headings(text, names, vocabulary)
        ends = [*(start for _, start, _ in headings[1:]), len(text)]
        for (target, _, start), end in zip(headings, ends, strict=False):
            if not brackets_only or text[start:end].lstrip(" *`").startswith("["):
                read[target] = lists.read_list(text[start:end], vocabulary, truncated=cut and end == len(text))
    return {target: mentions for target, mentions in read.items() if mentions is not None}


def _json_targets(value: Any, names: Vocabulary) -> dict[str, Any]:
    """Return the content for each target of a JSON value.

    Supported forms are ``{"T1": [...]}``, ``{"answer": {"T1": [...]}}`` and ``[{"target": "T1", "regulators": [...]},
    ...]``.
    """
    contents = _one_object(value, names)
    if not contents and isinstance(value, Mapping):
        inner = [value[key] for key in value if lists.ANSWER_KEY.fullmatch(key) and isinstance(value[key], list | dict)]
        value = inner[-1] if inner else value
        contents = _one_object(value, names)
    for element in value if isinstance(value, list) else ():
        contents |= _one_object(element, names)
    return contents


def _one_object(value: Any, names: Vocabulary) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    if keyed := {target: content for key, content in value.items() if (target := names.find(key))}:
        return keyed
    texts = [content for content in value.values() if isinstance(content, str)]
    targets = [target for text in texts if (target := names.find(text))]
    contents = [content for content in value.values() if isinstance(content, list)]
    return {targets[0]: contents[0]} if targets and contents else {}


def _headings(text: str, names: Vocabulary, vocabulary: Vocabulary) -> list[tuple[str, int, int]]:
    """Return the targets that head a list, with start and end of the heading, in the order of the text."""
    headings, at = [], 0
    for line in text.split("\n"):
        heading = _HEADING.fullmatch(line) if len(line) < 200 else None
        target = names.find(heading[1]) if heading else None
        if heading and target and (line.rstrip(" *").endswith(":") or not vocabulary.find(heading[1])):
            headings.append((target, at, at + len(line)))
        else:
            for key in _KEY.finditer(line):
                # A name after other words of the line is not a heading, but one after another target's list is.
                before = re.sub(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s", "", line[max(0, key.start() - 200) : key.start()])
                if (target := names.find(key[1])) and not before.rstrip(" \"'*`#(")[-1:].strip("{;,]}"):
                    headings.append((target, at + key.start(), at + key.end()))
        at += len(line) + 1
    return headings
