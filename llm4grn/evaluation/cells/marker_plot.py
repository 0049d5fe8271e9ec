"""Dot plots of marker genes: real cells above, synthetic ones below, on the same scales."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.evaluation.cells.markers import MarkerExpression, flat
from llm4grn.evaluation.cells.plots import INK, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST = 130.0
_COLOURS = "viridis_r"
_LEGEND_FRACTIONS = (0.25, 0.5, 1.0)


def plot_markers(
    shown: Mapping[str, MarkerExpression], markers: Mapping[str, Sequence[str]], highest: np.ndarray, path: Path
) -> Path:
    """Draw a dot per type and gene, one panel below the other.

    The area of a dot is the fraction of cells that express the gene; its colour the mean of log1p, relative to
    ``highest``.

    Parameters
    ----------
    shown
        Name of the panel to what it shows, the real cells first; all have the same types and genes.
    markers
        Type to its genes: the groups of columns.
    highest
        What is drawn darkest, for each gene (n_genes,).
    path
        Of the PNG.
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


def _draw(axis: Axes, expression: MarkerExpression, highest: np.ndarray):
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


def _legend(figure) -> None:
    from matplotlib.lines import Line2D

    look = {"linestyle": "none", "marker": "o", "markerfacecolor": "#888888", "markeredgewidth": 0}
    handles = [
        Line2D([], [], markersize=np.sqrt(_LARGEST * fraction), label=f"{fraction:.0%} of cells express it", **look)
        for fraction in _LEGEND_FRACTIONS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
