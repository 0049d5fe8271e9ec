"""Biological plausibility of synthetic cells: types, markers, cells of no real type (the paper's Figures 3 to 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from llm4grn.evaluation.cells.looks import Look, Split
from llm4grn.evaluation.cells.run_cells import CellSet, RunCells, cell_sets, open_runs, split_key
from llm4grn.evaluation.cells.type_scores_table import type_scores_table
from llm4grn.report.blocks import Figure, Table
from llm4grn.runtime.progress import progress


@dataclass(frozen=True)
class Looked:
    """The cells of finished runs, compared with the real ones of their splits.

    Parameters
    ----------
    splits, looks
        Splits and comparisons of all data sets.
    shown
        By data set: the split with the most settings, and the sets of cells that its pictures show.
    """

    splits: Sequence[Split]
    looks: Sequence[Look]
    shown: Mapping[str, tuple[Split, Sequence[CellSet]]]

    def of(self, dataset: str) -> tuple[list[Split], list[Look]]:
        """Return splits and comparisons of one data set."""
        splits = [split for split in self.splits if split.run.dataset == dataset]
        return splits, [look for look in self.looks if look.cells.dataset == dataset]

    def of_no_real_type(self, models: Mapping[Path, str]) -> dict[tuple[str, ...], list[float]]:
        """Return the share of cells of no real type in each set of cells, by the labels of its row of scores.

        Parameters
        ----------
        models
            Folder of each run to the name of its model in the scores.

        Returns
        -------
        (data set, source, KB, inferer, LLM, model, graph) to shares, one per set.
        """
        shares: dict[tuple[str, ...], list[float]] = {}
        for look in self.looks:
            setting, source = look.cells.run.setting, look.cells.source
            own = [str(setting.get(name) or "") for name in ("kb", "inferer", "llm")]
            model, graph = models[look.cells.run.folder], str(setting.get("graph") or "")
            labels = [*own, model, graph] if source == "run" else ["", "", "", model if source == "stage1" else "", ""]
            shares.setdefault((look.cells.dataset, source, *labels), []).append(look.foreign)
        return shares


def look_at(folders: Sequence[Path], store: Path | None, seed: int = 0, celltypist: Path | None = None) -> Looked:
    """Compare the cells of finished runs with the real ones of their splits.

    Parameters
    ----------
    folders
        Folders of finished runs, of any data sets; runs of one setting differ by seeds.
    store
        Folder of finished stages, which has the training and validation cells and those of stage 1. Sets of cells that
        it lacks are left out, and the notes say so.
    seed
        Seed for all random choices.
    celltypist
        CellTypist model file that predicts types in place of a classifier trained on the data set's own types.

    Raises
    ------
    UserError
        If a folder holds no finished run, or the model cannot be read.
    """
    runs = open_runs(folders, store)
    sets = cell_sets(runs)
    splits: list[Split] = []
    looks: list[Look] = []
    shown = {}
    for dataset, members in groupby(runs, key=lambda run: run.dataset):
        own = _splits(list(members), seed, celltypist)
        pairs = [(split, cells) for split in own for cells in sets[split.key]]
        looks += [split.look(cells, seed) for split, cells in progress(pairs, desc=f"looking at {dataset}", unit="set")]
        splits += own
        shown[dataset] = _representative(own, sets)
    return Looked(splits, looks, shown)


def type_tables(looked: Looked) -> list[Table]:
    """Return the table of scores within cell types of each data set that has types common enough."""
    tables = (type_scores_table(dataset, *looked.of(dataset)) for dataset in looked.shown if _typed(looked, dataset))
    return [table for table in tables if table]


def plausibility_blocks(
    looked: Looked, figures: Path, seed: int = 0, celltypist: Path | None = None
) -> list[Table | Figure]:
    """Return the classifier's table, the table of scores, and for each data set the types' shares and the pictures.

    Parameters
    ----------
    looked
        Result of :func:`look_at` with the same seed and model.
    figures
        Folder for the PNGs.
    seed, celltypist
        As in :func:`look_at`.
    """
    from llm4grn.evaluation.cells.plausibility_figures import dataset_figures
    from llm4grn.evaluation.cells.plausibility_tables import classifier_table, proportions_table, scores_table

    if not looked.looks:
        return []
    details: list[Table | Figure] = []
    for dataset, shown in looked.shown.items():
        splits, looks = looked.of(dataset)
        if _typed(looked, dataset):
            details.append(proportions_table(dataset, splits, looks))
        details += dataset_figures(splits, shown, looks, Path(figures) / re.sub(r"\W+", "_", dataset), seed)
    learned = celltypist is None and any(split.types for split in looked.splits)
    classifier = [classifier_table(looked.splits)] if learned else []
    return [*classifier, scores_table(looked.splits, looked.looks, celltypist), *details]


def _typed(looked: Looked, dataset: str) -> bool:
    return any(split.types for split in looked.of(dataset)[0])


def _splits(runs: Sequence[RunCells], seed: int, celltypist: Path | None) -> list[Split]:
    """Return one split for all runs on the same real cells, in the order of their seeds."""
    first = {split_key(run): run for run in reversed(runs)}
    return [Split.of(run, seed, celltypist) for run in sorted(first.values(), key=lambda run: (run.seed, run.key))]


def _representative(splits: Sequence[Split], sets: dict[tuple[str, str], list[CellSet]]) -> tuple[Split, list[CellSet]]:
    """Return the split with the most settings (the first of them in a tie), and its first set of each setting."""
    firsts = [list({cells.name: cells for cells in reversed(sets[split.key])}.values())[::-1] for split in splits]
    best = max(range(len(splits)), key=lambda i: len(firsts[i]))
    return splits[best], firsts[best]
