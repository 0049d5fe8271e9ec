"""Maximum mean discrepancy, tile by tile: memory stays bounded whatever the number of cells.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import namespace, one_thread, pair, thread_pools, to_numpy

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import Array

BANDWIDTH_NEIGHBOUR = 24
_TILE = 1024
_MOST_TILES_AT_ONCE = 8

Item = TypeVar("Item")
Value = TypeVar("Value")


def mmd_bandwidth(real, neighbour: int = BANDWIDTH_NEIGHBOUR) -> float:
    """The kernel's width m: median over the real cells of the distance to their ``neighbour``-th nearest other cell.

    With fewer than ``neighbour`` other cells the farthest one counts.

    Raises
    ------
    UserError
        Fewer than two cells, or a median of zero (most cells are copies of each other): no width can be read off.
    """
    real, _ = pair(real, real)
    n, xp = len(real), namespace(real)
    if n < 2:
        raise UserError("MMD reads its bandwidth off the real cells and needs at least 2 of them: give more real cells")
    rank = min(neighbour, n - 1)
    rows = max(1, _TILE * _TILE // n)

    def nearest(start: int) -> np.ndarray:
        squared = _squared_distances(centred[start : start + rows], centred, norms[start : start + rows], norms)
        squared.ravel()[start :: n + 1][: len(squared)] = math.inf  # a cell is no neighbour of its own
        if xp is np:
            squared.partition(rank - 1, axis=1)
            return squared[:, rank - 1].copy()
        return to_numpy(xp.kthvalue(squared, rank, dim=1).values)

    n_workers = _n_workers(real)
    with one_thread():
        centred = real - real.mean(0)
        norms = _squared_norms(centred)
        bandwidth = float(np.median(np.sqrt(np.concatenate(_each(nearest, range(0, n, rows), n_workers)))))
    if bandwidth <= 0:
        raise UserError(
            "MMD bandwidth is 0: more than half of the real cells are copies of others; give distinct real cells"
        )
    return bandwidth


def mmd(real, synthetic, bandwidth: float | None = None, *, tile: int = _TILE) -> float:
    r"""Squared maximum mean discrepancy, biased estimate.

    .. math:: \overline{k(r, r')} + \overline{k(s, s')} - 2\,\overline{k(r, s)}, \qquad
              k(x, y) = \sum_{\sigma \in \{m/2,\, m,\, 2m\}} \exp(-\lVert x - y \rVert^2 / \sigma^2)

    Each mean runs over all pairs, a cell with itself included. GRouNdGAN's own tables show three times this.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes).
    bandwidth
        The width m, in the cells' unit; read off the real cells when None (:func:`mmd_bandwidth`).
    tile
        Cells per side of a block of distances. Beyond the centred cells, memory is about 8 x tile^2 bytes for each
        thread; there are as many as BLAS has, but at most 8.

    Examples
    --------
    >>> by_hand = 2 * (3 - sum(math.exp(-(2.0**2) / s**2) for s in (0.5, 1.0, 2.0)))
    >>> math.isclose(mmd([[0.0]], [[2.0]], bandwidth=1.0), by_hand)
    True
    """
    real, synthetic = pair(real, synthetic)
    width = mmd_bandwidth(real) if bandwidth is None else float(bandwidth)
    if not (math.isfinite(width) and width > 0):
        raise UserError(f"MMD bandwidth is {width}: give a positive number, or none to read it off the real cells")
    n_workers = _n_workers(real)
    with one_thread():
        centre = real.mean(0)
        real, synthetic = real - centre, synthetic - centre
        pairs = (real, real), (synthetic, synthetic), (real, synthetic)
        rr, ss, rs = (_kernel_mean(x, y, width, tile, n_workers) for x, y in pairs)
    # A squared norm: below zero there is rounding only.
    return max(0.0, rr + ss - 2.0 * rs)


def _kernel_mean(x: Array, y: Array, bandwidth: float, tile: int, n_workers: int) -> float:
    """Mean of the three-width kernel over all pairs, tile by tile; of a set with itself only half the tiles."""
    same = x is y
    x_norms = _squared_norms(x)
    y_norms = x_norms if same else _squared_norms(y)

    def total(corner: tuple[int, int]) -> float:
        rows, columns = (slice(start, start + tile) for start in corner)
        squared = _squared_distances(x[rows], y[columns], x_norms[rows], y_norms[columns])
        if same and rows == columns:
            squared.ravel()[:: len(squared) + 1] = 0.0
        return (2.0 if same and rows != columns else 1.0) * _kernel_sum(squared, bandwidth)

    corners = [(i, j) for i in range(0, len(x), tile) for j in range(i if same else 0, len(y), tile)]
    # fsum rounds once, at the end: the order in which threads finish plays no part.
    return math.fsum(_each(total, corners, n_workers)) / (len(x) * len(y))


def _kernel_sum(squared: Array, bandwidth: float) -> float:
    """Sum of the kernel over squared distances, which are overwritten."""
    squared *= -1.0 / (2.0 * bandwidth) ** 2
    kernel = namespace(squared).exp(squared, out=squared)
    total = float(kernel.sum())
    # Widths 2m, m and m/2 are the powers 1, 4 and 16 of one exponential.
    for _ in range(2):
        kernel *= kernel
        kernel *= kernel
        total += float(kernel.sum())
    return total


def _squared_norms(x: Array) -> Array:
    return namespace(x).einsum("ij,ij->i", x, x)


def _squared_distances(x: Array, y: Array, x_norms: Array, y_norms: Array) -> Array:
    """Squared Euclidean distances (len(x), len(y)); callers centre the cells first, which keeps cancellation small."""
    squared = x @ y.T
    squared *= -2.0
    squared += x_norms[:, None]
    squared += y_norms[None, :]
    return namespace(x).clip(squared, 0.0, None, out=squared)


def _n_workers(cells: Array) -> int:
    """Tiles at once: each is computed on one thread, so that its rounding is the same whatever their number."""
    if not isinstance(cells, np.ndarray):
        return 1
    n_threads = [pool["num_threads"] for pool in thread_pools().info() if pool["user_api"] == "blas"]
    return min(_MOST_TILES_AT_ONCE, *n_threads) if n_threads else 1


def _each(function: Callable[[Item], Value], items: Sequence[Item], n_workers: int) -> list[Value]:
    if n_workers == 1 or len(items) == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(n_workers) as pool:
        return list(pool.map(function, items))
