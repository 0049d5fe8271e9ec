"""Fix the number of torch threads, on which the rounding of results depends."""

from __future__ import annotations

import os


def fix_torch_threads() -> None:
    """Set torch to the number of threads of `n_threads`, whatever other libraries set before.

    The number of threads that share a sum decides how it is rounded, and numba's parallel functions (scanpy has some)
    change it in the OpenMP library that torch uses too. Without this call, a training in the process that prepared its
    data would give other results than one that read them from the store.
    """
    import torch

    torch.set_num_threads(n_threads())


def n_threads() -> int:
    """Return ``OMP_NUM_THREADS``, at most the number of cores; if unset, the physical cores this process may use."""
    from joblib import cpu_count

    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(int(asked), cpu_count()) if asked.isdecimal() and int(asked) else cpu_count(only_physical_cores=True)
