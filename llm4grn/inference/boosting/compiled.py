"""Compilation with a cache on disk that is never older than the source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def _digest_of_engine() -> str:
    """Compute a digest of all source files of the engine, including this one."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


#: Digest that changes with any change of the engine's code.
FINGERPRINT = _digest_of_engine()


def compiled(function: Function) -> Function:
    """Compile ``function`` with numba, without the GIL, and cache the machine code on disk.

    Numba recompiles a function when its file changes, but not when a function or constant of another file that it uses
    changes. Its cache is indexed by the function's name, so the name includes a digest of all files of the engine.
    """
    function.__qualname__ += f"_{FINGERPRINT}"
    # No fastmath: results must not depend on the order in which a processor's compiler sums.
    # The dispatcher that numba returns is called like the function.
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy")(function))
