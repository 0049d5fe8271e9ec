"""What a language model is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm4grn.llm.messages import Reply
from llm4grn.llm.parsing.answers import Answer

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Question:
    """What is asked, and when its answer will do.

    Parameters
    ----------
    subject
        What it is about, for the audit and for errors: a target gene, or the first and last gene of a window.
    messages
        The conversation so far, as :class:`llm4grn.llm.prompts.Prompts` makes it.
    read
        Finds the answers in the text of a reply, one per subject of the question.
    complaint
        What is wrong with them, to be told to the model; None if they will do.
    response_format
        The JSON schema that the server is asked to enforce, or None.
    sample, seed
        Which of several independent answers this is; passed on to models that draw.
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
    """A question with all that was said until its answer would do, or the patience was over.

    Attributes
    ----------
    answers
        The best that were given: those that would do, else those that named the most.
    replies
        Of the model, in order: more than one if it was asked again.
    usable
        Whether the answers would do.
    """

    question: Question
    answers: Mapping[str, Answer]
    replies: tuple[Reply, ...]
    usable: bool
