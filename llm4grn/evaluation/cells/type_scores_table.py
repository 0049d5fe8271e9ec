"""The table of scores within each cell type."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from llm4grn.evaluation.cells.type_scores import N_CELLS, TYPE_METRICS
from llm4grn.metrics.arrays import N_REPEATS
from llm4grn.metrics.registry import METRICS
from llm4grn.report.blocks import Cell, Table

if TYPE_CHECKING:
    from llm4grn.evaluation.cells.cell_types import RealTypes
    from llm4grn.evaluation.cells.looks import Look, Split


_DIGITS = 3


def type_scores_table(dataset: str, splits: Sequence[Split], looks: Sequence[Look]) -> Table | None:
    """Tabulate the scores within cell types: one row per metric and set of cells, one column per cell type.

    Parameters
    ----------
    dataset
        Name of the data set.
    splits, looks
        All of the data set; those without types are left out.

    Returns
    -------
    The table; None if all types are too rare to be scored.
    """
    counts = _real_counts([split.types for split in splits if split.types])
    groups: dict[str, list[Look]] = {}
    for source in ("control", "stage1", "run"):
        for look in looks:
            if look.cells.source == source and look.type_scores:
                groups.setdefault(look.cells.name, []).append(look)
    runs = [name for name, own in groups.items() if own[0].cells.source == "run"]
    columns = [_column(groups, runs, cell_type) for cell_type in counts]
    scored = {
        cell_type: column
        for cell_type, column in zip(counts, columns, strict=True)
        if any(cell.text != "–" for cell in column)
    }
    labels = [(f"{METRICS[metric].label} {METRICS[metric].arrow}", name) for metric in TYPE_METRICS for name in groups]
    rows = [[*label, *cells] for label, *cells in zip(labels, *scored.values(), strict=True)]
    header = ("Metric", "Cells", *(f"{cell_type} ({counts[cell_type]:.0f})" for cell_type in scored))
    rare = ", ".join(f"{cell_type} ({n:.0f})" for cell_type, n in counts.items() if cell_type not in scored)
    notes = [*_NOTES, f"Too rare to be scored: {rare}."] if rare else _NOTES
    name = f"cell_type_scores_{re.sub(r'[^a-z0-9]+', '_', dataset.lower())}"
    title = f"Scores within the cell types of {dataset}"
    return Table(name, title, header, rows, n_labels=2, notes=notes) if scored else None


def _column(groups: Mapping[str, Sequence[Look]], runs: Sequence[str], cell_type: str) -> list[Cell]:
    """Return the column of one cell type: an entry for each metric and, within it, each group of sets."""
    cells = []
    for metric in TYPE_METRICS:
        values = {
            name: [look.type_scores[metric].get(cell_type, math.nan) for look in own] for name, own in groups.items()
        }
        best = _best({run: values[run] for run in runs}, metric)
        cells += [_cell(own, bold=name in best) for name, own in values.items()]
    return cells


_NOTES = (
    f"Both metrics within one type: {N_CELLS} real test cells against {N_CELLS} cells that the same classifier gives "
    f"the same type, mean over {N_REPEATS} draws; mean ± standard deviation over samples and seeds. In brackets after "
    "a type: real test cells that the classifier gives it, mean over seeds.",
    f"Always {N_CELLS}, so that a type which a generator makes rarely is not the worse for its number; with so few, "
    "real cells are far from 0 too. Compare within a column, and with the control.",
    f"–: fewer than {N_CELLS} cells on one side. (3 of 8): scored in so many sets only, those with enough cells. Bold: "
    "best run, of those that have enough cells in every set.",
)


def _real_counts(typed: Sequence[RealTypes]) -> dict[str, float]:
    """Return the number of real test cells of each predicted type, mean over splits, the most common first."""
    counts: list[Counter[str]] = [Counter(types.predicted.tolist()) for types in typed]
    means = {name: fmean(own[name] for own in counts) for name in set().union(*counts)}
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))


def _best(values: Mapping[str, Sequence[float]], metric: str) -> set[str]:
    """Return the best of several runs, among those scored in every set."""
    whole = {run: METRICS[metric].shortfall(fmean(own)) for run, own in values.items() if not math.isnan(sum(own))}
    return {run for run, value in whole.items() if len(whole) > 1 and value == min(whole.values())}


def _cell(values: Sequence[float], bold: bool) -> Cell:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Cell("–")
    spread = f" ± {stdev(known):.{_DIGITS}f}" if len(known) > 1 else ""
    some = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return Cell(f"{fmean(known):.{_DIGITS}f}{spread}{some}", fmean(known), bold=bold)
