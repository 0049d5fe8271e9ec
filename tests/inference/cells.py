"""Small cells with known drivers, shared by the tests of the inferers."""

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

TFS = ["D", "A", "C", "B"]
GENES = ["A", "B", "C", "D", "t1", "t2", "t3", "z"]


def driven_cells(n_cells: int = 200, seed: int = 0) -> anndata.AnnData:
    """t1 follows A, t2 follows B and C, t3 is noise, z is silent; TFs are 0 in half the cells."""
    rng = np.random.default_rng(seed)
    tfs = rng.gamma(2.0, 50.0, (n_cells, 4)) * (rng.random((n_cells, 4)) < 0.5)
    noise = rng.gamma(1.0, 10.0, (n_cells, 3)) * (rng.random((n_cells, 3)) < 0.7)
    t1, t2, t3 = 3 * tfs[:, 0] + noise[:, 0], tfs[:, 1] + tfs[:, 2] + noise[:, 1], noise[:, 2]
    dense = np.column_stack([tfs, t1, t2, t3, np.zeros(n_cells)]).astype(np.float32)
    return anndata.AnnData(sp.csr_matrix(dense), var=pd.DataFrame(index=GENES))


def shuffled(adata: anndata.AnnData) -> anndata.AnnData:
    """The same cells with their genes in another order, dense."""
    order = np.random.default_rng(1).permutation(adata.n_vars)
    return anndata.AnnData(adata.X.toarray()[:, order], var=adata.var.iloc[order])


def regulators(grn, target: str, k: int) -> set[str]:
    """The k best of a target."""
    return set(grn.edges[grn.edges["target"] == target]["TF"].head(k))
