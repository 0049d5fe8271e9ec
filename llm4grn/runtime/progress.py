"""One look for every progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress(items: Iterable[Any] | None = None, **arguments: Any) -> tqdm:
    """A bar with rate and ETA on stderr: live in a terminal or a notebook, a line now and then in a log file.

    Parameters
    ----------
    items
        What to iterate over; none for a bar that is updated by hand.
    arguments
        Of :class:`tqdm.tqdm`: ``desc``, ``unit``, ``total``, ``initial``.
    """
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(items, mininterval=0.2 if live else 15, dynamic_ncols=live, **arguments)
