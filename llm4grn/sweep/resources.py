"""Cores and GPUs of one machine, divided among the jobs that run on it at the same time."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from filelock import Timeout

from llm4grn.runtime.locks import KernelLock

logger = logging.getLogger("llm4grn")

_held: list[KernelLock] = []  # until this process ends: the kernel lets go of them, however it ends


def share_threads(n: int) -> None:
    """Use no more than ``n`` threads in this process from now on, whichever library starts them."""
    import torch
    from threadpoolctl import threadpool_limits

    n = max(n, 1)
    os.environ["LOKY_MAX_CPU_COUNT"] = str(n)  # what joblib takes for the number of cores: n_jobs=-1 means n
    torch.set_num_threads(min(torch.get_num_threads(), n))
    threadpool_limits(n)


@cache
def cores() -> int:
    """Cores that this process may use, before they were shared."""
    from joblib import cpu_count

    return cpu_count()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; CUDA is not started for it."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    return [str(i) for i in range(torch.cuda.device_count())]


@cache
def free_gpu_bytes() -> list[float]:
    """Free memory of each GPU that this process may use, as its driver told first; CUDA is not started for it."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        command.append(f"--id={chosen}")
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return [float(line) * 2**20 for line in told.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []  # no driver, or one that tells nothing: the trainings will


def take_gpu(gpus: Sequence[str], folder: Path | None = None) -> str | None:
    """Keep one of several GPUs for this process: one that no other job has, or any if all are taken.

    To be called before CUDA starts. A second call changes nothing.

    Parameters
    ----------
    gpus
        To choose from.
    folder
        Of the locks, on this machine; None is the user's own below the temporary folder.

    Returns
    -------
    Its name; None if there are not several to choose from.
    """
    if _held or len(gpus) < 2:
        return None
    folder = folder or Path(tempfile.gettempdir()) / f"llm4grn-gpus-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for gpu in gpus:
        lock = KernelLock(folder / f"{gpu.replace('/', '_')}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        break
    else:
        gpu = gpus[os.getpid() % len(gpus)]
        logger.warning("all %d GPUs have a job already: sharing number %s", len(gpus), gpu)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    return gpu
