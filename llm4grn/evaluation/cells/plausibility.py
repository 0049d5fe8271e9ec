"""Do synthetic cells look like cells? Types, markers, cells of no real type (the paper's Figures 3 to 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
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
from llm4grn.evaluation.cells.run_cells import RunCells, open_runs, setting_names
from llm4grn.evaluation.report.blocks import Figure, Table
from llm4grn.progress import progress
from llm4grn.seeding import derive_seed

if TYPE_CHECKING:
    from anndata import AnnData

CONTROL = "control"
STAGE1 = "stage 1"


@dataclass(frozen=True)
class CellSet:
    """One set of cells to hold against the real test cells of its run.

    Parameters
    ----------
    source
        ``control``, ``stage1`` or ``run``, as in the results.
    name
        In tables and pictures.
    run, sample
        One with the same real cells; which of its sets.
    load
        Reads the cells.
    """

    source: str
    name: str
    run: RunCells
    sample: int
    load: Callable[[], AnnData]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.run.setting["dataset"])


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
    n_foreign_clusters, foreign, far
        Clusters of no real type; the share of cells in them; the share of cells far from every real one.
    """

    cells: CellSet
    proportions: dict[str, float]
    total_variation: float | None
    marker_mean: float | None
    marker_fraction: float | None
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
        return _split_key(self.run)

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
            **self._look_at_types(loaded),
            n_foreign_clusters=found.n_clusters,
            foreign=float(found.in_foreign_cluster.mean()),
            far=float(found.far.mean()),
        )

    def _look_at_types(self, loaded: AnnData) -> dict[str, Any]:
        values = {"proportions": {}, "total_variation": None, "marker_mean": None, "marker_fraction": None}
        if self.types:
            labels = self.types.classify(loaded)
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
    First how good the classifier is, then one table of scores, then the proportions and pictures of each data set.

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
        details += [proportions_table(dataset, own, seen)] if any(split.types for split in own) else []
        shown = _representative(own, sets)
        details += dataset_figures(own, shown, seen, Path(figures) / re.sub(r"\W+", "_", dataset), seed)
        splits, looks = splits + own, looks + seen
    if not looks:
        return []
    learned = celltypist is None and any(split.types for split in splits)
    classifier = [classifier_table(splits)] if learned else []
    return [*classifier, scores_table(splits, looks, celltypist), *details]


def cell_sets(runs: Sequence[RunCells]) -> dict[tuple[str, str], list[CellSet]]:
    """What to look at beside the real test cells of each split, by data set and data: control, stage 1, runs.

    The control is the validation cells: real ones that neither the generator nor the classifier has learned from.
    """
    found: dict[tuple[str, str], dict[tuple, CellSet]] = {}
    for run, name in zip(runs, setting_names(runs), strict=True):
        own = found.setdefault(_split_key(run), {})
        models = {peer.setting["model"] for peer in runs if peer.setting["dataset"] == run.setting["dataset"]}
        stage1 = f"{STAGE1} / {run.setting['model']}" if len(models) > 1 else STAGE1
        if run.data_file is not None:
            own[(0,)] = CellSet("control", CONTROL, run, 0, lambda run=run: _control(run))
        for i, path in enumerate(run.stage1_files()):
            own[1, stage1, run.stages["controller"], i] = CellSet("stage1", stage1, run, i, partial(_read, path))
        for i, path in enumerate(run.synthetic_files()):
            own[2, name, run.key, i] = CellSet("run", name, run, i, partial(_read, path))
    return {key: [own[order] for order in sorted(own)] for key, own in found.items()}


def _splits(runs: Sequence[RunCells], seed: int, celltypist: Path | None) -> list[Split]:
    """One for all runs on the same real cells, in the order of their seeds."""
    first = {_split_key(run): run for run in reversed(runs)}
    return [Split.of(run, seed, celltypist) for run in sorted(first.values(), key=lambda run: (run.seed, run.key))]


def _split_key(run: RunCells) -> tuple[str, str]:
    return str(run.setting["dataset"]), run.stages["data"]


def _representative(splits: Sequence[Split], sets: dict[tuple[str, str], list[CellSet]]) -> tuple[Split, list[CellSet]]:
    """The split with most settings, the first of equals, and the first set of each."""
    firsts = [list({cells.name: cells for cells in reversed(sets[split.key])}.values())[::-1] for split in splits]
    best = max(range(len(splits)), key=lambda i: len(firsts[i]))
    return splits[best], firsts[best]


def _control(run: RunCells) -> AnnData:
    """Validation cells, no more than there are test cells: the first, which a shuffle has put there."""
    cells, n_cells = run.real("validation"), run.test().n_obs
    return cells[:n_cells]


def _read(path: Path) -> AnnData:
    import anndata

    return anndata.read_h5ad(path)
