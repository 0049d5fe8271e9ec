"""Run one task per target on several processes, with a progress bar."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from llm4grn.errors import UserError
from llm4grn.runtime.workers import leave_with_parent


def check_n_jobs(n_jobs: object) -> None:
    """Raise UserError unless ``n_jobs`` is a non-zero integer."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise UserError(f"inferer.n_jobs={n_jobs!r}: must be a number of processes, or -1 for all cores")


def run_per_target(tasks: Iterable, n_jobs: int, total: int, desc: str) -> list[Any]:
    """Run joblib's ``delayed`` tasks on ``n_jobs`` processes and return their results in order.

    Parameters
    ----------
    tasks
        One task for each target.
    n_jobs
        Number of processes; -1 for one per available core.
    total
        Number of tasks.
    desc
        Label of the progress bar.
    """
    from joblib import Parallel, parallel_config

    from llm4grn.runtime.progress import progress

    # One thread per process, as the processes already fill the cores. Idle workers hold several hundred megabytes that
    # the subsequent training needs, so they end after a short time.
    with parallel_config(
        backend="loky",
        inner_max_num_threads=1,
        idle_worker_timeout=5,
        initializer=leave_with_parent,
        initargs=(os.getpid(),),
    ):
        results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
        return list(progress(results, total=total, desc=desc, unit="target"))
