"""Detection of live participants by a lock file for each, which the kernel unlocks when its process ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from llm4grn.runtime.locks import KernelLock

_OPENING = "opening.lock"


class Owners:
    """A participant of a shared folder, with a unique name, and its view of the others.

    Detection does not use time-outs: a suspended participant counts as alive, and a killed one as dead at once.

    Parameters
    ----------
    folder
        Folder shared by all participants on one machine; created if missing.

    Attributes
    ----------
    me
        Name of this participant.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.me = uuid.uuid4().hex
        # Between its creation and its locking, the file looks like that of a dead participant.
        with self.alone():
            self._lock = KernelLock(self._file(self.me), thread_local=False)
            self._lock.acquire(timeout=0)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Exclude all other participants from joining, sweeping, and running their own such block."""
        with KernelLock(self._folder / _OPENING).acquire(poll_interval=0.005):
            yield

    def alive(self, name: str) -> bool:
        """Return True if that participant still runs; the file of a dead participant is removed."""
        if name == self.me:
            return True
        if not self._file(name).exists():
            return False
        lock = KernelLock(self._file(name), thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        self._remove(name)
        return False

    def sweep(self) -> set[str]:
        """Remove the files of dead participants and return the names of the others; call it only while ``alone``."""
        names = {file.stem for file in self._folder.glob("*.lock")} - {Path(_OPENING).stem}
        return {name for name in names if self.alive(name)}

    def close(self) -> None:
        """Leave the folder: from now on this participant counts as dead."""
        self._lock.release()
        self._remove(self.me)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _remove(self, name: str) -> None:
        # On Windows a file that another participant is probing cannot be removed; a later call removes it.
        with suppress(OSError):
            self._file(name).unlink(missing_ok=True)
