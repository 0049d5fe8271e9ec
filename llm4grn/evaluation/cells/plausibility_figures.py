"""The pictures on the biological plausibility of synthetic cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.evaluation.cells.cell_types import log1p
from llm4grn.evaluation.cells.marker_plot import plot_markers
from llm4grn.evaluation.cells.plausibility_tables import mean_proportions
from llm4grn.evaluation.cells.type_plots import (
    EmbeddedSet,
    plot_by_source,
    plot_by_type,
    plot_proportions,
    type_colours,
)
from llm4grn.evaluation.report.blocks import Figure
from llm4grn.metrics.mixing import tsne
from llm4grn.seeding import derive_seed

if TYPE_CHECKING:
    from anndata import AnnData

    from llm4grn.evaluation.cells.cell_sets import CellSet
    from llm4grn.evaluation.cells.plausibility import Look, Split

MAX_DRAWN = 500
_MAX_DRAWN_IN_ALL = 4000


def dataset_figures(
    splits: Sequence[Split], shown: tuple[Split, Sequence[CellSet]], looks: Sequence[Look], stem: Path, seed: int
) -> list[Figure]:
    """Draw one data set.

    Parameters
    ----------
    splits, looks
        All of the data set: the proportions are their means.
    shown
        One split and one set of cells of each name, for the other pictures.
    stem
        What the paths of the PNGs begin with.
    seed
        Of what is drawn at random.
    """
    split, sets = shown
    loaded = {cells.name: cells.load() for cells in sets}
    figures, colours = [], {}
    if split.types:
        columns = mean_proportions(splits, looks)
        colours = type_colours(list(next(iter(columns.values()))))
        figures.append(_proportions(columns, colours, split, _path(stem, "cell_types")))
    figures += _embedding(split, sets, loaded, colours, stem, seed)
    if split.expression:
        figures += [_markers(split, cells, loaded[cells.name], stem) for cells in sets if cells.source != "control"]
    return figures


def _proportions(columns: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], split: Split, path: Path):
    plot_proportions(columns, colours, path)
    caption = (
        "Share of each cell type among real and synthetic cells, in percent, mean over seeds and samples. The nearer a "
        "bar to that of the real cells with predicted types, the better; the control shows what chance makes of it."
    )
    return Figure(f"Cell types of {_dataset(split)} at a glance", path, caption)


def _embedding(
    split: Split,
    sets: Sequence[CellSet],
    loaded: Mapping[str, AnnData],
    colours: Mapping[str, str],
    stem: Path,
    seed: int,
) -> list[Figure]:
    """All sets in one t-SNE, coloured by source and, where there are types, by type."""
    rng = np.random.default_rng(derive_seed(seed, "plausibility", "cells"))
    most = min(MAX_DRAWN, _MAX_DRAWN_IN_ALL // (len(sets) + 1))
    drawn = [_draw(cells, most, rng) for cells in (split.test, *loaded.values())]
    cells = [log1p(each[own]).toarray() for each, own in zip((split.test, *loaded.values()), drawn, strict=True)]
    embedded = tsne(np.concatenate(cells), derive_seed(seed, "plausibility", "embedding"))
    real, *others = np.split(embedded, np.cumsum([len(each) for each in cells])[:-1])
    panels = []
    for each, own, points in zip(sets, drawn[1:], others, strict=True):
        types = split.types.classify(loaded[each.name])[own] if split.types else None
        found = split.hallucination(each, loaded[each.name], seed)
        panels.append(EmbeddedSet(each.name, points, types, found.in_foreign_cluster[own]))
    where = f"Joint t-SNE of {_dataset(split)} (log1p, 50 principal components of all sets), seed {split.run.seed}"
    by_source = plot_by_source(real, panels, _path(stem, "tsne_source"))
    caption = (
        f"{where}, {most} cells of each set at most. Grey: real test cells; in colour: the cells that the panel names; "
        "ringed: those in clusters of no real type. Colour where there is no grey is what no real cell looks like."
    )
    figures = [Figure(f"Real and synthetic cells of {_dataset(split)}", by_source, caption)]
    if split.types:
        first = EmbeddedSet("real test cells", real, split.types.predicted[drawn[0]], np.zeros(len(real), bool))
        by_type = plot_by_type([first, *panels], colours, _path(stem, "tsne_types"))
        caption = f"{where}: the same cells, by the type that the classifier predicts, real ones included."
        figures.append(Figure(f"Cell types in the embedding of {_dataset(split)}", by_type, caption))
    return figures


def _markers(split: Split, cells: CellSet, loaded: AnnData, stem: Path) -> Figure:
    seen = split.marker_expression(loaded, split.types.classify(loaded))
    path = _path(stem, f"markers_{cells.name}")
    plot_markers({"real test cells": split.expression, cells.name: seen}, split.markers, split.highest, path)
    caption = (
        "Marker genes, found on real training cells, in the real test cells (above) and the synthetic ones (below), by "
        "predicted type; in brackets the number of cells. Area: the fraction of cells that express the gene; colour: "
        "mean of log1p, relative to the type of training cells with the most of it. Faithful cells repeat the pattern "
        f"above: large dark dots on the diagonal, small pale ones off it. Seed {split.run.seed}, first set."
    )
    return Figure(f"Markers of {_dataset(split)}: {cells.name}", path, caption)


def _draw(cells: AnnData, most: int, rng: np.random.Generator) -> np.ndarray:
    if cells.n_obs <= most:
        return np.arange(cells.n_obs)
    return np.sort(rng.choice(cells.n_obs, size=most, replace=False))


def _path(stem: Path, name: str) -> Path:
    return stem.with_name(f"{stem.name}_{re.sub(r'[^a-z0-9]+', '_', name.lower())}.png")


def _dataset(split: Split) -> str:
    return str(split.run.setting["dataset"])
