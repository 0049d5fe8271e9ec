"""The dependence of targets on TFs as a torchmetrics class."""

from __future__ import annotations

import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from llm4grn.causal_graph import CausalGraph
from llm4grn.evaluation.graphs.dependence import tf_target_dependence


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
