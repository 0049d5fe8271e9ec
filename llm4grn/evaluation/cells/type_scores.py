"""A metric within each cell type: real cells of the type against synthetic cells that are called the same.

The same as a torchmetrics class: :mod:`llm4grn.evaluation.cells.type_scores`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from llm4grn.errors import UserError
from llm4grn.evaluation.scores.score import score
from llm4grn.metrics.arrays import N_REPEATS
from llm4grn.metrics.registry import METRICS
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

    Cells = np.ndarray | spmatrix

#: Whole distributions, and every gene with the same weight.
TYPE_METRICS = ("mmd", "gene_means")
N_CELLS = 20


def cell_type_scores(
    real: Cells,
    synthetic: Cells,
    real_types: Sequence[str],
    synthetic_types: Sequence[str],
    metric: str,
    seed: int,
    n_cells: int = N_CELLS,
) -> dict[str, float]:
    """A metric within each cell type.

    Every type is scored with the same number of cells on both sides, drawn five times without replacement: most metrics
    fall with the number of cells, so that a type which a generator makes rarely would seem the worse for it.

    Parameters
    ----------
    real, synthetic
        Shape (n_real, n_genes) and (n_synthetic, n_genes), same genes, counts normalised to 20,000 per cell.
    real_types, synthetic_types
        One label per cell.
    metric
        A name of the registry.
    seed
        Of the draws, which are the same on the real side whatever the synthetic cells; and of a metric that draws.
    n_cells
        On each side; a type with fewer on either scores NaN.

    Returns
    -------
    For each type of the real cells, by name, the mean over the draws. Synthetic cells of other types take no part.

    Raises
    ------
    UserError
        As many types as cells are wanted; an unknown metric.
    """
    real_types, synthetic_types = np.asarray(real_types), np.asarray(synthetic_types)
    for name, cells, types in ("real", real, real_types), ("synthetic", synthetic, synthetic_types):
        if cells.shape[0] != len(types):
            raise UserError(f"{cells.shape[0]} {name} cells and {len(types)} cell types: give one type for each cell")
    scores = {}
    for cell_type in np.unique(real_types).tolist():
        sides = [np.flatnonzero(types == cell_type) for types in (real_types, synthetic_types)]
        values = []
        for draw in range(N_REPEATS if min(map(len, sides)) >= n_cells else 0):
            chosen = [
                np.random.default_rng(derive_seed(seed, name, cell_type, draw)).choice(own, n_cells, replace=False)
                for name, own in zip(("real", "synthetic"), sides, strict=True)
            ]
            values.append(score(real[chosen[0]], synthetic[chosen[1]], seed, [metric])[metric])
        scores[cell_type] = fmean(values) if values else math.nan
    return scores


class CellTypeScores(Metric):
    """Any metric of the registry within each cell type.

    See :func:`llm4grn.evaluation.cells.type_scores.cell_type_scores`.

    Parameters
    ----------
    metric
        A name of the registry; its direction is this metric's.
    cell_types
        Names, by the number that stands for each in :meth:`update`.
    seed
        Of the draws, and of the metric if it draws.
    n_cells
        Drawn on each side; a type with fewer on either scores NaN.

    Examples
    --------
    >>> metric = CellTypeScores("euclidean_distance", ("B", "T"), n_cells=1)
    >>> cells = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> metric.update(cells, torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([0, 1]))
    >>> {name: value.item() for name, value in metric.compute().items()}
    {'B': 3.0, 'T': 4.0}
    """

    is_differentiable: bool = False
    full_state_update: bool = False
    real: list[torch.Tensor]
    synthetic: list[torch.Tensor]
    real_types: list[torch.Tensor]
    synthetic_types: list[torch.Tensor]

    def __init__(self, metric: str, cell_types: Sequence[str], seed: int = 0, n_cells: int = N_CELLS) -> None:
        super().__init__()
        self.metric, self.cell_types, self.seed, self.n_cells = metric, tuple(cell_types), seed, n_cells
        for name in ("real", "synthetic", "real_types", "synthetic_types"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @property
    def higher_is_better(self) -> bool:
        """As that of the metric."""
        return METRICS[self.metric].higher_is_better

    def update(
        self, real: torch.Tensor, synthetic: torch.Tensor, real_types: torch.Tensor, synthetic_types: torch.Tensor
    ) -> None:
        """Add cells of shape (n_cells, n_genes) and the numbers of their types, shape (n_cells,)."""
        self.real.append(real.detach())
        self.synthetic.append(synthetic.detach())
        self.real_types.append(real_types)
        self.synthetic_types.append(synthetic_types)

    def compute(self) -> dict[str, torch.Tensor]:
        """A float64 scalar for each type that has real cells, by name."""
        real, synthetic, real_types, synthetic_types = (
            dim_zero_cat(state).cpu().numpy()
            for state in (self.real, self.synthetic, self.real_types, self.synthetic_types)
        )
        scores = cell_type_scores(
            real, synthetic, real_types, synthetic_types, self.metric, self.seed, n_cells=self.n_cells
        )
        return {self.cell_types[number]: torch.tensor(value, dtype=torch.float64) for number, value in scores.items()}
