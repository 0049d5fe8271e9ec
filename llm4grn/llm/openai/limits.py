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
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from llm4grn.llm.messages import Stopped

# Gene symbols consist of few capitals and digits: about 3.5 characters per token, compared with 4 to 5 for English.
_CHARACTERS_PER_TOKEN = 3.5


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens of a text: one for 3.5 characters, rounded up.

    The estimate is used for budgets, previews and servers that do not count tokens, and needs no tokenizer.

    Examples
    --------
    >>> estimate_tokens("GATA1, SPI1, PAX5")
    5
    >>> estimate_tokens("")
    0
    """
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


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
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        window: float = 60.0,
    ) -> None:
        self.requests = requests_per_minute or math.inf
        self.tokens = tokens_per_minute or math.inf
        self.window = window
        self._places = asyncio.Semaphore(max_concurrency)
        self._turn = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._sent: deque[Slot] = deque()  # attempts of the last window, oldest first
        self._tokens_sent = 0
        self._resume_at = 0.0

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[Slot]:
        """Hold one of the ``max_concurrency`` places for a request of about ``tokens`` tokens, and admit it once."""
        async with self._places:
            yield await self._admit(tokens)

    async def again(self, slot: Slot) -> Slot:
        """Admit another attempt of a request that already holds a place."""
        return await self._admit(slot.tokens)

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

    async def _admit(self, tokens: int) -> Slot:
        async with self._turn:
            while not self._stopped.is_set() and (wait := self._wait(tokens)) > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait)
            if self._stopped.is_set():
                raise Stopped
            slot = Slot(self, tokens, time.monotonic())
            self._sent.append(slot)
            self._tokens_sent += tokens
            return slot

    def _wait(self, tokens: int) -> float:
        """Return the seconds until a request of ``tokens`` tokens may be sent, given the requests sent so far."""
        now = time.monotonic()
        while self._sent and self._sent[0].time + self.window <= now:
            self._tokens_sent -= self._sent[0].tokens
            self._sent.popleft().counted = False
        if self._resume_at > now:
            return self._resume_at - now
        # A request larger than the limit would wait forever, so it is sent when the window is empty.
        full = len(self._sent) + 1 > self.requests or self._tokens_sent + tokens > self.tokens
        return self._sent[0].time + self.window - now if self._sent and full else 0.0


class Slot:
    """One admitted attempt."""

    def __init__(self, limits: Limits, tokens: int, time: float) -> None:
        self.limits, self.tokens, self.time = limits, tokens, time
        self.counted = True  # as one of the attempts of the last window

    def used(self, tokens: int) -> None:
        """Replace the estimated number of tokens by the actual one."""
        if self.counted:
            self.limits._tokens_sent += tokens - self.tokens
        self.tokens = tokens
        self.limits._changed.set()
