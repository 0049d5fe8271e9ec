"""Limits on the concurrent requests, requests per minute and tokens per minute of a server.

Limiters such as ``aiolimiter`` count requests, but support neither reservations that are corrected by the actual number
of tokens, nor a pause shared by all requests, nor a strict order.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from llm4grn.llm.messages import Stopped


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the requested wait in seconds: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date; else 0.

    Examples
    --------
    >>> retry_after({"retry-after": "2.5"})
    2.5
    >>> retry_after({"retry-after-ms": "120", "retry-after": "1"})
    0.12
    >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
    0.0

    A date is compared with the server's own clock if the headers contain it:

    >>> retry_after({"date": "Wed, 21 Oct 2015 07:27:55 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
    5.0
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d*)?", text):
            return float(text) * unit
    until = _date(text)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until else 0.0


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


class Limits:
    """Rate limiter that admits requests in order of arrival, within one event loop.

    No interval of ``window`` seconds contains more requests or tokens than the limits.

    Parameters
    ----------
    max_concurrency
        Maximum number of concurrent requests.
    requests_per_minute, tokens_per_minute
        Limits per ``window``; None for no limit.
    window
        Length of the window in seconds.

    Attributes
    ----------
    places
        Number of requests that may be open now: ``max_concurrency``, unless `fewer` was called.
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        window: float = 60.0,
    ) -> None:
        self.places = max_concurrency
        self.requests = requests_per_minute or math.inf
        self.tokens = tokens_per_minute or math.inf
        self.window = window
        self._open = 0
        self._turn = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._sent: deque[Attempt] = deque()  # attempts of the last window, oldest first
        self._tokens_sent = 0
        self._resume_at = 0.0
        self._fewer_since = -math.inf

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[Slot]:
        """Hold one of the ``places`` for a request of about ``tokens`` tokens, and admit it once."""
        slot = Slot(self)
        await self._admit(slot, tokens)
        try:
            yield slot
        finally:
            slot.leave()

    async def again(self, slot: Slot) -> Slot:
        """Admit another attempt of a request; its place is given up until then."""
        slot.leave()
        await self._admit(slot, slot.attempt.tokens)
        return slot

    def fewer(self, sent: float) -> bool:
        """Halve the number of places after a time-out; return True if that changes anything.

        Parameters
        ----------
        sent
            When the request was sent (``time.monotonic``). One that was sent before the last change says nothing about
            the present number of requests.
        """
        if sent < self._fewer_since or self.places == 1:
            return False
        self.places //= 2
        self._fewer_since = time.monotonic()
        return True

    def pause(self, seconds: float) -> None:
        """Admit no requests for the given time, as requested by the server."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def stop(self) -> None:
        """Admit no more requests; waiting requests raise `Stopped`."""
        self._stopped.set()
        self._changed.set()

    async def rest(self, seconds: float) -> None:
        """Sleep until the time is over or the limiter is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    async def _admit(self, slot: Slot, tokens: int) -> None:
        async with self._turn:
            while not self._stopped.is_set() and (wait := self._wait(tokens)) > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait if wait < math.inf else None)
            if self._stopped.is_set():
                raise Stopped
            slot.enter(Attempt(tokens, time.monotonic()))

    def _wait(self, tokens: int) -> float:
        """Return the seconds until a request of ``tokens`` tokens may be sent, given the requests sent so far."""
        now = time.monotonic()
        while self._sent and self._sent[0].time + self.window <= now:
            self._tokens_sent -= self._sent[0].tokens
            self._sent.popleft().counted = False
        if self._open >= self.places:
            return math.inf  # until one of the open requests ends
        if self._resume_at > now:
            return self._resume_at - now
        # A request larger than the limit would wait forever, so it is sent when the window is empty.
        full = len(self._sent) + 1 > self.requests or self._tokens_sent + tokens > self.tokens
        return self._sent[0].time + self.window - now if self._sent and full else 0.0


@dataclass(eq=False)
class Attempt:
    """One admitted attempt: its tokens, when it was sent, and whether it is one of those of the last window."""

    tokens: int
    time: float
    counted: bool = True


class Slot:
    """A request with its place among the open ones, and its latest attempt."""

    attempt: Attempt

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._has_place = False

    def enter(self, attempt: Attempt) -> None:
        """Take a place for an attempt."""
        self.attempt = attempt
        self._has_place = True
        self._limits._open += 1
        self._limits._sent.append(attempt)
        self._limits._tokens_sent += attempt.tokens

    def leave(self) -> None:
        """Give up the place; a slot without a place has nothing to give up."""
        if self._has_place:
            self._has_place = False
            self._limits._open -= 1
            self._limits._changed.set()

    def used(self, tokens: int) -> None:
        """Replace the estimated number of tokens by the actual one."""
        if self.attempt.counted:
            self._limits._tokens_sent += tokens - self.attempt.tokens
        self.attempt.tokens = tokens
        self._limits._changed.set()
