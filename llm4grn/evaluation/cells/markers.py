"""Marker genes of cell types, found on real cells, and how real and synthetic cells of a type express them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.evaluation.cells.cell_types import log1p

if TYPE_CHECKING:
    from anndata import AnnData

N_MARKERS = 5
MAX_TYPES = 12
MIN_CELLS = 5


@dataclass(frozen=True)
class MarkerExpression:
    """What a dot plot shows: one row per type, one column per gene.

    Parameters
    ----------
    types, genes
        Names of the rows and columns.
    mean
        Of log1p of the normalised counts over the cells of the type (n_types, n_genes); NaN where there is no cell.
    fraction
        Of these cells that express the gene at all (n_types, n_genes); NaN likewise.
    n_cells
        Of each type (n_types,).
    """

    types: tuple[str, ...]
    genes: tuple[str, ...]
    mean: np.ndarray
    fraction: np.ndarray
    n_cells: np.ndarray


def top_markers(cells: AnnData, n_genes: int = N_MARKERS) -> dict[str, tuple[str, ...]]:
    """The genes that tell each type from all others best: Wilcoxon's rank-sum test on log1p, the highest scores.

    Parameters
    ----------
    cells
        Real cells, counts in ``X``, types in ``obs["cell_type"]``.
    n_genes
        For each type.

    Returns
    -------
    Type to its genes, best first; types of fewer than 5 cells are left out.
    """
    import anndata
    import scanpy

    types = cells.obs["cell_type"].astype(str)
    counts = types.value_counts()
    named = sorted(str(name) for name in counts.index[counts >= MIN_CELLS])
    if not named or len(counts) < 2:
        return {}
    table = anndata.AnnData(log1p(cells), obs={"type": types.astype("category").to_numpy()}, var=cells.var[[]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy builds its tables column by column, of which pandas warns
        scanpy.tl.rank_genes_groups(table, "type", groups=named, method="wilcoxon", n_genes=n_genes)
    best = table.uns["rank_genes_groups"]["names"]
    return {name: tuple(str(gene) for gene in best[name]) for name in named}


def marker_expression(
    cells: AnnData, labels: np.ndarray, types: Sequence[str], genes: Sequence[str]
) -> MarkerExpression:
    """Mean and fraction of expression of each gene in each type.

    Parameters
    ----------
    cells
        Counts in ``X`` (n_cells, n_all_genes).
    labels
        The type of each cell (n_cells,).
    types, genes
        To show, in their order.
    """
    expression = log1p(cells)[:, cells.var_names.get_indexer(list(genes))].toarray()
    members = [labels == name for name in types]
    empty = np.full(len(genes), np.nan)
    return MarkerExpression(
        types=tuple(types),
        genes=tuple(genes),
        mean=np.stack([expression[own].mean(axis=0) if own.any() else empty for own in members]),
        fraction=np.stack([(expression[own] > 0).mean(axis=0) if own.any() else empty for own in members]),
        n_cells=np.array([own.sum() for own in members]),
    )


def marker_differences(real: MarkerExpression, synthetic: MarkerExpression) -> tuple[float, float]:
    """Mean absolute difference over types and genes, of the mean of log1p and of the fraction of cells.

    Every type counts the same; those with fewer than 5 cells on either side are left out. NaN if none is left.
    """
    kept = (real.n_cells >= MIN_CELLS) & (synthetic.n_cells >= MIN_CELLS)
    if not kept.any():
        return float("nan"), float("nan")
    pairs = (real.mean, synthetic.mean), (real.fraction, synthetic.fraction)
    mean, fraction = (float(np.abs(one[kept] - other[kept]).mean()) for one, other in pairs)
    return mean, fraction


def flat(markers: Mapping[str, Sequence[str]]) -> list[str]:
    """All markers in the order of their types."""
    return [gene for genes in markers.values() for gene in genes]
