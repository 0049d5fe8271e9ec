"""Questions to a language model, and the interviews that answer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm4grn.llm.messages import Reply
from llm4grn.llm.parsing.answers import Answer


@dataclass(frozen=True)
class Question:
    """A question, with the functions that read its answers and judge whether they are usable.

    Parameters
    ----------
    subject
        Subject for the audit and for errors: target genes, or the first and last gene of a window.
    messages
        The conversation so far, as built by :class:`llm4grn.llm.prompts.Prompts`.
    read
        Function that parses the answers from the text of a reply, one per subject of the question.
    complaint
        Function that returns what is wrong with the answers, to be sent to the model; None if they are usable.
    response_format
        JSON schema that the server enforces, or None.
    sample
        Index of this answer among several independent answers.
    seed
        Seed for models that sample.
    """

    subject: str
    messages: Sequence[Mapping[str, str]]
    read: Callable[[str], Mapping[str, Answer]]
    complaint: Callable[[Mapping[str, Answer]], str | None]
    response_format: Mapping[str, Any] | None = None
    sample: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Interview:
    """A question with all replies, up to the first usable one or the maximum number of repairs.

    Attributes
    ----------
    question
        The question that was asked.
    answers
        The usable answers, or else those that name the most symbols.
    replies
        Replies of the model, in order; more than one if the question was repeated.
    usable
        Whether the answers are usable.
    """

    question: Question
    answers: Mapping[str, Answer]
    replies: tuple[Reply, ...]
    usable: bool
