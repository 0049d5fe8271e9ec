"""Divide the cores and GPUs of one machine among the jobs that run on it at the same time."""

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

_held_locks: list[KernelLock] = []  # kept until this process ends, when the kernel releases them


def share_threads(n: int) -> None:
    """Limit this process to ``n`` threads from now on, in joblib, torch, BLAS and OpenMP."""
    import torch
    from threadpoolctl import threadpool_limits

    n = max(n, 1)
    os.environ["LOKY_MAX_CPU_COUNT"] = str(n)  # joblib's number of cores, so that n_jobs=-1 means n
    torch.set_num_threads(min(torch.get_num_threads(), n))
    threadpool_limits(n)


@cache
def cores() -> int:
    """Return the number of cores that this process may use, as on the first call: before they were shared."""
    from joblib import cpu_count

    return cpu_count()


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them, without starting CUDA."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    return [str(i) for i in range(torch.cuda.device_count())]


@cache
def free_gpu_bytes() -> list[float]:
    """Return the free bytes of each GPU that this process may use, as the driver reported them at the first call.

    CUDA is not started. The list is empty if there is no driver or it reports nothing.
    """
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        command.append(f"--id={chosen}")
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return [float(line) * 2**20 for line in output.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def take_gpu(gpus: Sequence[str], folder: Path | None = None) -> str | None:
    """Reserve one of several GPUs for this process: one that no other job has, or any if all are taken.

    It sets ``CUDA_VISIBLE_DEVICES``, so call it before CUDA starts. A second call changes nothing.

    Parameters
    ----------
    gpus
        Names of the GPUs to choose from.
    folder
        Folder of the locks, on this machine; None uses one of the user's own below the temporary folder.

    Returns
    -------
    Name of the GPU; None if there are fewer than two, or one is reserved already.
    """
    if _held_locks or len(gpus) < 2:
        return None
    folder = folder or Path(tempfile.gettempdir()) / f"llm4grn-gpus-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for gpu in gpus:
        lock = KernelLock(folder / f"{gpu.replace('/', '_')}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held_locks.append(lock)
        break
    else:
        gpu = gpus[os.getpid() % len(gpus)]
        logger.warning("all %d GPUs have a job already: sharing number %s", len(gpus), gpu)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    return gpu
