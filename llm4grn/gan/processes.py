"""The processes of a training on several devices: this one is rank 0, and starts one for each other rank.

Lightning's own launchers do not fit here: ``ddp`` runs the whole script again, whose stages would wait for the lock
that the first process holds, and ``ddp_spawn`` moves rank 0, too, into a process that loggers and errors cannot leave.
So rank 0 stays where it is and keeps bars, loggers, checkpoints and tables to itself; the others only train.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed

from llm4grn.workers import leave_with_parent


class SharedBatch(DDPStrategy):
    """Lightning's devices and messages, without a wrapper around the module.

    ``DistributedDataParallel`` averages what ``backward`` leaves in a gradient, but the critic's is written there
    without it; :mod:`llm4grn.gan.ranks` adds all of them up. Nor do ranks wait for each other anywhere else, so that
    rank 0 may score or save while the others are ahead of it by less than a step.
    """

    def __init__(self) -> None:
        super().__init__(cluster_environment=LightningEnvironment())

    def configure_ddp(self) -> None:
        """No wrapper."""

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """No waiting."""


def n_devices(trainer: Mapping[str, Any]) -> int:
    """How many devices Lightning's arguments name; ``auto`` and -1 are all GPUs, or the one CPU."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, list):
        return len(devices)
    if devices not in ("auto", -1):
        return devices
    on_gpu = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpu else 1


@contextmanager
def other_ranks(n: int, train: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Let processes of their own run ``train(*arguments)`` as ranks 1 to ``n - 1`` while this one does as rank 0.

    They end with the block, at the latest with this process, and get copies of the arguments: tensors of a module must
    not be shared by several that train it.
    """
    names = "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK"
    before, n_threads = {name: os.environ.get(name) for name in names}, torch.get_num_threads()
    os.environ |= dict(zip(names, ("127.0.0.1", str(find_free_network_port()), "0", "0"), strict=True))
    torch.set_num_threads(max(1, n_threads // n))
    settings = torch.get_num_threads(), torch.get_default_dtype()
    work = pickle.dumps((train, arguments))
    spawn, others = multiprocessing.get_context("spawn"), []
    try:
        for rank in range(1, n):
            os.environ["LOCAL_RANK"] = str(rank)
            others.append(spawn.Process(target=_run, args=(work, *settings), daemon=True))
            others[-1].start()
        os.environ["LOCAL_RANK"] = "0"
        yield
        for other in others:
            other.join(timeout=60)  # it has taken the same last step
    finally:
        for other in others:
            other.kill()
            other.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        torch.set_num_threads(n_threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _run(work: bytes, n_threads: int, dtype: torch.dtype) -> None:
    leave_with_parent(multiprocessing.parent_process().pid)
    logging.disable(logging.INFO)  # rank 0 says it, and warns
    warnings.simplefilter("ignore")
    torch.set_num_threads(n_threads)
    torch.set_default_dtype(dtype)
    train, arguments = pickle.loads(work)  # written by the parent, a moment ago
    train(*arguments)
