"""One batch on several devices: each rank holds a share of its cells, and sums over the ranks make them one batch.

A rank is a process with a device of its own. Outside of such a training there is one rank, and nothing here does
anything.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn

from llm4grn.runtime.workers import leave_with_parent


def n_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def share(n_cells: int) -> slice:
    """Those of the cells of a batch that this rank works on."""
    n = n_ranks()
    rank = distributed.get_rank() if n > 1 else 0
    return slice(n_cells * rank // n, n_cells * (rank + 1) // n)


@torch.no_grad()
def sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all ranks, all of them in one message."""
    if n_ranks() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


class _Sum(torch.autograd.Function):
    """Sum over all ranks; what a loss that is itself a sum over ranks owes to each rank's term is again a sum."""

    @staticmethod
    def forward(ctx, term: Tensor) -> Tensor:
        total = term.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm over the cells of all ranks (torch's own SyncBatchNorm is for GPUs only)."""

    def forward(self, units: Tensor) -> Tensor:
        """Shape ``(n_cells, n_units)``, of this rank's cells, and the same out."""
        if not self.training or n_ranks() == 1:
            return super().forward(units)
        x = units.to(self.weight.dtype)  # under autocast, products are bfloat16
        sums = _Sum.apply(torch.cat([x.sum(dim=0), x.new_full((1,), len(x))]))
        n = sums[-1].detach()
        mean = sums[:-1] / n
        var = _Sum.apply((x - mean).square().sum(dim=0)) / n
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / (n - 1), self.momentum)
        return ((x - mean) * ((var + self.eps).rsqrt() * self.weight) + self.bias).to(units.dtype)


class SharedBatch(DDPStrategy):
    """Lightning's devices and messages, without a wrapper around the module.

    ``DistributedDataParallel`` averages what ``backward`` leaves in a gradient, but the critic's is written there
    without it; :func:`sum_over_ranks` adds all of them up. Nor do ranks wait for each other anywhere else, so that rank
    0 may score or save while the others are ahead of it by less than a step.
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
