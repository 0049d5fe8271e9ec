"""What a training's table of looks says against it. Without torch: a run that is only written again reads it, too."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from llm4grn.evaluation.scores.summary import COLLAPSE_FACTOR

MONITOR = "monitor.csv"

#: Share of the expressed genes that no generated cell expresses. Finished runs of model=small on pbmc3k: 0.005; without
#: ``revive`` 0.23 to 0.29, as a short training then leaves rare genes out.
MOST_DEAD_GENES = 0.5
#: Share of generated cells without any expression: these cannot be scaled to the library size.
MOST_EMPTY_CELLS = 0.01
#: Factor, up or down, by which the sum of a cell before scaling may drift from the first look. It is free to drift, as
#: it is divided out, until float32 and the learning rates no longer fit it.
MOST_DRIFT = 1000.0
#: Distance of the mean cells, in units of the distance expected of as many real cells. The rule by which sets of cells
#: are kept out of tables, which has the measured distance of the control for a unit: the paper's notion of a collapse.
MOST_DISTANCE = COLLAPSE_FACTOR
#: Difference of the critic's mean scores of real and generated cells, in standard deviations of a score.
MOST_GAP = 5.0
#: Mean square of (slope of the critic - 1): here slopes are wrong by their own size. model=small on pbmc3k: 0.001.
MOST_PENALTY = 1.0

#: measure -> (its limit, what crossing it means); the drift of the library size is judged apart
_LIMITS = {
    "dead_genes": (MOST_DEAD_GENES, "of the expressed genes are never generated"),
    "empty_cells": (MOST_EMPTY_CELLS, "of the generated cells are empty"),
    "centroid_distance": (MOST_DISTANCE, "times the expected distance between the mean generated and real cell"),
    "critic_gap": (MOST_GAP, "standard deviations between the critic's scores of real and generated cells"),
    "gradient_penalty": (MOST_PENALTY, "gradient penalty: the critic's slopes are far from 1"),
}


def warnings_of(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """What the last of the monitor's rows says against the training, one phrase for each limit that it crosses."""
    if not rows:
        return []
    first, last = rows[0], rows[-1]
    found = [f"{last[name]:.3g} {means}" for name, (limit, means) in _LIMITS.items() if not last[name] <= limit]
    if not 1 / MOST_DRIFT <= last["library_size"] / max(first["library_size"], 1e-30) <= MOST_DRIFT:
        found.append(
            f"the library size before scaling drifted from {first['library_size']:.3g} to {last['library_size']:.3g}"
        )
    return found


def read_warnings(folder: Path) -> list[str]:
    """:func:`warnings_of` for the training in ``folder``; none if it was not monitored."""
    path = Path(folder) / MONITOR
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return warnings_of([{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)])
