"""What sequencing shows of a cell: counts around its expected expression, as many in all as real cells have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llm4grn.gan.training_cells import Cells

#: Number of quantiles that stand for the depths of all training cells.
N_DEPTHS = 256
#: Number of training cells that are looked at at once.
_CELLS_AT_ONCE = 4096
#: Most counts that a cell's lowest expression above 0 may stand for.
_MOST_COUNTS = 32

Space = Callable[[Tensor], Tensor]


class Observation(nn.Module):
    r"""Draws the counts of cells whose expected expression is known.

    Of a cell with expected expression :math:`x_g`, which sums to the library size :math:`L`, sequencing counts
    :math:`c_g \sim \mathrm{Poisson}(d\, x_g / L)` molecules, with the depth :math:`d` of a random training cell. What
    is seen are these counts, scaled to :math:`L` like those of real cells.

    Counts have no derivative, but their expectation has: for a function :math:`f` of one gene's counts,
    :math:`\partial\, E f(c) / \partial \lambda = E [f(c + 1) - f(c)]` at the rate :math:`\lambda`. :meth:`views` takes
    this difference at the counts that were drawn, gene by gene, for the space that a critic sees, and the critic's own
    derivative for the rest of the way. The scale of the drawn counts to the library size counts as constant.

    Attributes
    ----------
    depths
        Quantiles of the number of counts of a training cell, shape ``(N_DEPTHS,)``.
    """

    depths: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("depths", torch.ones(N_DEPTHS))

    @torch.no_grad()
    def fit(self, cells: Cells) -> None:
        """Take the depths of training cells, see :func:`_n_counts`."""
        index = torch.arange(len(cells), device=cells.index_device)
        depths = torch.cat([_n_counts(cells.rows(some)) for some in index.split(_CELLS_AT_ONCE)])
        at = (torch.arange(N_DEPTHS, dtype=torch.float64, device=depths.device) + 0.5) / N_DEPTHS
        self.depths.copy_(torch.quantile(depths.double(), at))

    def forward(self, expected: Tensor, random: torch.Generator | None) -> Tensor:
        """Draw cells of shape ``(n_cells, n_genes)`` with this expected expression, without gradient."""
        counts, one, _ = self._counts(expected, random)
        return counts * one

    def views(self, expected: Tensor, spaces: Sequence[Space], random: torch.Generator | None) -> list[Tensor]:
        """Draw cells with this expected expression, and return what each space shows of them, with gradient."""
        counts, one, _ = self._counts(expected, random)
        return [_Seen.apply(expected, counts * one, one, space) for space in spaces]

    @torch.no_grad()
    def pair(self, before: Tensor, after: Tensor, random: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draw the same cells twice, with expected expression ``before`` and ``after`` an intervention.

        Counts of a gene whose expectation falls are thinned, to those of one that rises new ones are added, and all
        others stay; both cells have the scale of the first.
        """
        counts, one, per_unit = self._counts(before, random)
        kept = torch.binomial(counts, torch.nan_to_num(after / before, nan=1.0).clamp(max=1.0), generator=random)
        added = torch.poisson((after - before).clamp_min(0) * per_unit, generator=random)
        return counts * one, (kept + added) * one

    @torch.no_grad()
    def _counts(self, expected: Tensor, random: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Draw counts.

        Returns
        -------
        The counts, shape ``(n_cells, n_genes)``; what one of them is worth when they are scaled to the library size;
        and the rate of counts per unit of expected expression, shape ``(n_cells, 1)`` each.
        """
        at = torch.randint(N_DEPTHS, (len(expected), 1), generator=random, device=expected.device)
        total = expected.sum(dim=1, keepdim=True)
        total = torch.where(total > 0, total, torch.ones_like(total))  # of a cell without expression
        per_unit = self.depths[at] / total
        counts = torch.poisson(expected * per_unit, generator=random)
        return counts, total / counts.sum(dim=1, keepdim=True).clamp_min(1), per_unit


class ObservableGenerator(nn.Module):
    """A generator of cells.

    Attributes
    ----------
    observation
        Draws what is seen of the cells; None if that is the cells themselves.
    """

    observation: Observation | None


class _Seen(torch.autograd.Function):
    """A space of drawn counts, whose derivative is the difference that one more count makes."""

    @staticmethod
    def forward(ctx: Any, expected: Tensor, cells: Tensor, one: Tensor, space: Space) -> Tensor:
        ctx.save_for_backward(cells, one)
        ctx.space = space
        return space(cells)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cells, one = ctx.saved_tensors
        return gradients[0] * (ctx.space(cells + one) - ctx.space(cells)) / one, None, None, None


def _n_counts(cells: Tensor) -> Tensor:
    """Return the number of counts of cells that were scaled to a library size, shape ``(n_cells,)``.

    The lowest expression above 0 is one count, or the fewest counts, up to :data:`_MOST_COUNTS`, that make all others
    whole numbers. Where none does, as in cells that are no counts, it is one.
    """
    lowest = torch.where(cells > 0, cells, torch.inf).amin(dim=1)
    in_lowest = cells / lowest[:, None]
    counts_of_lowest = torch.ones_like(lowest)
    unknown = torch.arange(len(cells), device=cells.device)
    for counts in range(1, _MOST_COUNTS + 1):
        multiples = in_lowest[unknown] * counts
        whole = ((multiples - multiples.round()).abs() < 0.02).all(dim=1)
        counts_of_lowest[unknown[whole]] = counts
        unknown = unknown[~whole]
    return cells.sum(dim=1) / lowest * counts_of_lowest
