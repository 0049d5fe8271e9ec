"""Wasserstein distance and Mann-Whitney test of two samples, fast for hundreds of thousands of small samples with ties.

Expression has few different values, most of them zero. A sample is sorted once and kept as its different values with
their counts; comparing two samples then takes time that grows with the number of different values. The results are
those of ``scipy.stats``, whose functions take about ten times as long here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """A sample of numbers.

    Parameters
    ----------
    values
        Its different values, ascending.
    counts
        How often each occurs.
    """

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray) -> Sample:
        """Sort the numbers, shape (n,)."""
        return cls(*np.unique(numbers, return_counts=True))

    @property
    def size(self) -> int:
        """Number of values, equal ones included."""
        return int(self.counts.sum())


def wasserstein(a: Sample, b: Sample) -> float:
    """Return the Wasserstein-1 distance: the area between the two empirical distribution functions.

    Examples
    --------
    >>> wasserstein(Sample.of(np.array([0.0, 1.0])), Sample.of(np.array([2.0])))
    1.5
    """
    values = np.concatenate([a.values, b.values])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([a.counts / a.size, -b.counts / b.size])[order]
    return float(np.abs(np.cumsum(steps)[:-1]) @ np.diff(values[order]))


def mann_whitney(a: Sample, b: Sample) -> float:
    """Return the p-value of the two-sided Mann-Whitney test: normal approximation, corrected for ties and continuity.

    It is 1 if all values are equal.

    Examples
    --------
    >>> round(mann_whitney(Sample.of(np.arange(9)), Sample.of(np.arange(5, 14))), 4)
    0.0046
    """
    n, m = a.size, b.size
    below_or_equal = np.concatenate([[0], np.cumsum(b.counts)])
    below = below_or_equal[np.searchsorted(b.values, a.values, side="left")]
    equal = below_or_equal[np.searchsorted(b.values, a.values, side="right")] - below
    u = float(a.counts @ (below + equal / 2))
    # Groups of tied values: those of b, where a has the same value enlarged by a's, and those of a alone.
    ties = _ties(b.counts).sum() + (_ties(equal + a.counts) - _ties(equal)).sum()
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    if variance <= 0:
        return 1.0
    z = max(abs(u - n * m / 2) - 0.5, 0.0) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _ties(sizes: np.ndarray) -> np.ndarray:
    exact = sizes.astype(float)
    return exact**3 - exact
