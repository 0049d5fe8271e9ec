"""Compare synthetic cells with real ones, in a table and in a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llm4grn.errors import UserError
from llm4grn.metrics.registry import METRICS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from matplotlib.figure import Figure
    from scipy.sparse import spmatrix

    from llm4grn.api.cells import SplitCells
    from llm4grn.evaluation.graphs.predictive_score import PredictiveScore
    from llm4grn.grn import CausalGraph

    Cells: TypeAlias = AnnData | np.ndarray | spmatrix


def score(
    real: Cells,
    synthetic: Cells | Mapping[str, Cells],
    *,
    metrics: Sequence[str] | None = None,
    seed: int = 1000,
    device: str = "cpu",
) -> pd.DataFrame:
    """Score synthetic cells against held-out real ones (protocol section 6).

    Parameters
    ----------
    real
        Held-out cells, (n_cells, n_genes): ``cells.test``.
    synthetic
        Cells over the same genes, in any order if both are AnnData, or a mapping of names to such sets. Add real cells
        that no model was trained on (``cells.validation``): their score is the best that a generator can reach.
    metrics
        Names of metrics; None for all.
    seed
        Seed for subsampling and for metrics that draw random numbers.
    device
        Torch device of the linear algebra, for instance ``cuda``.

    Returns
    -------
    DataFrame
        One row per metric and one column per set of cells; the column ``better`` is ``higher`` or ``lower``.

    Raises
    ------
    UserError
        If a metric is unknown, the genes differ, a value is not finite, or there are too few cells.

    Examples
    --------
    >>> import llm4grn as lg
    >>> cells = lg.preprocess(lg.datasets.pbmc68k_reduced(), n_genes=100, n_test=100, n_validation=100)
    >>> table = lg.score(cells.test, {"real": cells.validation}, metrics=["mmd", "gene_means"])
    >>> list(table.columns)
    ['real', 'better']
    """
    import pandas as pd

    from llm4grn.evaluation.scores.score import score as score_matrices

    sets = synthetic if isinstance(synthetic, Mapping) else {"value": synthetic}
    names = list(METRICS) if metrics is None else list(metrics)
    values = {
        label: score_matrices(_matrix(real), _aligned(cells, real, label), seed, names, device)
        for label, cells in sets.items()
    }
    table = pd.DataFrame(values, index=names)
    table["better"] = ["higher" if METRICS[name].higher_is_better else "lower" for name in names]
    return table.set_axis(pd.Index([METRICS[name].label for name in names], name="metric"))


def predictive_score(
    cells: SplitCells,
    graph: CausalGraph,
    *,
    tfs: Sequence[str] | None = None,
    models: Sequence[Literal["ridge", "trees"]] = ("ridge",),
    seed: int = 1000,
) -> PredictiveScore:
    """Score a graph by how well its regulators predict their targets in test cells, compared with random graphs.

    Seconds instead of a training; :mod:`llm4grn.evaluation.graphs.predictive` defines it. Within cell type, with type
    and sequencing depth regressed out, a graph that only names what marks a cell type gains nothing.

    Parameters
    ----------
    cells
        Result of :func:`preprocess`; models are fitted on its training cells and scored on its test cells.
    graph
        Graph to score.
    tfs
        Transcription factors that random graphs draw from; None for the curated list of the cells' organism.
    models
        ``ridge``, or also ``trees`` (gradient boosting), which takes minutes for random graphs and ceiling.
    seed
        Seed for the random graphs.

    Raises
    ------
    UserError
        If a gene of the graph or a TF is not among the genes of the cells, or a regulator is not among the TFs.

    Examples
    --------
    >>> import llm4grn as lg
    >>> cells = lg.preprocess(lg.datasets.pbmc68k_reduced(), n_genes=100, n_test=200, n_validation=100)
    >>> graph = lg.infer_grn(cells, tfs="human", inferer="correlation").top(3)
    >>> lg.predictive_score(cells, graph).summary()["cells"].tolist()
    ['raw', 'within cell type']
    """
    from llm4grn.api.networks import transcription_factors
    from llm4grn.evaluation.graphs.held_out import HeldOut
    from llm4grn.evaluation.graphs.predictive import PredictiveRuler

    names = tuple(transcription_factors(cells).names if tfs is None else tfs)
    known, regulators = set(cells.genes), {tf for own in graph.regulators.values() for tf in own}
    for what, own in {"graph": {*graph.regulators, *regulators}, "tfs": set(names)}.items():
        if strangers := sorted(own - known):
            raise UserError(f"{what}: {len(strangers)} names are not among the genes, for instance {strangers[0]}")
    if strangers := sorted(regulators - set(names)):
        raise UserError(f"graph: {len(strangers)} regulators are not among tfs, for instance {strangers[0]}; give tfs=")
    held_out = HeldOut.of(cells.train, cells.test, seed)
    return PredictiveRuler.of(held_out, graph, names, models, seed).score(graph)


def plot_cells(real: Cells, sets: Mapping[str, Cells], *, seed: int = 1000, max_cells: int = 500) -> Figure:
    """Draw each set of cells over the real ones in its own panel, all in one t-SNE of log1p counts.

    Parameters
    ----------
    real
        Real cells, drawn in grey: ``cells.test``.
    sets
        Label to cells over the same genes.
    seed
        Seed for the subsampling and the embedding.
    max_cells
        Maximum number of cells per set.
    """
    from llm4grn.evaluation.cells.plots import draw_joint_tsne

    aligned = {label: _aligned(cells, real, label) for label, cells in sets.items()}
    return draw_joint_tsne(_matrix(real), aligned, seed, max_cells=max_cells)


def _aligned(cells: Cells, real: Cells, label: str) -> Any:
    """Return the matrix of ``cells`` with its genes in the order of ``real``.

    Raises
    ------
    UserError
        If the genes differ.
    """
    import anndata

    if not isinstance(cells, anndata.AnnData) or not isinstance(real, anndata.AnnData):
        return _matrix(cells)
    if set(cells.var_names) != set(real.var_names):
        strangers = sorted(set(cells.var_names) ^ set(real.var_names))
        raise UserError(f"{label}: {len(strangers)} genes are in one of the two sets only, for instance {strangers[0]}")
    return cells[:, real.var_names].X


def _matrix(cells: Cells) -> Any:
    import anndata

    return cells.X if isinstance(cells, anndata.AnnData) else cells
