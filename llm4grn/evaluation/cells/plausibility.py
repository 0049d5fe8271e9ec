"""Do synthetic cells look like cells? Types, markers, cells of no real type (the paper's Figures 3 to 9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm4grn.evaluation.cells.cell_sets import CellSet, cell_sets, split_key
from llm4grn.evaluation.cells.cell_types import RealTypes, proportions, real_types, total_variation
from llm4grn.evaluation.cells.hallucination import Hallucination, hallucination
from llm4grn.evaluation.cells.markers import (
    MAX_TYPES,
    MarkerExpression,
    flat,
    marker_differences,
    marker_expression,
    top_markers,
)
from llm4grn.evaluation.cells.run_cells import RunCells, open_runs
from llm4grn.evaluation.cells.type_scores import cell_type_scores
from llm4grn.evaluation.cells.type_scores_table import TYPE_METRICS, type_scores_table
from llm4grn.evaluation.report.blocks import Figure, Table
from llm4grn.progress import progress
from llm4grn.seeding import derive_seed

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Look:
    """What is seen in one set of cells.

    Parameters
    ----------
    cells
        Which set.
    proportions
        Type to its share; empty, and the three differences ``None``, where the data set has no types.
    total_variation
        From the proportions that the same classifier finds in the real test cells.
    marker_mean, marker_fraction
        Mean absolute difference of the markers' expression, see
        :func:`~llm4grn.evaluation.cells.markers.marker_differences`.
    type_scores
        Metric to type to its score, see :func:`~llm4grn.evaluation.cells.type_scores.cell_type_scores`; empty where the
        data set has no types.
    n_foreign_clusters, foreign, far
        Clusters of no real type; the share of cells in them; the share of cells far from every real one.
    """

    cells: CellSet
    proportions: dict[str, float]
    total_variation: float | None
    marker_mean: float | None
    marker_fraction: float | None
    type_scores: dict[str, dict[str, float]]
    n_foreign_clusters: int
    foreign: float
    far: float


@dataclass(frozen=True)
class Split:
    """The real cells of one split, and what synthetic cells are held against.

    Parameters
    ----------
    run
        One of those on this split.
    test, types
        Its real test cells, and their types; ``None`` where there are none.
    markers
        Type to its genes, found on training cells; of the most common types, the first the most common.
    expression
        Of the markers in the test cells, by predicted type.
    highest
        The highest mean of each marker among the types of training cells (n_genes,).
    """

    run: RunCells
    test: AnnData
    types: RealTypes | None
    markers: dict[str, tuple[str, ...]]
    expression: MarkerExpression | None
    highest: np.ndarray | None

    @classmethod
    def of(cls, run: RunCells, seed: int, celltypist: Path | None = None) -> Split:
        """Learn types and markers of the real cells of a run."""
        test, types = run.test(), real_types(run, seed, celltypist)
        found = top_markers(types.train) if types else {}
        common = [name for name in types.names if name in found][:MAX_TYPES] if types else []
        markers = {name: found[name] for name in common}
        if not markers:
            return cls(run, test, types, markers, None, None)
        labels = types.train.obs["cell_type"].to_numpy().astype(str)
        trained = marker_expression(types.train, labels, list(markers), flat(markers))
        real = marker_expression(test, types.predicted, list(markers), flat(markers))
        return cls(run, test, types, markers, real, trained.mean.max(axis=0))

    @property
    def key(self) -> tuple[str, str]:
        """What the runs on these real cells have in common: data set, key of the data."""
        return split_key(self.run)

    def marker_expression(self, cells: AnnData, labels: np.ndarray) -> MarkerExpression:
        """Of other cells, in the same types and genes."""
        return marker_expression(cells, labels, list(self.markers), flat(self.markers))

    def hallucination(self, cells: CellSet, loaded: AnnData, seed: int) -> Hallucination:
        """Of a set of cells."""
        return hallucination(self.test.X, loaded.X, derive_seed(seed, cells.name, self.run.seed, cells.sample))

    def look(self, cells: CellSet, seed: int) -> Look:
        """Look at one set of cells."""
        loaded = cells.load()
        found = self.hallucination(cells, loaded, seed)
        return Look(
            cells,
            **self._look_at_types(loaded, derive_seed(seed, "cell_type_scores", self.run.seed)),
            n_foreign_clusters=found.n_clusters,
            foreign=float(found.in_foreign_cluster.mean()),
            far=float(found.far.mean()),
        )

    def _look_at_types(self, loaded: AnnData, seed: int) -> dict[str, Any]:
        values = {"proportions": {}, "total_variation": None, "marker_mean": None, "marker_fraction": None}
        values["type_scores"] = {}
        if self.types:
            labels = self.types.classify(loaded)
            sides = self.test.X, loaded.X, self.types.predicted, labels
            values["type_scores"] = {metric: cell_type_scores(*sides, metric, seed) for metric in TYPE_METRICS}
            values["proportions"] = proportions(labels)
            values["total_variation"] = total_variation(values["proportions"], proportions(self.types.predicted))
            if self.expression:
                differences = marker_differences(self.expression, self.marker_expression(loaded, labels))
                values["marker_mean"], values["marker_fraction"] = differences
        return values


def plausibility(
    folders: Sequence[Path], figures: Path, store: Path | None, seed: int = 0, celltypist: Path | None = None
) -> list[Table | Figure]:
    """Tables and figures on the biological plausibility of finished runs.

    Parameters
    ----------
    folders
        Of finished runs, of any data sets; those of one setting differ by seeds.
    figures
        Folder for the PNGs.
    store
        Of finished stages: has training and validation cells and those of stage 1. What it lacks is left out, and the
        notes say so.
    seed
        Of everything random.
    celltypist
        A model file of CellTypist, to predict types in place of a classifier trained on the data set's own types.

    Returns
    -------
    First how good the classifier is, then one table of scores, then tables by cell type and pictures of each data set.

    Raises
    ------
    UserError
        A folder that holds no finished run, or no such model.
    """
    from llm4grn.evaluation.cells.plausibility_figures import dataset_figures
    from llm4grn.evaluation.cells.plausibility_tables import classifier_table, proportions_table, scores_table

    runs = open_runs(folders, store)
    sets = cell_sets(runs)
    splits, looks, details = [], [], []
    for dataset, members in groupby(runs, key=lambda run: str(run.setting["dataset"])):
        own = _splits(list(members), seed, celltypist)
        pairs = [(split, cells) for split in own for cells in sets[split.key]]
        seen = [split.look(cells, seed) for split, cells in progress(pairs, desc=f"looking at {dataset}", unit="set")]
        if any(split.types for split in own):
            by_type = type_scores_table(dataset, own, seen), proportions_table(dataset, own, seen)
            details += [table for table in by_type if table]
        shown = _representative(own, sets)
        details += dataset_figures(own, shown, seen, Path(figures) / re.sub(r"\W+", "_", dataset), seed)
        splits, looks = splits + own, looks + seen
    if not looks:
        return []
    learned = celltypist is None and any(split.types for split in splits)
    classifier = [classifier_table(splits)] if learned else []
    return [*classifier, scores_table(splits, looks, celltypist), *details]


def _splits(runs: Sequence[RunCells], seed: int, celltypist: Path | None) -> list[Split]:
    """One for all runs on the same real cells, in the order of their seeds."""
    first = {split_key(run): run for run in reversed(runs)}
    return [Split.of(run, seed, celltypist) for run in sorted(first.values(), key=lambda run: (run.seed, run.key))]


def _representative(splits: Sequence[Split], sets: dict[tuple[str, str], list[CellSet]]) -> tuple[Split, list[CellSet]]:
    """The split with most settings, the first of equals, and the first set of each."""
    firsts = [list({cells.name: cells for cells in reversed(sets[split.key])}.values())[::-1] for split in splits]
    best = max(range(len(splits)), key=lambda i: len(firsts[i]))
    return splits[best], firsts[best]
