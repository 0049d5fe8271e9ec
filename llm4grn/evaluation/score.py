"""All metrics of one synthetic data set against held-out real cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.functional import equal_size
from llm4grn.metrics.registry import METRICS

if TYPE_CHECKING:
    from scipy.sparse import spmatrix


def score(
    real: np.ndarray | spmatrix, synthetic: np.ndarray | spmatrix, seed: int, metrics: Sequence[str] | None = None
) -> dict[str, float]:
    """Metric values of ``synthetic`` against ``real`` (protocol section 6).

    Parameters
    ----------
    real, synthetic
        Dense or sparse matrices of shape (n_cells, n_genes), same genes in the same order, in counts normalised to
        20,000 per cell. If they differ in number, the larger one is subsampled 5 times and the values are averaged.
    seed
        Of the subsampling, the split and the forest.
    metrics
        Names from the registry, in the order wanted; all when None.

    Raises
    ------
    UserError
        An unknown metric, different genes, NaN or infinite values, too few cells.
    """
    names = list(METRICS) if metrics is None else list(metrics)
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"metrics: {', '.join(unknown)} unknown; choose from {', '.join(METRICS)}")
    pairs = list(equal_size(_dense(real), _dense(synthetic), seed))
    return {name: float(np.mean([METRICS[name](r, s, seed) for r, s in pairs])) for name in names}


def _dense(cells: np.ndarray | spmatrix) -> np.ndarray:
    dense = cells.toarray() if hasattr(cells, "toarray") else cells
    return np.asarray(dense, dtype=np.float64)
