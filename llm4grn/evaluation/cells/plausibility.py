"""Biological plausibility of synthetic cells: types, markers, cells of no real type (the paper's Figures 3 to 9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from llm4grn.evaluation.cells.looks import Look, Split
from llm4grn.evaluation.cells.run_cells import CellSet, RunCells, cell_sets, open_runs, split_key
from llm4grn.evaluation.cells.type_scores_table import type_scores_table
from llm4grn.report.blocks import Figure, Table
from llm4grn.runtime.progress import progress


def plausibility(
    folders: Sequence[Path], figures: Path, store: Path | None, seed: int = 0, celltypist: Path | None = None
) -> list[Table | Figure]:
    """Build the tables and figures on the biological plausibility of finished runs.

    Parameters
    ----------
    folders
        Folders of finished runs, of any data sets; runs of one setting differ by seeds.
    figures
        Folder for the PNGs.
    store
        Folder of finished stages, which has the training and validation cells and those of stage 1. Sets of cells that
        it lacks are left out, and the notes say so.
    seed
        Seed for all random choices.
    celltypist
        CellTypist model file that predicts types in place of a classifier trained on the data set's own types.

    Returns
    -------
    The classifier's table, then one table of scores, then tables by cell type and pictures of each data set.

    Raises
    ------
    UserError
        If a folder holds no finished run, or the model cannot be read.
    """
    from llm4grn.evaluation.cells.plausibility_figures import dataset_figures
    from llm4grn.evaluation.cells.plausibility_tables import classifier_table, proportions_table, scores_table

    runs = open_runs(folders, store)
    sets = cell_sets(runs)
    splits: list[Split] = []
    looks: list[Look] = []
    details: list[Table | Figure] = []
    for dataset, members in groupby(runs, key=lambda run: run.dataset):
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
    """Return one split for all runs on the same real cells, in the order of their seeds."""
    first = {split_key(run): run for run in reversed(runs)}
    return [Split.of(run, seed, celltypist) for run in sorted(first.values(), key=lambda run: (run.seed, run.key))]


def _representative(splits: Sequence[Split], sets: dict[tuple[str, str], list[CellSet]]) -> tuple[Split, list[CellSet]]:
    """Return the split with the most settings (the first of them in a tie), and its first set of each setting."""
    firsts = [list({cells.name: cells for cells in reversed(sets[split.key])}.values())[::-1] for split in splits]
    best = max(range(len(splits)), key=lambda i: len(firsts[i]))
    return splits[best], firsts[best]
