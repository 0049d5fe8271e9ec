"""A classifier that tells real from synthetic cells. It runs on the CPU; tensors are copied there.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import one_thread, pair, to_numpy
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import CellsLike, RealCells

PCA_COMPONENTS = 50
N_TREES = 1000
TEST_FRACTION = 0.2
_LARGEST_COVARIANCE = 5000


def rf_auroc(real: CellsLike | RealCells, synthetic: CellsLike, seed: int, *, n_trees: int = N_TREES) -> float:
    """Compute the AUROC of a random forest that tells real from synthetic cells: 0.5 = it cannot, 1 = always.

    Both sets together are reduced to 50 principal components (fewer if there are fewer cells or genes); a forest of
    1000 trees (Gini criterion, those of scikit-learn) is trained on a stratified 80 % of the cells and scored on the
    other 20 %. Lower is better down to 0.5; values slightly below it are due to chance.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes), at least 5 of each.
    seed
        Seed for the split and the forest.
    n_trees
        Number of trees.

    Raises
    ------
    UserError
        If either set has fewer than 5 cells.

    Examples
    --------
    >>> cells = np.random.default_rng(0).normal(size=(40, 5))
    >>> rf_auroc(cells, cells + 100, seed=0, n_trees=20)
    1.0
    """
    from sklearn.decomposition import PCA
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    from llm4grn.metrics.trees import forest_votes

    real, synthetic = map(to_numpy, pair(real, synthetic))
    if min(len(real), len(synthetic)) < 5:
        raise UserError(
            f"RF AUROC needs at least 5 cells of each: got {len(real)} real and {len(synthetic)} synthetic; give more"
        )
    cells = np.concatenate([real, synthetic])
    is_real = np.repeat([1, 0], [len(real), len(synthetic)])
    # Both solvers are exact; the covariance solver is much faster if there are fewer genes than cells.
    by_covariance = cells.shape[1] <= min(len(cells), _LARGEST_COVARIANCE)
    pca = PCA(min(PCA_COMPONENTS, *cells.shape), svd_solver="covariance_eigh" if by_covariance else "full")
    with one_thread():
        components = pca.fit_transform(cells)
    split_seed, forest_seed = (derive_seed(seed, "rf_auroc", name) for name in ("split", "forest"))
    fit_x, test_x, fit_y, test_y = train_test_split(
        components, is_real, test_size=TEST_FRACTION, stratify=is_real, random_state=split_seed
    )
    return float(roc_auc_score(test_y, forest_votes(fit_x, fit_y, test_x, n_trees, forest_seed)))
