"""Dependence of targets on TFs in cells, compared between pairs with an imposed edge and pairs without.

Both measures of dependence take the counts of TFs (n_cells, n_tfs) and of targets (n_cells, n_targets) in the same
cells, normalised to 20,000 per cell, and return one value per pair, of shape (n_tfs, n_targets).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from llm4grn.errors import UserError
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.metrics.arrays import one_thread, pair, to_numpy
from llm4grn.metrics.summaries import standardised
from llm4grn.report.blocks import Cell, Table
from llm4grn.results import read_run

if TYPE_CHECKING:
    import anndata
    from scipy.sparse import spmatrix

#: Measure of dependence -> its symbol in tables.
MEASURES = {"correlation": "|r|", "mutual_information": "MI"}
#: Number of quantile groups of expressed values; with "not expressed" they are the states for mutual information.
EXPRESSED_STATES = 3


@dataclass(frozen=True)
class Dependence:
    """Dependence of targets on TFs in a set of cells, with an imposed edge between them and without.

    Parameters
    ----------
    imposed, other
        Mean dependence over the pairs with an edge, and over all other pairs of a TF and a target.
    auroc
        Probability that a random imposed pair depends more than a random other one; 0.5 = the edges do not show.
    n_imposed, n_other
        Number of pairs behind each mean.
    """

    imposed: float
    other: float
    auroc: float
    n_imposed: int
    n_other: int

    @property
    def difference(self) -> float:
        """Return the mean over imposed pairs minus the mean over others."""
        return self.imposed - self.other


def tf_target_dependence(cells: np.ndarray | spmatrix, graph: CausalGraph, measure: str = "correlation") -> Dependence:
    """Measure whether the edges of a graph show in cells: imposed TF-target pairs compared with all others.

    TFs are the genes that regulate another and the graph's roots. The edges of a GRN inferred from real cells show in
    these cells without any generator, so compare with the dependence of the same pairs in real cells. The dependence of
    a gene that no cell expresses is 0.

    Parameters
    ----------
    cells
        Shape (n_cells, n_genes), counts normalised to 20,000 per cell, columns in the order of ``graph.genes``.
    graph
        The imposed graph.
    measure
        ``correlation``: absolute Pearson correlation of log1p counts; ``mutual_information`` in nats
        (:func:`mutual_information`), which sees dependence of any shape.

    Raises
    ------
    UserError
        If the number of genes is not the graph's, the measure is unknown, or all pairs are imposed, or none.
    """
    if measure not in MEASURES:
        raise UserError(f"measure: {measure!r} unknown; choose from {', '.join(MEASURES)}")
    cells = np.asarray(cells.toarray() if hasattr(cells, "toarray") else cells, dtype=np.float64)
    if cells.ndim != 2 or cells.shape[1] != len(graph.genes):
        raise UserError(f"cells have shape {cells.shape}, the graph {len(graph.genes)} genes: give cells of its genes")
    tfs, targets, imposed, possible = _pairs(graph)
    dependence = absolute_correlation if measure == "correlation" else mutual_information
    values = dependence(cells[:, tfs], cells[:, targets])
    with_edge, without = values[imposed], values[possible & ~imposed]
    if not (len(with_edge) and len(without)):
        raise UserError(
            f"{len(with_edge)} pairs of TF and target are imposed and {len(without)} are not: give a graph with both"
        )
    auroc = _auroc(with_edge, without)
    return Dependence(float(with_edge.mean()), float(without.mean()), auroc, len(with_edge), len(without))


def _pairs(graph: CausalGraph) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns of TFs and of targets, and masks (n_tfs, n_targets) of the imposed and the possible pairs."""
    column = {gene: i for i, gene in enumerate(graph.genes)}
    regulating = {tf for tfs in graph.regulators.values() for tf in tfs}
    tfs = [gene for gene in graph.genes if gene in regulating or gene not in graph.regulators]
    row = {tf: i for i, tf in enumerate(tfs)}
    imposed = np.zeros((len(tfs), len(graph.targets)), dtype=bool)
    for j, target in enumerate(graph.targets):
        imposed[[row[tf] for tf in graph.regulators[target]], j] = True
    tf_columns = np.array([column[tf] for tf in tfs], dtype=int)
    target_columns = np.array([column[target] for target in graph.targets], dtype=int)
    return tf_columns, target_columns, imposed, tf_columns[:, None] != target_columns[None, :]


def _auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.mean() - (len(positive) + 1) / 2) / len(negative))


@one_thread()
def absolute_correlation(tfs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute the absolute Pearson correlation of log1p counts; 0 where a gene is constant."""
    tfs, targets = (to_numpy(pair(cells, cells, counts=True)[0]) for cells in (tfs, targets))
    return np.abs(standardised(tfs).T @ standardised(targets))


def mutual_information(tfs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    r"""Compute the mutual information, in nats, of genes in four states: not expressed, and thirds of expressed values.

    .. math:: \sum_{a, b} p(a, b) \log \frac{p(a, b)}{p(a)\, p(b)}

    with the observed frequencies p. Independent genes have up to 9 / 2n on average in n cells, not 0.
    """
    of_tfs, of_targets = _indicators(tfs), _indicators(targets)
    information = np.zeros((tfs.shape[1], targets.shape[1]))
    with one_thread():
        for a in of_tfs:
            for b in of_targets:
                together, apart = (a.T @ b) / len(a), np.outer(a.mean(axis=0), b.mean(axis=0))
                # Joint frequencies are sums of integers, so 0 is exact; such a term is 0 * log(1).
                ratio = np.divide(together, apart, out=np.ones_like(apart), where=together > 0)
                information += together * np.log(ratio)
    return np.maximum(information, 0.0)


def _indicators(cells: np.ndarray) -> list[np.ndarray]:
    """Return one array (n_cells, n_genes) per state, which is 1 where the gene is in that state."""
    states = np.zeros(cells.shape, dtype=np.int8)
    cuts = np.arange(1, EXPRESSED_STATES) / EXPRESSED_STATES
    for gene in range(cells.shape[1]):
        expressed = cells[:, gene] > 0
        if expressed.any():
            values = cells[expressed, gene]
            states[expressed, gene] = 1 + np.searchsorted(np.quantile(values, cuts), values, side="right")
    return [(states == state).astype(np.float64) for state in range(EXPRESSED_STATES + 1)]


_DIGITS = {"correlation": 3, "mutual_information": 4}


def fidelity_table(folders: Iterable[Path], measure: str = "correlation") -> Table:
    """Tabulate, for each finished run, the dependence of imposed pairs and of pairs without an edge.

    Parameters
    ----------
    folders
        Folders of finished runs, with ``graph.json``, ``test.h5ad`` and ``synthetic_*.h5ad``.
    measure
        As in :func:`tf_target_dependence`.

    Raises
    ------
    UserError
        If a file is missing or has other genes than the graph.
    """
    sign = MEASURES.get(measure, measure)
    labels = ["Data set", "KB", "Inferer", "Model", "Graph", "Seed"]
    parts = [f"imposed {sign}", f"other {sign}", "AUROC"]
    header = [*labels, *parts, *(f"{part}, real cells" for part in parts)]
    notes = [
        "Dependence of a target on a TF, mean over the pairs with an imposed edge and over all other pairs of a TF and "
        "a target; AUROC = chance that an imposed pair depends more than another one, 0.5 = the edges do not show. A "
        "gene that no cell of a set expresses depends on nothing: 0.",
        "Mean ± standard deviation over the run's generated sets; beside it the same pairs in the real test cells, "
        "without any generator. An AUROC above that of the real cells is the work of the generator.",
        "|r|: absolute Pearson correlation of log1p counts."
        if measure == "correlation"
        else f"MI: mutual information in nats, genes in {EXPRESSED_STATES + 1} states; it is above 0 by chance alone.",
    ]
    rows = [_row(Path(folder), measure) for folder in folders]
    return Table("tf_target_dependence", "Do the imposed edges show?", header, rows, len(labels), notes)


def _row(folder: Path, measure: str) -> list[Cell | str]:
    graph = CausalGraph.from_json(folder / "graph.json")
    paths = sorted(folder.glob("synthetic_*.h5ad"))
    if not paths:
        raise UserError(f"{folder}: no synthetic_*.h5ad in it; give the folder of a finished run of train.py")
    generated = [tf_target_dependence(_read(path, graph).X, graph, measure) for path in paths]
    real = tf_target_dependence(_read(folder / "test.h5ad", graph).X, graph, measure)
    setting = read_run(folder)["setting"]
    names = [str(setting[name]) for name in ("dataset", "kb", "inferer", "model", "graph", "seed")]
    means = [
        _cell([getattr(dependence, part) for dependence in sets], _DIGITS[measure])
        for sets in (generated, [real])
        for part in ("imposed", "other")
    ]
    aurocs = [_cell([dependence.auroc for dependence in sets], 3) for sets in (generated, [real])]
    return [*names, *means[:2], aurocs[0], *means[2:], aurocs[1]]


def _cell(values: Sequence[float], digits: int) -> Cell:
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return Cell(f"{mean:.{digits}f}{spread}", mean)


def _read(path: Path, graph: CausalGraph) -> anndata.AnnData:
    import anndata

    if not path.is_file():
        raise UserError(f"{path}: no such file; give the folder of a finished run")
    adata = anndata.read_h5ad(path)
    if list(adata.var_names) != list(graph.genes):
        raise UserError(f"{path}: its genes are not those of graph.json beside it")
    return adata


class TFTargetDependence(Metric):
    """AUROC of the dependence of imposed TF-target pairs compared with others, see :func:`tf_target_dependence`.

    0.5 = the imposed edges do not show, 1 = every imposed pair depends more than every other.

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
        """Add cells of shape (n_cells, n_genes), counts normalised to 20,000, genes ordered as ``graph.genes``."""
        self.cells.append(cells.detach())

    def compute(self) -> torch.Tensor:
        """Return the AUROC over all cells added, a float64 scalar."""
        dependence = tf_target_dependence(dim_zero_cat(self.cells).cpu().numpy(), self.graph, self.measure)
        return torch.tensor(dependence.auroc, dtype=torch.float64)
