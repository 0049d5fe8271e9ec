"""Discretised expression: the joint counts of two genes' states, and the information they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix, csr_matrix


@dataclass(frozen=True)
class States:
    """The state of every gene in every cell, with one column for each state except state 0, the one of the value 0.

    Parameters
    ----------
    indicators
        Shape (n_cells, n_columns), 1 where a gene is in a state.
    first
        Shape (n_genes + 1,): gene g has the columns first[g]:first[g + 1]; none if it has only one state.
    """

    indicators: csr_matrix
    first: np.ndarray

    @classmethod
    def of(cls, matrix: csc_matrix, cuts: Callable[[np.ndarray], np.ndarray]) -> States:
        """Discretise each gene at the cuts that the function ``cuts`` computes from its values (n_cells,)."""
        from scipy.sparse import csr_matrix

        cells, columns, first = [], [], [0]
        for gene in range(matrix.shape[1]):
            values = matrix[:, [gene]].toarray().ravel().astype(np.float64)
            inner = cuts(values)
            base = np.searchsorted(inner, 0.0, side="right")
            state = np.searchsorted(inner, values, side="right")
            other = np.flatnonzero(state != base)
            names, column = np.unique(state[other], return_inverse=True)
            cells.append(other)
            columns.append(column + first[-1])
            first.append(first[-1] + len(names))
        places = np.concatenate(cells), np.concatenate(columns)
        ones = np.ones(len(places[0]), dtype=np.int64)
        return cls(csr_matrix((ones, places), shape=(matrix.shape[0], first[-1])), np.array(first))

    def joint_counts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Count for each gene the cells by its state and every state of every gene.

        Yields
        ------
        counts : (n_states, n_genes + n_columns)
            State 0 of each gene first, then the other states, column by column. Row 0 is state 0 of the gene itself.
        size : (n_states,)
            Number of cells in each of the gene's own states.
        """
        n_cells, by_state = self.indicators.shape[0], self.indicators.T.tocsr()
        of_column = np.asarray(self.indicators.sum(axis=0)).ravel()
        in_any = self._per_gene(of_column[None, :])
        everywhere = np.concatenate([n_cells - in_any, of_column[None, :]], axis=1)
        for start, end in zip(self.first[:-1], self.first[1:], strict=True):
            size = of_column[start:end]
            shared = (by_state[start:end] @ self.indicators).toarray()
            rows = np.concatenate([size[:, None] - self._per_gene(shared), shared], axis=1)
            yield np.concatenate([everywhere - rows.sum(axis=0), rows]), np.array([n_cells - size.sum(), *size])

    def _per_gene(self, columns: np.ndarray) -> np.ndarray:
        """Sum the columns of each gene: shape (n, n_columns) to (n, n_genes)."""
        start, end = self.first[:-1], self.first[1:]
        sums = np.zeros((len(columns), len(start)), columns.dtype)
        if len(varying := np.flatnonzero(start < end)):
            sums[:, varying] = np.add.reduceat(columns, start[varying], axis=1)
        return sums

    def specific_information(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Compute for each gene the specific information of every gene about each of its states.

        Yields
        ------
        information : (n_states, n_genes)
            sum over x of p(x | z) log(p(z | x) / p(z)) in nats, for state z of the gene and states x of the other gene.
        probability : (n_states,)
            p(z).
        """
        n_cells, n_genes = self.indicators.shape[0], len(self.first) - 1
        for counts, size in self.joint_counts():
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = counts / size[:, None] * np.log(counts * n_cells / (counts.sum(axis=0) * size[:, None]))
            terms[counts == 0] = 0
            # Rounding can give values below 0 for independent genes.
            yield np.maximum(terms[:, :n_genes] + self._per_gene(terms[:, n_genes:]), 0), size / n_cells


# False-positive rate of the cuts (section 3 of Scargle et al., Astrophysical Journal 764:167, 2013).
_FALSE_POSITIVES = 0.05
# With more distinct values, neighbours are grouped: the time of the search is quadratic in the number of groups.
_MAX_GROUPS = 2000


def uniform_cuts(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the inner cuts of ``n_bins`` bins of equal width over the range of the values.

    Examples
    --------
    >>> uniform_cuts(np.array([0.0, 1.0, 8.0]), 4)
    array([2., 4., 6.])
    """
    return np.linspace(values.min(), values.max(), n_bins + 1)[1:-1]


def bayesian_blocks(values: np.ndarray) -> np.ndarray:
    """Return the inner cuts of Bayesian blocks, within which the density of the values is modelled as constant.

    Dynamic programming (Scargle et al. 2013) finds, of all sets of cuts between neighbouring distinct values, the one
    that maximises the sum over blocks of N (log N - log T) - penalty, with N values in a block of width T. The penalty
    is 4 - log(73.53 p n^-0.478) with n distinct values and p = 0.05. More than 2000 distinct values are first merged
    into 2000 groups of neighbours.

    Parameters
    ----------
    values
        Shape (n,), in any order, with at least two distinct values.

    Examples
    --------
    >>> bayesian_blocks(np.concatenate([np.zeros(100), np.arange(1.0, 11.0)]))
    array([0.5])
    """
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    # Candidate cuts lie halfway between neighbouring distinct values; the outermost values bound the range.
    edges = np.concatenate([distinct[:1], (distinct[1:] + distinct[:-1]) / 2, distinct[-1:]])
    penalty = 4 - math.log(73.53 * _FALSE_POSITIVES * len(distinct) ** -0.478)
    if len(distinct) > _MAX_GROUPS:
        # The smallest value, usually 0, remains a group of its own.
        first = np.concatenate([[0], np.linspace(1, len(distinct), _MAX_GROUPS).astype(int)])
        counts, edges = np.add.reduceat(counts, first[:-1]), edges[first]
    return edges[_change_points(counts.astype(np.float64), edges, penalty)]


@numba.njit(cache=True)
def _change_points(counts: np.ndarray, edges: np.ndarray, penalty: float) -> np.ndarray:
    """Return the indices of the inner edges of the best partition, for counts[i] between edges[i] and edges[i + 1]."""
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
