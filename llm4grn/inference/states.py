"""Genes in a few states each: how often the states of two genes meet, and what they say of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
