"""Locks between processes, and between machines on a shared folder."""

from __future__ import annotations

import errno
import os
from typing import Any

from filelock import FileLock

from llm4grn.errors import UserError

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


class KernelLock(FileLock):
    """File lock that the kernel releases when its process ends, however it ends.

    On a file system without kernel locks, filelock would fall back to the existence of the file, and a crashed machine
    would leave a lock to be removed by hand. This class raises an error instead.

    Raises
    ------
    UserError
        When the lock is acquired on a file system without kernel locks.
    """

    def __init__(self, path: str | os.PathLike[str], thread_local: bool = True) -> None:
        super().__init__(path, thread_local=thread_local, fallback_to_soft=False)

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().acquire(*args, **kwargs)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise UserError(
                f"{self.lock_file}: this file system has no locks ({error.strerror}); mount it with flock, or set "
                "paths.outputs to a folder on another one"
            ) from error
