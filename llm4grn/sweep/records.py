"""What became of each job of a sweep: one JSON file per job, written by the process that ran it."""

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

_held: list[KernelLock] = []  # until this process ends: the kernel lets go of them, however it ends


def lock_sweep(sweep: Path) -> None:
    """Keep the records of a sweep to this process until it ends; waits for another one that does."""
    sweep.mkdir(parents=True, exist_ok=True)
    lock = KernelLock(sweep / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another sweep in %s; hydra.sweep.dir=FOLDER gives this one a folder of its own", sweep)
        lock.acquire()
    _held.append(lock)


@dataclass(frozen=True)
class Record:
    """One job.

    Parameters
    ----------
    number, overrides
        Which one.
    status
        ``running`` (or its process died), ``done`` or ``failed``.
    folder
        Of its run, if it is done.
    error
        One line, if it failed.
    traceback
        File with the whole story, if it failed.
    seconds
        How long it took, if it ended.
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
    """Run a job and write down how it ended; what it raises stops here, so that the others go on.

    Parameters
    ----------
    sweep
        Folder of the sweep.
    job
        Gives the folder of its run.
    one_line
        An error as one line.
    """
    path, overrides = record_path(sweep, overrides), tuple(without_secrets(list(overrides)))
    _write(path, Record(number, overrides, "running"))
    started = time.monotonic()
    try:
        folder = job()
        outcome = Record(number, overrides, "done", folder=None if folder is None else str(Path(folder).absolute()))
    except Exception as error:
        story = path.with_suffix(".traceback")
        with atomic_write(story) as temporary:
            temporary.write_text(without_secrets(traceback.format_exc()))
        outcome = Record(number, overrides, "failed", error=without_secrets(one_line(error)), traceback=str(story))
        logger.error("failed: %s", outcome.error)
    _write(path, replace(outcome, seconds=round(time.monotonic() - started, 3)))


def record_path(sweep: Path, overrides: Sequence[str]) -> Path:
    """Where the record of a job is: the same place whenever the job is repeated."""
    name = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:12]
    return Path(sweep) / "jobs" / f"{name}.json"


def read_record(sweep: Path, overrides: Sequence[str]) -> Record | None:
    """The record of a job, None if there is none."""
    path = record_path(sweep, overrides)
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    return Record(**{**content, "overrides": tuple(content["overrides"])})


def remove_record(sweep: Path, overrides: Sequence[str]) -> None:
    """Remove what an earlier sweep wrote about a job, so that it cannot be taken for what this one did."""
    path = record_path(sweep, overrides)
    path.unlink(missing_ok=True)
    path.with_suffix(".traceback").unlink(missing_ok=True)


def _write(path: Path, record: Record) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n")
