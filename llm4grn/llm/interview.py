"""Many questions at once to one language model: each answer kept, unusable ones asked again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError
from llm4grn.llm.answers import Answer
from llm4grn.llm.budget import Budget
from llm4grn.llm.cache import AnswerCache
from llm4grn.llm.chat import Stopped
from llm4grn.llm.messages import Reply, Request

if TYPE_CHECKING:
    from llm4grn.llm.language_model import LanguageModel

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

    llm: LanguageModel
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
