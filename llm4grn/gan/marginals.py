"""The distribution of each gene as a rectified Gaussian, which initialises a preconditioned generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A gene that all cells or hardly any cells express would start where ReLU passes everything or nothing.
_MIN_SHARE, _MAX_SHARE = 0.005, 0.998
# A gene whose counts vary no more than Poisson's would start alike in all cells, and a rare one in few cells.
_MIN_VARIATION, _MAX_VARIATION = 1 / 3, 2.0


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
    return _with_mean(cells.mean(dim=0), torch.special.ndtri(share), share)


def expected_gaussians(cells: Tensor, one: Tensor) -> Marginals:
    """Fit rectified Gaussians to each gene's expected expression, of which the cells show counts.

    What a Poisson distribution adds to the variance is the mean times the value of one count. The offset is one over
    the coefficient of variation that is left, as for a Gaussian that hardly reaches 0.

    Parameters
    ----------
    cells
        Counts scaled to one library size, shape ``(n_cells, n_genes)``.
    one
        Mean value of one count, a scalar. Coefficients of variation are clamped to [1/3, 2].

    Examples
    --------
    >>> random = torch.Generator().manual_seed(0)
    >>> expected = 40 * torch.relu(2 + torch.randn(100_000, 1, generator=random))
    >>> cells = 10 * torch.poisson(expected / 10, generator=random)
    >>> marginals = expected_gaussians(cells, torch.tensor(10.0))
    >>> round(marginals.offset.item(), 1), round(marginals.unit.item())
    (2.0, 39)
    """
    cells = cells.double()
    mean = cells.mean(dim=0)
    variance = (cells.var(dim=0) - mean * one).clamp_min(0)
    variation = (variance.sqrt() / mean.clamp_min(1e-30)).clamp(_MIN_VARIATION, _MAX_VARIATION)
    return _with_mean(mean, 1 / variation, torch.special.ndtr(1 / variation))


def _with_mean(mean: Tensor, offset: Tensor, share: Tensor) -> Marginals:
    """Return the rectified Gaussians of these means, offsets and shares of values above 0."""
    density = torch.exp(-offset.square() / 2) / math.sqrt(2 * math.pi)
    return Marginals(offset.float(), (mean / (density + offset * share)).float())


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
