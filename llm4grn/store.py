"""Content-addressed store of finished stages: a stage runs once per key, and its folder appears only when complete."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import Timeout

from llm4grn.errors import UserError, WriteError
from llm4grn.runtime.locks import KernelLock
from llm4grn.runtime.write_failures import write_failure

logger = logging.getLogger("llm4grn")

_TEMPORARY = ".tmp-"
_TIMES = ".times"  # outside the stages' folders, whose bytes must not depend on durations
# Seconds spent in nested `get_or_run` calls, which are not part of the duration of the stage that made them.
_nested_seconds: ContextVar[float] = ContextVar("_nested_seconds", default=0.0)


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline, described by everything that can change its result and by nothing else.

    Parameters
    ----------
    name
        Folder name of the stage in the store: lower-case letters, digits, underscores.
    version
        Number to raise by hand whenever the code of the stage changes what it writes.
    args
        Resolved arguments: JSON values only (nested mappings, lists, tuples, strings, numbers, booleans, None).
    inputs
        Stages that this one reads, or fingerprints (for instance the SHA-256 of a user's file).

    Raises
    ------
    ValueError
        If the name has other characters.
    TypeError
        When the key is computed, if a value in ``args`` is not a JSON value and so has no stable key.

    Examples
    --------
    >>> data = Stage("data", 1, {"min_cells": 20})
    >>> Stage("grn", 1, {"rate": 1e-2}, {"data": data}).key == Stage("grn", 1, {"rate": 0.01}, {"data": data.key}).key
    True
    """

    name: str
    version: int
    args: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Stage | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(f"stage name {self.name!r}: use lower-case letters, digits and underscores")

    @cached_property
    def description(self) -> dict[str, object]:
        """Content of ``stage.json``, hashed to the key: name, version, canonical arguments, keys of the inputs."""
        inputs = {name: part.key if isinstance(part, Stage) else part for name, part in self.inputs.items()}
        parts = {"name": self.name, "version": self.version, "args": self.args, "inputs": inputs}
        return {name: _canonical(value, name) for name, value in parts.items()}

    @cached_property
    def key(self) -> str:
        """First 20 hexadecimal digits of the SHA-256 of the description."""
        text = json.dumps(self.description, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Store:
    """A folder of finished stages, ``<root>/<name>/<key>/``, shared safely by any number of processes.

    Parameters
    ----------
    root
        Folder of the store, created when the first stage runs. It is safe to delete when nothing is running.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    def path(self, stage: Stage) -> Path:
        """Return the folder of the finished stage, which need not exist yet."""
        return self.root / stage.name / stage.key

    def has(self, stage: Stage) -> bool:
        """Return True if the stage is finished."""
        return (self.path(stage) / "stage.json").is_file()

    def get_or_run(self, stage: Stage, build: Callable[[Path], None]) -> Path:
        """Return the folder of the finished stage, and build the stage first if it is not in the store.

        Parameters
        ----------
        stage
            Stage to read or build.
        build
            Function that writes the files of the stage into the folder it is given. After a crash it gets the same
            folder with its earlier content, so that a long stage can resume from its own checkpoints.

        Raises
        ------
        UserError
            If the store cannot be written. Exceptions of ``build`` pass through: after a ``UserError`` the unfinished
            folder is removed, after any other it is kept for the next attempt.
        """
        if self.has(stage):
            logger.info("reusing %s %s", stage.name, stage.key)
            return self.path(stage)
        started, before = time.monotonic(), _nested_seconds.get()
        try:
            self._wait_or_run(stage, build)
        finally:
            _nested_seconds.set(before + time.monotonic() - started)
        return self.path(stage)

    def is_busy(self, stage: Stage) -> bool:
        """Return True if another process is building the stage at this moment."""
        path = self._lock_path(stage)
        if self.has(stage) or not path.exists():
            return False
        lock = KernelLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def durations(self, stage: Stage) -> list[float]:
        """Return the seconds that finished stages of the same name and arguments took, with any seed and inputs."""
        folder = self.root / _TIMES / stage.name / _timing_key(stage)
        return [json.loads(path.read_text())["seconds"] for path in sorted(folder.glob("*.json"))]

    def recorded(self, name: str) -> dict[str, float]:
        """Return the seconds that finished stages of a name took, by stage key."""
        paths = sorted((self.root / _TIMES / name).glob("*/*.json"))
        return {path.stem: json.loads(path.read_text())["seconds"] for path in paths}

    def _wait_or_run(self, stage: Stage, build: Callable[[Path], None]) -> None:
        with self._lock(stage):
            if self.has(stage):
                logger.info("reusing %s %s, just finished by another process", stage.name, stage.key)
            else:
                self._run(stage, build)

    @contextmanager
    def _lock(self, stage: Stage) -> Iterator[None]:
        # The kernel releases this lock when its holder ends, so there are no stale locks to remove.
        path = self._lock_path(stage)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path(stage).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"paths.store={self.root}: cannot write there ({error.strerror}); set paths.store to a writable folder"
            ) from error
        lock = KernelLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("waiting for another process that runs %s %s", stage.name, stage.key)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock_path(self, stage: Stage) -> Path:
        return self.root / ".locks" / f"{stage.name}-{stage.key}.lock"

    def _run(self, stage: Stage, build: Callable[[Path], None]) -> None:
        final = self.path(stage)
        partial = final.with_name(f"{stage.key}.partial")
        resumed = partial.exists()
        logger.info("%s %s %s", "resuming" if resumed else "running", stage.name, stage.key)
        partial.mkdir(exist_ok=True)
        started, nested = time.monotonic(), _nested_seconds.get()
        try:
            build(partial)
        except WriteError:
            if not any(partial.iterdir()):  # checkpoints are kept for the next attempt
                partial.rmdir()
            raise
        except UserError:
            shutil.rmtree(partial)
            raise
        # Files of a process that was killed while it wrote them are not part of the result.
        for leftover in list(partial.rglob(f"{_TEMPORARY}*")):
            leftover.unlink()
        with atomic_write(partial / "stage.json") as path:
            path.write_text(json.dumps(stage.description, indent=2, sort_keys=True) + "\n")
        # A folder without stage.json was damaged by hand: it counts as absent and must not block the rename.
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        if not resumed:  # the time before a resumption is unknown
            seconds = time.monotonic() - started - (_nested_seconds.get() - nested)
            with atomic_write(self.root / _TIMES / stage.name / _timing_key(stage) / f"{stage.key}.json") as path:
                path.write_text(json.dumps({"seconds": round(seconds, 3)}) + "\n")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to ``path`` if the block ends without an exception.

    The temporary path is in the same folder (created if missing) and has the same suffix, on which many writers depend.

    Parameters
    ----------
    path
        File to create or replace.

    Raises
    ------
    WriteError
        If the disk is full, a limit of the file's size is reached, or the folder was removed; nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "graph.json") as temporary:
    ...         _ = temporary.write_text("{}")
    ...     os.listdir(folder)
    ['graph.json']
    """
    path = Path(path)
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # Without this, a power cut after the rename can leave an empty file under the final name.
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if failure := write_failure(error, path):
            raise failure from error
        raise
    finally:
        with suppress(OSError):  # the folder may be gone or no folder, which the error above says
            temporary.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically; it is never a link, so that changes to the copy do not reach the store."""
    with atomic_write(target) as path:
        shutil.copyfile(source, path)


def _timing_key(stage: Stage) -> str:
    """Return a key that stages share if they differ only in seed or inputs."""
    args = {name: value for name, value in stage.args.items() if name != "seed"}
    return Stage(stage.name, stage.version, args).key


def _canonical(value: object, where: str) -> object:
    """Return ``value`` with tuples as lists and whole floats as integers, so that equal values give equal text.

    Raises
    ------
    TypeError
        If a value is not a JSON value; ``where`` names it in the message.
    """
    if value is None or isinstance(value, bool | str):
        return value
    # Exact types: numpy's float64 is a float too, but its repr, and so the text of a key, changed between versions.
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise TypeError(f"{where}: the key {wrong[0]!r} is not a string, so the stage has no stable key")
        return {key: _canonical(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where}: {value!r} of type {type(value).__name__} is not a JSON value")
