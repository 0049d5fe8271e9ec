"""A language model that is interviewed: many questions at once, each answer kept, unusable ones asked again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llm4grn.errors import UserError
from llm4grn.llm.answers import Answer
from llm4grn.llm.budget import Budget, BudgetExceeded
from llm4grn.llm.cache import AnswerCache
from llm4grn.llm.chat import ChatModel
from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.prompts import Prompts, answer_schema
from llm4grn.progress import progress

logger = logging.getLogger("llm4grn")


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


@dataclass(frozen=True)
class LanguageModel:
    """A chat model with its prompts, its parameters and the patience, memory and purse to interview it.

    It is told gene names and a few sentences of context; no expression ever reaches it.

    Parameters
    ----------
    name
        In tables.
    model
        As the server knows it.
    chat
        Who answers. Address, limits and prices change no answer, so they are no part of a key.
    prompts
        See :class:`llm4grn.llm.prompts.Prompts`.
    temperature, max_tokens
        Of the answers. At temperature 0 no seed is sent, so that all seeds share one answer.
    parameters
        Further ones that the server understands.
    max_repairs
        How often an unusable answer is asked again.
    cache
        File of the answers, shared by all runs; None keeps none (for answers that come from a file anyway).
    max_cost
        US dollars that may be spent by one stage on new answers; None sets no limit.

    Raises
    ------
    UserError
        For an impossible value.
    """

    name: str
    model: str
    chat: ChatModel = field(compare=False)
    prompts: Prompts = field(default_factory=lambda: Prompts.load("cot_context"))
    temperature: float = 0.0
    max_tokens: int = 1500
    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_repairs: int = 2
    cache: str | None = field(default=None, compare=False)
    max_cost: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.model or not isinstance(self.model, str):
            raise UserError(f"llm.model={self.model}: expected the name of the model at its server")
        if not _is_number(self.temperature) or self.temperature < 0:
            raise UserError(f"llm.temperature={self.temperature}: expected a number, 0 or more")
        for name, least in ("max_tokens", 1), ("max_repairs", 0):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"llm.{name}={value}: expected a whole number, {least} or more")
        if self.max_cost is not None and (not _is_number(self.max_cost) or self.max_cost < 0):
            raise UserError(f"llm.max_cost={self.max_cost}: expected US dollars, 0 or more, or null for no limit")

    def fingerprint(self) -> dict[str, str]:
        """Of the file that holds the answers, if they come from one."""
        return self.chat.fingerprint() if hasattr(self.chat, "fingerprint") else {}

    def response_format(
        self, offered: Sequence[str], targets: Sequence[str] | None = None, k: int | None = None
    ) -> dict[str, Any] | None:
        """The JSON schema for the server to enforce, or None where answers are free text."""
        if self.prompts.answer_format == "text":
            return None
        return answer_schema(offered, targets, k, reasoning=self.prompts.reasoning)

    @cached_property
    def _model_id(self) -> str:
        return self.chat.identify(self.model)

    def request(self, question: Question, messages: Sequence[Mapping[str, str]] | None = None) -> Request:
        """The call that asks ``question``, or goes on with its conversation ``messages``."""
        parameters = {"temperature": self.temperature, "max_tokens": self.max_tokens, **self.parameters}
        if self.temperature > 0:
            parameters["seed"] = question.seed % 2**31
        if question.response_format is not None:
            parameters["response_format"] = question.response_format
        return Request(self._model_id, messages or question.messages, parameters, question.sample)

    def interview(self, questions: Sequence[Question], desc: str) -> list[Interview]:
        """Ask all questions, as many at once as the chat model allows.

        Every answer is in the cache the moment it arrives: whatever ends this early, the next call goes on from there.

        Raises
        ------
        UserError
            If the server refuses, cannot be reached, or the next question could exceed ``max_cost``.
        """
        return _run(lambda: self._interview(questions, desc))

    async def _interview(self, questions: Sequence[Question], desc: str) -> list[Interview]:
        with progress(total=len(questions), desc=desc, unit="question") as bar:
            if self.cache is None:
                session = _Session(self, None)
                return await session.ask_all(questions, bar)
            with AnswerCache(self.cache) as cache:
                return await _Session(self, cache).ask_all(questions, bar)


@dataclass
class _Session:
    """One interview under way: its cache is open, its money is counted."""

    llm: LanguageModel
    cache: AnswerCache | None

    def __post_init__(self) -> None:
        self.budget = Budget(self.llm.max_cost)
        self.asked = 0

    async def ask_all(self, questions: Sequence[Question], bar: Any) -> list[Interview]:
        interviews: list[Interview | None] = [None] * len(questions)
        waiting = iter(enumerate(questions))
        broke: list[BudgetExceeded] = []

        async def work() -> None:
            for i, question in waiting:  # the workers share one iterator: each question goes to one of them
                try:
                    interviews[i] = await self.ask(question)
                except BudgetExceeded as error:  # the others finish what they have asked: it is paid for
                    broke.append(error)
                if broke:
                    return
                bar.update()
                bar.set_postfix_str(f"{self.asked} asked, ${self.budget.spent:.4f}", refresh=False)

        try:
            async with self.llm.chat, asyncio.TaskGroup() as group:
                for _ in range(min(self.llm.chat.max_concurrency, len(questions))):
                    group.create_task(work())
        except* UserError as errors:
            raise _first(errors) from None
        finally:
            logger.info(
                "%d questions: %d new requests to %s, $%.4f",
                len(questions),
                self.asked,
                self.llm.name,
                self.budget.spent,
            )
        if broke:
            raise broke[0]
        return interviews

    async def ask(self, question: Question) -> Interview:
        messages, replies, best = question.messages, [], None
        for _ in range(self.llm.max_repairs + 1):
            replies.append(reply := await self.reply(self.llm.request(question, messages)))
            answers = question.read(reply.text)
            complaint = question.complaint(answers)
            if complaint is None:
                return Interview(question, answers, tuple(replies), usable=True)
            if best is None or _n_symbols(answers) > _n_symbols(best):
                best = answers
            messages = self.llm.prompts.repair(messages, reply.text, complaint)
        return Interview(question, best, tuple(replies), usable=False)

    async def reply(self, request: Request) -> Reply:
        """From the cache, from another job that is asking the same at this moment, or from the model."""
        return await (self.call(request) if self.cache is None else self.cache.get_or_ask(request, self.call))

    async def call(self, request: Request) -> Reply:
        async with self.budget.reserve(self.llm.chat.worst_cost(request)) as reservation:
            reply = await self.llm.chat.complete(request)
            reservation.pay(reply.cost)
        self.asked += 1
        return reply


def _first(errors: BaseExceptionGroup) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _n_symbols(answers: Mapping[str, Answer]) -> int:
    return sum(len(answer.symbols) for answer in answers.values())


def _run(coroutine: Callable[[], Any]) -> Any:
    """Run to the end, also from a notebook, which has an event loop of its own already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        nested = False
    else:
        nested = True
    if not nested:  # not within the except: errors would show "no running event loop" as their origin
        return asyncio.run(coroutine())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(coroutine())).result()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
