"""Score sets of synthetic cells against held-out real cells in all metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import RealCells, equal_size, on_device
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
    exact: bool = False,
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
    exact
        Whether MMD and miLISI of thousands of cells are computed without approximations (docs/metrics.md).

    Returns
    -------
    Metric to value.

    Raises
    ------
    UserError
        If a metric is unknown, the genes differ, a value is NaN or infinite, or there are too few cells.
    """
    return score_all(real, [synthetic], [seed], metrics, device, exact)[0]


def score_all(
    real: np.ndarray | spmatrix,
    sets: Iterable[np.ndarray | spmatrix],
    seeds: Sequence[int],
    metrics: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    exact: bool = False,
) -> list[dict[str, float]]:
    """Compute the metrics of several sets against the same real cells, as :func:`score` does for each.

    What a metric computes from the real cells alone is computed once, if no set is smaller than them.

    Parameters
    ----------
    real
        See :func:`score`.
    sets
        Synthetic cells, one set after the other, so that they need not be in memory together.
    seeds
        Seed of each set.
    metrics, device, exact
        See :func:`score`.

    Raises
    ------
    UserError
        See :func:`score`.
    """
    names = list(METRICS) if metrics is None else list(metrics)
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"metrics: {', '.join(unknown)} unknown; choose from {', '.join(METRICS)}")
    cells = on_device(_dense(real), device)
    known = RealCells(cells)
    scores = []
    for synthetic, seed in zip(sets, seeds, strict=True):
        pairs = [
            (known if r is cells else r, s) for r, s in equal_size(cells, on_device(_dense(synthetic), device), seed)
        ]
        scores.append({name: float(np.mean([METRICS[name](r, s, seed, exact) for r, s in pairs])) for name in names})
    return scores


def _dense(cells: np.ndarray | spmatrix) -> np.ndarray:
    if isinstance(cells, np.ndarray) or not hasattr(cells, "toarray"):
        return np.asarray(cells, dtype=np.float64)
    return cells.astype(np.float64).toarray()  # converting only the stored values saves a dense copy
