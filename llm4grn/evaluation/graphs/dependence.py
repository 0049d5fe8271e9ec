"""Does an imposed edge show in the cells? Dependence of targets on TFs, with an edge between them and without.

Both measures of dependence take the same cells twice, of shape (n_cells, n_tfs) and (n_cells, n_targets), in counts
normalised to 20,000 per cell, and return one value per pair, of shape (n_tfs, n_targets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.causal_graph import CausalGraph
from llm4grn.errors import UserError
from llm4grn.metrics.cells import one_thread, pair
from llm4grn.metrics.summaries import standardised

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

#: How dependence is measured, and its sign in tables.
MEASURES = {"correlation": "|r|", "mutual_information": "MI"}
#: States of a gene for mutual information: not expressed, and this many equally full groups of expressed values.
EXPRESSED_STATES = 3


@dataclass(frozen=True)
class Dependence:
    """How strongly targets depend on TFs in a set of cells, with an imposed edge between them and without.

    Parameters
    ----------
    imposed, other
        Mean dependence over the pairs with an edge, and over all other pairs of a TF and a target.
    auroc
        Chance that a random imposed pair depends more than a random other one; 0.5 = the edges do not show.
    n_imposed, n_other
        Pairs behind the means.
    """

    imposed: float
    other: float
    auroc: float
    n_imposed: int
    n_other: int

    @property
    def difference(self) -> float:
        """Imposed minus other."""
        return self.imposed - self.other


def tf_target_dependence(cells: np.ndarray | spmatrix, graph: CausalGraph, measure: str = "correlation") -> Dependence:
    """Whether the edges of a graph show in cells: imposed TF-target pairs against all others.

    TFs are the genes that regulate another and the graph's roots. The cells of a GRN inferred from data show its edges
    even without a generator: compare with the dependence of the same pairs in real cells. A gene that no cell
    expresses depends on nothing: 0.

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
        Cells of other genes than the graph's; an unknown measure; all pairs imposed, or none.
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
    """Columns of TFs and of targets; which of their pairs are imposed, which are possible: (n_tfs, n_targets) each."""
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
    """Absolute Pearson correlation of log1p counts; 0 where a gene is constant."""
    tfs, targets = (pair(cells, cells, counts=True)[0] for cells in (tfs, targets))
    return np.abs(standardised(tfs).T @ standardised(targets))


def mutual_information(tfs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    r"""Mutual information, in nats, of genes in four states each: not expressed, and the thirds of expressed values.

    .. math:: \sum_{a, b} p(a, b) \log \frac{p(a, b)}{p(a)\, p(b)}

    with the observed frequencies p. Independent genes have up to 9 / 2n on average in n cells, not 0.
    """
    of_tfs, of_targets = _indicators(tfs), _indicators(targets)
    information = np.zeros((tfs.shape[1], targets.shape[1]))
    with one_thread():
        for a in of_tfs:
            for b in of_targets:
                together, apart = (a.T @ b) / len(a), np.outer(a.mean(axis=0), b.mean(axis=0))
                # Sums of whole numbers: 0 is exact, and adds nothing.
                ratio = np.divide(together, apart, out=np.ones_like(apart), where=together > 0)
                information += together * np.log(ratio)
    return np.maximum(information, 0.0)


def _indicators(cells: np.ndarray) -> list[np.ndarray]:
    """For each state, 1 where a gene is in it: arrays of shape (n_cells, n_genes)."""
    states = np.zeros(cells.shape, dtype=np.int8)
    cuts = np.arange(1, EXPRESSED_STATES) / EXPRESSED_STATES
    for gene in range(cells.shape[1]):
        expressed = cells[:, gene] > 0
        if expressed.any():
            values = cells[expressed, gene]
            states[expressed, gene] = 1 + np.searchsorted(np.quantile(values, cuts), values, side="right")
    return [(states == state).astype(np.float64) for state in range(EXPRESSED_STATES + 1)]
