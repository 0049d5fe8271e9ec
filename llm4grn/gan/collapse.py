"""Collapse warnings from a training's monitor table.

This module does not import torch, because a run whose stages are all in the store reads the warnings, too.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from llm4grn.evaluation.scores.summary import COLLAPSE_FACTOR

MONITOR = "monitor.csv"

#: Fraction of the expressed genes that no generated cell expresses. Finished runs of model=small on pbmc3k: 0.005;
#: without ``revive`` 0.23 to 0.29, because a short training then leaves rare genes out.
MAX_DEAD_GENES = 0.5
#: Fraction of generated cells without any expression, which cannot be scaled to the library size.
MAX_EMPTY_CELLS = 0.01
#: Factor, up or down, by which the sum of a cell before scaling may drift from its value in the first row. The sum may
#: drift, because it is divided out, until it no longer suits float32 and the learning rates.
MAX_DRIFT = 1000.0
#: Distance between the mean cells, relative to the distance expected of as many real cells. The same factor excludes
#: collapsed sets of cells from tables, relative to the measured distance of the control (the paper's definition).
MAX_DISTANCE = COLLAPSE_FACTOR
#: Difference of the critic's mean scores of real and generated cells, in standard deviations of a score. model=small
#: reaches 6 on the 400 training cells of pbmc68k_reduced without having collapsed.
MAX_GAP = 5.0
#: Mean of (norm of the critic's gradient - 1)^2. At 1, the norms deviate by their target value. model=small on pbmc3k:
#: 0.001.
MAX_PENALTY = 1.0

#: measure -> (its limit, the meaning of a value above it); the drift of the library size is checked separately
_LIMITS = {
    "dead_genes": (MAX_DEAD_GENES, "of the expressed genes are never generated"),
    "empty_cells": (MAX_EMPTY_CELLS, "of the generated cells are empty"),
    "centroid_distance": (MAX_DISTANCE, "times the expected distance between the mean generated and real cell"),
    "critic_gap": (
        MAX_GAP,
        "standard deviations between the critic's scores of real and generated cells, as when it knows a few hundred "
        "training cells by heart",
    ),
    "gradient_penalty": (MAX_PENALTY, "gradient penalty: the critic's slopes are far from 1"),
}


def collapse_warnings(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return one phrase for each limit that the last row of a monitor table exceeds; no phrase means no warning.

    Parameters
    ----------
    rows
        Rows of ``monitor.csv``, with the measures of :func:`llm4grn.gan.monitor.collapse_measures` and
        ``gradient_penalty``. A measure that is NaN exceeds its limit.
    """
    if not rows:
        return []
    first, last = rows[0], rows[-1]
    phrases = [f"{last[name]:.3g} {means}" for name, (limit, means) in _LIMITS.items() if not last[name] <= limit]
    if not 1 / MAX_DRIFT <= last["library_size"] / max(first["library_size"], 1e-30) <= MAX_DRIFT:
        phrases.append(
            f"the library size before scaling drifted from {first['library_size']:.3g} to {last['library_size']:.3g}"
        )
    return phrases


def read_warnings(folder: Path) -> list[str]:
    """Return the :func:`collapse_warnings` of the training in ``folder``; none if it was not monitored."""
    path = Path(folder) / MONITOR
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return collapse_warnings([{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)])
