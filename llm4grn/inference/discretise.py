"""From expression to few states: where to cut the values of a gene."""

from __future__ import annotations

import math

import numba
import numpy as np

# Section 3 of Scargle et al., Astrophysical Journal 764:167, 2013: the chance to cut where nothing changes.
_FALSE_POSITIVES = 0.05
# With more distinct values, cuts are sought between groups of neighbours: the search takes the square of their number.
_MAX_GROUPS = 2000


def uniform_cuts(values: np.ndarray, n_bins: int) -> np.ndarray:
    """The inner cuts of ``n_bins`` bins of equal width over the range of the values.

    Examples
    --------
    >>> uniform_cuts(np.array([0.0, 1.0, 8.0]), 4)
    array([2., 4., 6.])
    """
    return np.linspace(values.min(), values.max(), n_bins + 1)[1:-1]


def bayesian_blocks(values: np.ndarray) -> np.ndarray:
    """The inner cuts of Bayesian blocks: within each, the density of the values counts as constant.

    Scargle et al. 2013: of all ways to cut between neighbouring distinct values, the one that maximises the sum over
    blocks of N (log N - log T) - penalty, with N values in a block of width T, by dynamic programming; penalty
    4 - log(73.53 p n^-0.478) with n distinct values and p = 0.05. With more than 2000 distinct values, cuts are sought
    between 2000 groups of neighbours.

    Parameters
    ----------
    values
        Shape (n,), any order, repeats welcome; at least two of them differ.

    Examples
    --------
    >>> bayesian_blocks(np.concatenate([np.zeros(100), np.arange(1.0, 11.0)]))
    array([0.5])
    """
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    # Cuts halfway to the next distinct value; the outermost values are the ends of the range.
    edges = np.concatenate([distinct[:1], (distinct[1:] + distinct[:-1]) / 2, distinct[-1:]])
    penalty = 4 - math.log(73.53 * _FALSE_POSITIVES * len(distinct) ** -0.478)
    if len(distinct) > _MAX_GROUPS:
        # The smallest value, the zeros as a rule, stays on its own.
        first = np.concatenate([[0], np.linspace(1, len(distinct), _MAX_GROUPS).astype(int)])
        counts, edges = np.add.reduceat(counts, first[:-1]), edges[first]
    return edges[_change_points(counts.astype(np.float64), edges, penalty)]


@numba.njit(cache=True)
def _change_points(counts: np.ndarray, edges: np.ndarray, penalty: float) -> np.ndarray:
    """Which inner edges the best partition of the cells (counts[i] between edges[i] and edges[i + 1]) cuts at."""
    n = len(counts)
    cumulative = np.zeros(n + 1)
    cumulative[1:] = np.cumsum(counts)
    best, last = np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
    for end in range(1, n + 1):
        best[end] = -np.inf
        for start in range(end):
            events = cumulative[end] - cumulative[start]
            width = edges[end] - edges[start]
            value = best[start] + events * (math.log(events) - math.log(width)) - penalty
            if value > best[end]:
                best[end], last[end] = value, start
    cuts = [last[n]]
    while cuts[-1] > 0:
        cuts.append(last[cuts[-1]])
    return np.array(cuts[::-1][1:], dtype=np.int64)
