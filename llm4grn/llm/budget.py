"""Cost budget for a batch of LLM requests: the highest possible cost of a request is reserved before it is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from llm4grn.errors import UserError


class BudgetExceeded(UserError):
    """The next question could cost more than the remaining budget."""


@dataclass(eq=False)
class Reservation:
    """Amount reserved for one question, in US dollars; the `llm4grn.llm.messages.Ledger` of its attempts."""

    budget: Budget
    amount: float
    paid: float = 0.0

    def pay(self, cost: float | None) -> None:
        """Set the actual cost of the question; None (not recorded) counts as 0."""
        self.paid = cost or 0.0

    def lose(self, lost: float) -> None:
        """Count ``lost`` US dollars for an attempt without an answer."""
        if lost:
            self.budget.spent += lost
            self.budget.lost += lost
            self.budget.n_lost += 1

    async def again(self, lost: float) -> None:
        """Count ``lost`` US dollars for an attempt without an answer, and reserve the amount for another attempt.

        Raises
        ------
        BudgetExceeded
            If another attempt could exceed the limit although no other question is open.
        """
        self.lose(lost)
        if lost:
            self.budget._leave(self)  # two questions that wait while they hold a reservation would wait for each other
            await self.budget._enter(self)


@dataclass
class Budget:
    """Budget whose spent and reserved amounts never exceed ``limit`` in sum, within one event loop.

    Parameters
    ----------
    limit
        Limit in US dollars; None for no limit.

    Attributes
    ----------
    lost
        Part of ``spent`` for attempts without an answer, each by the highest cost that it may have had.
    n_lost
        Number of these attempts.

    Examples
    --------
    >>> async def ask(budget: Budget) -> None:
    ...     async with budget.reserve(0.6) as reservation:
    ...         reservation.pay(0.25)
    >>> asyncio.run(ask(budget := Budget(1.0)))
    >>> budget.spent, budget.reserved
    (0.25, 0.0)
    """

    limit: float | None
    spent: float = 0.0
    lost: float = field(default=0.0, init=False)
    n_lost: int = field(default=0, init=False)
    _under_way: list[Reservation] = field(default_factory=list, init=False, repr=False)
    _settled: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)

    @property
    def reserved(self) -> float:
        """Amount reserved for open questions, in US dollars."""
        return math.fsum(reservation.amount for reservation in self._under_way)

    @asynccontextmanager
    async def reserve(self, amount: float) -> AsyncIterator[Reservation]:
        """Reserve ``amount`` while a question is open.

        Most questions cost a fraction of their reservation, so this waits for open questions to settle before it
        raises: concurrent questions can spend as much of the budget as sequential ones.

        Raises
        ------
        BudgetExceeded
            If the question could exceed the limit although no other question is open.
        """
        reservation = Reservation(self, amount)
        await self._enter(reservation)
        try:
            yield reservation
        finally:
            self.spent += reservation.paid
            self._leave(reservation)

    async def _enter(self, reservation: Reservation) -> None:
        amount = reservation.amount
        while self.limit is not None and self.spent + self.reserved + amount > self.limit:
            if not self._under_way:
                raise BudgetExceeded(
                    f"llm.max_cost={self.limit}: ${self.spent:.4f} is spent{self._of_which_lost()}, and the next "
                    f"question may cost ${amount:.4f}; all answers so far are kept: raise llm.max_cost to go on"
                )
            await self._settled.wait()
        self._under_way.append(reservation)

    def _leave(self, reservation: Reservation) -> None:
        if reservation in self._under_way:
            self._under_way.remove(reservation)
        self._settled.set()  # wakes the current waiters; later waiters get a new event
        self._settled = asyncio.Event()

    def _of_which_lost(self) -> str:
        return f" (${self.lost:.4f} of it, at most, for attempts without an answer)" if self.lost else ""
