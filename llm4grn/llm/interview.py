"""Concurrent questions to one language model: every answer is stored, and unusable answers are asked again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.budget import Budget
from llm4grn.llm.messages import ChatModel, Reply, Request, Stopped
from llm4grn.llm.parsing.answers import Answer
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.questions import Interview, Question

logger = logging.getLogger("llm4grn")


class Interviewee(Protocol):
    """The interface of a language model that a session uses."""

    @property
    def name(self) -> str: ...

    @property
    def chat(self) -> ChatModel: ...

    @property
    def prompts(self) -> Prompts: ...

    @property
    def max_repairs(self) -> int: ...

    @property
    def max_cost(self) -> float | None: ...

    def request(self, question: Question, messages: Sequence[Mapping[str, str]] | None = None) -> Request:
        """Build the request that asks a question or continues its conversation."""
        ...


@dataclass
class Session:
    """A set of concurrent interviews with a shared budget, all of which end at the first error.

    Parameters
    ----------
    llm
        Language model that is asked.
    cache
        Cache in which answers are looked up and stored; None for no cache.

    Attributes
    ----------
    asked
        Number of new requests that were answered.
    """

    llm: Interviewee
    cache: AnswerCache | None
    asked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._budget = Budget(self.llm.max_cost)
        self._error: UserError | None = None
        self._workers: set[asyncio.Task[None]] = set()
        # Workers that wait for the model: their answers will be paid for.
        self._sending: set[asyncio.Task[Any] | None] = set()

    async def ask_all(self, questions: Sequence[Question], bar: Any) -> list[Interview]:
        """Ask all questions and return the interviews in the order of the questions; ``bar`` is a progress bar.

        Raises
        ------
        UserError
            The first error. By then all open requests have been answered and their answers are stored.
        """
        interviews: dict[int, Interview] = {}
        queue = deque((i, False) for i in range(len(questions)))

        async def work() -> None:
            try:
                while queue and self._error is None:
                    i, patient = queue.popleft()
                    interview = await self._ask(questions[i], patient)
                    if interview is None:
                        # Another job is asking this question. If this job waited for it, two jobs with the same
                        # questions would proceed in lockstep instead of sharing the questions.
                        queue.append((i, True))
                        continue
                    interviews[i] = interview
                    bar.update()
                    if self.llm.chat.recording is None:
                        bar.set_postfix_str(f"{self.asked} asked, ${self._budget.spent:.4f}", refresh=False)
            except UserError as error:
                self._end(error)
            except Stopped:
                return

        try:
            async with self.llm.chat, asyncio.TaskGroup() as group:
                self._workers |= {
                    group.create_task(work()) for _ in range(min(self.llm.chat.max_concurrency, len(questions)))
                }
        finally:
            self._log(len(questions), len(interviews))
        if self._error is not None:
            raise self._error
        return [interviews[i] for i in range(len(questions))]

    def _log(self, n_questions: int, n_answered: int) -> None:
        if self.llm.chat.recording is None:
            figures = n_questions, self.asked, self.llm.name, self._budget.spent
            logger.info("%d questions: %d new requests to %s, $%.4f", *figures)
        else:
            which = n_questions if n_answered == n_questions else f"{n_answered} of {n_questions}"
            logger.info("%s questions answered from %s", which, self.llm.chat.recording)

    def _end(self, error: UserError) -> None:
        """Send no more requests, but wait for the answers to open ones: they will be paid for."""
        if self._error is not None:
            return
        self._error = error
        self.llm.chat.stop()
        for worker in self._workers - self._sending - {asyncio.current_task()}:
            worker.cancel()
        if self._sending:
            logger.warning("stopping; waiting for %d answers under way, which will be paid for", len(self._sending))

    async def _ask(self, question: Question, patient: bool) -> Interview | None:
        """Ask one question with its repairs; return None if another job is asking it and ``patient`` is False."""
        messages = question.messages
        replies: list[Reply] = []
        attempts: list[Mapping[str, Answer]] = []
        for _ in range(self.llm.max_repairs + 1):
            reply = await self._reply(self.llm.request(question, messages), patient or bool(replies))
            if reply is None:
                return None
            replies.append(reply)
            answers = question.read(reply.text)
            complaint = question.complaint(answers)
            if complaint is None:
                return Interview(question, answers, tuple(replies), usable=True)
            attempts.append(answers)
            messages = self.llm.prompts.repair(messages, reply.text, complaint)
        return Interview(question, max(attempts, key=_n_symbols), tuple(replies), usable=False)

    async def _reply(self, request: Request, patient: bool) -> Reply | None:
        """Return the reply from the cache, from another job that is asking the same question, or from the model."""
        return await (
            self._call(request) if self.cache is None else self.cache.get_or_ask(request, self._call, patient)
        )

    async def _call(self, request: Request) -> Reply:
        async with self._budget.reserve(self.llm.chat.worst_cost(request)) as reservation:
            if self._error is not None:
                raise Stopped
            task = asyncio.current_task()
            self._sending.add(task)
            try:
                reply = await self.llm.chat.complete(request)
            finally:
                self._sending.discard(task)
            reservation.pay(reply.cost)
        self.asked += 1
        return reply


def _n_symbols(answers: Mapping[str, Answer]) -> int:
    return sum(len(answer.symbols) for answer in answers.values())
