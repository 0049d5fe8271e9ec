"""The metrics as torchmetrics classes: thin accumulators over the functional forms."""

from __future__ import annotations

from typing import ClassVar

import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from llm4grn.metrics.arrays import equal_size
from llm4grn.metrics.registry import METRICS


class _CellMetric(Metric):
    """Accumulates real and synthetic cells over batches and devices, and scores all of them in :meth:`compute`.

    Parameters
    ----------
    seed
        Seed for subsampling the larger set, and for the metric itself if it draws random numbers.
    """

    metric_name: ClassVar[str]
    is_differentiable: bool = False
    full_state_update: bool = False
    real: list[torch.Tensor]
    synthetic: list[torch.Tensor]

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("synthetic", default=[], dist_reduce_fx="cat")

    def update(self, real: torch.Tensor, synthetic: torch.Tensor) -> None:
        """Add two sets of cells, each of shape (n_cells, n_genes), in counts normalised to 20,000 per cell.

        The two sets may differ in their number of cells, in one batch and in total.
        """
        self.real.append(real.detach())
        self.synthetic.append(synthetic.detach())

    def compute(self) -> torch.Tensor:
        """Compute the metric over all cells, averaged over subsamples if the two sets differ in size.

        The device that holds the cells computes it, if the metric can run there (:mod:`llm4grn.metrics.functional`).

        Returns
        -------
        A float64 scalar.

        Raises
        ------
        UserError
            See the functional form of the metric.
        """
        info = METRICS[self.metric_name]
        real, synthetic = dim_zero_cat(self.real), dim_zero_cat(self.synthetic)
        values = [info(r, s, self.seed) for r, s in equal_size(real, synthetic, self.seed)]
        return torch.tensor(sum(values) / len(values), dtype=torch.float64)


class CosineDistance(_CellMetric):
    """Cosine distance between the mean cells. See :func:`llm4grn.metrics.functional.cosine_distance`.

    Examples
    --------
    >>> metric = CosineDistance()
    >>> metric.update(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    metric_name = "cosine_distance"
    higher_is_better: bool = False


class EuclideanDistance(_CellMetric):
    """Euclidean distance between the mean cells. See :func:`llm4grn.metrics.functional.euclidean_distance`.

    Examples
    --------
    >>> metric = EuclideanDistance()
    >>> metric.update(torch.tensor([[4.0, 0.0]]), torch.tensor([[1.0, 4.0]]))
    >>> metric.compute()
    tensor(5., dtype=torch.float64)
    """

    metric_name = "euclidean_distance"
    higher_is_better: bool = False


class MMD(_CellMetric):
    """Squared maximum mean discrepancy. See :func:`llm4grn.metrics.functional.mmd`."""

    metric_name = "mmd"
    higher_is_better: bool = False


class RFAUROC(_CellMetric):
    """AUROC of a random forest that tells real from synthetic cells. See :func:`llm4grn.metrics.functional.rf_auroc`.

    Lower is better down to 0.5, where the two sets cannot be told apart; values below it are due to chance.
    """

    metric_name = "rf_auroc"
    higher_is_better: bool = False
    plot_lower_bound: float = 0.5
    plot_upper_bound: float = 1.0


class MiLISI(_CellMetric):
    """Mean integration LISI in a joint t-SNE. See :func:`llm4grn.metrics.functional.milisi`.

    Examples
    --------
    >>> metric = MiLISI()
    >>> cells = torch.arange(200.0).reshape(100, 2)
    >>> metric.update(cells, cells + 1000)
    >>> round(metric.compute().item(), 3)
    1.0
    """

    metric_name = "milisi"
    higher_is_better: bool = True
    plot_lower_bound: float = 1.0
    plot_upper_bound: float = 2.0


class GeneMeans(_CellMetric):
    """Mean difference of the genes' mean log expression. See :func:`llm4grn.metrics.functional.gene_means`."""

    metric_name = "gene_means"
    higher_is_better: bool = False


class GeneVariances(_CellMetric):
    """Mean difference of the genes' log variances. See :func:`llm4grn.metrics.functional.gene_variances`."""

    metric_name = "gene_variances"
    higher_is_better: bool = False


class ZeroFractions(_CellMetric):
    """Mean difference of the fraction of zeros per gene. See :func:`llm4grn.metrics.functional.zero_fractions`."""

    metric_name = "zero_fractions"
    higher_is_better: bool = False


class GeneCorrelations(_CellMetric):
    """RMS difference of gene-gene correlations. See :func:`llm4grn.metrics.functional.gene_correlations`."""

    metric_name = "gene_correlations"
    higher_is_better: bool = False
