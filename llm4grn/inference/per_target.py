"""One task per target over processes, with a bar in targets per second."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from llm4grn.errors import UserError
from llm4grn.runtime.workers import leave_with_parent


def check_n_jobs(n_jobs: object) -> None:
    """Refuse what is no number of processes.

    Raises
    ------
    UserError
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise UserError(f"inferer.n_jobs={n_jobs!r}: must be a number of processes, or -1 for all cores")


def run_per_target(tasks: Iterable, n_jobs: int, total: int, desc: str) -> list[Any]:
    """The results of joblib's ``delayed`` tasks, in their order.

    Parameters
    ----------
    tasks
        One for each target.
    n_jobs
        Processes; -1 for one per available core.
    total
        How many tasks there are.
    desc
        What the bar is called.
    """
    from joblib import Parallel, parallel_config

    from llm4grn.runtime.progress import progress

    # One thread each: the processes already fill the cores. Idle workers hold several hundred megabytes that the
    # training that follows can use, so they leave soon.
    with parallel_config(
        backend="loky",
        inner_max_num_threads=1,
        idle_worker_timeout=5,
        initializer=leave_with_parent,
        initargs=(os.getpid(),),
    ):
        results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
        return list(progress(results, total=total, desc=desc, unit="target"))
