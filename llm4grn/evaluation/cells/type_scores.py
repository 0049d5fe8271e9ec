"""A metric within each cell type: real cells of the type compared with synthetic cells predicted to be of that type.

:func:`cell_type_scores` is the function, :class:`CellTypeScores` the same as a torchmetrics class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias, TypeVar

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

    Cells: TypeAlias = np.ndarray | spmatrix

#: Cell types are names, or the numbers that stand for them.
Label = TypeVar("Label", str, int)

#: MMD compares whole distributions; gene means give every gene the same weight.
TYPE_METRICS = ("mmd", "gene_means")
N_CELLS = 20


def cell_type_scores(
    real: Cells,
    synthetic: Cells,
    real_types: Sequence[Label],
    synthetic_types: Sequence[Label],
    metric: str,
    seed: int,
    n_cells: int = N_CELLS,
) -> dict[Label, float]:
    """Compute a metric within each cell type.

    Every type is scored with the same number of cells on both sides, drawn five times without replacement. Most metrics
    fall with the number of cells, so a type that a generator makes rarely would otherwise score worse.

    Parameters
    ----------
    real, synthetic
        Shape (n_real, n_genes) and (n_synthetic, n_genes), same genes, counts normalised to 20,000 per cell.
    real_types, synthetic_types
        One label per cell.
    metric
        A name in the metric registry.
    seed
        Seed for the draws, which on the real side do not depend on the synthetic cells, and for a random metric.
    n_cells
        Number of cells drawn on each side; a type with fewer on either side scores NaN.

    Returns
    -------
    Mean over the draws for each type of the real cells. Synthetic cells of other types are ignored.

    Raises
    ------
    UserError
        If a side does not have one type per cell, or the metric is unknown.
    """
    labels = np.asarray(real_types), np.asarray(synthetic_types)
    for name, cells, types in ("real", real, labels[0]), ("synthetic", synthetic, labels[1]):
        if cells.shape[0] != len(types):
            raise UserError(f"{cells.shape[0]} {name} cells and {len(types)} cell types: give one type for each cell")
    scores: dict[Label, float] = {}
    for cell_type in np.unique(labels[0]).tolist():
        sides = [np.flatnonzero(types == cell_type) for types in labels]
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
    """Any metric of the registry within each cell type, see :func:`cell_type_scores`.

    Parameters
    ----------
    metric
        A name in the metric registry, which also decides whether higher is better.
    cell_types
        Names of the types, in the order of their numbers in :meth:`update`.
    seed
        Seed for the draws, and for a random metric.
    n_cells
        Number of cells drawn on each side; a type with fewer on either side scores NaN.

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
    def higher_is_better(self) -> bool:  # type: ignore[override]  # a constant of the class in torchmetrics
        """Return the direction of the metric."""
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
        """Return type to score (a float64 scalar) for each type that has real cells."""
        real, synthetic = (dim_zero_cat(state).cpu().numpy() for state in (self.real, self.synthetic))
        numbers: tuple[list[int], list[int]] = (
            dim_zero_cat(self.real_types).tolist(),
            dim_zero_cat(self.synthetic_types).tolist(),
        )
        scores = cell_type_scores(real, synthetic, *numbers, self.metric, self.seed, n_cells=self.n_cells)
        return {self.cell_types[number]: torch.tensor(value, dtype=torch.float64) for number, value in scores.items()}
