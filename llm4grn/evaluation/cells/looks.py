"""The real cells of one split, and what is seen in a set of synthetic ones held beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
from llm4grn.evaluation.cells.run_cells import CellSet, RunCells, split_key
from llm4grn.evaluation.cells.type_scores import TYPE_METRICS, cell_type_scores
from llm4grn.runtime.seeding import derive_seed

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
