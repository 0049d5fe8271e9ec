"""Name, direction, unit and floor of each metric. Importing this module imports neither torch nor sklearn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm4grn.metrics import functional

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import CellsLike, RealCells

SPACE = "counts normalised to 20,000 per cell"


@dataclass(frozen=True)
class MetricInfo:
    """One metric, and what a reader needs to know to interpret its values.

    Parameters
    ----------
    name
        Name in files and configurations.
    label
        Name in tables and figures.
    higher_is_better
        Direction of improvement.
    unit
        Unit of the value.
    digits
        Decimals in tables.
    optimum
        Value of a perfect match in the limit of many cells; values beyond it count as no better.
    floor
        How the control measures the best value that can be reached at this sample size.
    function
        The functional form, called with ``(real, synthetic)``, or with ``(real, synthetic, seed)`` if ``seeded``.
    seeded
        If True, the functional form draws random numbers.
    approximated
        If True, the functional form approximates the value of many cells, unless it is called with ``exact``.
    parameters
        Fixed parameters of the metric, written beside the results.
    """

    name: str
    label: str
    higher_is_better: bool
    unit: str
    digits: int
    optimum: float
    floor: str
    function: Callable[..., float]
    seeded: bool = False
    approximated: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __call__(self, real: CellsLike | RealCells, synthetic: CellsLike, seed: int, exact: bool = False) -> float:
        """Compute the metric for two sets of cells, each of shape (n_cells, n_genes), exactly or as fast as it can."""
        seeds = (seed,) if self.seeded else ()
        return self.function(real, synthetic, *seeds, **({"exact": True} if exact and self.approximated else {}))

    def format(self, value: float) -> str:
        """Format ``value`` with the metric's number of decimals."""
        return f"{value:.{self.digits}f}"

    @property
    def arrow(self) -> str:
        """Return the arrow of the better direction, for column headers."""
        return "↑" if self.higher_is_better else "↓"

    def shortfall(self, value: float) -> float:
        """Return the distance of ``value`` from the optimum on its worse side; 0 at the optimum or beyond it."""
        gap = self.optimum - value if self.higher_is_better else value - self.optimum
        return max(0.0, gap)


_CONTROL = "control: real training cells scored against the same test cells, as many of each"
_OVER_GENES = "mean absolute difference"

METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo(
            name="cosine_distance",
            label="Cosine distance",
            higher_is_better=False,
            unit="1 - cosine",
            digits=5,
            optimum=0.0,
            floor=_CONTROL,
            function=functional.cosine_distance,
            parameters={"between": "mean cells"},
        ),
        MetricInfo(
            name="euclidean_distance",
            label="Euclidean distance",
            higher_is_better=False,
            unit="counts per 20,000",
            digits=1,
            optimum=0.0,
            floor=_CONTROL,
            function=functional.euclidean_distance,
            parameters={"between": "mean cells"},
        ),
        MetricInfo(
            name="mmd",
            label="MMD",
            higher_is_better=False,
            unit="squared discrepancy",
            digits=4,
            optimum=0.0,
            floor=f"{_CONTROL}; the biased estimate stays above 0 and falls with the number of cells",
            function=functional.mmd,
            approximated=True,
            parameters={
                "estimate": "biased, squared",
                "kernel": "sum over s in {m/2, m, 2m} of exp(-d^2/s^2)",
                "m": "median over real cells of the distance to the 24th nearest other real cell",
            },
        ),
        MetricInfo(
            name="rf_auroc",
            label="RF AUROC",
            higher_is_better=False,
            unit="AUROC",
            digits=3,
            optimum=0.5,
            floor=f"{_CONTROL}; 0.5 = cannot be told apart, below it is chance",
            function=functional.rf_auroc,
            seeded=True,
            parameters={
                "pca_components": functional.PCA_COMPONENTS,
                "trees": functional.N_TREES,
                "criterion": "gini",
                "test_fraction": functional.TEST_FRACTION,
            },
        ),
        MetricInfo(
            name="milisi",
            label="miLISI",
            higher_is_better=True,
            unit="effective number of sets",
            digits=3,
            optimum=2.0,
            floor=f"{_CONTROL}; 2 = perfectly mixed, about 1.9 within reach of a finite number of neighbours",
            function=functional.milisi,
            seeded=True,
            approximated=True,
            parameters={
                "embedding": f"t-SNE, 2 dimensions, of {functional.TSNE_COMPONENTS} principal components of both sets",
                "perplexity": functional.PERPLEXITY,
            },
        ),
        MetricInfo(
            name="gene_means",
            label="Gene means",
            higher_is_better=False,
            unit="log counts",
            digits=4,
            optimum=0.0,
            floor=_CONTROL,
            function=functional.gene_means,
            parameters={"of each gene": "mean of log1p counts", "over genes": _OVER_GENES},
        ),
        MetricInfo(
            name="gene_variances",
            label="Gene variances",
            higher_is_better=False,
            unit="squared log counts",
            digits=4,
            optimum=0.0,
            floor=_CONTROL,
            function=functional.gene_variances,
            parameters={"of each gene": "variance of log1p counts", "over genes": _OVER_GENES},
        ),
        MetricInfo(
            name="zero_fractions",
            label="Zero fractions",
            higher_is_better=False,
            unit="fraction of cells",
            digits=4,
            optimum=0.0,
            floor=_CONTROL,
            function=functional.zero_fractions,
            parameters={"of each gene": "fraction of cells without it", "over genes": _OVER_GENES},
        ),
        MetricInfo(
            name="gene_correlations",
            label="Gene correlations",
            higher_is_better=False,
            unit="correlation",
            digits=4,
            optimum=0.0,
            floor=f"{_CONTROL}; stays above 0 and falls with the number of cells",
            function=functional.gene_correlations,
            parameters={
                "of each two genes": "Pearson's correlation of log1p counts",
                "over genes": "root mean square difference, those expressed in the real cells",
            },
        ),
    )
}

#: Scores of a network itself, not of cells, that stand beside the metrics in results files: held-out predictive scores
#: (:mod:`llm4grn.evaluation.graphs.predictive`), as the gain in R² over random networks.
GRAPH_METRICS = tuple(f"predictive_{cells}_{model}" for cells in ("raw", "within_type") for model in ("ridge", "trees"))

#: The metrics of the paper's tables.
PAPER_METRICS = ("cosine_distance", "euclidean_distance", "mmd", "rf_auroc")


def metric_parameters() -> dict[str, dict[str, object]]:
    """Return unit, space, subsampling and fixed parameters of every metric, for ``results.json``.

    Examples
    --------
    >>> metric_parameters()["rf_auroc"]["trees"]
    1000
    """
    common = {"space": SPACE, "larger_set": f"subsampled {functional.N_REPEATS} times, scores averaged"}
    return {name: {"unit": info.unit, **common, **info.parameters} for name, info in METRICS.items()}
