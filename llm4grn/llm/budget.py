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
    """Amount reserved for one question, in US dollars."""

    amount: float
    paid: float = 0.0

    def pay(self, cost: float | None) -> None:
        """Set the actual cost of the question; None (not recorded) counts as 0."""
        self.paid = cost or 0.0


@dataclass
class Budget:
    """Budget whose spent and reserved amounts never exceed ``limit`` in sum, within one event loop.

    Parameters
    ----------
    limit
        Limit in US dollars; None for no limit.

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
        while self.limit is not None and self.spent + self.reserved + amount > self.limit:
            if not self._under_way:
                raise BudgetExceeded(
                    f"llm.max_cost={self.limit}: ${self.spent:.4f} is spent, and the next question may cost "
                    f"${amount:.4f}; all answers so far are kept: raise llm.max_cost to go on"
                )
            await self._settled.wait()
        reservation = Reservation(amount)
        self._under_way.append(reservation)
        try:
            yield reservation
        finally:
            self._under_way.remove(reservation)
            self.spent += reservation.paid
            self._settled.set()  # wakes the current waiters; later waiters get a new event
            self._settled = asyncio.Event()
