"""What a command says on stderr while it works."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable

from llm4grn.runtime.quiet import quiet_lightning


def set_up_logging(reworded: Callable[[str], str] = lambda line: line) -> None:
    """Log messages of llm4grn with the time since the start, and only warnings of other libraries.

    Parameters
    ----------
    reworded
        Function of each message that returns it in the words of the command.
    """
    start = time.monotonic()

    class Elapsed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            return f"[{time.monotonic() - start:6.1f} s] {level}{reworded(record.getMessage())}"

    handler = logging.StreamHandler()
    handler.setFormatter(Elapsed())
    ours = logging.getLogger("llm4grn")
    ours.handlers = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    quiet_lightning()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
