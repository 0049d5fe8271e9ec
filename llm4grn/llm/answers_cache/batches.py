"""Register of the questions that are in a batch at a server, kept with the answers so that it survives the process."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.messages import Request


@dataclass(frozen=True)
class OpenBatch:
    """A batch whose answers are not collected yet.

    Parameters
    ----------
    token
        Our own name of it, which is also in its metadata at the server.
    id
        The server's name; empty until it has confirmed the batch.
    is_orphan
        Whether the process that submits it has died before the server's name was stored.
    time
        When it was registered, in ISO 8601, UTC.
    """

    token: str
    id: str
    is_orphan: bool = False
    time: str = ""

    @property
    def is_over(self) -> bool:
        """Whether its day is over, within which a server has to answer."""
        return datetime.now(UTC) - datetime.fromisoformat(self.time) > timedelta(days=1)


class BatchRegister:
    """The batches of one server in a file of answers, shared by all processes that use the file.

    A question is registered before its batch is submitted, in one transaction with the check that nobody else asks it.
    So it is in at most one batch, whichever process dies at whichever moment.

    Parameters
    ----------
    cache
        The file of answers.
    server
        Address of the server.
    """

    def __init__(self, cache: AnswerCache, server: str) -> None:
        self._database, self._owners = cache._database, cache._owners
        self._server = server

    def reserve(self, requests: Sequence[Request]) -> tuple[str, list[Request]]:
        """Register those of the requests that are neither answered nor asked by anybody, for a new batch.

        Returns
        -------
        tuple
            Token of the new batch, and its requests; no batch is registered if there are none.
        """
        token, mine = uuid.uuid4().hex, []
        with self._database.transaction() as connection:
            for request in {request.key: request for request in requests}.values():
                key = (request.key,)
                claim = connection.execute("SELECT owner FROM claims WHERE key = ?", key).fetchone()
                taken = connection.execute(
                    "SELECT 1 FROM answers WHERE key = ? UNION ALL SELECT 1 FROM batched WHERE key = ?", key * 2
                )
                if taken.fetchone() or (claim and self._owners.alive(claim[0])):
                    continue
                mine.append(request)
                question = (request.key, token, json.dumps(request.description))
                connection.execute("INSERT INTO batched VALUES (?, ?, ?)", question)
            if mine:
                batch = (token, self._server, "", self._owners.me, datetime.now(UTC).isoformat(timespec="seconds"))
                connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", batch)
        return token, mine

    def confirm(self, token: str, identifier: str) -> None:
        """Store the server's name of a batch."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE batches SET id = ? WHERE token = ?", (identifier, token))

    def forget(self, token: str) -> None:
        """Remove a batch; its questions that have no answer can be asked again."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM batched WHERE token = ?", (token,))
            connection.execute("DELETE FROM batches WHERE token = ?", (token,))

    def open(self, requests: Iterable[Request]) -> list[OpenBatch]:
        """Return the batches that contain some of the requests."""
        rows = self._database.read(
            "SELECT DISTINCT b.token, b.id, b.owner, b.time FROM batches b JOIN batched q ON q.token = b.token "
            "WHERE b.server = ? AND q.key IN (SELECT value FROM json_each(?)) ORDER BY b.time, b.token",
            self._server,
            json.dumps([request.key for request in requests]),
        )
        return [
            OpenBatch(token, name, not name and not self._owners.alive(owner), when)
            for token, name, owner, when in rows
        ]

    def waiting(self) -> set[str]:
        """Return the keys of all questions that are in a batch."""
        rows = self._database.read(
            "SELECT q.key FROM batched q JOIN batches b ON q.token = b.token WHERE b.server = ?", self._server
        )
        return {key for (key,) in rows}

    def requests(self, token: str) -> dict[str, Request]:
        """Return the requests of a batch by their keys."""
        rows = self._database.read("SELECT request FROM batched WHERE token = ?", token)
        requests = [Request(**json.loads(text)) for (text,) in rows]
        return {request.key: request for request in requests}
