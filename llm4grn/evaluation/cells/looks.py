"""Compare sets of synthetic cells with the real cells of one split: types, markers, cells of no real type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

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
    """The comparison of one set of cells with the real test cells.

    Parameters
    ----------
    cells
        The set of cells.
    n_foreign_clusters, foreign, far
        Number of clusters of no real type; share of the cells in them; share of the cells far from every real one.
    proportions
        Share of each type; empty, and the three differences ``None``, if the data set has no types.
    total_variation
        Distance to the proportions that the same classifier predicts for the real test cells.
    marker_mean, marker_fraction
        Mean absolute difference of the markers' expression, see
        :func:`~llm4grn.evaluation.cells.markers.marker_differences`; ``None`` if there are no markers.
    type_scores
        Metric to type to its score, see :func:`~llm4grn.evaluation.cells.type_scores.cell_type_scores`; empty if the
        data set has no types.
    """

    cells: CellSet
    n_foreign_clusters: int
    foreign: float
    far: float
    proportions: Mapping[str, float] = field(default_factory=dict)
    total_variation: float | None = None
    marker_mean: float | None = None
    marker_fraction: float | None = None
    type_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RealMarkers:
    """Marker genes of the real cells of a split.

    Parameters
    ----------
    genes
        Type to its marker genes, selected on training cells; the most common types, the most common first.
    test
        Expression of the markers in the real test cells, by predicted type.
    highest
        Highest mean of each marker among the types of training cells (n_genes,).
    """

    genes: Mapping[str, tuple[str, ...]]
    test: MarkerExpression
    highest: np.ndarray

    @classmethod
    def of(cls, types: RealTypes, test: AnnData) -> RealMarkers | None:
        """Select the markers of ``types``; ``None`` if no type has enough training cells."""
        markers = top_markers(types.train)
        genes = {name: markers[name] for name in [name for name in types.names if name in markers][:MAX_TYPES]}
        if not genes:
            return None
        labels = types.train.obs["cell_type"].to_numpy().astype(str)
        trained = marker_expression(types.train, labels, list(genes), flat(genes))
        tested = marker_expression(test, types.predicted, list(genes), flat(genes))
        return cls(genes, tested, trained.mean.max(axis=0))

    def expression(self, cells: AnnData, labels: np.ndarray) -> MarkerExpression:
        """Compute the expression of the same markers in the same types of other cells, with types ``labels``."""
        return marker_expression(cells, labels, list(self.genes), flat(self.genes))


@dataclass(frozen=True)
class Split:
    """The real cells of one split, with which synthetic cells are compared.

    Parameters
    ----------
    run
        One of the runs on this split.
    test, types
        Its real test cells, and their types; ``None`` if the data set has fewer than two types.
    markers
        Marker genes of the types; ``None`` without types, or if no type has enough training cells.
    """

    run: RunCells
    test: AnnData
    types: RealTypes | None
    markers: RealMarkers | None

    @classmethod
    def of(cls, run: RunCells, seed: int, celltypist: Path | None = None) -> Split:
        """Learn the types and markers of the real cells of a run."""
        test, types = run.test(), real_types(run, seed, celltypist)
        return cls(run, test, types, RealMarkers.of(types, test) if types else None)

    @property
    def key(self) -> tuple[str, str]:
        """Return the key that the runs on these real cells share, see :func:`split_key`."""
        return split_key(self.run)

    def hallucination(self, cells: CellSet, loaded: AnnData, seed: int) -> Hallucination:
        """Detect the cells of no real type in ``cells``, whose content is ``loaded``."""
        return hallucination(self.test.X, loaded.X, derive_seed(seed, cells.name, self.run.seed, cells.sample))

    def look(self, cells: CellSet, seed: int) -> Look:
        """Compare one set of cells with the real test cells."""
        loaded = cells.load()
        hallucinated = self.hallucination(cells, loaded, seed)
        look = Look(
            cells,
            n_foreign_clusters=hallucinated.n_clusters,
            foreign=float(hallucinated.in_foreign_cluster.mean()),
            far=float(hallucinated.far.mean()),
        )
        return self._with_types(look, loaded, self.types, seed) if self.types else look

    def _with_types(self, look: Look, loaded: AnnData, types: RealTypes, seed: int) -> Look:
        labels = types.classify(loaded)
        shares = proportions(labels)
        sides = self.test.X, loaded.X, types.predicted.tolist(), labels.tolist()
        score_seed = derive_seed(seed, "cell_type_scores", self.run.seed)
        mean, fraction = (
            marker_differences(self.markers.test, self.markers.expression(loaded, labels))
            if self.markers
            else (None, None)
        )
        return replace(
            look,
            proportions=shares,
            total_variation=total_variation(shares, proportions(types.predicted)),
            marker_mean=mean,
            marker_fraction=fraction,
            type_scores={metric: cell_type_scores(*sides, metric, score_seed) for metric in TYPE_METRICS},
        )
