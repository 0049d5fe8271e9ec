"""Tables on the biological plausibility of synthetic cells."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from llm4grn.evaluation.cells.cell_types import proportions
from llm4grn.evaluation.cells.hallucination import RULE
from llm4grn.evaluation.cells.markers import MAX_TYPES, MIN_CELLS, N_MARKERS
from llm4grn.report.blocks import Cell, Table

if TYPE_CHECKING:
    from llm4grn.evaluation.cells.looks import Look, Split

# Header, value of a look (None: not available), decimals. Lower is better in all of them.
_SCORES: tuple[tuple[str, Callable[[Look], float | None], int], ...] = (
    ("Cell types, total variation ↓", lambda look: look.total_variation, 3),
    ("Markers, difference of mean ↓", lambda look: look.marker_mean, 3),
    ("Markers, difference of fraction ↓", lambda look: look.marker_fraction, 3),
    ("Clusters of no real type ↓", lambda look: look.n_foreign_clusters, 1),
    ("Cells in them, % ↓", lambda look: 100 * look.foreign, 1),
    ("Cells far from real ones, % ↓", lambda look: 100 * look.far, 1),
)


def classifier_table(splits: Sequence[Split]) -> Table:
    """Tabulate the classifier's recall on unseen real cells, by type."""
    rows: list[list[Cell | str]] = []
    for dataset in dict.fromkeys(split.run.dataset for split in splits):
        own = [split.types for split in splits if split.run.dataset == dataset and split.types]
        recalls = [types.recall() for types in own]
        known = [recall for recall in recalls if recall]
        if known:
            n_cells = [float(sum(types.annotated_counts.values())) for types in own]
            balanced = [fmean(recall.values()) for recall in known]
            rows.append([dataset, "all types: balanced accuracy", _cell(n_cells, 0), _cell(balanced, 3)])
        for name in dict.fromkeys(name for types in own for name in types.names):
            values = [recall[name] for recall in known if name in recall]
            n_cells = [float(types.annotated_counts.get(name, 0)) for types in own]
            rows += [[dataset, name, _cell(n_cells, 0), _cell(values, 3)]] if values else []
    held_out = all(split.types.held_out for split in splits if split.types)
    how = (
        "Learned from the training cells, asked of the test cells."
        if held_out
        else "The store no longer has the training cells: learned from the test cells, by five-fold cross-validation."
    )
    notes = (
        f"A logistic regression on log1p of the run's genes. {how} Recall = of the annotated cells of the type, "
        "those it gives that type; balanced accuracy = the mean over types. ± standard deviation over seeds.",
        "A type with low recall here says little about synthetic cells.",
    )
    header = ("Data set", "Cell type", "Real test cells", "Recall ↑")
    return Table(
        "cell_type_classifier", "How well the classifier knows real cells", header, rows, n_labels=2, notes=notes
    )


def scores_table(splits: Sequence[Split], looks: Sequence[Look], celltypist: Path | None) -> Table:
    """Tabulate the scores of types, markers and clusters, one row per data set and setting over seeds and samples."""
    groups: dict[tuple[str, str], list[Look]] = {}
    for look in looks:
        groups.setdefault((look.cells.dataset, look.cells.name), []).append(look)
    order = {"control": 0, "stage1": 1, "run": 2}
    keys = sorted(groups, key=lambda key: (key[0], order[groups[key][0].cells.source]))
    rows: list[list[Cell | str]] = []
    for dataset, name in keys:
        own = groups[dataset, name]
        rivals = [groups[key] for key in keys if key[0] == dataset and groups[key][0].cells.source == "run"]
        values = [_score(own, rivals, value, digits) for _, value, digits in _SCORES]
        rows.append([dataset, name, Cell(str(len(own)), len(own)), *values])
    header = ("Data set", "Cells", "n", *(label for label, _, _ in _SCORES))
    notes = _notes(splits, looks, celltypist)
    title = "Types, markers and clusters of the generated cells"
    return Table("plausibility", title, header, rows, n_labels=2, notes=notes, definitions=_DEFINITIONS)


def proportions_table(dataset: str, splits: Sequence[Split], looks: Sequence[Look]) -> Table:
    """Tabulate the share of each type among real and synthetic cells, in percent."""
    columns = mean_proportions(splits, looks)
    types = dict.fromkeys(name for shares in columns.values() for name in shares)
    rows: list[list[Cell | str]] = [
        [name, *(Cell(f"{100 * shares.get(name, 0):.1f}", 100 * shares.get(name, 0)) for shares in columns.values())]
        for name in types
    ]
    notes = (
        "Percent of the cells, mean over seeds and samples. "
        + ("The types of all but the annotated cells" if "real, annotated" in columns else "All types")
        + " are predicted by the same classifier, so its own slips are on both sides.",
    )
    name = f"cell_type_proportions_{re.sub(r'[^a-z0-9]+', '_', dataset.lower())}"
    header = ("Cell type", *columns)
    return Table(name, f"Cell types of {dataset} in percent", header, rows, n_labels=1, notes=notes)


def mean_proportions(splits: Sequence[Split], looks: Iterable[Look]) -> dict[str, dict[str, float]]:
    """Return the mean share of every type in real test cells, control, stage 1 and settings; common types first."""
    columns: dict[str, list[Mapping[str, float]]] = {}
    typed = [split.types for split in splits if split.types]
    if annotated := [types.annotated for types in typed if types.annotated is not None]:
        columns["real, annotated"] = [proportions(labels) for labels in annotated]
    columns["real, predicted"] = [proportions(types.predicted) for types in typed]
    for source in ("control", "stage1", "run"):
        for look in looks:
            if look.cells.source == source and look.proportions:
                columns.setdefault(look.cells.name, []).append(look.proportions)
    means = {name: _mean_shares(shares) for name, shares in columns.items()}
    first = next(iter(means.values()))
    types = sorted({name for shares in means.values() for name in shares}, key=lambda name: (-first.get(name, 0), name))
    return {name: {each: shares.get(each, 0.0) for each in types} for name, shares in means.items()}


def _mean_shares(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name for each in shares for name in each}
    return {name: fmean(each.get(name, 0.0) for each in shares) for name in names}


def _score(
    own: Sequence[Look], rivals: Sequence[Sequence[Look]], value: Callable[[Look], float | None], digits: int
) -> Cell:
    mine = _known(own, value)
    means = [fmean(known) for known in (_known(rival, value) for rival in rivals) if known]
    best = bool(mine) and own in rivals and len(means) > 1 and fmean(mine) == min(means)
    return _cell(mine, digits, bold=best)


def _known(looks: Iterable[Look], value: Callable[[Look], float | None]) -> list[float]:
    values = [value(look) for look in looks]
    return [float(each) for each in values if each is not None and not math.isnan(each)]


def _cell(values: Sequence[float], digits: int, bold: bool = False) -> Cell:
    if not values:
        return Cell("–")
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return Cell(f"{fmean(values):.{digits}f}{spread}", fmean(values), bold=bold)


_DEFINITIONS = (
    "Total variation: the share of cells whose type is out of place, from the proportions that the same classifier "
    "finds in the real test cells.",
    f"Markers: the {N_MARKERS} genes that tell each type best among real training cells (Wilcoxon); mean absolute "
    "difference of the mean of log1p counts, and of the fraction of cells that express the gene, over the "
    f"{MAX_TYPES} most common types, as far as both sides have {MIN_CELLS} cells of them: cells that lack a type "
    "are charged for it under total variation alone.",
    RULE,
)


def _notes(splits: Sequence[Split], looks: Sequence[Look], celltypist: Path | None) -> list[str]:
    notes = [
        "n = sets of cells (samples x seeds); mean ± standard deviation over them; bold: best graph of its data set. "
        "Control = the real validation cells in place of synthetic ones: what chance alone makes of each number.",
    ]
    if celltypist is not None:
        notes.append(f"Types are those of the CellTypist model {celltypist.name}, for real and synthetic cells alike.")
    untyped = dict.fromkeys(split.run.dataset for split in splits if not split.types)
    notes += [f"{dataset}: no cell types, or one only, so types and markers are left out." for dataset in untyped]
    for source, what in ("control", "training and validation cells"), ("stage1", "cells of stage 1"):
        seen = {(look.cells.dataset, look.cells.run.seed) for look in looks if look.cells.source == source}
        gone = {(split.run.dataset, split.run.seed) for split in splits} - seen
        gone_names = ", ".join(f"{dataset} seed {seed}" for dataset, seed in sorted(gone))
        notes += [f"Not in the store, and left out: {what} of {gone_names}."] if gone else []
    return notes
