"""What a language model said about one target: the sentence of its answer, out of an answer about several."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from llm4grn.llm.parsing.tags import TAG, answer_bodies
from llm4grn.llm.parsing.vocabulary import plain_text

_LONGEST = 600  # characters of a statement
_THOUGHT = re.compile(r"</?\s?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)\s?>", re.I)
_BEFORE = r"^[\s>*#_`\"'\-•]*(?:\(?\d{1,3}[.):]\s*)?[\s*_`\"']*(?:(?i:target|gene)\b[\s:*_`]*)*"
_AFTER = r"[*_`\"']*\s*(?:\([^()\n]{0,80}\)\s*)?[*_`\"']*\s*(?::|=|->|\s-+\s|$)[*_`\"']*"


def statement(text: str, target: str, targets: Sequence[str] = (), tf: str | None = None) -> str | None:
    """Return what the reasoning of a reply says about a target, in one line; None if it does not mention it.

    A line or paragraph that begins with the target's name (``CST3: a monocyte gene ...``) is about it, up to the line
    of the next target. Without such a line, the sentences that name the target count, or, in a reply about this target
    alone, those that name the TF. The list at the end is no statement.

    Parameters
    ----------
    text
        Text of a model's reply.
    target
        Target gene.
    targets
        All targets of the question; fewer than two if it was about this one alone.
    tf
        Transcription factor: among several sentences about the target, those that name it are preferred.

    Examples
    --------
    >>> reply = "CST3: high in monocytes; PU.1 and CEBPB.\\nLYZ: PU.1. <Answer> {} </Answer>"
    >>> statement(reply, "CST3", ["CST3", "LYZ"])
    'high in monocytes; PU.1 and CEBPB.'
    """
    lines = _reasoning(text).splitlines()
    others = [name for name in targets if name != target]
    own = _headed(lines, target, others)
    if own is None:
        sentences = [sentence for line in lines for sentence in _sentences(line)]
        about = [sentence for sentence in sentences if _names(sentence, target)]
        if not others and tf is not None:
            about = [sentence for sentence in sentences if _names(sentence, tf)] or about
        elif tf is not None:
            about = [sentence for sentence in about if _names(sentence, tf)] or about
        own = " ".join(about)
    own = " ".join(own.split()).strip(" *_`-")
    return _shortened(own) if own else None


def _reasoning(text: str) -> str:
    """Return the reply without its answer: outside the tags, or the field ``reasoning`` of a JSON answer."""
    plain = _THOUGHT.sub("\n", plain_text(text))
    try:
        value = json.loads(plain)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return str(value.get("reasoning", ""))
    for body in answer_bodies(plain):
        plain = plain.replace(body.text, "\n") if body.text.strip() else plain
    return TAG.sub("\n", plain)


def _headed(lines: Sequence[str], target: str, others: Sequence[str]) -> str | None:
    """Return the text below or beside the heading of the target, up to a blank line or the heading of another one."""
    heading = re.compile(_BEFORE + re.escape(plain_text(target)) + _AFTER)
    stop = re.compile(_BEFORE + "(?:" + "|".join(map(re.escape, others)) + ")" + _AFTER) if others else None
    for number, line in enumerate(lines):
        if match := heading.match(line):
            own = [line[match.end() :]]
            for following in lines[number + 1 :]:
                if (stop and stop.match(following)) or (not following.strip() and any(map(str.strip, own))):
                    break
                own.append(following)
            return " ".join(own)
    return None


def _sentences(line: str) -> Iterator[str]:
    """Split a line at the ends of its sentences."""
    yield from (part for part in re.split(r"(?<=[.!?;])\s+(?=[A-Z(*\"'])", line) if part.strip())


def _names(sentence: str, gene: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(gene)}(?![\w-])", sentence) is not None


def _shortened(text: str) -> str:
    """Cut a long text after a whole word."""
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " ..."
