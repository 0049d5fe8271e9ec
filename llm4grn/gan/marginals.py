"""Each gene's own distribution, as a rectified Gaussian: where a preconditioned generator starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A gene that all cells express, or hardly any, would start where ReLU passes everything or nothing.
_LEAST_SHARE, _GREATEST_SHARE = 0.005, 0.998


@dataclass(frozen=True)
class Marginals:
    """The expression of gene ``g`` is about ``unit[g] * relu(offset[g] + standard normal)``.

    Attributes
    ----------
    offset
        Shape ``(n_genes,)``, without unit.
    unit
        In counts, shape ``(n_genes,)``.
    """

    offset: Tensor
    unit: Tensor

    def of(self, genes: Tensor) -> Marginals:
        """Those of some genes, by index."""
        return Marginals(self.offset[genes], self.unit[genes])


def rectified_gaussians(cells: Tensor) -> Marginals:
    """The rectified Gaussians with each gene's share of expressing cells and its mean.

    With the share :math:`p` and the mean :math:`m`, the offset is :math:`a = \\Phi^{-1}(p)`, and the unit is
    :math:`m / (\\varphi(a) + a \\Phi(a))`, as the denominator is the mean of a rectified normal of mean :math:`a`.

    Parameters
    ----------
    cells
        Non-negative, shape ``(n_cells, n_genes)``.

    Examples
    --------
    >>> cells = 50 * torch.relu(0.5 + torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)))
    >>> found = rectified_gaussians(cells)
    >>> round(found.offset.item(), 1), round(found.unit.item())
    (0.5, 50)
    """
    cells = cells.double()
    share = (cells > 0).double().mean(dim=0).clamp(_LEAST_SHARE, _GREATEST_SHARE)
    offset = torch.special.ndtri(share)
    density = torch.exp(-offset.square() / 2) / math.sqrt(2 * math.pi)
    unit = cells.mean(dim=0) / (density + offset * share)
    return Marginals(offset.float(), unit.float())


@torch.no_grad()
def rescale_output(pre_activation: Tensor, weight: Tensor, bias: Tensor, offset: Tensor) -> None:
    """Rescale a last layer, in place, so that what goes into its ReLU has mean ``offset`` and standard deviation 1.

    Parameters
    ----------
    pre_activation
        Of a sample of cells, shape ``(n_outputs, n_cells)``.
    weight
        Shape ``(n_outputs, n_inputs)``.
    bias, offset
        Shape ``(n_outputs,)``.
    """
    # A unit whose inputs are all constant has nothing to rescale.
    scale = 1 / pre_activation.std(dim=1).clamp_min(1e-3)
    bias.copy_(offset + (bias - pre_activation.mean(dim=1)) * scale)
    weight.mul_(scale[:, None])
