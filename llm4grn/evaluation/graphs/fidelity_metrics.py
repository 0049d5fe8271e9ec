"""The closer looks of ``dependence`` and ``fidelity`` as torchmetrics classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from llm4grn.causal_graph import CausalGraph
from llm4grn.evaluation.graphs.dependence import tf_target_dependence
from llm4grn.evaluation.graphs.fidelity import MIN_CELLS, cell_type_scores
from llm4grn.metrics.registry import METRICS


class TFTargetDependence(Metric):
    """AUROC of the dependence of imposed TF-target pairs against others, in the cells seen.

    See :func:`llm4grn.evaluation.graphs.dependence.tf_target_dependence`. 0.5 = the imposed edges do not show, 1 =
    every imposed pair depends more than every other.

    Parameters
    ----------
    graph
        The imposed graph.
    measure
        ``correlation`` or ``mutual_information``.

    Examples
    --------
    >>> graph = CausalGraph(("A", "B", "T", "U"), {"T": ("A",), "U": ("B",)})
    >>> metric = TFTargetDependence(graph)
    >>> metric.update(torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 2.0], [2.0, 2.0, 4.0, 4.0]]))
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    is_differentiable: bool = False
    higher_is_better: bool = True
    full_state_update: bool = False
    plot_lower_bound: float = 0.0
    plot_upper_bound: float = 1.0
    cells: list[torch.Tensor]

    def __init__(self, graph: CausalGraph, measure: str = "correlation") -> None:
        super().__init__()
        self.graph, self.measure = graph, measure
        self.add_state("cells", default=[], dist_reduce_fx="cat")

    def update(self, cells: torch.Tensor) -> None:
        """Add cells of shape (n_cells, n_genes), counts normalised to 20,000, in the order of ``graph.genes``."""
        self.cells.append(cells.detach())

    def compute(self) -> torch.Tensor:
        """The AUROC over all cells seen, a float64 scalar."""
        found = tf_target_dependence(dim_zero_cat(self.cells).cpu().numpy(), self.graph, self.measure)
        return torch.tensor(found.auroc, dtype=torch.float64)


class CellTypeScores(Metric):
    """Any metric of the registry within each cell type.

    See :func:`llm4grn.evaluation.graphs.fidelity.cell_type_scores`.

    Parameters
    ----------
    metric
        A name of the registry; its direction is this metric's.
    cell_types
        Names, by the number that stands for each in :meth:`update`.
    seed
        Of the subsampling, and of the metric if it draws.
    min_cells
        A type with fewer cells on either side scores NaN.

    Examples
    --------
    >>> metric = CellTypeScores("euclidean_distance", ("B", "T"), min_cells=1)
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

    def __init__(self, metric: str, cell_types: Sequence[str], seed: int = 0, min_cells: int = MIN_CELLS) -> None:
        super().__init__()
        self.metric, self.cell_types, self.seed, self.min_cells = metric, tuple(cell_types), seed, min_cells
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
            real, synthetic, real_types, synthetic_types, self.metric, self.seed, min_cells=self.min_cells
        )
        return {self.cell_types[number]: torch.tensor(value, dtype=torch.float64) for number, value in scores.items()}
