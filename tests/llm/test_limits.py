"""Limits: how many at once, how many per window, in which order, and after which pause."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from llm4grn.llm.messages import Stopped
from llm4grn.llm.openai.limits import Limits, retry_after


async def ask(limits, times, tokens=0, used=None, hold=0.0):
    async with limits.slot(tokens) as slot:
        times.append(time.monotonic())
        await asyncio.sleep(hold)
        if used is not None:
            slot.used(used)


def run(limits, n, **kwargs):
    """Times at which ``n`` requests that come at once are admitted, from the first."""
    times = []

    async def main():
        await asyncio.gather(*(ask(limits, times, **kwargs) for _ in range(n)))

    asyncio.run(main())
    return [when - times[0] for when in times]


def most_in_a_window(times, window):
    return max(sum(start <= when < start + window for when in times) for start in times)


def test_no_more_at_once_than_allowed():
    under_way, most = 0, 0

    async def one(limits):
        nonlocal under_way, most
        async with limits.slot():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.005)
            under_way -= 1

    async def main():
        limits = Limits(3)
        await asyncio.gather(*(one(limits) for _ in range(12)))

    asyncio.run(main())
    assert most == 3


def test_requests_per_window():
    times = run(Limits(50, requests_per_minute=4, window=0.2), 12)
    assert most_in_a_window(times, 0.199) == 4
    assert 0.4 <= times[-1] < 0.6  # no slower than the limit either


def test_tokens_per_window():
    times = run(Limits(50, tokens_per_minute=100, window=0.2), 6, tokens=40)
    assert most_in_a_window(times, 0.199) == 2
    assert 0.4 <= times[-1] < 0.6


def test_fewer_tokens_than_reserved_make_room_at_once():
    assert run(Limits(50, tokens_per_minute=100, window=5), 8, tokens=60, used=5, hold=0.005)[-1] < 1


def test_more_tokens_than_reserved_count_too():
    times = run(Limits(1, tokens_per_minute=100, window=0.2), 2, tokens=10, used=100)
    assert times[1] >= 0.199


@pytest.mark.parametrize(("reserved", "used"), [(10, 1000), (90, 1)])
def test_tokens_that_are_counted_after_their_window_neither_fill_the_next_one_nor_empty_it(reserved, used):
    """An answer may come after its request has left the window: what it took is no part of this one any more."""

    async def main():
        limits = Limits(5, tokens_per_minute=100, window=0.4)
        async with limits.slot(reserved) as late:
            await asyncio.sleep(0.41)
            async with limits.slot(20):  # looks at the clock: the first has left
                late.used(used)
                async with asyncio.timeout(0.2), limits.slot(70):  # 90 of 100: no more than that is known of
                    pass
                with pytest.raises(TimeoutError):  # 91 and more
                    async with asyncio.timeout(0.05), limits.slot(15):
                        pass

    asyncio.run(main())


def test_a_request_larger_than_the_limit_is_sent_alone_instead_of_never():
    times = run(Limits(50, tokens_per_minute=100, window=0.1), 3, tokens=1000)
    assert most_in_a_window(times, 0.099) == 1


def test_first_come_first_served():
    order = []

    async def one(limits, i):
        async with limits.slot(tokens=60 if i % 2 else 1):
            order.append(i)

    async def main():
        limits = Limits(20, tokens_per_minute=100, window=0.05)
        await asyncio.gather(*(one(limits, i) for i in range(12)))

    asyncio.run(main())
    assert order == list(range(12))


def test_a_pause_holds_all_and_another_attempt_counts_again():
    async def main():
        limits = Limits(5, requests_per_minute=2, window=0.2)
        async with limits.slot() as slot:
            started = time.monotonic()
            limits.pause(0.1)
            limits.pause(0.01)  # does not shorten the other
            await limits.again(slot)
            paused = time.monotonic() - started
            await limits.again(slot)
            return paused, time.monotonic() - started

    paused, third = asyncio.run(main())
    assert 0.1 <= paused < 0.18
    assert third >= 0.199


def test_who_gives_up_waiting_is_in_nobodys_way():
    async def main():
        limits = Limits(5, requests_per_minute=1, window=0.15)
        async with limits.slot():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02), limits.slot():
                    pass
            async with asyncio.timeout(1), limits.slot():
                return True

    assert asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 88 < retry_after({"retry-after": date}) <= 90


def test_after_a_stop_nothing_is_admitted_and_nobody_waits_or_rests():
    async def main():
        limits = Limits(5, requests_per_minute=1)
        async with limits.slot() as first:
            others = [asyncio.create_task(ask(limits, [])) for _ in range(3)]
            again, resting = asyncio.create_task(limits.again(first)), asyncio.create_task(limits.rest(60))
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in (*others, again, resting))
            limits.stop()
            async with asyncio.timeout(1):
                results = await asyncio.gather(*others, again, resting, return_exceptions=True)
        assert [type(result) for result in results] == [Stopped] * 4 + [type(None)]
        with pytest.raises(Stopped):
            await ask(limits, [])

    asyncio.run(main())
