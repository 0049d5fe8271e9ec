"""All metrics of one synthetic data set against held-out real cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import equal_size, on_device
from llm4grn.metrics.registry import METRICS

if TYPE_CHECKING:
    import torch
    from scipy.sparse import spmatrix


def score(
    real: np.ndarray | spmatrix,
    synthetic: np.ndarray | spmatrix,
    seed: int,
    metrics: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, float]:
    """Metric values of ``synthetic`` against ``real`` (protocol section 6).

    Parameters
    ----------
    real, synthetic
        Dense or sparse matrices of shape (n_cells, n_genes), same genes in the same order, in counts normalised to
        20,000 per cell. If they differ in number, the larger one is subsampled 5 times and the values are averaged.
    seed
        Of the subsampling, of split and forest, and of the components behind the t-SNE.
    metrics
        Names from the registry, in the order wanted; all when None.
    device
        Where to compute, for instance ``cuda:0``: the linear algebra of the metrics, in float64. Forest and t-SNE stay
        on the CPU, and so does all on a device without float64 (Apple's).

    Raises
    ------
    UserError
        An unknown metric, different genes, NaN or infinite values, too few cells.
    """
    names = list(METRICS) if metrics is None else list(metrics)
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"metrics: {', '.join(unknown)} unknown; choose from {', '.join(METRICS)}")
    real, synthetic = (on_device(_dense(cells), device) for cells in (real, synthetic))
    pairs = list(equal_size(real, synthetic, seed))
    return {name: float(np.mean([METRICS[name](r, s, seed) for r, s in pairs])) for name in names}


def _dense(cells: np.ndarray | spmatrix) -> np.ndarray:
    if hasattr(cells, "toarray"):
        return cells.astype(np.float64).toarray()  # the few stored values are converted, not a dense copy of them
    return np.asarray(cells, dtype=np.float64)
