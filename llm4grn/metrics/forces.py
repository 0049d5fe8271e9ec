"""The inner loops of t-SNE and LISI, compiled: weights of neighbours, attraction and repulsion of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

_MOST_STEPS = 100
_CLOSE = 1e-10


def _compiled(function: Function) -> Function:
    # Sums may be reordered, so that several terms are added at once; the number of threads does not matter to them.
    return cast(Function, numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")(function))


def _one_by_one(function: Function) -> Function:
    # Where neighbours are scattered in memory, gathering several at once takes longer than one after the other.
    return cast(Function, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@_compiled
def weights(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Return rows proportional to exp(-beta d), summing to 1, whose perplexity is the given one.

    Parameters
    ----------
    distances
        Shape (n_points, n_neighbours), ascending in each row.
    perplexity
        Exponential of the entropy of each row; beta is found by Newton's method, and by bisection where that leaves
        the bracket.
    """
    n, k = distances.shape
    result = np.empty((n, k))
    d, w = np.empty(k), np.empty(k)
    target = np.log(perplexity)
    for i in range(n):
        # Shift and scale of a row leave the resulting weights unchanged, and keep exp in range.
        mean = 0.0
        for j in range(k):
            d[j] = distances[i, j] - distances[i, 0]
            mean += d[j] / k
        for j in range(k):
            d[j] = d[j] / mean if mean > 0 else 0.0
        low, high, u = -35.0, 35.0, 0.0
        total = 0.0
        for _ in range(_MOST_STEPS):
            beta = np.exp(u)
            total, first, second = 0.0, 0.0, 0.0
            for j in range(k):
                w[j] = np.exp(-beta * d[j])
                total += w[j]
                first += w[j] * d[j]
                second += w[j] * d[j] * d[j]
            first /= total
            excess = np.log(total) + beta * first - target
            if abs(excess) < _CLOSE or high - low < _CLOSE:
                break
            if excess > 0:
                low = u
            else:
                high = u
            slope = -beta * beta * (second / total - first * first)
            u = u - excess / slope if slope < 0 else high
            if not low < u < high:
                u = (low + high) / 2
        for j in range(k):
            result[i, j] = w[j] / total
    return result


@_one_by_one
def attract(
    points: np.ndarray,
    ends: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    first: int,
    n_rows: int,
    pull: np.ndarray,
) -> None:
    """Write to ``pull``, for some points, the sum over neighbours of weight x difference / (1 + squared distance).

    ``points`` have the shape (n_points, 2), so that both coordinates of a neighbour are read at once, and ``pull`` the
    shape (2, n_points).
    """
    one = np.float32(1)
    for i in range(first, min(first + n_rows, len(points))):
        x, y = points[i, 0], points[i, 1]
        fx, fy = np.float32(0), np.float32(0)
        for e in range(ends[i], ends[i + 1]):
            j = np.uint32(neighbours[e])
            dx, dy = x - points[j, 0], y - points[j, 1]
            weight = weights[e] / (one + dx * dx + dy * dy)
            fx += weight * dx
            fy += weight * dy
        pull[0, i], pull[1, i] = fx, fy


@_compiled
def repel(points: np.ndarray, first: int, n_rows: int, push: np.ndarray, sums: np.ndarray) -> None:
    """Write for some points, over all others, the sums of kernel^2 x difference and of the kernel 1 / (1 + d^2)."""
    one = np.float32(1)
    xs, ys = points[0], points[1]  # contiguous, so that many are loaded at once
    for i in range(first, min(first + n_rows, len(xs))):
        x, y = xs[i], ys[i]
        fx, fy, total = np.float32(0), np.float32(0), np.float32(0)
        for j in range(len(xs)):
            dx, dy = x - xs[j], y - ys[j]
            kernel = one / (one + dx * dx + dy * dy)
            total += kernel
            fx += kernel * kernel * dx
            fy += kernel * kernel * dy
        push[0, i], push[1, i], sums[i] = fx, fy, total - one


@_compiled
def _cubic(t: np.float32, out: np.ndarray) -> None:
    """Write the weights of the nodes at -1, 0, 1 and 2 for a point at ``t`` in [0, 1] (Lagrange)."""
    a, b, c = t + np.float32(1), t - np.float32(1), t - np.float32(2)
    out[0] = -t * b * c / np.float32(6)
    out[1] = a * b * c / np.float32(2)
    out[2] = -a * t * c / np.float32(2)
    out[3] = a * t * b / np.float32(6)


@_compiled
def spread(points: np.ndarray, low: np.ndarray, spacing: np.float32, n_nodes: int) -> np.ndarray:
    """Spread the charges x, y and 1 of each point over 16 nodes, float32, shape (3, n_nodes, n_nodes)."""
    grid = np.zeros((3, n_nodes, n_nodes), np.float32)
    wx, wy = np.empty(4, np.float32), np.empty(4, np.float32)
    for i in range(points.shape[1]):
        x, y = points[0, i], points[1, i]
        u, v = (x - low[0]) / spacing, (y - low[1]) / spacing
        a, b = np.int64(u), np.int64(v)
        _cubic(u - np.float32(a), wx)
        _cubic(v - np.float32(b), wy)
        for p in range(4):
            for q in range(4):
                weight = wx[p] * wy[q]
                grid[0, a + p - 1, b + q - 1] += weight * x
                grid[1, a + p - 1, b + q - 1] += weight * y
                grid[2, a + p - 1, b + q - 1] += weight
    return grid


@_compiled
def read(points: np.ndarray, low: np.ndarray, spacing: np.float32, fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return force, shape (2, n_points), and sum of the kernel at each point, from fields of shape (4, n, n).

    The fields are the charges x, y and 1 convolved with the squared kernel, and 1 convolved with the kernel.
    """
    n = points.shape[1]
    push, sums = np.empty((2, n), np.float32), np.empty(n, np.float32)
    wx, wy = np.empty(4, np.float32), np.empty(4, np.float32)
    for i in range(n):
        x, y = points[0, i], points[1, i]
        u, v = (x - low[0]) / spacing, (y - low[1]) / spacing
        a, b = np.int64(u), np.int64(v)
        _cubic(u - np.float32(a), wx)
        _cubic(v - np.float32(b), wy)
        fx, fy, mass, total = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for p in range(4):
            for q in range(4):
                weight = wx[p] * wy[q]
                fx += weight * fields[0, a + p - 1, b + q - 1]
                fy += weight * fields[1, a + p - 1, b + q - 1]
                mass += weight * fields[2, a + p - 1, b + q - 1]
                total += weight * fields[3, a + p - 1, b + q - 1]
        push[0, i], push[1, i], sums[i] = x * mass - fx, y * mass - fy, total
    return push, sums
