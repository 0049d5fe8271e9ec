"""Pictures of the biological plausibility of synthetic cells."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm4grn.evaluation.cells.cell_types import log1p
from llm4grn.evaluation.cells.markers import plot_markers
from llm4grn.evaluation.cells.plausibility_tables import mean_proportions
from llm4grn.metrics.embedding import tsne
from llm4grn.report.blocks import Figure
from llm4grn.report.figures import COLOURS, INK, panels, save
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from llm4grn.evaluation.cells.looks import Look, RealMarkers, Split
    from llm4grn.evaluation.cells.markers import MarkerExpression
    from llm4grn.evaluation.cells.run_cells import CellSet

MAX_DRAWN = 500
_MAX_DRAWN_IN_ALL = 4000


def dataset_figures(
    splits: Sequence[Split], shown: tuple[Split, Sequence[CellSet]], looks: Sequence[Look], stem: Path, seed: int
) -> list[Figure]:
    """Draw all pictures of one data set.

    Parameters
    ----------
    splits, looks
        All of the data set; the proportions shown are their means.
    shown
        One split and one set of cells of each name, for the other pictures.
    stem
        Common beginning of the paths of the PNGs.
    seed
        Seed for subsampling and the embedding.
    """
    split, sets = shown
    loaded = {cells.name: cells.load() for cells in sets}
    figures: list[Figure] = []
    colours: dict[str, str] = {}
    if split.types:
        columns = mean_proportions(splits, looks)
        colours = type_colours(list(next(iter(columns.values()))))
        figures.append(_proportions(columns, colours, split, _path(stem, "cell_types")))
    figures += _embedding(split, sets, loaded, colours, stem, seed)
    if split.types and split.markers:
        for cells in (cells for cells in sets if cells.source != "control"):
            expression = split.markers.expression(loaded[cells.name], split.types.classify(loaded[cells.name]))
            figures.append(_markers(split, split.markers, cells, expression, stem))
    return figures


def _proportions(
    columns: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], split: Split, path: Path
) -> Figure:
    plot_proportions(columns, colours, path)
    caption = (
        "Share of each cell type among real and synthetic cells, in percent, mean over seeds and samples. The nearer a "
        "bar to that of the real cells with predicted types, the better; the control shows what chance makes of it."
    )
    return Figure(f"Cell types of {split.run.dataset} at a glance", path, caption)


def _embedding(
    split: Split,
    sets: Sequence[CellSet],
    loaded: Mapping[str, AnnData],
    colours: Mapping[str, str],
    stem: Path,
    seed: int,
) -> list[Figure]:
    """Draw all sets in one t-SNE, coloured by source and, if the data set has types, by type."""
    rng = np.random.default_rng(derive_seed(seed, "plausibility", "cells"))
    most = min(MAX_DRAWN, _MAX_DRAWN_IN_ALL // (len(sets) + 1))
    drawn = [_draw(cells, most, rng) for cells in (split.test, *loaded.values())]
    cells = [log1p(each[own]).toarray() for each, own in zip((split.test, *loaded.values()), drawn, strict=True)]
    embedded = tsne(np.concatenate(cells), derive_seed(seed, "plausibility", "embedding"))
    real, *others = np.split(embedded, np.cumsum([len(each) for each in cells])[:-1])
    panels = []
    for each, own, points in zip(sets, drawn[1:], others, strict=True):
        types = split.types.classify(loaded[each.name])[own] if split.types else np.array([])
        hallucinated = split.hallucination(each, loaded[each.name], seed)
        panels.append(EmbeddedSet(each.name, points, types, hallucinated.in_foreign_cluster[own]))
    where = f"Joint t-SNE of {split.run.dataset} (log1p, 50 principal components of all sets), seed {split.run.seed}"
    by_source = plot_by_source(real, panels, _path(stem, "tsne_source"))
    caption = (
        f"{where}, {most} cells of each set at most. Grey: real test cells; in colour: the cells that the panel names; "
        "ringed: those in clusters of no real type. Colour where there is no grey is what no real cell looks like."
    )
    figures = [Figure(f"Real and synthetic cells of {split.run.dataset}", by_source, caption)]
    if split.types:
        first = EmbeddedSet("real test cells", real, split.types.predicted[drawn[0]], np.zeros(len(real), bool))
        by_type = plot_by_type([first, *panels], colours, _path(stem, "tsne_types"))
        caption = f"{where}: the same cells, by the type that the classifier predicts, real ones included."
        figures.append(Figure(f"Cell types in the embedding of {split.run.dataset}", by_type, caption))
    return figures


def _markers(split: Split, markers: RealMarkers, cells: CellSet, expression: MarkerExpression, stem: Path) -> Figure:
    path = _path(stem, f"markers_{cells.name}")
    plot_markers({"real test cells": markers.test, cells.name: expression}, markers.genes, markers.highest, path)
    caption = (
        "Marker genes, found on real training cells, in the real test cells (above) and the synthetic ones (below), by "
        "predicted type; in brackets the number of cells. Area: the fraction of cells that express the gene; colour: "
        "mean of log1p, relative to the type of training cells with the most of it. Faithful cells repeat the pattern "
        f"above: large dark dots on the diagonal, small pale ones off it. Seed {split.run.seed}, first set."
    )
    return Figure(f"Markers of {split.run.dataset}: {cells.name}", path, caption)


def _draw(cells: AnnData, most: int, rng: np.random.Generator) -> np.ndarray:
    if cells.n_obs <= most:
        return np.arange(cells.n_obs)
    return np.sort(rng.choice(cells.n_obs, size=most, replace=False))


def _path(stem: Path, name: str) -> Path:
    return stem.with_name(f"{stem.name}_{re.sub(r'[^a-z0-9]+', '_', name.lower())}.png")


_REAL = "#9a9a9a"
# Okabe and Ito's palette, then Tol's: neighbours in this order also differ in lightness, for readers who see no hue.
_OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7")
TYPE_COLOURS = (*_OKABE_ITO, "#332288", "#f0e442", "#882255", "#999933", "#44aa99")
OTHER_TYPES = "other types"
_OTHER_COLOUR = "#c8c8c8"
_PER_ROW = 4
_WRITTEN_FROM = 0.025


@dataclass(frozen=True)
class EmbeddedSet:
    """The set of cells in one panel of an embedding.

    Parameters
    ----------
    name
        Title of the panel.
    points
        Coordinates (n_cells, 2) in the embedding that all panels share.
    types
        Types of the cells (n_cells,); empty if the data set has none.
    ringed
        Mask of the cells in clusters of no real type (n_cells,).
    """

    name: str
    points: np.ndarray
    types: np.ndarray
    ringed: np.ndarray


def type_colours(types: Sequence[str]) -> dict[str, str]:
    """Return a colour for each of the first eleven types; the others share one under :data:`OTHER_TYPES`."""
    own = dict(zip(types, TYPE_COLOURS, strict=False))
    return own if len(types) <= len(own) else {**own, OTHER_TYPES: _OTHER_COLOUR}


def plot_proportions(columns: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], path: Path) -> Path:
    """Draw one stacked bar per set of cells, with the shares of its types.

    Parameters
    ----------
    columns
        Name of the bar to the share of each type; drawn from top to bottom.
    colours
        Colour of each type; types without one are drawn as other types.
    path
        Output PNG path.
    """
    figure, axes = panels(1, 1, width=8.0, height=1.1 + 0.42 * len(columns) + 0.24 * -(-len(colours) // 4))
    axis = axes[0, 0]
    names = list(columns)
    left = np.zeros(len(names))
    for name, colour in colours.items():
        shares = np.array([_share(columns[bar], name, colours) for bar in names])
        axis.barh(names, shares, left=left, height=0.74, color=colour, edgecolor="white", linewidth=0.8, label=name)
        for y, (start, share) in enumerate(zip(left, shares, strict=True)):
            if share >= _WRITTEN_FROM:
                text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": _readable_on(colour)}
                axis.text(start + share / 2, y, f"{100 * share:.0f}", **text)
        left += shares
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xticks(np.linspace(0, 1, 6), [f"{tick:.0%}" for tick in np.linspace(0, 1, 6)])
    axis.set_yticks(range(len(names)), ["\n".join(textwrap.wrap(name, 26)) for name in names])
    axis.tick_params(labelsize=9, colors=INK, length=0)
    axis.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5, handlelength=1.0, labelcolor=INK)
    return save(figure, path)


def plot_by_source(real: np.ndarray, sets: Sequence[EmbeddedSet], path: Path) -> Path:
    """Draw each set over the real test cells; cells in clusters of no real type are ringed."""
    figure, axes = _grid(len(sets))
    limits = _limits([real, *(each.points for each in sets)])
    for i, (axis, each) in enumerate(zip(axes, sets, strict=True)):
        _scatter(axis, real, s=11, color=_REAL, alpha=0.75, linewidths=0)
        _scatter(axis, each.points, s=8, color=COLOURS[i % len(COLOURS)], alpha=0.75, linewidths=0)
        _scatter(axis, each.points[each.ringed], s=14, facecolors="none", edgecolors="black", linewidths=0.4)
        share = f"{each.ringed.mean():.0%} of no real type"
        _finish(axis, f"{each.name}\n{share}", limits)
    _legend(figure, {"real test cells": _REAL, "cells of the panel": INK}, ring=True)
    return save(figure, path)


def plot_by_type(sets: Sequence[EmbeddedSet], colours: Mapping[str, str], path: Path) -> Path:
    """Draw each set, including the real cells, coloured by type."""
    figure, axes = _grid(len(sets))
    limits = _limits([each.points for each in sets])
    for axis, each in zip(axes, sets, strict=True):
        shown = np.array([colours.get(name, _OTHER_COLOUR) for name in each.types])
        _scatter(axis, each.points, s=9, c=shown, alpha=0.85, linewidths=0)
        _finish(axis, each.name, limits)
    _legend(figure, colours)
    return save(figure, path)


def _share(shares: Mapping[str, float], name: str, colours: Mapping[str, str]) -> float:
    if name == OTHER_TYPES:
        return sum(share for other, share in shares.items() if other not in colours)
    return shares.get(name, 0.0)


def _readable_on(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "black"


def _scatter(axis: Axes, points: np.ndarray, **style: Any) -> None:
    axis.scatter(points[:, 0], points[:, 1], **style)


def _grid(n_panels: int) -> tuple[Canvas, list[Axes]]:
    n_rows = -(-n_panels // _PER_ROW)
    figure, axes = panels(n_rows, -(-n_panels // n_rows), width=3.0, height=3.2)
    for axis in axes.flat[n_panels:]:
        axis.set_axis_off()
    return figure, list(axes.flat[:n_panels])


def _limits(points: Sequence[np.ndarray]) -> np.ndarray:
    together = np.concatenate(points)
    margin = 0.04 * np.ptp(together, axis=0)
    return np.stack([together.min(axis=0) - margin, together.max(axis=0) + margin])


def _finish(axis: Axes, title: str, limits: np.ndarray) -> None:
    axis.set(xlim=limits[:, 0], ylim=limits[:, 1], xticks=[], yticks=[])
    axis.spines[:].set(visible=True, color="#dddddd")
    axis.set_title(title, fontsize=10, color=INK)


def _legend(figure: Canvas, colours: Mapping[str, str], ring: bool = False) -> None:
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 6, "markeredgewidth": 0}
    handles = [Line2D([], [], color=colour, label=name, **dot) for name, colour in colours.items()]
    if ring:
        hollow = {"markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 0.8}
        handles.append(Line2D([], [], label="in a cluster of no real type", **dot | hollow))
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "handletextpad": 0.2, "labelcolor": INK}
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), **style)
