"""Persistent cache of language models' answers, shared by all runs, so that no question is paid for twice."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.database import Database
from llm4grn.llm.answers_cache.owners import Owners
from llm4grn.llm.messages import Reply, Request, recorded_sum

Number = TypeVar("Number", int, float)

_REQUEST = "model, messages, parameters, sample"
_REPLY = "text, prompt_tokens, completion_tokens, latency, finish_reason, cost, details"
# Fields of a reply that share the column ``details``.
_DETAILS = ("cached_tokens", "reasoning_tokens", "served_model", "lost", "adapted", "server")
# Value for figures that were not recorded, as the columns do not admit NULL.
_UNKNOWN = -1
# The text is passed as bytes, because a model can answer half a surrogate pair, which SQLite does not accept as text.
_INSERT = f"""
INSERT INTO answers (key, {_REQUEST}, {_REPLY}, time, base)
VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""


_WITH_ANOTHER_LIMIT = f"SELECT base, parameters, {_REPLY} FROM answers WHERE finish_reason != 'length'"


class AnswerCache:
    """A file of answers, safe for any number of concurrent processes, threads and asyncio tasks on one machine.

    An answer is in the file when `put` returns: killing the process loses nothing; a power cut may lose the most recent
    answers but does not damage the file. Only `Request.description` and the reply are stored.

    An answer that was not cut off at ``max_tokens`` is also the answer to the same request with another limit that
    admits it, so that a higher limit asks again only what was cut off.

    A question is claimed before it is asked, so that it is asked only once. A claim lasts until the answer is stored,
    the claim is released, or its process closes the cache or dies; then another process can claim the question at once.

    Parameters
    ----------
    path
        SQLite database on a local disk; created if missing. Beside it are ``<path>.owners`` (its current users) and,
        while it is open, ``<path>-wal`` and ``<path>-shm``. Two objects with the same path are as independent as two
        processes. An object must not be used after a fork.

    Raises
    ------
    UserError
        If the file cannot be written, is not an answer cache, or has a newer version.

    Examples
    --------
    >>> import tempfile
    >>> request = Request("gpt-4", [{"role": "user", "content": "Is GATA1 a transcription factor?"}])
    >>> with tempfile.TemporaryDirectory() as folder, AnswerCache(Path(folder) / "answers.sqlite") as cache:
    ...     print(cache.claim(request))
    ...     cache.put(request, Reply("Yes."))
    ...     print(cache.claim(request), cache.get(request).text)
    ours
    answered Yes.
    """

    def __init__(self, path: str | Path) -> None:
        # Links are resolved: processes that used different names for one file would not see each other's claims.
        self.path = Path(path).resolve()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._owners = Owners(self.path.with_name(f"{self.path.name}.owners"))
        except OSError as error:
            raise UserError(
                f"answer cache {path}: cannot write there ({error.strerror}); choose a path in a writable folder"
            ) from error
        self._claims: tuple[float, set[str]] = (-math.inf, set())  # time of the last query, and the keys claimed then
        try:
            with self._owners.alone():
                self._database = Database(self.path)
                self._delete_stale_claims()
        except BaseException:
            self._owners.close()
            raise

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all claims and close the file; closing it twice is allowed."""
        self._database.close()
        self._owners.close()

    def get(self, request: Request) -> Reply | None:
        """Return the stored answer; None if there is none."""
        return self.get_many([request]).get(request.key)

    def get_many(self, requests: Iterable[Request]) -> dict[str, Reply]:
        """Return the stored answers to the given requests, by `Request.key`."""
        requests = list(requests)
        keys = json.dumps([request.key for request in requests])
        query = f"SELECT key, {_REPLY} FROM answers WHERE key IN (SELECT value FROM json_each(?))"
        found = {key: _reply(*reply) for key, *reply in self._database.read(query, keys)}
        missing = [request for request in requests if request.key not in found]
        bases = json.dumps([request.base_key for request in missing])
        query = f"{_WITH_ANOTHER_LIMIT} AND base IN (SELECT value FROM json_each(?)) ORDER BY time, key"
        whole: dict[str, list[tuple[Reply, int | None]]] = {}
        for base, parameters, *reply in self._database.read(query, bases) if missing else ():
            whole.setdefault(base, []).append((_reply(*reply), Request("", [], json.loads(parameters)).length_limit))
        for request in missing:
            fitting = [reply for reply, limit in whole.get(request.base_key, ()) if _fits(reply, limit, request)]
            if fitting:
                found[request.key] = fitting[0]
        return found

    def put(self, request: Request, reply: Reply) -> None:
        """Store an answer and end the claim on its question; the first answer to a question is kept."""
        with self._database.transaction() as connection:
            _store(connection, request, reply, None)

    def claim(self, request: Request) -> Literal["ours", "theirs", "answered"]:
        """Claim a question.

        Returns
        -------
        str
            ``ours``: ask now, then `put` or `release`. ``theirs``: another process or another task of this process is
            asking, so `wait`. ``answered``: the answer is stored.
        """
        if self.get(request) is not None:
            return "answered"
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM answers WHERE key = ?", (request.key,)).fetchone():
                return "answered"
            claim = connection.execute("SELECT owner FROM claims WHERE key = ?", (request.key,)).fetchone()
            if claim and self._owners.alive(claim[0]):
                return "theirs"
            connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (request.key, self._owners.me))
            return "ours"

    def release(self, request: Request) -> None:
        """Release this object's claim on a question without an answer, if there is one."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (request.key, self._owners.me))

    async def wait(self, request: Request, poll: float = 0.05) -> Reply | None:
        """Wait for the answer to a claimed question.

        Parameters
        ----------
        request
            Request for which `claim` returned ``theirs``.
        poll
            Seconds between two queries of the file; all waiting tasks share one query.

        Returns
        -------
        Reply or None
            None if the claim ended without an answer (it was released or its owner died); then `claim` it again.
        """
        reply = self.get(request)
        if reply is None:
            await asyncio.sleep(poll)
            while request.key in self._live_claims(poll):
                await asyncio.sleep(poll)
            reply = self.get(request)
        return reply

    async def get_or_ask(
        self, request: Request, ask: Callable[[Request], Awaitable[Reply]], patient: bool = True
    ) -> Reply | None:
        """Return the stored answer, the answer to a concurrent identical request, or a new answer, which is stored.

        Parameters
        ----------
        request
            The question.
        ask
            Function that asks the question; called at most once, and only while no other task asks it. If it raises or
            is cancelled, the claim is released and the exception propagates.
        patient
            Whether to wait while another task is asking; otherwise None is returned at once.
        """
        while True:
            match self.claim(request):
                case "ours":
                    try:
                        reply = await ask(request)
                        self.put(request, reply)
                    except BaseException:
                        self.release(request)
                        raise
                    return reply
                case "theirs" if not patient:
                    return None
                case "theirs" | "answered":
                    stored = await self.wait(request)
                    if stored is not None:
                        return stored

    def summary(self) -> dict[str, Any]:
        """Count the stored ``answers`` and sum their ``cost`` (US dollars), in total and with tokens per model.

        ``lost`` is the highest possible cost of the billed attempts at these questions that gave no answer.

        Sums cover the answers for which the figure was recorded, and are None if there are none.
        """
        names = ("answers", "cost", "prompt_tokens", "completion_tokens", "lost")
        sums = ", ".join(f"SUM(NULLIF({name}, {_UNKNOWN}))" for name in names[1:-1])
        sums += ", SUM(COALESCE(json_extract(details, '$.lost'), 0.0))"
        rows = self._database.read(f"SELECT model, COUNT(*), {sums} FROM answers GROUP BY model ORDER BY model")
        models = {model: dict(zip(names, values, strict=True)) for model, *values in rows}
        return {
            "answers": sum(model["answers"] for model in models.values()),
            "cost": recorded_sum(model["cost"] for model in models.values()),
            "lost": sum(model["lost"] for model in models.values()),
            "models": models,
        }

    def records(self) -> list[tuple[Request, Reply, str]]:
        """Return all questions, answers, and times of the answers (ISO 8601, UTC), sorted by question."""
        records = []
        for row in self._database.read(f"SELECT {_REQUEST}, {_REPLY}, time FROM answers ORDER BY {_REQUEST}"):
            model, messages, parameters, sample, *reply, when = row
            records.append((Request(model, json.loads(messages), json.loads(parameters), sample), _reply(*reply), when))
        return records

    def put_all(self, records: Iterable[tuple[Request, Reply, str | None]]) -> int:
        """Import answers: all of them or, if ``records`` raises an error, none.

        Returns
        -------
        int
            Number of new answers; answers to questions that are already answered are ignored.
        """
        records = list(records)
        with self._database.transaction() as connection:
            return sum(_store(connection, *record) for record in records)

    def _live_claims(self, max_age: float) -> set[str]:
        """Return the keys claimed by live participants, at most ``max_age`` seconds old."""
        when, keys = self._claims
        if time.monotonic() - when >= max_age:
            rows = self._database.read("SELECT key, owner FROM claims")
            alive = {owner for owner in {owner for _, owner in rows} if self._owners.alive(owner)}
            keys = {key for key, owner in rows if owner in alive}
            self._claims = (time.monotonic(), keys)
        return keys

    def _delete_stale_claims(self) -> None:
        """Delete the claims of participants that are no longer alive."""
        alive = json.dumps(sorted(self._owners.sweep()))
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM claims WHERE owner NOT IN (SELECT value FROM json_each(?))", (alive,))


def _fits(reply: Reply, limit: int | None, request: Request) -> bool:
    """Return True if an answer under another ``limit`` is one to the request: it was whole, and is short enough."""
    most = request.length_limit
    return most is None or (limit is not None and limit <= most) or (reply.completion_tokens or most + 1) <= most


def _reply(
    text: str,
    prompt_tokens: int,
    completion_tokens: int,
    latency: float,
    finish_reason: str,
    cost: float,
    details: str,
) -> Reply:
    """Return the reply stored in the columns of ``_REPLY``."""
    figures = _known(prompt_tokens), _known(completion_tokens), _known(latency)
    return Reply(text, *figures, finish_reason, _known(cost), **json.loads(details))


def _known(figure: Number) -> Number | None:
    return None if figure == _UNKNOWN else figure


def _or_unknown(figure: float | None) -> float:
    return _UNKNOWN if figure is None else figure


def _store(connection: sqlite3.Connection, request: Request, reply: Reply, when: str | None) -> bool:
    """Store an answer inside a transaction; return True if its question was not answered before."""
    asked = request.description
    row = (
        request.key,
        asked["model"],
        json.dumps(asked["messages"], sort_keys=True),
        json.dumps(asked["parameters"], sort_keys=True),
        asked["sample"],
        reply.text.encode("utf-8", "surrogatepass"),
        _or_unknown(reply.prompt_tokens),
        _or_unknown(reply.completion_tokens),
        _or_unknown(reply.latency),
        reply.finish_reason,
        _or_unknown(reply.cost),
        json.dumps({name: value for name in _DETAILS if (value := getattr(reply, name)) is not None}),
        when or datetime.now(UTC).isoformat(timespec="seconds"),
        request.base_key,
    )
    new = connection.execute(_INSERT, row).rowcount == 1
    connection.execute("DELETE FROM claims WHERE key = ?", (request.key,))
    return new
