"""Parsing of the list in an answer, in JSON, brackets, or lines, and of the names in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from llm4grn.llm.parsing.vocabulary import Mention, Vocabulary, looks_like_gene, stated_sign

_FENCE = re.compile(
    r"```(?:(?:json5?|jsonc|python|text|txt|plaintext|xml|html|markdown|md|csv|yaml|list|answer)\b)?", re.I
)
_LINK = re.compile(r"\[([^\[\]()\n]{1,80})\]\(\s?(?:https?:|#|www)[^()\s]{0,300}\s?\)")
_ITEM_TAG = re.compile(r"</?(?:tf|gene|symbol|name|item|li|regulator)s?>", re.I)
_INLINE_NUMBER = re.compile(r"(?<=\w) +(?=\(\d{1,2}\) +\w)")  # FOS (2) JUN
_BULLET = re.compile(r"(\s*)(?:>\s?)?((?:[-*+•]|\(?#?\d{1,3}[.):]|\(?[a-z]\))\s+)?(.*)")
_BRACKETED = re.compile(r"[\[{\]}]")
_ASIDE = re.compile(r"\(([^()\n]{0,400})\)")
_HIDE = str.maketrans(",;|()", "\ue000\ue001\ue002\ue003\ue004")
_SHOW = str.maketrans("\ue000\ue001\ue002\ue003\ue004", ",;|()")
_LEAD_IN = re.compile(r".{0,200}\b(?:are|is|be|include|includes|including|namely)\b\s*:?\s", re.I)
_NAME_KEY = r"symbol|gene_?symbol|gene_?name|gene|name|tf|regulator|transcription_?factor|id"
_NAME_FIELD = re.compile(rf"[\"'](?:{_NAME_KEY})[\"']\s{{0,9}}:\s{{0,9}}[\"']([^\"'\n]{{1,80}})", re.I)
ANSWER_KEY = re.compile(
    r"(?:final|my|the|selected|predicted|identified|top|causal|\d+|_|-|\s)*"
    r"(?:answers?|tfs?|transcription[ _-]?factors?|regulators?|genes?|symbols?|list|results?|response|output|names?)",
    re.I,
)
_OTHER_KEY = re.compile(r"(?:non|not|reject|exclud|remaining|other|candidate|input|offered|listed|reason)", re.I)
_SIGN_KEY = re.compile(r"signs?|effects?|mode|direction|action|regulation|type", re.I)
NOT_JSON = object()
# Larger texts are garbage; the limits bound the parsing time.
_DEEPEST, _MOST_LINES, _MOST_ITEMS, MOST_GROUPS = 20, 5_000, 10_000, 1_000


def read_list(body: str, vocabulary: Vocabulary, truncated: bool = False) -> list[Mention] | None:
    """Return the names in a list, in order and with duplicates.

    Parameters
    ----------
    body
        Plain text that is or contains the list.
    vocabulary
        The offered names.
    truncated
        Whether the text may be cut off at its end, so that the last name of an open list may be incomplete.

    Returns
    -------
    list or None
        Empty if the list states that there are no names; None if the text is prose without a list.
    """
    body = without_markup(body)
    bracketed = [mentions for mentions in _bracketed_lists(body, vocabulary, truncated) if mentions is not None]
    return [mention for mentions in bracketed for mention in mentions] if bracketed else read_lines(body, vocabulary)


def without_markup(text: str) -> str:
    """Remove Markdown's fences, link addresses and the tags of items from a text, and put numbered names in lines."""
    text = _INLINE_NUMBER.sub("\n", _ITEM_TAG.sub("\n", text))
    return _LINK.sub(r"\1", _FENCE.sub("\n", text)).strip()


def read_group(group: str, vocabulary: Vocabulary) -> list[Mention] | None:
    """Return the names in one ``[...]`` or ``{...}`` including its brackets, like `read_list`."""
    value = parse_json(group)
    if value is not NOT_JSON:
        return read_json(value, vocabulary)
    if fields := _NAME_FIELD.findall(group):
        return _joined(vocabulary.read(name) for name in fields)
    if group.startswith("{") and ":" in group:
        inner = [group[start:end] for start, end in groups(group[1:-1], offset=1)]
        return _joined(_read_inside(part[1:-1], vocabulary) for part in inner if part.startswith("["))
    return _read_inside(group[1:-1], vocabulary)


def groups(text: str, offset: int = 0) -> list[tuple[int, int]]:
    """Return start and end of the outermost ``[...]`` and ``{...}``, ignoring unmatched brackets."""
    stack: list[tuple[str, int]] = []
    outermost: list[tuple[int, int]] = []
    for match in _BRACKETED.finditer(text):
        char, at = match[0], match.start()
        if char in "[{":
            stack.append((char, at))
        elif stack and stack[-1][0] == ("[" if char == "]" else "{"):
            start = stack.pop()[1]
            while outermost and outermost[-1][0] > start:
                outermost.pop()
            outermost.append((start, at + 1))
    return [(start + offset, end + offset) for start, end in outermost]


def begins_list(text: str, start: int, previous_end: int, vocabulary: Vocabulary) -> bool:
    """Return True if the bracket at ``start`` opens a list (on a new line, after a colon etc.) and not an aside."""
    before = text[max(text.rfind("\n", max(start - 300, 0), start) + 1, previous_end, start - 300) : start]
    before = re.sub(r"(?:^|(?<=\s))(?:[-*+•]|\d{1,3}[.)])\s|[*_`\"'>(]", "", before).strip()
    if not before.strip(" ,;&") or before.lower() == "and":
        return True
    label = re.search(r"([^\s:=]{1,60})\s?[:=]$", before)
    return (
        not vocabulary.find(label[1]) if label else bool(re.search(r"\b(?:answer|are|is|be|list|tfs)$", before, re.I))
    )


def parse_json(text: str) -> Any:
    """Parse a JSON text, tolerating trailing commas; return ``NOT_JSON`` if it is not JSON."""
    for candidate in (text, re.sub(r",(?=\s*[\]}])", "", text)):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    return NOT_JSON


def read_json(value: Any, vocabulary: Vocabulary, depth: int = 0) -> list[Mention] | None:
    """Return the names in a JSON value (names, objects about names, or an object with the list), like `read_list`."""
    if isinstance(value, str):
        return _read_inside(value, vocabulary)
    if depth > _DEEPEST:
        return None
    if isinstance(value, list):
        return _joined(read_json(element, vocabulary, depth + 1) for element in value[:_MOST_ITEMS]) if value else []
    if not isinstance(value, dict):
        return None
    if not value:
        return []
    answers = [content for key, content in value.items() if ANSWER_KEY.fullmatch(key) and not vocabulary.find(key)]
    if answers and isinstance(answers[-1], list | dict):
        return read_json(answers[-1], vocabulary, depth + 1)
    names = [value[key] for key in value if re.fullmatch(_NAME_KEY, key, re.I) and isinstance(value[key], str)]
    if names:
        read = [vocabulary.read(name) for name in names]
        mentions = next((mentions for mentions in read if mentions and mentions[0].symbol), read[0])
        return _with_sign(mentions, next((value[key] for key in value if _SIGN_KEY.fullmatch(key)), None))
    if answers and isinstance(answers[-1], str):
        return _read_inside(answers[-1], vocabulary)
    lists = [content for key, content in value.items() if isinstance(content, list) and not _OTHER_KEY.match(key)]
    if lists:
        return _joined(read_json(content, vocabulary, depth + 1) for content in lists)
    # {"SPI1": 0.9, "ACTB": false}, {"SPI1": "a reason"}, {"SPI1": "+"}
    named = [key for key, content in value.items() if content not in (False, None, "no", "No") and vocabulary.find(key)]
    return _joined(_with_sign(vocabulary.read(key), value[key]) for key in named) if named else None


def _with_sign(mentions: list[Mention] | None, content: object) -> list[Mention] | None:
    """Give the only name of an entry the sign that its content states, if it states one."""
    sign = stated_sign(str(content)) if isinstance(content, str | int) and not isinstance(content, bool) else 0
    return [mentions[0]._replace(sign=sign)] if sign and mentions and len(mentions) == 1 else mentions


def read_bare(body: str, vocabulary: Vocabulary) -> list[Mention] | None:
    """Return the names in lines of nothing but names, like `read_list`; None if any line has a sentence or reason."""
    rests = [_line_parts(line)[2] for line in body.split("\n", _MOST_LINES)[:_MOST_LINES]]
    rests = [rest for rest in rests if any(map(str.isalnum, rest))]
    read = []
    for rest in rests:
        if re.search(r"\s-+\s|:", rest) or (names := _read_names(rest, vocabulary)) is None:
            return None
        read.append(names)
    return _joined(read)


def read_lines(body: str, vocabulary: Vocabulary) -> list[Mention] | None:
    """Return the names in lines of names with or without bullets, like `read_list`; sentences name nothing."""
    if body.startswith("(") and body.find(")") == len(body) - 1:
        body = body[1:-1]
    level: int | None = None
    read = []
    for line in body.split("\n", _MOST_LINES)[:_MOST_LINES]:
        if line.lstrip().startswith("|"):
            cells = [cell for cell in line.strip(" |").split("|") if any(map(str.isalpha, cell))]
            line = f"- {cells[0].strip()} - {' '.join(cells[1:])}" if cells else ""
        indent, bullet, rest = _line_parts(line)
        if not any(map(str.isalnum, rest)):
            continue
        if bullet and level is None:
            level = len(indent)
        nested = level is not None and len(indent) > level
        mentions = vocabulary.read(rest) if nested else _read_line(rest, bool(bullet), vocabulary)
        if nested and ":" in rest:
            mentions = None
        read.append(mentions)
    return _joined(read)


def _line_parts(line: str) -> tuple[str, str, str]:
    """Split a line into its indentation, bullet (possibly empty) and text."""
    return _BULLET.findall(line)[0]


def _bracketed_lists(body: str, vocabulary: Vocabulary, truncated: bool) -> Iterator[list[Mention] | None]:
    end = 0
    for start, stop in groups(body)[:MOST_GROUPS]:
        if begins_list(body, start, end, vocabulary):
            mentions = read_group(body[start:stop], vocabulary)
            if mentions is not None:
                yield mentions
        end = stop
    rest = body[end:]
    opened = rest.find("[")
    if opened >= 0 and begins_list(body, end + opened, end, vocabulary):
        if fields := _NAME_FIELD.findall(rest):
            yield _joined(vocabulary.read(name) for name in fields)
        else:
            yield _read_inside(rest[opened + 1 :], vocabulary, truncated)


def _read_inside(content: str, vocabulary: Vocabulary, truncated: bool = False) -> list[Mention] | None:
    """Return the names between brackets, where every item is a name."""
    items = _items(content)
    if truncated and items and content[-1:].isalnum():
        last = (vocabulary.read(items[-1]) or [Mention(None, "")])[-1]
        if last.symbol is None or vocabulary.continues(last.symbol):
            items.pop()
    items = [item for item in items if any(map(str.isalnum, item))]
    return _joined(vocabulary.read(item, True) for item in items) if items else []


def _read_line(line: str, bullet: bool, vocabulary: Vocabulary) -> list[Mention] | None:
    label, colon, rest = line.partition(":")
    if colon and not vocabulary.find(label.strip(" *`\"'")) and vocabulary.read(_items(rest)[0]):
        names = _read_names(rest, vocabulary)
        if names:
            return names
    whole = _read_names(line, vocabulary)
    if whole is None:
        whole = vocabulary.read(line, bullet)
    if whole is not None:
        return whole
    lead_in = _LEAD_IN.match(line)
    for part in (line[lead_in.end() :] if lead_in else "", re.split(r"\.\s", line, maxsplit=1)[0]):
        names = _read_names(part, vocabulary) if part and part != line else None
        if names and any(vocabulary.find(mention.written, exact=True) for mention in names):
            return names
    return None


def _read_names(line: str, vocabulary: Vocabulary) -> list[Mention] | None:
    """Return the names of a line that consists of names, each with or without an explanation."""
    read = [(item, vocabulary.read(item)) for item in _items(line) if any(map(str.isalnum, item))]
    if not read:
        return None
    if re.search(r"\s-+\s|:", read[0][0]):
        # Text after a comma belongs to the explanation of the first name, unless it is a name with an explanation.
        read = [(item, mentions) for item, mentions in read if re.search(r"\s-+\s|:", item)]
        return _joined(mentions for _, mentions in read)
    if any(mentions is None for _, mentions in read):
        return None
    names = [mention for _, mentions in read for mention in mentions or ()]
    sure = [m for m in names if looks_like_gene(m.written) or vocabulary.find(m.written, exact=True)]
    likely = 2 * len(sure) >= len(names) or all(mention.symbol for mention in names)
    return names if likely else None


def _items(text: str) -> list[str]:
    for _ in range(2):  # commas within (nested) parentheses are not separators
        text = _ASIDE.sub(lambda match: match[0].translate(_HIDE), text)
    return [item.translate(_SHOW) for item in re.split(r"[,;|\n•]", text)[:_MOST_ITEMS]]


def _joined(read: Any) -> list[Mention] | None:
    known = [mentions for mentions in read if mentions is not None]
    return [mention for mentions in known for mention in mentions] if known else None
