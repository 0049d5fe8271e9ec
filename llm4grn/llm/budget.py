"""The purse of an interview: what a question could cost is set aside before it is asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from llm4grn.errors import UserError


class BudgetExceeded(UserError):
    """The next question could cost more than there is left."""


@dataclass(eq=False)
class Reservation:
    """Money set aside for one question."""

    amount: float
    paid: float = 0.0

    def pay(self, cost: float | None) -> None:
        """What the question did cost; None, of an answer without a recorded cost, is nothing."""
        self.paid = cost or 0.0


@dataclass
class Budget:
    """Money that is spent, or set aside for questions under way, and never more than ``limit`` in sum.

    To be used within one event loop.

    Parameters
    ----------
    limit
        US dollars; None for no limit.

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
        """What is set aside, US dollars."""
        return math.fsum(reservation.amount for reservation in self._under_way)

    @asynccontextmanager
    async def reserve(self, amount: float) -> AsyncIterator[Reservation]:
        """Set ``amount`` aside while a question is under way.

        Questions mostly cost a fraction of what is set aside for them, so this waits for those under way before it
        gives up: many at once spend as much of the purse as one after the other.

        Raises
        ------
        BudgetExceeded
            If that could exceed the limit. Nothing is asked then.
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
            self._settled.set()  # wakes those that wait now, and not those to come
            self._settled = asyncio.Event()
