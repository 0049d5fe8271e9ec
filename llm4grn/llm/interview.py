"""Many questions at once to one language model: each answer kept, unusable ones asked again."""

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


class Asked(Protocol):
    """What a session needs of a language model."""

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
        """The call that asks a question, or goes on with its conversation."""
        ...


@dataclass
class Session:
    """Interviews under way: the answers are open, the money is counted, and the first error is the end of all.

    Parameters
    ----------
    llm
        Who is asked.
    cache
        Where answers are looked up and stored; None keeps none.

    Attributes
    ----------
    asked
        New requests that were answered.
    """

    llm: Asked
    cache: AnswerCache | None
    asked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._budget = Budget(self.llm.max_cost)
        self._error: UserError | None = None
        self._workers: set[asyncio.Task] = set()
        self._sending: set[asyncio.Task] = set()  # those that wait for the model, and so for something to be paid

    async def ask_all(self, questions: Sequence[Question], bar: Any) -> list[Interview]:
        """The interviews, in the order of the questions; ``bar`` is a progress bar.

        Raises
        ------
        UserError
            The first that came up. What was under way then has come back and is stored.
        """
        interviews: list[Interview | None] = [None] * len(questions)
        queue = deque((i, False) for i in range(len(questions)))

        async def work() -> None:
            try:
                while queue and self._error is None:
                    i, patient = queue.popleft()
                    interviews[i] = await self._ask(questions[i], patient)
                    if interviews[i] is None:
                        # Another job is asking this. If we waited, two jobs with the same questions would go in step,
                        # and take as long as one.
                        queue.append((i, True))
                        continue
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
            self._log(len(questions), sum(interview is not None for interview in interviews))
        if self._error is not None:
            raise self._error
        return interviews

    def _log(self, n_questions: int, n_answered: int) -> None:
        if self.llm.chat.recording is None:
            figures = n_questions, self.asked, self.llm.name, self._budget.spent
            logger.info("%d questions: %d new requests to %s, $%.4f", *figures)
        else:
            which = n_questions if n_answered == n_questions else f"{n_answered} of {n_questions}"
            logger.info("%s questions answered from %s", which, self.llm.chat.recording)

    def _end(self, error: UserError) -> None:
        """Send nothing more, and let come back what is under way: it will be paid for."""
        if self._error is not None:
            return
        self._error = error
        self.llm.chat.stop()
        for worker in self._workers - self._sending - {asyncio.current_task()}:
            worker.cancel()
        if self._sending:
            logger.warning("stopping; waiting for %d answers under way, which will be paid for", len(self._sending))

    async def _ask(self, question: Question, patient: bool) -> Interview | None:
        """None if another job is asking just this, and there is no ``patient`` waiting for it."""
        messages, replies, best = question.messages, [], None
        for _ in range(self.llm.max_repairs + 1):
            reply = await self._reply(self.llm.request(question, messages), patient or bool(replies))
            if reply is None:
                return None
            replies.append(reply)
            answers = question.read(reply.text)
            complaint = question.complaint(answers)
            if complaint is None:
                return Interview(question, answers, tuple(replies), usable=True)
            if best is None or _n_symbols(answers) > _n_symbols(best):
                best = answers
            messages = self.llm.prompts.repair(messages, reply.text, complaint)
        return Interview(question, best, tuple(replies), usable=False)

    async def _reply(self, request: Request, patient: bool) -> Reply | None:
        """From the cache, from another job that is asking the same at this moment, or from the model."""
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
