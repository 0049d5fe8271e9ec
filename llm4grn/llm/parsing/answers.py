"""Parsing of a reply about one target: which of the offered genes it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm4grn.llm.parsing import lists
from llm4grn.llm.parsing.tags import TAG, Body, answer_bodies, without_thoughts
from llm4grn.llm.parsing.vocabulary import Mention, Vocabulary, plain_text

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


@dataclass(frozen=True)
class Answer:
    """The names in a language model's answer, compared with the offered ones.

    Parameters
    ----------
    symbols
        Offered symbols that were named, in the order of the answer, without duplicates, in the offered spelling.
    invented
        Names that were not offered, without duplicates, as written in the answer.
    repeated
        Offered symbols that were named more than once, without duplicates.
    found
        Whether the reply contains an answer; an answer that names nothing (``[]``, ``none``) counts.
    signs
        For each of the symbols, the sign stated at its first mention: 1 for activation, -1 for repression, 0 for none.
        Empty if no sign is stated for any.
    """

    symbols: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    found: bool = False
    signs: tuple[int, ...] = field(default=(), repr=False, compare=False)


def parse_answer(text: str, offered: Sequence[str]) -> Answer:
    """Parse the genes that a language model named in its reply, as a human reader would understand it.

    The last complete ``<Answer> ... </Answer>`` is used, except one that only repeats the format. Without tags, a JSON
    value, a line ``Answer: ...``, or a list in brackets or bullets at the end is used, but not names within reasoning.

    Parameters
    ----------
    text
        The whole reply; no text raises an error.
    offered
        The symbols of the question, as a closed vocabulary. Names are matched regardless of case, unless two offered
        symbols differ only in case and neither is matched exactly.

    Examples
    --------
    >>> parse_answer("Myeloid genes. <answer> 1. PU.1 (SPI1), gata2, FOXQ9 </answer>", ["GATA2", "SPI1"])
    Answer(symbols=('SPI1', 'GATA2'), invented=('FOXQ9',), repeated=(), found=True)
    """
    vocabulary = Vocabulary(offered)
    plain, thinking = without_thoughts(plain_text(text))
    bodies = answer_bodies(plain)
    for closed in (True, False):
        for body in reversed(bodies):
            if body.closed is closed and (mentions := read_body(body, vocabulary)) is not None:
                return to_answer(mentions)
    if any(_is_prose(body) for body in bodies if body.closed):
        return Answer(found=True)
    return Answer() if thinking else to_answer(_untagged(TAG.sub("\n", plain), vocabulary))


def to_answer(mentions: list[Mention] | None) -> Answer:
    """Return the answer with these mentions, in this order; None stands for a reply without an answer."""
    if mentions is None:
        return Answer()
    # Dictionaries serve as ordered sets.
    symbols: dict[str, int] = {}
    invented: dict[str, None] = {}
    repeated: dict[str, None] = {}
    for symbol, written, sign in mentions:
        if not symbol:
            invented[written] = None
        elif symbol in symbols:
            repeated[symbol] = None
        else:
            symbols[symbol] = sign
    signs = tuple(symbols.values()) if any(symbols.values()) else ()
    return Answer(tuple(symbols), tuple(invented), tuple(repeated), found=True, signs=signs)


def read_body(body: Body, vocabulary: Vocabulary) -> list[Mention] | None:
    """Return the names in the body of an answer tag; None for prose and for a repetition of the format."""
    text = body.text if body.closed else _first_list(lists.without_markup(body.text), vocabulary)
    if not text.strip():
        alone = not body.before.rpartition("\n")[2].strip(" *`>")  # on its own line, not mentioned within a sentence
        return [] if alone and body.closed else None
    mentions = lists.read_list(text, vocabulary, truncated=body.cut)
    if not mentions and "..." in text and not any(map(str.isalnum, text)):
        return None
    return None if mentions and is_echo(mentions) else mentions


def _first_list(text: str, vocabulary: Vocabulary) -> str:
    """Return the text up to the end of its first list: without a closing tag, prose may follow the answer."""
    for start, end in lists.groups(text)[: lists.MOST_GROUPS]:
        if lists.begins_list(text, start, 0, vocabulary):
            return text[:end]
    paragraph = re.split(r"\n\s*\n", text, maxsplit=1)[0]
    return paragraph if lists.read_list(paragraph, vocabulary) else text


def is_echo(mentions: list[Mention]) -> bool:
    """Return True if all names are placeholders (``A, B``) of the requested format."""
    return all(mention.symbol is None and _PLACEHOLDER.fullmatch(mention.written) for mention in mentions)


def _is_prose(body: Body) -> bool:
    text = body.text[:2000]
    return len(re.findall(r"\w+", text)) > 1 and not _TEMPLATE.search(text) and not re.search(r"\.\.\.\s*[\])]", text)


def _untagged(text: str, vocabulary: Vocabulary) -> list[Mention] | None:
    text = lists.without_markup(text)
    value = lists.parse_json(text)
    if isinstance(value, list | dict):
        mentions = lists.read_json(value, vocabulary)
        return None if mentions and is_echo(mentions) else mentions
    if re.fullmatch(r"\W*none\W*", text, re.I):
        return []
    labels = list(_LABEL.finditer(text))
    if labels and (mentions := _after_label(text[labels[-1].end() :], vocabulary)) is not None:
        return mentions
    for read in (lists.read_bare, _final_brackets, _final_bullets):
        mentions = read(text, vocabulary)
        exact = read is not _final_brackets  # an ordinary word may equal a gene except for its case
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
    """Parse a list at the very end: bare names, or explained names if the heading says that they are the result.

    Other bullets are reasoning that discusses the genes one by one, including rejected ones.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and not _LINE.match(lines[-1]) and _LINE.match(lines[-2]):
        words = re.findall(r"[^\s,;:!?()*`\"']+", lines[-1])
        if not any(vocabulary.find(word.rstrip("."), exact=True) for word in words):
            lines.pop()  # such as "I hope this helps."; a line "Of these only SPI1 is a TF." makes the list reasoning
    first = len(lines)
    while first and _LINE.match(lines[first - 1]):
        first -= 1
    block = "\n".join(lines[first:])
    bare = lists.read_bare(block, vocabulary) if block else None
    concluding = block and first and _CONCLUDES.search(lines[first - 1][:300])
    return bare or (lists.read_lines(block, vocabulary) if concluding else None)
