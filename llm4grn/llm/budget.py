"""The purse of an interview: what a question could cost is set aside before it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llm4grn.errors import UserError


class BudgetExceeded(UserError):
    """The next question could cost more than there is left."""


@dataclass
class Reservation:
    """Money set aside for one question."""

    amount: float
    paid: float = 0.0

    def pay(self, cost: float) -> None:
        """What the question did cost."""
        self.paid = cost


@dataclass
class Budget:
    """Money that is spent, or set aside for questions under way, and never more than ``limit`` in sum.

    Parameters
    ----------
    limit
        US dollars; None for no limit.

    Examples
    --------
    >>> budget = Budget(1.0)
    >>> with budget.reserve(0.6) as reservation:
    ...     reservation.pay(0.25)
    >>> budget.spent, budget.reserved
    (0.25, 0.0)
    """

    limit: float | None
    spent: float = 0.0
    reserved: float = 0.0

    @contextmanager
    def reserve(self, amount: float) -> Iterator[Reservation]:
        """Set ``amount`` aside while a question is under way.

        Raises
        ------
        BudgetExceeded
            If that could exceed the limit. Nothing is asked then.
        """
        if self.limit is not None and self.spent + self.reserved + amount > self.limit:
            raise BudgetExceeded(
                f"llm.max_cost={self.limit}: ${self.spent:.4f} is spent, ${self.reserved:.4f} set aside for questions "
                f"under way, and the next one may cost ${amount:.4f}; all answers so far are kept: raise "
                "llm.max_cost to go on"
            )
        reservation = Reservation(amount)
        self.reserved += amount
        try:
            yield reservation
        finally:
            self.reserved -= amount
            self.spent += reservation.paid
