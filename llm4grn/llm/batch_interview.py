"""An interview through a server's Batch API: submitted, found again after the end of the process, and collected."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.batches import BatchRegister, OpenBatch
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.budget import BudgetExceeded
from llm4grn.llm.interview import Interviewee, Session
from llm4grn.llm.messages import Reply, Request
from llm4grn.llm.openai.batches import MOST_BYTES, MOST_QUESTIONS, Batches, Gone
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.openai.failures import Failure
from llm4grn.llm.questions import Interview, Question

logger = logging.getLogger("llm4grn")

_MOST_TRIES = 3  # batches that a question may be in without an answer before it is asked by itself


class BatchSession:
    """A set of interviews that are asked in batches: one for all first questions, one for all repairs, and so on.

    One question is asked by itself before anything is submitted, so that a wrong key, parameter or limit shows at once.
    All answers go through the file of answers; when they are in it, the interviews are read from there.

    Parameters
    ----------
    llm
        Language model that is asked.
    cache
        File of answers.

    Raises
    ------
    UserError
        If the model has no Batch API, or there is no file of answers.
    """

    def __init__(self, llm: Interviewee, cache: AnswerCache | None) -> None:
        chat = llm.chat
        if not isinstance(chat, OpenAIChat) or chat.price_batch is None:
            raise UserError(f"llm.batch=true: llm={llm.name} has no Batch API here; set llm.batch=false")
        if cache is None:
            raise UserError("llm.batch=true needs a file of answers; set llm.cache, or leave it at its default")
        self._llm, self._cache, self._chat, self._share = llm, cache, chat, chat.price_batch
        self._spent = 0.0
        self._tries: Counter[str] = Counter()
        self._ended: set[int] = set()  # by the identity of their questions: interviews that lack nothing
        self._some_usable = False

    async def ask_all(self, questions: Sequence[Question], bar: Any) -> list[Interview]:
        """Ask all questions and return the interviews in the order of the questions; ``bar`` is a progress bar.

        Raises
        ------
        UserError
            The first error. What is submitted stays so, and the next process collects it.
        """
        register = BatchRegister(self._cache, self._chat.base_url or "")
        first = [request for question in questions[:1] for request in self._missing([question])]
        if first and not register.open(self._missing(questions)):
            probe = Session(self._llm, self._cache)
            await probe.ask_all(questions[:1], bar)
            self._spent = probe.spent
            bar.reset()
        async with self._chat:
            batches = Batches(self._chat)
            while missing := self._missing(questions):
                await self._resume(register, batches, missing)
                await self._submit(register, batches, missing)
                waiting = register.open(missing)
                collected = [await self._collect(register, batches, each, bar) for each in waiting if each.id]
                if not any(collected):
                    await asyncio.sleep(self._chat.batch_poll)
        if self._spent:
            logger.info("batches of %s: $%.4f", self._llm.name, self._spent)
        bar.reset()
        return await Session(self._llm, self._cache, self._spent).ask_all(questions, bar)

    def _missing(self, questions: Iterable[Question]) -> list[Request]:
        """Return the next request of each interview that lacks an answer; none if the answers so far end it."""
        replies: list[Reply] = []
        missing = []
        for question in questions:
            if id(question) not in self._ended:
                request = self._next(question, replies)
                if request is None:
                    self._ended.add(id(question))
                else:
                    missing.append(request)
        if not self._some_usable and len(replies) >= _MOST_TRIES and all(reply.is_cut for reply in replies):
            return []  # the session says that the answers were cut off, before repairs are paid for
        return [request for request in missing if self._tries[request.key] < _MOST_TRIES]

    def _next(self, question: Question, replies: list[Reply]) -> Request | None:
        for request, reply, complaint in _conversation(self._llm, self._cache, question):
            if reply is None:
                return request
            replies.append(reply)
            self._some_usable |= complaint is None
        return None

    async def _resume(self, register: BatchRegister, batches: Batches, missing: Sequence[Request]) -> None:
        """Find the batches whose submission was interrupted, or give their questions free."""
        for each in register.open(missing):
            if each.is_orphan:
                found = await batches.find(each.token)
                if found is None:
                    register.forget(each.token)
                else:
                    register.confirm(each.token, found)

    async def _submit(self, register: BatchRegister, batches: Batches, missing: Sequence[Request]) -> None:
        """Submit what nobody asks, as far as the budget and the size of a batch allow."""
        under_way = [request for each in register.open(missing) for request in register.requests(each.token).values()]
        asked = {request.key for request in under_way}
        left = math.inf if self._llm.max_cost is None else self._llm.max_cost - self._spent
        left -= sum(map(self._worst, under_way))
        chosen: list[Request] = []
        n_bytes, worst = 0, 0.0
        for request in missing:
            if request.key in asked:
                continue
            worst = self._worst(request)
            n_bytes += len(batches.line(request).encode())
            if worst > left or len(chosen) == MOST_QUESTIONS or n_bytes > MOST_BYTES:
                break
            left -= worst
            chosen.append(request)
        if not chosen:
            if worst > left and not under_way:
                raise BudgetExceeded(
                    f"llm.max_cost={self._llm.max_cost}: ${self._spent:.4f} is spent, and the next question may cost "
                    f"${worst:.4f}; all answers so far are kept: raise llm.max_cost to go on"
                )
            return
        token, mine = register.reserve(chosen)
        if mine:
            identifier = await batches.submit(mine, token)
            register.confirm(token, identifier)
            self._tries.update(request.key for request in mine)
            logger.info(
                "batch %s: %d questions submitted to %s; if this command ends, the same one collects them",
                *(identifier, len(mine), self._llm.name),
            )

    async def _collect(self, register: BatchRegister, batches: Batches, each: OpenBatch, bar: Any) -> bool:
        """Store the answers of a batch if it has ended, and return whether it has."""
        try:
            state = await batches.state(each.id)
            bar.set_postfix_str(f"batch {state.status}, {state.n_done} done", refresh=True)
            if not state.has_ended:
                return False
            requests = register.requests(each.token)
            outcomes = await batches.results(state, requests)
        except Gone as error:
            if not each.is_over:  # perhaps asked for with another key
                raise
            register.forget(each.token)
            raise UserError(
                f"llm={self._llm.name}: batch {each.id}, older than a day, or the file with its answers is gone "
                f"at the server; the same command asks its questions again, and they are paid for again ({error})"
            ) from error
        answered: list[tuple[Request, Reply, str | None]] = []
        failed: dict[str, Failure] = {}
        sent = {key: self._chat.body(request) for key, request in requests.items()}
        for key, outcome in outcomes.items():
            request = requests[key]
            if isinstance(outcome, Reply):
                answered.append((request, outcome, None))
                self._spent += outcome.cost or 0.0
                continue
            self._spent += self._share * self._chat.cost_of(outcome, request)
            if not outcome.transient and not self._chat.adapt(request, sent[key], outcome):
                failed[key] = outcome
        self._cache.put_all(answered)
        n_answered = len(answered)
        register.forget(each.token)
        logger.info("batch %s %s: %d of %d questions answered", each.id, state.status, n_answered, len(requests))
        reason = state.problem if state.status == "failed" else ""
        if failed and n_answered:  # these questions, and no others: they are asked by themselves once more
            self._tries.update(dict.fromkeys(failed, _MOST_TRIES))
        elif failed:
            reason = next(iter(failed.values())).reason
        if reason or (state.status == "cancelled" and n_answered < len(requests)):
            raise UserError(
                f"llm={self._llm.name}, batch {each.id}: {reason or 'it was cancelled'}; the answers so far are kept, "
                "and the same command submits the others again"
            )
        return True

    def _worst(self, request: Request) -> float:
        return self._share * self._chat.worst_cost(request)


def refuse_batched(llm: Interviewee, cache: AnswerCache, questions: Iterable[Question]) -> None:
    """Raise UserError if some of the questions wait in a batch, whose answers would be paid for twice.

    For interviews that do not go through batches themselves.
    """
    if not isinstance(llm.chat, OpenAIChat):
        return
    waiting = BatchRegister(cache, llm.chat.base_url or "").waiting()
    if not waiting:
        return
    asked = {request.key for question in questions for request, *_ in _conversation(llm, cache, question)}
    if n := len(asked & waiting):
        raise UserError(
            f"llm={llm.name}: {n} of these questions are in a batch that is not collected yet, and would be paid for "
            "again; add llm.batch=true, which waits for it and collects it, or ask anew with another llm.cache"
        )


def _conversation(
    llm: Interviewee, cache: AnswerCache, question: Question
) -> Iterator[tuple[Request, Reply | None, str | None]]:
    """Yield each request of an interview with its stored reply, which the last may lack, and what is wrong with it."""
    messages = question.messages
    for _ in range(llm.max_repairs + 1):
        request = llm.request(question, messages)
        reply = cache.get(request)
        complaint = None if reply is None else question.complaint(question.read(reply.text))
        yield request, reply, complaint
        if reply is None or complaint is None or reply.is_declined or (reply.is_cut and not reply.text.strip()):
            return
        messages = llm.prompts.repair(messages, reply.text, complaint)
