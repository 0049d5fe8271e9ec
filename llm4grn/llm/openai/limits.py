"""How much may be asked of a server at once and per minute.

Written here rather than taken from a library: a limiter such as ``aiolimiter`` counts requests, but knows neither a
reservation that is corrected by the real number of tokens, nor a pause shared by all, nor a strict order.
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

# Gene symbols are short, capital and full of digits: about 3.5 characters per token, where English has 4 to 5.
_CHARACTERS_PER_TOKEN = 3.5


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: one for 3.5 characters, rounded up.

    For budgets, previews and servers that do not count; no tokenizer is downloaded for it.

    Examples
    --------
    >>> estimate_tokens("GATA1, SPI1, PAX5")
    5
    >>> estimate_tokens("")
    0
    """
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date; else 0.

    Examples
    --------
    >>> retry_after({"retry-after": "2.5"})
    2.5
    >>> retry_after({"retry-after-ms": "120", "retry-after": "1"})
    0.12
    >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
    0.0

    A date is read against the server's own clock, where it tells the time:

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
    """Admits requests in the order they came, as fast as the limits allow and no faster.

    In no stretch of ``window`` seconds more than the limits is sent. To be used within one event loop.

    Parameters
    ----------
    max_concurrency
        Requests under way at once.
    requests_per_minute, tokens_per_minute
        Per ``window``, really. None is no limit.
    window
        Seconds.
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
        """One of the ``max_concurrency`` places, for a request of about so many tokens, admitted once."""
        async with self._places:
            yield await self._admit(tokens)

    async def again(self, slot: Slot) -> Slot:
        """Admit the request of a place that is held already for another attempt."""
        return await self._admit(slot.tokens)

    def pause(self, seconds: float) -> None:
        """Admit nothing more for so long: the server has asked for it."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def stop(self) -> None:
        """Admit nothing more, for good: those that wait end with `Stopped`."""
        self._stopped.set()
        self._changed.set()

    async def rest(self, seconds: float) -> None:
        """Sleep, but no longer than until the stop."""
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
        """Seconds until a request of so many tokens may be sent, as far as is known now."""
        now = time.monotonic()
        while self._sent and self._sent[0].time + self.window <= now:
            self._tokens_sent -= self._sent[0].tokens
            self._sent.popleft().counted = False
        if self._resume_at > now:
            return self._resume_at - now
        # A request larger than the limit itself would wait for ever: it is sent when nothing else was.
        full = len(self._sent) + 1 > self.requests or self._tokens_sent + tokens > self.tokens
        return self._sent[0].time + self.window - now if self._sent and full else 0.0


class Slot:
    """One admitted attempt."""

    def __init__(self, limits: Limits, tokens: int, time: float) -> None:
        self.limits, self.tokens, self.time = limits, tokens, time
        self.counted = True  # among those of the last window

    def used(self, tokens: int) -> None:
        """Replace the estimate by what the answer really took."""
        if self.counted:
            self.limits._tokens_sent += tokens - self.tokens
        self.tokens = tokens
        self.limits._changed.set()
