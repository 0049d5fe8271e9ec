"""The language model of a config: chat model, prompts, parameters, answer cache and budget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from llm4grn.errors import UserError
from llm4grn.llm.anonymous import GeneNames
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.batch_interview import BatchSession, refuse_batched
from llm4grn.llm.interview import Session
from llm4grn.llm.messages import ChatModel, Request
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.questions import Interview, Question
from llm4grn.llm.schema import answer_schema
from llm4grn.runtime.progress import progress
from llm4grn.validation import Amount, FilePath, NonNegative, Positive, Text, check_fields

_RESERVED = ("model", "messages", "stream", "n")  # parameters that would silently change the request or its cost

Parameters = Annotated[Mapping[str, Any], Field(description="expected names and values, for instance {top_p: 0.9}")]


@dataclass(frozen=True)
class LanguageModel:
    """A chat model with its prompts, parameters, number of repairs, answer cache and budget.

    The model receives gene names and a few sentences of context, but never expression data.

    Parameters
    ----------
    name
        Name in tables.
    model
        Name of the model at the server.
    chat
        Chat model that answers. Its address, limits and prices do not affect the answers and are not part of a key.
    prompts
        Prompting strategy, see :class:`llm4grn.llm.prompts.Prompts`.
    temperature, max_tokens
        Sampling temperature and maximum number of tokens of an answer. A temperature of None is not sent, so the server
        uses its default. A seed is sent only at a temperature above 0; otherwise all seeds share one answer.
    parameters
        Further parameters of the server; a value of None removes one of the above from the request.
    max_repairs
        Number of times that an unusable answer is asked again.
    cache
        File of the answer cache, shared by all runs; None for no cache (if the answers come from a file).
    max_cost
        Maximum cost of one stage's new answers in US dollars; None for no limit.
    context
        Description that every question gives instead of the data set's own, an empty one to leave it out; None for the
        data set's own.
    anonymise
        Whether questions show codes in the place of gene names (see :mod:`llm4grn.llm.anonymous`).
    reasoning_effort
        How much a reasoning model reasons, in the server's words; None is not sent.
    batch
        Whether to ask through the server's Batch API, see `llm4grn.llm.batch_interview`.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    name: str
    model: Text
    chat: ChatModel = field(compare=False)
    prompts: Prompts = field(default_factory=lambda: Prompts.load("cot_context"))
    temperature: Amount | None = 0.0
    max_tokens: Positive = 1500
    parameters: Parameters | None = None
    max_repairs: NonNegative = 2
    cache: FilePath | None = field(default=None, compare=False)
    max_cost: Amount | None = field(default=None, compare=False)
    context: str | None = field(default=None, metadata={"optional": True})
    anonymise: bool = field(default=False, metadata={"optional": True})
    reasoning_effort: Text | None = field(default=None, metadata={"optional": True})
    batch: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self, "llm")
        if self.parameters is None:
            object.__setattr__(self, "parameters", {})
        _check_parameters(self.parameters)

    def fingerprint(self) -> dict[str, str]:
        """Return the digest of the file that the answers come from; empty if a model is asked."""
        return self.chat.fingerprint()

    def response_format(
        self, offered: Sequence[str], targets: Sequence[str] | None = None, k: int | None = None, signs: bool = False
    ) -> dict[str, Any] | None:
        """Return the JSON schema that the server enforces; None if answers are free text."""
        if self.prompts.answer_format == "text":
            return None
        return answer_schema(offered, targets, k, reasoning=self.prompts.reasoning, signs=signs)

    @cached_property
    def _model_id(self) -> str:
        return self.chat.identify(self.model)

    def request(self, question: Question, messages: Sequence[Mapping[str, str]] | None = None) -> Request:
        """Build the request that asks ``question`` or continues its conversation ``messages``."""
        parameters = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "reasoning_effort": self.reasoning_effort,
            **(self.parameters or {}),
        }
        parameters = {name: value for name, value in parameters.items() if value is not None}
        if self.temperature:
            parameters["seed"] = question.seed % 2**31
        if question.response_format is not None:
            parameters["response_format"] = question.response_format
        return Request(self._model_id, messages or question.messages, parameters, question.sample)

    def described(self, context: str, names: GeneNames) -> str:
        """Return the description of the data that a question gives; ``context`` is the data set's own."""
        return names.text(context if self.context is None else self.context)

    def gene_names(self, genes: Sequence[str], tf_names: Sequence[str] = ()) -> GeneNames:
        """Return the names under which questions about these genes show them."""
        return GeneNames.coded(genes, tf_names) if self.anonymise else GeneNames()

    def check_changed(self, requests: Iterable[Request]) -> None:
        """Check that changed questions, if a recording answers them, are in it.

        Raises
        ------
        UserError
            If ``context`` or ``anonymise`` changes the questions and the recording lacks one; a model must be asked.
        """
        changed = {"context": self.context is not None, "anonymise": self.anonymise}
        if self.chat.recording is None or not any(changed.values()):
            return
        if not all(self.chat.has(request) for request in requests):
            fields = " and ".join(f"llm.{name}" for name, is_set in changed.items() if is_set)
            raise UserError(
                f"{fields}: {self.chat.recording} has no answers to questions that are changed in this way; a live "
                "model is needed: llm=gpt4, llm=local, or llm=openai_compatible llm.base_url=... llm.model=..."
            )

    @property
    def activity(self) -> str:
        """Description of an interview for progress bars."""
        return f"asking {self.name}" if self.chat.recording is None else f"from {self.chat.recording}"

    def answered(self, requests: Sequence[Request]) -> set[str]:
        """Return the keys of the requests whose answers are recorded or in the cache."""
        known = {request.key for request in requests if self.chat.has(request)}
        if self.cache is not None and Path(self.cache).exists():
            with AnswerCache(self.cache) as cache:
                known |= cache.get_many(requests).keys()
        return known

    def interview(self, questions: Sequence[Question], desc: str) -> list[Interview]:
        """Ask all questions, with as many concurrent requests as the chat model allows.

        Every answer is stored in the cache as soon as it arrives, so an interrupted interview can be resumed.

        Parameters
        ----------
        questions
            Questions to ask.
        desc
            Label of the progress bar.

        Raises
        ------
        UserError
            If the server refuses a request, cannot be reached, or the next question could exceed ``max_cost``, if
            questions wait in a batch and ``batch`` is false, or as :meth:`check_changed`.
        """
        self.check_changed(self.request(question) for question in questions)
        return _run(lambda: self._interview(questions, desc))

    async def _interview(self, questions: Sequence[Question], desc: str) -> list[Interview]:
        opened = nullcontext() if self.cache is None else AnswerCache(self.cache)
        with progress(total=len(questions), desc=desc, unit="question") as bar, opened as cache:
            if cache is not None and not self.batch:
                refuse_batched(self, cache, questions)
            session = BatchSession(self, cache) if self.batch else Session(self, cache)
            return await session.ask_all(questions, bar)


def _check_parameters(parameters: object) -> None:
    if not isinstance(parameters, Mapping):
        raise UserError(f"llm.parameters={parameters}: expected names and values, for instance {{top_p: 0.9}}")
    for name in parameters:
        if name in _RESERVED:
            raise UserError(f"llm.parameters.{name}: not to be set here; see llm.model and inferer.n_samples")
    try:
        json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"llm.parameters={parameters}: cannot be sent as JSON ({error})") from error


def _run(coroutine: Callable[[], Any]) -> Any:
    """Run a coroutine to completion, also in a notebook, which already has a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        nested = False
    else:
        nested = True
    if not nested:  # outside the except clause, so that errors do not show "no running event loop" as their context
        return asyncio.run(coroutine())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(coroutine())).result()
