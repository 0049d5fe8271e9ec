"""A metric within each cell type: real cells of the type against synthetic cells that are called the same.

The same as a torchmetrics class: :mod:`llm4grn.evaluation.cells.type_scores_metric`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.evaluation.scores.score import score
from llm4grn.metrics.cells import N_REPEATS
from llm4grn.seeding import derive_seed

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

    Cells = np.ndarray | spmatrix

N_CELLS = 20


def cell_type_scores(
    real: Cells,
    synthetic: Cells,
    real_types: Sequence[str],
    synthetic_types: Sequence[str],
    metric: str,
    seed: int,
    n_cells: int = N_CELLS,
) -> dict[str, float]:
    """A metric within each cell type.

    Every type is scored with the same number of cells on both sides, drawn five times without replacement: most metrics
    fall with the number of cells, so that a type which a generator makes rarely would seem the worse for it.

    Parameters
    ----------
    real, synthetic
        Shape (n_real, n_genes) and (n_synthetic, n_genes), same genes, counts normalised to 20,000 per cell.
    real_types, synthetic_types
        One label per cell.
    metric
        A name of the registry.
    seed
        Of the draws, which are the same on the real side whatever the synthetic cells; and of a metric that draws.
    n_cells
        On each side; a type with fewer on either scores NaN.

    Returns
    -------
    For each type of the real cells, by name, the mean over the draws. Synthetic cells of other types take no part.

    Raises
    ------
    UserError
        As many types as cells are wanted; an unknown metric.
    """
    real_types, synthetic_types = np.asarray(real_types), np.asarray(synthetic_types)
    for name, cells, types in ("real", real, real_types), ("synthetic", synthetic, synthetic_types):
        if cells.shape[0] != len(types):
            raise UserError(f"{cells.shape[0]} {name} cells and {len(types)} cell types: give one type for each cell")
    scores = {}
    for cell_type in np.unique(real_types).tolist():
        sides = [np.flatnonzero(types == cell_type) for types in (real_types, synthetic_types)]
        values = []
        for draw in range(N_REPEATS if min(map(len, sides)) >= n_cells else 0):
            chosen = [
                np.random.default_rng(derive_seed(seed, name, cell_type, draw)).choice(own, n_cells, replace=False)
                for name, own in zip(("real", "synthetic"), sides, strict=True)
            ]
            values.append(score(real[chosen[0]], synthetic[chosen[1]], seed, [metric])[metric])
        scores[cell_type] = fmean(values) if values else math.nan
    return scores
