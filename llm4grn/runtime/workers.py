"""Lifetime of worker processes."""

from __future__ import annotations

import os
import threading
import time
from functools import cache


@cache
def leave_with_parent(parent: int) -> None:
    """End this worker when its parent process ends; a second call with the same parent does nothing.

    A parent that is killed with SIGKILL cannot stop its workers, which would wait for its next task forever.

    Parameters
    ----------
    parent
        Process id of the parent: ``os.getpid()`` there, or ``multiprocessing.parent_process().pid`` here. Do not pass
        ``os.getppid()``, which is the id of another process if the parent has ended already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
