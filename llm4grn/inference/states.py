"""Genes in a few states each: how often the states of two genes meet, and what they say of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csc_matrix, csr_matrix


@dataclass(frozen=True)
class States:
    """The state of every gene in every cell, one column for each state except the one that the value 0 is in.

    Parameters
    ----------
    indicators
        Shape (n_cells, n_columns), 1 where a gene is in a state.
    first
        Shape (n_genes + 1,): the columns of gene g are first[g] to first[g + 1]; none if it is always in one state.
    """

    indicators: csr_matrix
    first: np.ndarray

    @classmethod
    def of(cls, matrix: csc_matrix, cuts: Callable[[np.ndarray], np.ndarray]) -> States:
        """The states between the cuts that the function ``cuts`` makes of a gene's values (n_cells,)."""
        import numpy as np
        from scipy.sparse import csr_matrix

        cells, columns, first = [], [], [0]
        for gene in range(matrix.shape[1]):
            values = matrix[:, [gene]].toarray().ravel().astype(np.float64)
            inner = cuts(values)
            base = np.searchsorted(inner, 0.0, side="right")
            state = np.searchsorted(inner, values, side="right")
            found = np.flatnonzero(state != base)
            names, column = np.unique(state[found], return_inverse=True)
            cells.append(found)
            columns.append(column + first[-1])
            first.append(first[-1] + len(names))
        places = np.concatenate(cells), np.concatenate(columns)
        ones = np.ones(len(places[0]), dtype=np.int64)
        return cls(csr_matrix((ones, places), shape=(matrix.shape[0], first[-1])), np.array(first))

    def joint_counts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each gene, cells by its state and every state of every gene.

        Yields
        ------
        counts : (n_states, n_genes + n_columns)
            State 0 of each gene first, then the others, column by column. Row 0 is state 0 of the gene itself.
        size : (n_states,)
            Cells in each of the gene's own states.
        """
        import numpy as np

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
        """Sums (..., n_genes) over the columns (..., n_columns) of each gene."""
        import numpy as np

        start, end = self.first[:-1], self.first[1:]
        sums = np.zeros((len(columns), len(start)), columns.dtype)
        if len(varying := np.flatnonzero(start < end)):
            sums[:, varying] = np.add.reduceat(columns, start[varying], axis=1)
        return sums

    def specific_information(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each gene, what every gene says about each of its states.

        Yields
        ------
        information : (n_states, n_genes)
            sum over x of p(x | z) log(p(z | x) / p(z)), in nats: state z of the gene, states x of the other.
        probability : (n_states,)
            p(z).
        """
        import numpy as np

        n_cells, n_genes = self.indicators.shape[0], len(self.first) - 1
        for counts, size in self.joint_counts():
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = counts / size[:, None] * np.log(counts * n_cells / (counts.sum(axis=0) * size[:, None]))
            terms[counts == 0] = 0
            # Not below 0, where rounding would put it for independent genes.
            yield np.maximum(terms[:, :n_genes] + self._per_gene(terms[:, n_genes:]), 0), size / n_cells


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
