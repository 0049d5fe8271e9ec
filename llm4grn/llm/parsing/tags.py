"""Location of the answer in a reply: after an answer tag, outside the reasoning."""

from __future__ import annotations

import re
from dataclasses import dataclass

TAG = re.compile(r"<\s{0,3}([/\\]?)\s{0,3}(?:final[ _-]?)?answers?\s{0,3}/?\s{0,3}>", re.I)
_THOUGHT = re.compile(r"<\s{0,3}(/?)\s{0,3}(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)\s{0,3}>", re.I)
_FINAL = "<|channel|>final<|message|>"  # of gpt-oss; what precedes it is reasoning
_BOXED = re.compile(r"\\boxed\{((?:[^{}\\]|\\[^{}]|\\?\{[^{}]{0,200}\}){0,2000})\}")
_SPECIAL = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>")


@dataclass(frozen=True)
class Body:
    """Text after one answer tag; ``closed`` by the closing tag, or ``cut`` off by the end of the reply.

    ``before`` is the text that precedes the tag.
    """

    text: str
    before: str
    closed: bool
    cut: bool


def without_thoughts(text: str) -> tuple[str, bool]:
    """Return the text without its reasoning blocks, and whether the last block is still open at the end."""
    text = _BOXED.sub(r"<answer>\1</answer>", text.rpartition(_FINAL)[2])
    text = _SPECIAL.sub("\n", text)
    kept: list[str] = []
    start, thinking = 0, False
    for tag in _THOUGHT.finditer(text):
        if tag[1]:
            if not thinking:  # the block was opened by the prompt: everything so far is reasoning
                kept.clear()
            start, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[start : tag.start()])
            start, thinking = tag.end(), True
    return "\n".join([*kept, text[start:]]), thinking


def answer_bodies(text: str) -> list[Body]:
    """Return the bodies of the answer tags of a text, in order."""
    tags = list(TAG.finditer(text))
    bodies = []
    for at, tag in enumerate(tags):
        following = tags[at + 1] if at + 1 < len(tags) else None
        previous = tags[at - 1].end() if at else 0
        before = text[max(previous, tag.start() - 200) : tag.start()]
        if not tag[1]:
            end = following.start() if following else len(text)
            bodies.append(Body(text[tag.end() : end], before, bool(following and following[1]), following is None))
        elif at == 0 or tags[at - 1][1]:  # the tag was opened by the prompt
            bodies.append(Body(before.rstrip().rpartition("\n")[2], "", False, False))
    return bodies
