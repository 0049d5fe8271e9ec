"""The SQLite file under the answer cache: opening it, using it, and what to tell the user when it cannot be used."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm4grn.errors import UserError

_APPLICATION = 0x47524E41  # "GRNA": tells our files from those of other programs
_VERSION = 1
_BUSY = 60.0  # seconds to wait for another process that writes; each write takes well under a millisecond
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
    time TEXT NOT NULL
);
CREATE TABLE claims (key TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
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
    """One connection to the file for all threads of this process: each statement or transaction has it for itself.

    Only one process may be opening a file at a time: two that create the same database would fail with "database is
    locked", whatever the time-out.

    Parameters
    ----------
    path
        Absolute; created if missing.

    Raises
    ------
    UserError
        If it is a database of another program or of a newer version, or cannot be used or shared by processes; from
        any method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _errors_of(path):
            self._connection = _connect(path)

    def close(self) -> None:
        """Closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def read(self, query: str, *arguments: object) -> list[tuple]:
        """All rows."""
        with self._lock, _errors_of(self.path):
            return self._connection.execute(query, arguments).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block, or nothing of it if it raises."""
        # IMMEDIATE: a transaction that reads first and then finds that it may not write could not wait, only fail.
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
        # NORMAL: each commit is handed to the operating system, which outlives the process; only a checkpoint waits for
        # the disk. FULL would wait for it thousands of times a run, to save a power cut's last moments.
        connection.execute("PRAGMA synchronous = NORMAL")
        if fresh:
            identity = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {identity} COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


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
    """Failures of the file and its disk, as one line for the user; what is our own bug keeps its traceback."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorname", "")
        remedy = next((text for start, text in _REMEDIES.items() if code.startswith(start)), "check its disk")
        raise UserError(f"answer cache {path}: {error}; {remedy}") from error
