"""How many threads torch has: fixed before anything is computed whose rounding depends on them."""

from __future__ import annotations

import os


def fix_torch_threads() -> None:
    """Give torch as many threads as this process is meant to have, whatever became of them.

    How many share a sum decides how it is rounded. And a parallel function of numba (scanpy has some) hands its own
    number to the OpenMP library that torch uses, too: without this, a training whose data were prepared a moment ago in
    the same process would end otherwise than one that read them from the store.
    """
    import torch

    torch.set_num_threads(n_threads())


def n_threads() -> int:
    """``OMP_NUM_THREADS``, no more than there are cores; without it, the physical cores that this process may use."""
    from joblib import cpu_count

    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(int(asked), cpu_count()) if asked.isdecimal() and int(asked) else cpu_count(only_physical_cores=True)
