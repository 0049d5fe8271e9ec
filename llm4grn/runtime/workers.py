"""Processes that work for another one."""

from __future__ import annotations

import os
import threading
import time
from functools import cache


@cache
def leave_with_parent(parent: int) -> None:
    """Make this worker end when the process that started it does; called again, it does nothing.

    Killed with SIGKILL, that process cannot tell its workers, and they would wait for its next task for good.

    Parameters
    ----------
    parent
        Its process id, as it told it itself: ``os.getpid()`` there, or ``multiprocessing.parent_process().pid`` here.
        ``os.getppid()`` would be that of another process if the parent has died already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
