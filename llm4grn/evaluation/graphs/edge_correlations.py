"""Correlation of TF and target of each edge, over all cells and within cell types."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import pandas as pd
    from scipy.sparse import csc_matrix

CELL_TYPE = "cell_type"


def edge_correlations(cells: anndata.AnnData, edges: pd.DataFrame) -> pd.DataFrame:
    """Compute the Pearson correlation of log1p counts of each edge's TF and target.

    Within cell types, the mean of each gene in each type is subtracted first: a TF and a target that merely mark the
    same type are not correlated there. All edges are computed from one product of matrices.

    Parameters
    ----------
    cells
        Training cells, (n_cells, n_genes), normalised counts, dense or sparse; types in ``obs["cell_type"]``, if known.
    edges
        Columns ``TF`` and ``target``, all of them genes of ``cells``.

    Returns
    -------
    DataFrame
        One row per edge, in the order of ``edges``: columns ``raw`` and ``within``. An entry is missing where a gene
        does not vary, and in all of ``within`` where the types are not known.
    """
    import numpy as np
    import pandas as pd
    from scipy.sparse import csc_matrix

    tfs, targets = pd.Index(edges["TF"].unique()), pd.Index(edges["target"].unique())
    genes = pd.Index(cells.var_names)
    matrix = csc_matrix(cells.X).astype(np.float64).log1p()
    a, b = (matrix[:, genes.get_indexer(names)] for names in (tfs, targets))
    place = tfs.get_indexer(edges["TF"]), targets.get_indexer(edges["target"])
    all_cells = np.zeros(cells.n_obs, dtype=int)
    columns = {"raw": _correlation(a, b, all_cells)[place], "within": np.full(len(edges), np.nan)}
    if CELL_TYPE in cells.obs:
        types = pd.factorize(cells.obs[CELL_TYPE].astype(str))[0]
        columns["within"] = _correlation(a, b, types)[place]
    return pd.DataFrame(columns)


def _correlation(a: csc_matrix, b: csc_matrix, groups: np.ndarray) -> np.ndarray:
    """Correlate the columns of ``a`` (n, p) and ``b`` (n, q) around the means of each group of cells: shape (p, q).

    Matrices stay sparse: the products of the means are subtracted from those of the values.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    n = len(groups)
    sizes = np.bincount(groups)
    member = csr_matrix((np.ones(n), (groups, np.arange(n))), shape=(len(sizes), n))
    means = [(member @ part).toarray() / sizes[:, None] for part in (a, b)]
    share = sizes[:, None] / n
    covariance = (a.T @ b).toarray() / n - (share * means[0]).T @ means[1]
    deviations = []
    for part, mean in zip((a, b), means, strict=True):
        squares = np.asarray(part.multiply(part).mean(axis=0)).ravel()
        variance = squares - (share * mean**2).sum(axis=0)
        # What is left of a gene that is constant within all groups is rounding.
        deviations.append(np.sqrt(np.where(variance > 1e-12 * np.maximum(squares, 1e-300), variance, np.nan)))
    return np.clip(covariance / np.outer(*deviations), -1, 1)
