"""The purse: what could be spent never exceeds the limit, and what was set aside in vain comes back."""

import asyncio

import pytest

from llm4grn.errors import UserError
from llm4grn.llm.budget import Budget, BudgetExceeded


def test_what_is_set_aside_becomes_what_it_cost():
    async def ask(budget):
        async with budget.reserve(0.75) as one:
            async with budget.reserve(0.25) as other:
                assert (budget.spent, budget.reserved) == (0.0, 1.0)
                other.pay(0.125)
            assert (budget.spent, budget.reserved) == (0.125, 0.75)
            one.pay(0.5)
        assert (budget.spent, budget.reserved) == (0.625, 0.0)

    asyncio.run(ask(Budget(1.0)))


def test_a_question_that_fails_costs_nothing():
    async def ask(budget):
        with pytest.raises(KeyError):
            async with budget.reserve(0.75):
                raise KeyError
        assert (budget.spent, budget.reserved) == (0.0, 0.0)

    asyncio.run(ask(Budget(1.0)))


def test_an_answer_without_a_recorded_cost_costs_nothing():
    async def ask(budget):
        async with budget.reserve(0.75) as reservation:
            reservation.pay(None)
        assert budget.spent == 0.0

    asyncio.run(ask(Budget(1.0)))


@pytest.mark.parametrize(("spent", "amount", "fits"), [(0.5, 0.5, True), (0.5, 0.51, False), (0.0, 1.1, False)])
def test_the_limit_may_be_reached_and_not_exceeded(spent, amount, fits):
    async def ask(budget):
        async with budget.reserve(amount):
            return True

    budget = Budget(1.0, spent)
    if fits:
        assert asyncio.run(ask(budget))
        return
    with pytest.raises(BudgetExceeded) as caught:
        asyncio.run(ask(budget))
    assert isinstance(caught.value, UserError)
    assert str(caught.value) == (
        f"llm.max_cost=1.0: ${spent:.4f} is spent, and the next question may cost ${amount:.4f}; "
        "all answers so far are kept: raise llm.max_cost to go on"
    )
    assert (budget.spent, budget.reserved) == (spent, 0.0)


def test_without_a_limit_everything_fits():
    async def ask(budget):
        async with budget.reserve(1e9) as reservation:
            reservation.pay(1e9)

    asyncio.run(ask(budget := Budget(None)))
    assert budget.spent == 1e9


@pytest.mark.parametrize("cost", [0.0, 0.125, 0.5])
def test_many_at_once_wait_for_each_other_and_spend_the_same_as_one_after_the_other(cost):
    most = 0.0

    async def ask(budget):
        nonlocal most
        async with budget.reserve(0.5) as reservation:
            most = max(most, budget.spent + budget.reserved)
            await asyncio.sleep(0)
            reservation.pay(cost)

    async def ask_all(budget):
        return await asyncio.gather(*(ask(budget) for _ in range(40)), return_exceptions=True)

    outcomes = asyncio.run(asyncio.wait_for(ask_all(budget := Budget(2.0)), 10))
    # Spent may be 2.0 - 0.5 when the last one is asked: 40 of nothing, 13 of an eighth, 4 of a half.
    n = {0.0: 40, 0.125: 13, 0.5: 4}[cost]
    assert outcomes.count(None) == n
    assert all(isinstance(outcome, BudgetExceeded) for outcome in outcomes if outcome is not None)
    assert (budget.spent, budget.reserved) == (n * cost, 0.0)
    assert most == 2.0


def test_one_that_is_cancelled_lets_the_others_go_on():
    async def hold(budget):
        async with budget.reserve(1.0):
            await asyncio.sleep(60)

    async def ask(budget):
        async with budget.reserve(1.0) as reservation:
            reservation.pay(0.75)

    async def both(budget):
        holder = asyncio.create_task(hold(budget))
        await asyncio.sleep(0)
        asker = asyncio.create_task(ask(budget))
        await asyncio.sleep(0)
        assert not asker.done()
        holder.cancel()
        await asyncio.wait_for(asker, 5)
        return budget.spent

    assert asyncio.run(both(Budget(1.0))) == 0.75


def test_attempts_without_an_answer_are_spent_and_counted_apart():
    async def ask(budget):
        async with budget.reserve(0.5) as reservation:
            reservation.lose(0.0)  # nothing was sent
            assert (budget.spent, budget.lost, budget.n_lost) == (0.0, 0.0, 0)
            reservation.lose(0.125)
            assert (budget.spent, budget.lost, budget.n_lost) == (0.125, 0.125, 1)
            await reservation.again(0.25)
            assert (budget.spent, budget.lost, budget.n_lost, budget.reserved) == (0.375, 0.375, 2, 0.5)
            reservation.pay(0.125)
        assert (budget.spent, budget.lost, budget.reserved) == (0.5, 0.375, 0.0)
        with pytest.raises(BudgetExceeded, match=r"\$0.5000 is spent \(\$0.3750 of it, at most, for attempts without"):
            async with budget.reserve(0.75):
                pass

    asyncio.run(ask(Budget(1.0)))


def test_one_that_gives_up_waiting_takes_nothing_from_another_that_costs_as_much():
    async def ask(budget):
        async with budget.reserve(0.5):
            async with budget.reserve(0.5) as other:
                waiting = asyncio.create_task(other.again(0.5))
                await asyncio.sleep(0)
                assert not waiting.done()  # 0.5 is spent and 0.5 reserved
                waiting.cancel()
            assert (budget.spent, budget.reserved) == (0.5, 0.5)

    asyncio.run(ask(Budget(1.0)))
