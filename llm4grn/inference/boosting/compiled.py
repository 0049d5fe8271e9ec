"""Compiled code on disk that cannot be older than its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numba


def _digest_of_engine() -> str:
    """Of all files of the engine, this one included."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


#: Changes with any change of the engine's code.
FINGERPRINT = _digest_of_engine()


def compiled(function: Callable) -> Callable:
    """``function`` compiled by numba, without the GIL, and kept on disk.

    Numba compiles again when the file of a function changes, but not when one that it calls or a constant does that is
    in another file. It files what it keeps by the function's name, so here the name tells the version of all of them.
    """
    function.__qualname__ += f"_{FINGERPRINT}"
    # No fastmath: a result must not depend on how a processor's compiler orders a sum.
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
