"""Answers of language models, kept for good and shared by all runs: no question is paid twice, no answer is lost."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from llm4grn.errors import UserError
from llm4grn.llm.answers_cache.database import Database
from llm4grn.llm.answers_cache.owners import Owners
from llm4grn.llm.messages import Reply, Request, recorded_sum

_REQUEST = "model, messages, parameters, sample"
_REPLY = "text, prompt_tokens, completion_tokens, latency, finish_reason, cost"
# Columns of the file admit no NULL: this stands in it for what was not recorded.
_UNKNOWN = -1
# The text is handed over as bytes: a model can answer half a surrogate pair, which SQLite takes in no other way.
_INSERT = f"""
INSERT INTO answers (key, {_REQUEST}, {_REPLY}, time)
VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""


class AnswerCache:
    """A file of answers, safe under any number of processes, threads and asyncio tasks of one machine.

    What `put` was given is in the file when it returns: killing the process loses nothing, a power cut may lose the
    answers of the last moments but leaves the file sound. Only `Request.description` and the reply are stored.

    A question is claimed before it is asked, so that it is asked once. A claim lasts until its answer is put, it is
    released, or the process that made it closes the cache or dies: the next to ask for it takes it over at once.

    Parameters
    ----------
    path
        The SQLite database, on a local disk; created if missing. Beside it lie ``<path>.owners`` (who is using it) and,
        while it is open, ``<path>-wal`` and ``<path>-shm``. Two objects on one path are as independent as two
        processes. An object must not cross a fork.

    Raises
    ------
    UserError
        If it cannot be written, or is no answer cache, or one of a newer version.

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
        # One file, one name: under two names of a link, each side would take the other for dead.
        self.path = Path(path).resolve()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._owners = Owners(self.path.with_name(f"{self.path.name}.owners"))
        except OSError as error:
            raise UserError(
                f"answer cache {path}: cannot write there ({error.strerror}); choose a path in a writable folder"
            ) from error
        self._claims: tuple[float, set[str]] = (-math.inf, set())  # when looked at, and the keys claimed by the living
        try:
            with self._owners.alone():
                self._database = Database(self.path)
                self._forget_the_dead()
        except BaseException:
            self._owners.close()
            raise

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up all claims and close the file. Closing twice is harmless."""
        self._database.close()
        self._owners.close()

    def get(self, request: Request) -> Reply | None:
        """The stored answer, if there is one."""
        rows = self._database.read(f"SELECT {_REPLY} FROM answers WHERE key = ?", request.key)
        return _reply(*rows[0]) if rows else None

    def get_many(self, requests: Iterable[Request]) -> dict[str, Reply]:
        """The stored answers among those asked for, by `Request.key`."""
        keys = json.dumps([request.key for request in requests])
        query = f"SELECT key, {_REPLY} FROM answers WHERE key IN (SELECT value FROM json_each(?))"
        rows = self._database.read(query, keys)
        return {key: _reply(*reply) for key, *reply in rows}

    def put(self, request: Request, reply: Reply) -> None:
        """Store an answer for good and end the claim on its question. The first answer to a question stays."""
        with self._database.transaction() as connection:
            _store(connection, request, reply, None)

    def claim(self, request: Request) -> Literal["ours", "theirs", "answered"]:
        """Claim the right to ask.

        Returns
        -------
        str
            ``ours``: ask now, then `put` or `release`. ``theirs``: another process, or another task of this one, is
            asking: `wait`. ``answered``: there is nothing to ask any more.
        """
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM answers WHERE key = ?", (request.key,)).fetchone():
                return "answered"
            claim = connection.execute("SELECT owner FROM claims WHERE key = ?", (request.key,)).fetchone()
            if claim and self._owners.alive(claim[0]):
                return "theirs"
            connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (request.key, self._owners.me))
            return "ours"

    def release(self, request: Request) -> None:
        """Give up a claim of this object without an answer. Without such a claim nothing happens."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (request.key, self._owners.me))

    async def wait(self, request: Request, poll: float = 0.05) -> Reply | None:
        """The answer to a question that is claimed, as soon as it is there.

        Parameters
        ----------
        request
            For which `claim` said ``theirs``.
        poll
            Seconds between two looks at the file; all that wait share one look.

        Returns
        -------
        Reply or None
            None if the claim ended without an answer (released, or its owner died): `claim` it again.
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
        """The stored answer, or that of whoever is asking already, or else a new one, stored before it is returned.

        Parameters
        ----------
        request
            The question.
        ask
            Called at most once, and only while nobody else asks the same. If it raises or is cancelled, the claim is
            released and the exception goes on.
        patient
            Whether to wait while somebody else is asking; otherwise None is returned at once.
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
        """What is stored: ``answers``, ``cost`` (US dollars) and, per model, both with the tokens.

        A sum leaves out the answers for which it was not recorded, and is None if it was for none.
        """
        names = ("answers", "cost", "prompt_tokens", "completion_tokens")
        sums = ", ".join(f"SUM(NULLIF({name}, {_UNKNOWN}))" for name in names[1:])
        rows = self._database.read(f"SELECT model, COUNT(*), {sums} FROM answers GROUP BY model ORDER BY model")
        models = {model: dict(zip(names, values, strict=True)) for model, *values in rows}
        return {
            "answers": sum(model["answers"] for model in models.values()),
            "cost": recorded_sum(model["cost"] for model in models.values()),
            "models": models,
        }

    def records(self) -> list[tuple[Request, Reply, str]]:
        """All that is stored, sorted by what was asked: question, answer, and when it came (ISO 8601, UTC)."""
        found = []
        for row in self._database.read(f"SELECT {_REQUEST}, {_REPLY}, time FROM answers ORDER BY {_REQUEST}"):
            model, messages, parameters, sample, *reply, when = row
            found.append((Request(model, json.loads(messages), json.loads(parameters), sample), _reply(*reply), when))
        return found

    def put_all(self, records: Iterable[tuple[Request, Reply, str | None]]) -> int:
        """Store answers from elsewhere, all or, if an error comes out of ``records``, none.

        Returns
        -------
        int
            Number of new answers; those to questions already answered change nothing.
        """
        records = list(records)
        with self._database.transaction() as connection:
            return sum(_store(connection, *record) for record in records)

    def _live_claims(self, max_age: float) -> set[str]:
        """Keys that somebody alive has claimed, as seen at most ``max_age`` seconds ago."""
        when, keys = self._claims
        if time.monotonic() - when >= max_age:
            rows = self._database.read("SELECT key, owner FROM claims")
            alive = {owner for owner in {owner for _, owner in rows} if self._owners.alive(owner)}
            keys = {key for key, owner in rows if owner in alive}
            self._claims = (time.monotonic(), keys)
        return keys

    def _forget_the_dead(self) -> None:
        alive = json.dumps(sorted(self._owners.sweep()))
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM claims WHERE owner NOT IN (SELECT value FROM json_each(?))", (alive,))


def _reply(text: str, *figures: float | str) -> Reply:
    return Reply(text, *(None if figure == _UNKNOWN else figure for figure in figures))


def _or_unknown(figure: float | None) -> float:
    return _UNKNOWN if figure is None else figure


def _store(connection: sqlite3.Connection, request: Request, reply: Reply, when: str | None) -> bool:
    """Inside a transaction: whether the answer is a new one."""
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
        when or datetime.now(UTC).isoformat(timespec="seconds"),
    )
    new = connection.execute(_INSERT, row).rowcount == 1
    connection.execute("DELETE FROM claims WHERE key = ?", (request.key,))
    return new
