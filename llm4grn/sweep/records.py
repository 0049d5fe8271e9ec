"""Records of how each job of a sweep ended: one JSON file per job, written by the process that ran it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import Timeout

from llm4grn.runtime.locks import KernelLock
from llm4grn.runtime.secrets import without_secrets
from llm4grn.store import atomic_write

logger = logging.getLogger("llm4grn")

_held_locks: list[KernelLock] = []  # kept until this process ends, when the kernel releases them


def lock_sweep(sweep: Path) -> None:
    """Lock the records of a sweep for this process until it ends, waiting for another process that holds the lock."""
    sweep.mkdir(parents=True, exist_ok=True)
    lock = KernelLock(sweep / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another sweep in %s; hydra.sweep.dir=FOLDER gives this one a folder of its own", sweep)
        lock.acquire()
    _held_locks.append(lock)


@dataclass(frozen=True)
class Record:
    """Record of one job.

    Parameters
    ----------
    number, overrides
        Number and Hydra overrides of the job.
    status
        ``running`` (or killed while running), ``done`` or ``failed``.
    folder
        Folder of the run, if the job is done.
    error
        Message in one line, if the job failed.
    traceback
        Path of a file with the traceback, if the job failed.
    seconds
        Duration, if the job ended.
    """

    number: int
    overrides: tuple[str, ...]
    status: str
    folder: str | None = None
    error: str | None = None
    traceback: str | None = None
    seconds: float | None = None


def run_recorded(
    number: int,
    overrides: Sequence[str],
    sweep: Path,
    job: Callable[[], Path | None],
    one_line: Callable[[Exception], str],
) -> None:
    """Run a job and record how it ended; an exception is recorded and not raised, so that the other jobs go on.

    Parameters
    ----------
    number, overrides
        Number and Hydra overrides of the job.
    sweep
        Folder of the sweep.
    job
        Function that computes the job and returns the folder of its run.
    one_line
        Function that formats an exception as one line.
    """
    path, overrides = record_path(sweep, overrides), tuple(without_secrets(list(overrides)))
    _write(path, Record(number, overrides, "running"))
    started = time.monotonic()
    try:
        folder = job()
        outcome = Record(number, overrides, "done", folder=None if folder is None else str(Path(folder).absolute()))
    except Exception as error:
        details = path.with_suffix(".traceback")
        with atomic_write(details) as temporary:
            temporary.write_text(without_secrets(traceback.format_exc()))
        outcome = Record(number, overrides, "failed", error=without_secrets(one_line(error)), traceback=str(details))
        logger.error("failed: %s", outcome.error)
    _write(path, replace(outcome, seconds=round(time.monotonic() - started, 3)))


def record_path(sweep: Path, overrides: Sequence[str]) -> Path:
    """Return the path of a job's record, the same in whatever order the overrides are given."""
    name = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:12]
    return Path(sweep) / "jobs" / f"{name}.json"


def read_record(sweep: Path, overrides: Sequence[str]) -> Record | None:
    """Return the record of a job; None if there is none."""
    path = record_path(sweep, overrides)
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    return Record(**{**content, "overrides": tuple(content["overrides"])})


def remove_record(sweep: Path, overrides: Sequence[str]) -> None:
    """Remove the record of a job, so that one of an earlier sweep is not taken for this sweep's."""
    path = record_path(sweep, overrides)
    path.unlink(missing_ok=True)
    path.with_suffix(".traceback").unlink(missing_ok=True)


def _write(path: Path, record: Record) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n")
