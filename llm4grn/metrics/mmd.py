"""Maximum mean discrepancy, computed in tiles so that memory does not grow with the square of the cells.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import RealCells, namespace, one_thread, pair, thread_pools, to_numpy

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import Array, CellsLike

BANDWIDTH_NEIGHBOUR = 24
_TILE = 1024
_MOST_TILES_AT_ONCE = 8
#: Number of cells up to which everything is computed in float64, and of real cells whose neighbours are looked for.
MOST_EXACT = 4096

Item = TypeVar("Item")
Value = TypeVar("Value")


def mmd_bandwidth(real: CellsLike, neighbour: int = BANDWIDTH_NEIGHBOUR, *, exact: bool = False) -> float:
    """Compute the kernel width m from the real cells' distances to their nearest neighbours.

    It is the median over real cells of the distance to the ``neighbour``-th nearest other cell, or to the farthest cell
    if there are fewer.

    Parameters
    ----------
    real
        Cells of shape (n_real, n_genes).
    neighbour
        Rank of the neighbour, from 1.
    exact
        If there are more than 4096 cells, the median over all, in float64, instead of over 4096 of them in float32.

    Raises
    ------
    UserError
        If there are fewer than two cells, or if the median is zero because most cells are copies of each other.
    """
    real, _ = pair(real, real)
    n = len(real)
    if n < 2:
        raise UserError("MMD reads its bandwidth off the real cells and needs at least 2 of them: give more real cells")
    rank = min(neighbour, n - 1)
    rows = max(1, _TILE * _TILE // n)
    n_asked = n if exact else min(n, MOST_EXACT)
    asked = np.arange(n_asked) * n // n_asked  # evenly spaced, should the cells be ordered

    def nearest(start: int) -> np.ndarray:
        own = asked[start : start + rows]
        squared = _squared_distances(centred[own], centred, norms[own], norms)
        squared[np.arange(len(own)), own] = math.inf  # a cell is not its own neighbour
        if isinstance(squared, np.ndarray):
            squared.partition(rank - 1, axis=1)
            return squared[:, rank - 1].copy()
        return to_numpy(squared.kthvalue(rank, dim=1).values)

    n_workers = _n_workers(real)
    with one_thread():
        centred = _rounded(real - real.mean(0), n_asked < n)
        norms = _squared_norms(centred)
        bandwidth = float(np.median(np.sqrt(np.concatenate(_map(nearest, range(0, n_asked, rows), n_workers)))))
    if bandwidth <= 0:
        raise UserError(
            "MMD bandwidth is 0: more than half of the real cells are copies of others; give distinct real cells"
        )
    return bandwidth


def mmd(
    real: CellsLike | RealCells,
    synthetic: CellsLike,
    bandwidth: float | None = None,
    *,
    tile: int = _TILE,
    exact: bool = False,
) -> float:
    r"""Compute the biased estimate of the squared maximum mean discrepancy.

    .. math:: \overline{k(r, r')} + \overline{k(s, s')} - 2\,\overline{k(r, s)}, \qquad
              k(x, y) = \sum_{\sigma \in \{m/2,\, m,\, 2m\}} \exp(-\lVert x - y \rVert^2 / \sigma^2)

    Each mean runs over all pairs, including each cell with itself. The tables of GRouNdGAN (Zinati et al. 2024) show
    three times this value.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes).
    bandwidth
        The width m, in the unit of the cells; None: that of the real cells (:func:`mmd_bandwidth`).
    tile
        Cells per side of a block of distances. Beside the centred cells, memory is about 8 x tile^2 bytes per thread;
        there are as many threads as BLAS has, but at most 8.
    exact
        Whether sets of more than 4096 cells are computed in float64, too, and the width is read off all real cells.
        Otherwise distances of such sets are computed in float32 (on a GPU in float64), which changes the sixth digit
        of a kernel's mean.

    Raises
    ------
    UserError
        If ``bandwidth`` is not a positive number, or cannot be computed from the real cells.

    Examples
    --------
    >>> by_hand = 2 * (3 - sum(math.exp(-(2.0**2) / s**2) for s in (0.5, 1.0, 2.0)))
    >>> math.isclose(mmd([[0.0]], [[2.0]], bandwidth=1.0), by_hand)
    True
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic)
    if bandwidth is None:
        width = known.once(("bandwidth", exact), lambda: mmd_bandwidth(real, exact=exact))
    else:
        width = float(bandwidth)
    if not (math.isfinite(width) and width > 0):
        raise UserError(f"MMD bandwidth is {width}: give a positive number, or none to read it off the real cells")
    n_workers = _n_workers(real)
    with one_thread():
        centre = real.mean(0)
        rounded = not exact and max(len(real), len(synthetic)) > MOST_EXACT
        r, s = (_rounded(cells - centre, rounded) for cells in (real, synthetic))

        def mean(x: Array, y: Array) -> float:
            return _kernel_mean(x, y, width, tile, n_workers)

        rr = known.once(("mean kernel", width, tile, rounded), lambda: mean(r, r))
        ss, rs = mean(s, s), mean(r, s)
    # A squared norm is below zero through rounding only.
    return max(0.0, rr + ss - 2.0 * rs)


def _rounded(cells: Array, rounded: bool) -> Array:
    """Return the cells in float32 if they shall be rounded; a tensor, which may be on a GPU, stays what it is."""
    return cells.astype(np.float32) if rounded and isinstance(cells, np.ndarray) else cells


def _kernel_mean(x: Array, y: Array, bandwidth: float, tile: int, n_workers: int) -> float:
    """Return the mean kernel of :func:`mmd` over all pairs; of a set with itself, half of the tiles are computed."""
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
    # fsum rounds once, at the end, so the order in which threads finish does not matter.
    return math.fsum(_map(total, corners, n_workers)) / (len(x) * len(y))


def _kernel_sum(squared: Array, bandwidth: float) -> float:
    """Return the sum of the kernel of :func:`mmd` over squared distances, which are overwritten."""
    squared *= -1.0 / (2.0 * bandwidth) ** 2
    kernel = namespace(squared).exp(squared, out=squared)
    total = float(kernel.sum())
    # The kernels of widths 2m, m and m/2 are the powers 1, 4 and 16 of one exponential.
    for _ in range(2):
        kernel *= kernel
        kernel *= kernel
        total += float(kernel.sum())
    return total


def _squared_norms(x: Array) -> Array:
    return namespace(x).einsum("ij,ij->i", x, x)


def _squared_distances(x: Array, y: Array, x_norms: Array, y_norms: Array) -> Array:
    """Return squared Euclidean distances, shape (len(x), len(y)); centred cells keep cancellation small."""
    squared = x @ y.T
    squared *= -2.0
    squared += x_norms[:, None]
    squared += y_norms[None, :]
    return namespace(x).clip(squared, 0.0, None, out=squared)


def _n_workers(cells: Array) -> int:
    """Return how many tiles to compute at once, each on one thread, so that rounding does not depend on the number."""
    if not isinstance(cells, np.ndarray):
        return 1
    n_threads = [pool["num_threads"] for pool in thread_pools().info() if pool["user_api"] == "blas"]
    return min(_MOST_TILES_AT_ONCE, *n_threads) if n_threads else 1


def _map(function: Callable[[Item], Value], items: Sequence[Item], n_workers: int) -> list[Value]:
    if n_workers == 1 or len(items) == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(n_workers) as pool:
        return list(pool.map(function, items))
