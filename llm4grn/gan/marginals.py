"""The distribution of each gene as a rectified Gaussian, which initialises a preconditioned generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A gene that all cells or hardly any cells express would start where ReLU passes everything or nothing.
_MIN_SHARE, _MAX_SHARE = 0.005, 0.998


@dataclass(frozen=True)
class Marginals:
    """Parameters of all genes: gene ``g`` is about ``unit[g] * relu(offset[g] + standard normal)``.

    Attributes
    ----------
    offset
        Shape ``(n_genes,)``, dimensionless.
    unit
        In counts, shape ``(n_genes,)``.
    """

    offset: Tensor
    unit: Tensor

    def of(self, genes: Tensor) -> Marginals:
        """Return the marginals of some genes, by index."""
        return Marginals(self.offset[genes], self.unit[genes])


def rectified_gaussians(cells: Tensor) -> Marginals:
    """Fit rectified Gaussians to each gene's share of expressing cells and its mean.

    With the share :math:`p` and the mean :math:`m`, the offset is :math:`a = \\Phi^{-1}(p)`, and the unit is
    :math:`m / (\\varphi(a) + a \\Phi(a))`, as the denominator is the mean of a rectified Gaussian with mean :math:`a`
    and variance 1.

    Parameters
    ----------
    cells
        Non-negative expression, shape ``(n_cells, n_genes)``. Shares are clamped to [0.005, 0.998].

    Examples
    --------
    >>> cells = 50 * torch.relu(0.5 + torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)))
    >>> marginals = rectified_gaussians(cells)
    >>> round(marginals.offset.item(), 1), round(marginals.unit.item())
    (0.5, 50)
    """
    cells = cells.double()
    share = (cells > 0).double().mean(dim=0).clamp(_MIN_SHARE, _MAX_SHARE)
    offset = torch.special.ndtri(share)
    density = torch.exp(-offset.square() / 2) / math.sqrt(2 * math.pi)
    unit = cells.mean(dim=0) / (density + offset * share)
    return Marginals(offset.float(), unit.float())


@torch.no_grad()
def rescale_output(pre_activation: Tensor, weight: Tensor, bias: Tensor, offset: Tensor) -> None:
    """Rescale a last layer in place so that the input of its ReLU has mean ``offset`` and standard deviation 1.

    Parameters
    ----------
    pre_activation
        Inputs of the ReLU for a sample of cells, shape ``(n_outputs, n_cells)``.
    weight
        Weights of the layer, shape ``(n_outputs, n_inputs)``.
    bias, offset
        Shape ``(n_outputs,)``.
    """
    # The clamp is for a unit whose inputs are all constant: it has no deviation to rescale.
    scale = 1 / pre_activation.std(dim=1).clamp_min(1e-3)
    bias.copy_(offset + (bias - pre_activation.mean(dim=1)) * scale)
    weight.mul_(scale[:, None])
