"""Who is still alive: a lock file per participant, which the kernel unlocks when its holder dies, however it dies."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from llm4grn.runtime.locks import KernelLock

_OPENING = "opening.lock"


class Owners:
    """A participant of a shared folder, under a name never used again, and its view of the others.

    No clock is involved: a participant that sleeps for a week is alive, one that was killed is dead at once.

    Parameters
    ----------
    folder
        Shared by all participants of one machine; created if missing.

    Attributes
    ----------
    me
        The name of this participant.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.me = uuid.uuid4().hex
        # Between its creation and its locking the file looks like that of a dead participant, to be swept away.
        with self.alone():
            self._lock = KernelLock(self._file(self.me), thread_local=False)
            self._lock.acquire(timeout=0)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other participant from joining, sweeping, or doing what it also does in such a block."""
        with KernelLock(self._folder / _OPENING).acquire(poll_interval=0.005):
            yield

    def alive(self, name: str) -> bool:
        """Whether that participant still runs. The file of a dead one is removed, so that it costs nothing again."""
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
        """The names of all that are alive, after removing the files of the dead. Call it only while ``alone``."""
        names = {file.stem for file in self._folder.glob("*.lock")} - {Path(_OPENING).stem}
        return {name for name in names if self.alive(name)}

    def close(self) -> None:
        """Be dead for the others from now on."""
        self._lock.release()
        self._remove(self.me)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _remove(self, name: str) -> None:
        # On Windows a file that another participant is just probing cannot be removed: a later one will.
        with suppress(OSError):
            self._file(name).unlink(missing_ok=True)
