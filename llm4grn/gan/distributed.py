"""One batch on several devices: each rank holds a share of its cells, and sums over the ranks make them one batch.

A rank is a process with its own device. In a training on one device there is one rank, and the functions here change
nothing.
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
from torch.autograd.function import FunctionCtx

from llm4grn.runtime.workers import leave_with_parent


def n_ranks() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def share(n_cells: int) -> slice:
    """Return the slice of a batch of ``n_cells`` that this rank processes."""
    n = n_ranks()
    rank = distributed.get_rank() if n > 1 else 0
    return slice(n_cells * rank // n, n_cells * (rank + 1) // n)


@torch.no_grad()
def sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all ranks, in one message."""
    if n_ranks() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


class _Sum(torch.autograd.Function):
    """Sum over all ranks. The loss is such a sum itself, so its gradient for each rank's term is a sum, too."""

    @staticmethod
    def forward(ctx: FunctionCtx, term: Tensor) -> Tensor:
        total = term.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm over the cells of all ranks (torch's own SyncBatchNorm is for GPUs only)."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, units: Tensor) -> Tensor:
        """Normalise the units of this rank's cells, shape ``(n_cells, n_units)``."""
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
    """Lightning's DDP strategy without the wrapper around the module, and without barriers.

    ``DistributedDataParallel`` averages the gradients that ``backward`` computes, but the critic's gradients are
    assigned without ``backward``; :func:`sum_over_ranks` sums all of them. Ranks wait for each other only there, so
    rank 0 may score or save while the others are ahead of it by less than a step.
    """

    def __init__(self) -> None:
        super().__init__(cluster_environment=LightningEnvironment())

    def configure_ddp(self) -> None:
        """Do not wrap the module."""

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Do not wait for other ranks."""


def n_devices(trainer: Mapping[str, Any]) -> int:
    """Return the number of devices in Lightning's arguments; ``auto`` and -1 mean all GPUs, or one CPU."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, list):
        return len(devices)
    if devices not in ("auto", -1):
        return devices
    on_gpu = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpu else 1


@contextmanager
def other_ranks(n: int, train: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Run ``train(*arguments)`` in new processes as ranks 1 to ``n - 1`` while this process trains as rank 0.

    They end with the block, or with this process if that ends first. They get copies of the arguments, because
    processes that train a module must not share its tensors.
    """
    names = "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK"
    before, n_threads = {name: os.environ.get(name) for name in names}, torch.get_num_threads()
    os.environ |= dict(zip(names, ("127.0.0.1", str(find_free_network_port()), "0", "0"), strict=True))
    torch.set_num_threads(max(1, n_threads // n))
    settings = os.getpid(), torch.get_num_threads(), torch.get_default_dtype()
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
            other.join(timeout=60)  # it has finished the same last step
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


def _run(work: bytes, parent: int, n_threads: int, dtype: torch.dtype) -> None:
    leave_with_parent(parent)
    logging.disable(logging.INFO)  # rank 0 logs and warns for all
    warnings.simplefilter("ignore")
    torch.set_num_threads(n_threads)
    torch.set_default_dtype(dtype)
    train, arguments = pickle.loads(work)  # written by the parent process
    train(*arguments)
