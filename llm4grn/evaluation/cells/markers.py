"""Marker genes of cell types: selected on real cells, their expression compared in real and synthetic cells."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm4grn.evaluation.cells.cell_types import log1p
from llm4grn.report.figures import INK, panels, save

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

N_MARKERS = 5
MAX_TYPES = 12
MIN_CELLS = 5


@dataclass(frozen=True)
class MarkerExpression:
    """The content of a dot plot: one row per type, one column per gene.

    Parameters
    ----------
    types, genes
        Names of the rows and columns.
    mean
        Mean of log1p of the normalised counts over the cells of the type (n_types, n_genes); NaN without cells.
    fraction
        Fraction of the cells of the type that express the gene (n_types, n_genes); NaN without cells.
    n_cells
        Number of cells of each type (n_types,).
    """

    types: tuple[str, ...]
    genes: tuple[str, ...]
    mean: np.ndarray
    fraction: np.ndarray
    n_cells: np.ndarray


def top_markers(cells: AnnData, n_genes: int = N_MARKERS) -> dict[str, tuple[str, ...]]:
    """Select the genes with the highest score in Wilcoxon's rank-sum test on log1p counts, each type against the rest.

    Parameters
    ----------
    cells
        Real cells, counts in ``X``, types in ``obs["cell_type"]``.
    n_genes
        Number of genes for each type.

    Returns
    -------
    Type to its genes, best first; types with fewer than 5 cells are left out.
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
        warnings.simplefilter("ignore")  # scanpy builds its tables column by column, about which pandas warns
        scanpy.tl.rank_genes_groups(table, "type", groups=named, method="wilcoxon", n_genes=n_genes)
    best = table.uns["rank_genes_groups"]["names"]
    return {name: tuple(str(gene) for gene in best[name]) for name in named}


def marker_expression(
    cells: AnnData, labels: np.ndarray, types: Sequence[str], genes: Sequence[str]
) -> MarkerExpression:
    """Compute the mean expression of each gene in each type, and the fraction of cells that express it.

    Parameters
    ----------
    cells
        Cells with counts in ``X`` (n_cells, n_all_genes).
    labels
        Type of each cell (n_cells,).
    types, genes
        Types and genes of the result, in this order.
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
    """Compute the mean absolute difference over types and genes, of the mean of log1p and of the fraction of cells.

    All types have the same weight; types with fewer than 5 cells on either side are left out. NaN if none is left.
    """
    kept = (real.n_cells >= MIN_CELLS) & (synthetic.n_cells >= MIN_CELLS)
    if not kept.any():
        return float("nan"), float("nan")
    pairs = (real.mean, synthetic.mean), (real.fraction, synthetic.fraction)
    mean, fraction = (float(np.abs(one[kept] - other[kept]).mean()) for one, other in pairs)
    return mean, fraction


def flat(markers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all markers in the order of their types."""
    return [gene for genes in markers.values() for gene in genes]


_LARGEST = 130.0
_COLOURS = "viridis_r"
_LEGEND_FRACTIONS = (0.25, 0.5, 1.0)


def plot_markers(
    shown: Mapping[str, MarkerExpression], markers: Mapping[str, Sequence[str]], highest: np.ndarray, path: Path
) -> Path:
    """Draw a dot plot of types and genes for each set of cells, one panel below the other.

    The area of a dot is the fraction of cells that express the gene; its colour is the mean of log1p, relative to
    ``highest``.

    Parameters
    ----------
    shown
        Panel name to expression, the real cells first; all have the same types and genes.
    markers
        Type to its genes: the groups of columns.
    highest
        Mean expression that is drawn darkest, for each gene (n_genes,).
    path
        Output PNG path.
    """
    genes = flat(markers)
    real = next(iter(shown.values()))
    figure, axes = panels(len(shown), 1, width=2.6 + 0.235 * len(genes), height=0.95 + 0.26 * len(real.types))
    for axis, (name, expression) in zip(axes.flat, shown.items(), strict=True):
        dots = _draw(axis, expression, highest)
        axis.set_ylabel(name, fontsize=10, color=INK, labelpad=8)
        for edge in np.cumsum([len(own) for own in markers.values()])[:-1]:
            axis.axvline(edge - 0.5, color="#dddddd", linewidth=0.8, zorder=0)
    _name_groups(axes.flat[0], markers)
    for axis in axes.flat[:-1]:
        axis.tick_params(axis="x", labelbottom=False)
    bar = figure.colorbar(dots, ax=list(axes.flat), location="right", shrink=0.6, aspect=18, pad=0.01)
    bar.set_label("mean log1p, relative to highest type", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    _legend(figure)
    return save(figure, path)


def _draw(axis: Axes, expression: MarkerExpression, highest: np.ndarray) -> PathCollection:
    n_types, n_genes = expression.mean.shape
    column, row = np.meshgrid(np.arange(n_genes), np.arange(n_types))
    known = ~np.isnan(expression.mean)
    colour = np.divide(expression.mean, highest, out=np.zeros_like(expression.mean), where=highest > 0)
    dots = axis.scatter(
        column[known],
        row[known],
        s=_LARGEST * expression.fraction[known],
        c=colour[known],
        cmap=_COLOURS,
        vmin=0,
        vmax=1,
        edgecolors="#666666",
        linewidths=0.3,
    )
    axis.set(xlim=(-0.7, n_genes - 0.3), ylim=(n_types - 0.4, -0.6))
    axis.set_xticks(range(n_genes), expression.genes, rotation=90, fontsize=8)
    labels = [f"{name}  ({n})" for name, n in zip(expression.types, expression.n_cells, strict=True)]
    axis.set_yticks(range(n_types), labels, fontsize=8)
    axis.tick_params(colors=INK, length=0)
    axis.spines[:].set(visible=True, color="#bbbbbb")
    return dots


def _name_groups(axis: Axes, markers: Mapping[str, Sequence[str]]) -> None:
    start = 0
    for name, genes in markers.items():
        lines = textwrap.wrap(name.replace("/", "/ "), 14, break_long_words=False)
        label = "\n".join(line.replace("/ ", "/") for line in lines)
        where = start + (len(genes) - 1) / 2
        axis.annotate(
            label,
            (where, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
        )
        start += len(genes)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "#888888", "markeredgewidth": 0}
    handles = [
        Line2D([], [], markersize=np.sqrt(_LARGEST * fraction), label=f"{fraction:.0%} of cells express it", **look)
        for fraction in _LEGEND_FRACTIONS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
