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
from llm4grn.llm.cut_answers import CutAnswers
from llm4grn.llm.messages import FAILED, ChatModel, QuestionError, Reply, Request, Stopped
from llm4grn.llm.parsing.answers import Answer
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.questions import Interview, Question

logger = logging.getLogger("llm4grn")

_MANY = 10  # questions for which a forecast is worth a line
_MOST_FAILED = 2  # questions that may fail before it is thought to be the server's fault
_MOST_PROBES = 3  # questions that are asked one by one until an answer can be used


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

    The first question that has to be asked goes alone: its errors, its tokens and its form decide before hundreds are
    sent. A question that is declined for its content stays without an answer, and the others go on; so do a few that
    the server fails to answer while it answers others.

    Parameters
    ----------
    llm
        Language model that is asked.
    cache
        Cache in which answers are looked up and stored; None for no cache.
    spent
        US dollars of the budget that are spent already, and at the end.

    Attributes
    ----------
    asked
        Number of new requests that were answered.
    """

    llm: Interviewee
    cache: AnswerCache | None
    spent: float = 0.0
    asked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._budget = Budget(self.llm.max_cost, self.spent)
        self._dearest = 0.0  # cost of an answer: the next may cost as much, whatever is expected of it
        self._n_failed = 0
        self._n_usable = 0
        self._cut = CutAnswers()
        self._probes: list[Interview] = []
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

        async def work(alone: bool = False) -> None:
            """Ask until all is asked, or ``alone`` until a new answer can be used."""
            try:
                while queue and self._error is None and not (alone and self._is_probed()):
                    i, patient = queue.popleft()
                    asked = self.asked
                    interview = await self._ask(questions[i], patient)
                    if interview is None:
                        # Another job is asking this question. If this job waited for it, two jobs with the same
                        # questions would proceed in lockstep instead of sharing the questions.
                        queue.append((i, True))
                        continue
                    interviews[i] = interview
                    if alone and self.asked > asked:
                        self._probes.append(interview)
                    bar.update()
                    if self.llm.chat.recording is None:
                        bar.set_postfix_str(f"{self.asked} asked, ${self._budget.spent:.4f}", refresh=False)
            except UserError as error:
                self._end(error)
            except Stopped:
                return

        try:
            self._warn_of_unknown_prices()
            async with self.llm.chat, asyncio.TaskGroup() as group:
                await work(alone=True)
                self._forecast(len(queue))
                self._workers |= {
                    group.create_task(work()) for _ in range(min(self.llm.chat.max_concurrency, len(queue)))
                }
        finally:
            self.spent = self._budget.spent
            self._log(len(questions), len(interviews))
            self._log_declined(interviews)
            self._warn_of_others(interviews)
        if self._error is not None:
            raise self._error
        return [interviews[i] for i in range(len(questions))]

    def _is_probed(self) -> bool:
        """Return True if an answer can be used, so that the other questions can be asked all at once.

        Raises
        ------
        UserError
            If several answers name nothing: hundreds more would be paid for in vain.
        """
        if not self._probes or _n_symbols(self._probes[-1].answers) or self._probes[-1].usable:
            return bool(self._probes)
        if len(self._probes) < _MOST_PROBES:
            return False
        last = self._probes[-1].replies[-1]
        said = " ".join(last.text.split())[:100]
        why = "the last one was declined for its content" if last.is_declined else f"the last one begins: {said!r}"
        raise UserError(
            f"llm={self.llm.name}: the first {len(self._probes)} questions gave no answer that can be used, at "
            f"${self._budget.spent:.4f}; {why}; try another llm, llm.prompts or llm.answer_format"
        )

    def _warn_of_unknown_prices(self) -> None:
        if self.llm.max_cost is not None and not self.llm.chat.has_prices:
            logger.warning(
                "llm.max_cost=%g limits nothing unless the server states what it bills, as llm.price_prompt and "
                "llm.price_completion are 0: set them, in US dollars per million tokens",
                self.llm.max_cost,
            )

    def _forecast(self, n_left: int) -> None:
        """Say what the first answer cost, and what the others will cost if they are like it."""
        if self._probes and n_left >= _MANY and self._budget.spent:
            last, cost = self._probes[-1].replies[-1], self._budget.spent / len(self._probes)
            tokens = last.prompt_tokens, last.completion_tokens
            logger.info(
                "first answer: %s + %s tokens, $%.4f; %d more like it: $%.2f", *tokens, cost, n_left, n_left * cost
            )

    def _warn_of_others(self, interviews: Mapping[int, Interview]) -> None:
        """Warn of answers that another server gave under the same name of the model."""
        server = self.llm.chat.server
        replies = [reply for each in interviews.values() for reply in each.replies]
        others = [reply for reply in replies if server and reply.server and reply.server != server]
        if others:
            logger.warning(
                "%d answers of llm.model were given by %s (%s) and not by %s: if that is another model, give it "
                "another name, or another llm.cache",
                *(len(others), others[0].server, others[0].served_model or "its name is not known", server),
            )

    def _log_declined(self, interviews: Mapping[int, Interview]) -> None:
        declined = [each.question.subject for each in interviews.values() if each.replies[-1].is_declined]
        if declined:
            logger.warning(
                "%d questions were declined for their content, for instance about %s", len(declined), declined[0]
            )

    def _log(self, n_questions: int, n_answered: int) -> None:
        if self.llm.chat.recording is None:
            figures = n_questions, self.asked, self.llm.name, self._budget.spent
            lost = (
                f", at most ${self._budget.lost:.4f} of it for attempts without an answer" if self._budget.lost else ""
            )
            logger.info("%d questions: %d new requests to %s, $%.4f%s", *figures, lost)
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
            request = self.llm.request(question, messages)
            try:
                reply = await self._reply(request, patient or bool(replies))
            except QuestionError as error:
                self._tolerate(error, question)
                reply = Reply("", 0, 0, finish_reason=FAILED, lost=error.lost or None)
            if reply is None:
                return None
            replies.append(reply)
            answers = question.read(reply.text)
            complaint = question.complaint(answers)
            self._cut.note(reply, complaint is None)
            if complaint is None:
                self._n_usable += 1
                return Interview(question, answers, tuple(replies), usable=True)
            self._cut.check(request.length_limit, self._budget.spent)
            attempts.append(answers)
            # A declined question stays declined, and under the same limit nothing else fits either.
            if reply.is_declined or reply.has_failed or (reply.is_cut and not reply.text.strip()):
                break
            messages = self.llm.prompts.repair(messages, reply.text, complaint)
        return Interview(question, max(attempts, key=_n_symbols), tuple(replies), usable=False)

    def _tolerate(self, error: QuestionError, question: Question) -> None:
        """Let one bad question be one bad question, if the server answers others; else raise the error again."""
        self._n_failed += 1
        if not self._n_usable or self._n_failed > max(_MOST_FAILED, self.asked / 20):
            raise error
        logger.warning("no answer about %s: %s", question.subject, error)

    async def _reply(self, request: Request, patient: bool) -> Reply | None:
        """Return the reply from the cache, from another job that is asking the same question, or from the model."""
        return await (
            self._call(request) if self.cache is None else self.cache.get_or_ask(request, self._call, patient)
        )

    async def _call(self, request: Request) -> Reply:
        async with self._budget.reserve(max(self.llm.chat.worst_cost(request), self._dearest)) as reservation:
            if self._error is not None:
                raise Stopped
            task = asyncio.current_task()
            self._sending.add(task)
            try:
                reply = await self.llm.chat.complete(request, reservation)
            finally:
                self._sending.discard(task)
            reservation.pay(reply.cost)
            self._dearest = max(self._dearest, reply.cost or 0.0)
        self.asked += 1
        return reply


def _n_symbols(answers: Mapping[str, Answer]) -> int:
    return sum(len(answer.symbols) for answer in answers.values())
