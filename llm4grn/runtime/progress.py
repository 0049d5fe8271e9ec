"""The progress bar that all long loops share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress(items: Iterable[Any] | None = None, **arguments: Any) -> tqdm:
    """Return a progress bar with rate and ETA on stderr: live in a terminal or notebook, every 15 s in a log file.

    Parameters
    ----------
    items
        Items to iterate over; None for a bar that the caller updates.
    arguments
        Arguments of :class:`tqdm.tqdm`: ``desc``, ``unit``, ``total``, ``initial``.
    """
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(items, mininterval=0.2 if live else 15, dynamic_ncols=live, **arguments)
