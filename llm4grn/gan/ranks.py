"""One batch on several devices: each rank holds a share of its cells, and sums over the ranks make them one batch.

A rank is a process with a device of its own. Outside of such a training there is one rank, and nothing here does
anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn


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
