"""What a language model answered: where its answer stands in the text, and which of the offered genes it names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm4grn.llm import lists
from llm4grn.llm.vocabulary import Mention, Vocabulary, plain_text

_TAG = re.compile(r"<\s{0,3}([/\\]?)\s{0,3}(?:final[ _-]?)?answers?\s{0,3}/?\s{0,3}>", re.I)
_THOUGHT = re.compile(r"<\s{0,3}(/?)\s{0,3}(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)\s{0,3}>", re.I)
_SPECIAL = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>")
_PLACEHOLDER = re.compile(
    r"[A-Z]\d?|(?:gene|tf|symbol|name|regulator|item|target|factor)[ _-]?(?:name|symbol)?[ _-]?(?:\d{1,2}|[A-Z])?", re.I
)
_TEMPLATE = re.compile(r"\b(?:your|list of|comma|insert|here|format|tags?)\b", re.I)
_LABEL = re.compile(
    r"^[\W\d]{0,20}(?:(?:so|thus|therefore|hence),?\s)?(?:the |my )?(?:final |correct |short )?"
    r"(?:answers?|final (?:list|selection|tfs|transcription factors|regulators|result))(?: is| are)?[ *_`\"]{0,6}"
    r"(?::|=|(?<=is)|(?<=are))[ *_`\"]{0,6}",
    re.I | re.M,
)
_CONCLUDES = re.compile(r"\b(?:final|answer|selected|conclu\w+|therefore|thus|top)\b", re.I)
_LINE = re.compile(r"\s*(?:[-*+•]|\(?\d{1,3}[.):])\s+\S")
_TOKEN = r"([^\s\"'*`,;:=\[\]{}()<>|]{1,60})"
_HEADING = re.compile(
    rf"\W*(?:(?:target|gene|for|regulators|tfs|transcription|factors|regulating|of|the)\b\W*){{0,6}}{_TOKEN}\W*", re.I
)
_KEY = re.compile(rf"(?<![^\s{{;,\]}}>*\"'`(]){_TOKEN}[\"'*`]{{0,4}}\s?(?::|=|->|→)")


@dataclass(frozen=True)
class Answer:
    """The names that a language model answered, against those that it was offered.

    Parameters
    ----------
    symbols
        The offered symbols that it named, in its order, without repeats, spelled as they were offered.
    invented
        What it named that was not offered, each once, as it wrote it.
    repeated
        The offered symbols that it named more than once, each once.
    found
        Whether there was an answer at all; one that names nothing (``[]``, ``none``) is an answer.
    """

    symbols: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    found: bool = False


@dataclass(frozen=True)
class _Body:
    """What stands after one answer tag; ``closed`` by its closing tag, or ``cut`` by the end of the text."""

    text: str
    before: str
    closed: bool
    cut: bool


def parse_answer(text: str, offered: Sequence[str]) -> Answer:
    """The genes that a language model named in answer to a question, read as a biologist would.

    The last complete ``<Answer> ... </Answer>`` counts; one that only repeats the format does not. Without tags, a JSON
    value, a line ``Answer: ...``, or a list in brackets or bullets at the end counts, but never names within reasoning.

    Parameters
    ----------
    text
        The whole reply, whatever it is; nothing raises.
    offered
        The symbols of the question: a closed vocabulary. Differences in case are mapped back to it, unless two
        offered symbols differ in case only and none is matched exactly.

    Examples
    --------
    >>> parse_answer("Myeloid genes. <answer> 1. PU.1 (SPI1), gata2, FOXQ9 </answer>", ["GATA2", "SPI1"])
    Answer(symbols=('SPI1', 'GATA2'), invented=('FOXQ9',), repeated=(), found=True)
    """
    vocabulary = Vocabulary(offered)
    plain, thinking = _without_thoughts(plain_text(text))
    bodies = _bodies(plain)
    for closed in (True, False):
        for body in reversed(bodies):
            if body.closed is closed and (mentions := _read_body(body, vocabulary)) is not None:
                return _answer(mentions)
    if any(_is_prose(body) for body in bodies if body.closed):
        return Answer(found=True)
    return Answer() if thinking else _answer(_untagged(_TAG.sub("\n", plain), vocabulary))


def parse_answers(text: str, targets: Sequence[str], offered: Sequence[str]) -> dict[str, Answer]:
    """The answers to a question about several targets at once, by target; as `parse_answer` otherwise.

    Understood are ``<Answer> {"T1": ["A", "B"], "T2": []} </Answer>``, lines or headings ``T1: [A, B]`` within the
    tags, and one pair of tags per target. A target that was left out has an answer that was not found.
    """
    vocabulary, names = Vocabulary(offered), Vocabulary(targets)
    plain, thinking = _without_thoughts(plain_text(text))
    bodies = _bodies(plain)
    found: dict[str, list[Mention]] = {}
    for closed in (True, False):
        for body in bodies if not found else ():
            if body.closed is closed:
                found |= _read_targets(body, names, vocabulary)
    if not found and not thinking:
        found = _untagged_targets(_TAG.sub("\n", plain), names, vocabulary)
    if not found and len(targets) == 1:
        return {targets[0]: parse_answer(text, offered)}
    return {target: _answer(found.get(target)) for target in targets}


def _answer(mentions: list[Mention] | None) -> Answer:
    if mentions is None:
        return Answer()
    named = [mention.symbol for mention in mentions if mention.symbol]
    seen: set[str] = set()
    repeated = [symbol for symbol in named if symbol in seen or seen.add(symbol)]
    invented = [mention.written for mention in mentions if not mention.symbol]
    return Answer(*(tuple(dict.fromkeys(names)) for names in (named, invented, repeated)), found=True)


def _without_thoughts(text: str) -> tuple[str, bool]:
    """The text without its reasoning blocks, and whether the last of them is still open at the end."""
    text = _SPECIAL.sub("\n", text)
    kept, start, thinking = [], 0, False
    for tag in _THOUGHT.finditer(text):
        if tag[1]:
            if not thinking:  # it was opened by the prompt: all so far is reasoning
                kept.clear()
            start, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[start : tag.start()])
            start, thinking = tag.end(), True
    return "\n".join([*kept, text[start:]]), thinking


def _bodies(text: str) -> list[_Body]:
    tags = list(_TAG.finditer(text))
    bodies = []
    for at, tag in enumerate(tags):
        following = tags[at + 1] if at + 1 < len(tags) else None
        previous = tags[at - 1].end() if at else 0
        before = text[max(previous, tag.start() - 200) : tag.start()]
        if not tag[1]:
            end = following.start() if following else len(text)
            bodies.append(_Body(text[tag.end() : end], before, bool(following and following[1]), following is None))
        elif at == 0 or tags[at - 1][1]:  # it was opened by the prompt
            bodies.append(_Body(before.rstrip().rpartition("\n")[2], "", False, False))
    return bodies


def _read_body(body: _Body, vocabulary: Vocabulary) -> list[Mention] | None:
    """The names in it; None for prose and for a mere repetition of the format."""
    text = body.text if body.closed else _first_list(lists.without_markup(body.text), vocabulary)
    if not text.strip():
        alone = not body.before.rpartition("\n")[2].strip(" *`>")  # on its line, so no mention within a sentence
        return [] if alone and body.closed else None
    mentions = lists.read_list(text, vocabulary, truncated=body.cut)
    if not mentions and "..." in text and not any(map(str.isalnum, text)):
        return None
    return None if mentions and _is_echo(mentions) else mentions


def _first_list(text: str, vocabulary: Vocabulary) -> str:
    """Without its closing tag an answer ends where its list ends: what follows is talk about it."""
    for start, end in lists.groups(text)[: lists.MOST_GROUPS]:
        if lists.begins_list(text, start, 0, vocabulary):
            return text[:end]
    paragraph = re.split(r"\n\s*\n", text, maxsplit=1)[0]
    return paragraph if lists.read_list(paragraph, vocabulary) else text


def _is_echo(mentions: list[Mention]) -> bool:
    return all(mention.symbol is None and _PLACEHOLDER.fullmatch(mention.written) for mention in mentions)


def _is_prose(body: _Body) -> bool:
    text = body.text[:2000]
    return len(re.findall(r"\w+", text)) > 1 and not _TEMPLATE.search(text) and not re.search(r"\.\.\.\s*[\])]", text)


def _untagged(text: str, vocabulary: Vocabulary) -> list[Mention] | None:
    text = lists.without_markup(text)
    value = lists.parse_json(text)
    if isinstance(value, list | dict):
        mentions = lists.read_json(value, vocabulary)
        return None if mentions and _is_echo(mentions) else mentions
    if re.fullmatch(r"\W*none\W*", text, re.I):
        return []
    labels = list(_LABEL.finditer(text))
    if labels and (mentions := _after_label(text[labels[-1].end() :], vocabulary)) is not None:
        return mentions
    for read in (lists.read_bare, _final_brackets, _final_bullets):
        mentions = read(text, vocabulary)
        exact = read is not _final_brackets  # a word of a language is no gene for having its letters
        if mentions and any(vocabulary.find(mention.written, exact) for mention in mentions):
            return mentions
    return None


def _after_label(text: str, vocabulary: Vocabulary) -> list[Mention] | None:
    line = text.partition("\n")[0]
    if "[" in line or "{" in line:
        text = _first_list(text, vocabulary)
    else:
        text = line if any(map(str.isalnum, line)) else re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0]
    mentions = lists.read_list(text, vocabulary, truncated=True)
    return mentions if mentions == [] or any(mention.symbol for mention in mentions or ()) else None


def _final_brackets(text: str, vocabulary: Vocabulary) -> list[Mention] | None:
    groups = lists.groups(text)[-lists.MOST_GROUPS :]
    previous_ends = [0, *(stop for _, stop in groups)][: len(groups)]
    for (start, stop), previous_end in reversed(list(zip(groups, previous_ends, strict=True))):
        if lists.begins_list(text, start, previous_end, vocabulary):
            mentions = lists.read_group(text[start:stop], vocabulary)
            if any(mention.symbol for mention in mentions or ()):
                return mentions
    return None


def _final_bullets(text: str, vocabulary: Vocabulary) -> list[Mention] | None:
    """A list at the very end: of bare names, or explained ones if its heading says that it is the result.

    Bullets that go through all genes one by one are reasoning, and name those that are refused as well.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and not _LINE.match(lines[-1]) and _LINE.match(lines[-2]):
        words = re.findall(r"[^\s,;:!?()*`\"']+", lines[-1])
        if not any(vocabulary.find(word.rstrip("."), exact=True) for word in words):
            lines.pop()  # "I hope this helps."; but "Of these only SPI1 is a TF." makes the list reasoning
    first = len(lines)
    while first and _LINE.match(lines[first - 1]):
        first -= 1
    block = "\n".join(lines[first:])
    bare = lists.read_bare(block, vocabulary) if block else None
    concluding = block and first and _CONCLUDES.search(lines[first - 1][:300])
    return bare or (lists.read_lines(block, vocabulary) if concluding else None)


def _read_targets(body: _Body, names: Vocabulary, vocabulary: Vocabulary) -> dict[str, list[Mention]]:
    read = _by_target(body.text, names, vocabulary, body.cut)
    if (
        not read
        and (heading := _HEADING.fullmatch(body.before.rstrip().rpartition("\n")[2]))
        and names.find(heading[1])
    ):
        mentions = _read_body(body, vocabulary)
        return {} if mentions is None else {names.find(heading[1]): mentions}
    return {target: mentions for target, mentions in read.items() if not mentions or not _is_echo(mentions)}


def _untagged_targets(text: str, names: Vocabulary, vocabulary: Vocabulary) -> dict[str, list[Mention]]:
    text = lists.without_markup(text)
    whole = lists.parse_json(text) is not lists.NOT_JSON  # then an empty list is meant as one
    read = _by_target(text, names, vocabulary, cut=True, brackets_only=True)
    return {
        target: mentions
        for target, mentions in read.items()
        if any(mention.symbol for mention in mentions) or (whole and not (mentions and _is_echo(mentions)))
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
    """``{"T1": [...]}``, ``{"answer": {"T1": [...]}}``, ``[{"target": "T1", "regulators": [...]}, ...]``."""
    found = _one_object(value, names)
    if not found and isinstance(value, Mapping):
        inner = [value[key] for key in value if lists.ANSWER_KEY.fullmatch(key) and isinstance(value[key], list | dict)]
        value = inner[-1] if inner else value
        found = _one_object(value, names)
    for element in value if isinstance(value, list) else ():
        found |= _one_object(element, names)
    return found


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
    """Targets that head a list, with where the heading begins and ends, in the order of the text."""
    headings, at = [], 0
    for line in text.split("\n"):
        heading = _HEADING.fullmatch(line) if len(line) < 200 else None
        target = names.find(heading[1]) if heading else None
        if target and (line.rstrip(" *").endswith(":") or not vocabulary.find(heading[1])):
            headings.append((target, at, at + len(line)))
        else:
            for key in _KEY.finditer(line):
                # A name after other words of the line is no heading; after another target's list it is.
                before = re.sub(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s", "", line[max(0, key.start() - 200) : key.start()])
                if (target := names.find(key[1])) and not before.rstrip(" \"'*`#(")[-1:].strip("{;,]}"):
                    headings.append((target, at + key.start(), at + key.end()))
        at += len(line) + 1
    return headings
