"""Correlation of TF and target: the baseline that every other method should outperform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from llm4grn.inference.base import Inferer
from llm4grn.inference.expression import Expression
from llm4grn.validation import check_fields

if TYPE_CHECKING:
    import anndata
    import numpy as np
    from scipy.sparse import csc_matrix

    from llm4grn.grn import GRN


@dataclass(frozen=True)
class Correlation(Inferer):
    """The absolute correlation of TF and target over the cells.

    Both kinds are computed from the non-zero values alone: Pearson correlation needs only sparse products, and ranks
    are shifted so that the rank that all zeros share is 0.

    Parameters
    ----------
    kind
        ``pearson``: correlation of log1p of the expression; ``spearman``: correlation of the ranks, where tied values
        get their mean rank.

    Raises
    ------
    UserError
        If ``kind`` is neither of the two.
    """

    uses_expression: ClassVar[bool] = True

    kind: Literal["pearson", "spearman"] = "pearson"

    def __post_init__(self) -> None:
        check_fields(self, "inferer")

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Correlate every TF with every target; ``seed`` is not used."""
        import numpy as np

        from llm4grn.grn import GRN

        expression = Expression.of(adata, tf_names, "correlation")
        columns = expression.matrix.astype(np.float64)
        columns = columns.log1p() if self.kind == "pearson" else ranks(columns)
        scores = np.abs(pearson(columns[:, expression.tfs], columns[:, expression.targets]))
        return GRN.from_edges(expression.edges(scores), {"method": f"correlation {self.kind}", "cells": adata.n_obs})


def pearson(a: csc_matrix, b: csc_matrix) -> np.ndarray:
    """Compute the Pearson correlation of each column of ``a`` (n, p) with each column of ``b`` (n, q): shape (p, q)."""
    import numpy as np

    n = a.shape[0]
    means = [np.asarray(part.mean(axis=0)).ravel() for part in (a, b)]
    covariance = (a.T @ b).toarray() / n - np.outer(*means)
    deviations = [_deviation(part, mean) for part, mean in zip((a, b), means, strict=True)]
    return np.clip(covariance / np.outer(*deviations), -1, 1)


def _deviation(columns: csc_matrix, mean: np.ndarray) -> np.ndarray:
    """Compute each column's standard deviation from the distances to its mean, so that it is 0 only if constant."""
    import numpy as np

    stored = np.diff(columns.indptr)
    gene = np.repeat(np.arange(columns.shape[1]), stored)
    squares = np.bincount(gene, weights=(columns.data - mean[gene]) ** 2, minlength=columns.shape[1])
    n = columns.shape[0]
    return np.sqrt((squares + (n - stored) * mean**2) / n)


def ranks(columns: csc_matrix) -> csc_matrix:
    """Rank the values within each column and subtract the rank of zero, which leaves correlations unchanged.

    Parameters
    ----------
    columns
        Matrix without explicitly stored zeros.

    Examples
    --------
    >>> from scipy.sparse import csc_matrix
    >>> ranks(csc_matrix([[0.0], [5.0], [0.0], [7.0], [0.0]])).toarray().ravel()  # of ranks 2, 4, 2, 5, 2
    array([0., 2., 0., 3., 0.])
    """
    import numpy as np
    from scipy.stats import rankdata

    ranked, n = columns.astype(np.float64), columns.shape[0]
    for start, end in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        values = columns.data[start:end]
        n_zeros, n_negative = n - len(values), (values < 0).sum()
        of_zero = n_negative + (n_zeros + 1) / 2
        ranked.data[start:end] = rankdata(values) + np.where(values > 0, n_zeros, 0) - of_zero
    return ranked
