"""The SQLite file of the answer cache: connection, transactions, and error messages for the user."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.llm.messages import Request

_APPLICATION = 0x47524E41  # "GRNA": identifies files of this package
_VERSION = 2
_BUSY = 60.0  # seconds to wait for another writing process; each write takes well under a millisecond
_TABLES = """
CREATE TABLE answers (
    key TEXT NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    messages TEXT NOT NULL,
    parameters TEXT NOT NULL,
    sample INTEGER NOT NULL,
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    latency REAL NOT NULL,
    finish_reason TEXT NOT NULL,
    cost REAL NOT NULL,
    time TEXT NOT NULL,
    base TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX answers_by_base ON answers (base);
CREATE TABLE claims (key TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
"""
_BATCH_TABLES = """
CREATE TABLE batches (
    token TEXT NOT NULL PRIMARY KEY,
    server TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    time TEXT NOT NULL
);
CREATE TABLE batched (key TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL, request TEXT NOT NULL);
"""
# Version 2 added the key without the limit of the answer's length, the figures that version 1 had no column for, and
# batches.
_FROM_VERSION_1 = f"""
ALTER TABLE answers ADD COLUMN base TEXT NOT NULL DEFAULT '';
ALTER TABLE answers ADD COLUMN details TEXT NOT NULL DEFAULT '{{}}';
CREATE INDEX answers_by_base ON answers (base);
{_BATCH_TABLES}
"""
_REMEDIES = {
    "SQLITE_NOTADB": "it was written by something else; choose another path",
    "SQLITE_CORRUPT": "move it away, import an export of it (JSON Lines) into a new one, or start anew",
    "SQLITE_FULL": "free space on its disk and start again: the answers stored so far are safe",
    "SQLITE_IOERR": "see whether its disk is full or broken, and start again: the answers stored so far are safe",
    "SQLITE_BUSY": f"another process has been writing for {_BUSY:.0f} s; end it and start again",
    "SQLITE_READONLY": "choose a path that is writable",
    "SQLITE_CANTOPEN": "choose a path to a file in a writable folder",
}


class Database:
    """One connection to the file for all threads of this process, used by one statement or transaction at a time.

    Only one process may open a file at a time: two processes that create the same database would fail with "database is
    locked" in spite of the time-out.

    Parameters
    ----------
    path
        Absolute path of the file; created if missing.

    Raises
    ------
    UserError
        If the file is a database of another program or of a newer version, or cannot be used or shared by processes;
        any method can raise it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _errors_of(path):
            self._connection = _connect(path)

    def close(self) -> None:
        """Close the connection; closing it twice is allowed."""
        with self._lock:
            self._connection.close()

    def read(self, query: str, *arguments: object) -> list[tuple]:
        """Return all rows of a query."""
        with self._lock, _errors_of(self.path):
            return self._connection.execute(query, arguments).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit the statements of the block, or roll all of them back if it raises."""
        # IMMEDIATE takes the write lock at the start: a transaction that reads first cannot wait for it later.
        with self._lock, _errors_of(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
        fresh = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if not fresh:
            _check_origin(connection, path)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise UserError(f"answer cache {path}: this file system cannot share it; choose a path on a local disk")
        # NORMAL passes each commit to the operating system, so it survives the process; only checkpoints wait for the
        # disk. FULL would wait for it thousands of times per run, which protects only against a power cut.
        connection.execute("PRAGMA synchronous = NORMAL")
        if fresh:
            identity = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {_BATCH_TABLES} {identity} COMMIT;")
        elif connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            _update(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _update(connection: sqlite3.Connection) -> None:
    """Bring a file of version 1 up to date, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in filter(str.strip, _FROM_VERSION_1.split(";")):
            connection.execute(statement)
        rows = connection.execute("SELECT key, model, messages, parameters, sample FROM answers").fetchall()
        for key, model, messages, parameters, sample in rows:
            request = Request(model, json.loads(messages), json.loads(parameters), sample)
            connection.execute("UPDATE answers SET base = ? WHERE key = ?", (request.base_key, key))
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _check_origin(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise UserError(f"answer cache {path}: a database of another program; choose another path")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise UserError(
            f"answer cache {path}: version {version}, and this llm4grn knows versions up to {_VERSION}; "
            "update llm4grn or choose another path"
        )


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn failures of the file and its disk into a UserError; programming errors keep their traceback."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorname", "")
        remedy = next((text for start, text in _REMEDIES.items() if code.startswith(start)), "check its disk")
        raise UserError(f"answer cache {path}: {error}; {remedy}") from error
