"""Scores within the cell types as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from llm4grn.evaluation.cells.type_scores import N_CELLS, cell_type_scores
from llm4grn.metrics.registry import METRICS


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
