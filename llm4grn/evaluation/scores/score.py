"""Score one set of synthetic cells against held-out real cells in all metrics."""

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
    """Compute the metrics of ``synthetic`` against ``real`` (protocol section 6).

    Parameters
    ----------
    real, synthetic
        Dense or sparse matrices of shape (n_cells, n_genes), same genes in the same order, in counts normalised to
        20,000 per cell. If they differ in number, the larger one is subsampled 5 times and the values are averaged.
    seed
        Seed for the subsampling, for split and forest, and for the components behind the t-SNE.
    metrics
        Names in the metric registry, in the order of the result; all if None.
    device
        Device for the linear algebra of the metrics, in float64, for instance ``cuda:0``. Forest and t-SNE stay on the
        CPU, and so does everything if the device has no float64 (Apple's).

    Returns
    -------
    Metric to value.

    Raises
    ------
    UserError
        If a metric is unknown, the genes differ, a value is NaN or infinite, or there are too few cells.
    """
    names = list(METRICS) if metrics is None else list(metrics)
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"metrics: {', '.join(unknown)} unknown; choose from {', '.join(METRICS)}")
    real, synthetic = (on_device(_dense(cells), device) for cells in (real, synthetic))
    pairs = list(equal_size(real, synthetic, seed))
    return {name: float(np.mean([METRICS[name](r, s, seed) for r, s in pairs])) for name in names}


def _dense(cells: np.ndarray | spmatrix) -> np.ndarray:
    if isinstance(cells, np.ndarray) or not hasattr(cells, "toarray"):
        return np.asarray(cells, dtype=np.float64)
    return cells.astype(np.float64).toarray()  # converting only the stored values saves a dense copy
