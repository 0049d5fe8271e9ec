"""Detect synthetic cells of no real type: those in clusters without real cells, and those far from every real cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from llm4grn.data.clusters import N_NEIGHBOURS, communities
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

    Cells: TypeAlias = np.ndarray | spmatrix

N_COMPONENTS = 20
RESOLUTION = 3.0
MAX_REAL_SHARE = 0.2
ALPHA = 0.01
QUANTILE = 0.99
MAX_CELLS = 2000

RULE = (
    f"Real test cells and synthetic cells are clustered together (log1p, {N_COMPONENTS} principal components, Leiden "
    f"communities of the {N_NEIGHBOURS}-nearest-neighbour graph at resolution {RESOLUTION:g}). A cluster is of no real "
    f"type if its share of real cells is below {MAX_REAL_SHARE:g} of their share of all cells, and lower than chance "
    f"makes it (one-sided binomial test, P < {ALPHA:g} over the number of clusters). A cell is far from real ones "
    "if its nearest real test cell is farther, in the same components, than the nearest other one is for "
    f"{QUANTILE:.0%} of the real test cells."
)


@dataclass(frozen=True)
class Hallucination:
    """Which cells of a synthetic set are of no real type.

    Parameters
    ----------
    in_foreign_cluster, far
        Boolean masks of shape (n_cells,).
    n_clusters
        Number of clusters of no real type.
    """

    in_foreign_cluster: np.ndarray
    far: np.ndarray
    n_clusters: int


def hallucination(real: Cells, synthetic: Cells, seed: int) -> Hallucination:
    """Detect synthetic cells of no real type (the "hallucinated" clusters of the paper's Figure 4).

    Real cells in place of the synthetic ones give no such cluster, and about one far cell in a hundred, because the
    principal components are those of both sets together and no cell counts as its own neighbour.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_cells, n_genes), dense or sparse, in counts normalised to one library size. More than 2000
        real cells are subsampled to 2000.
    seed
        Seed for the subsampling, the components and the clustering.

    Returns
    -------
    Two masks over the synthetic cells, and the number of clusters of no real type.
    """
    drawn = _dense_log(_draw(real, derive_seed(seed, "hallucination", "real")))
    embedded = _components(np.concatenate([drawn, _dense_log(synthetic)]), derive_seed(seed, "hallucination", "pca"))
    n_real = len(drawn)
    clusters = communities(embedded, RESOLUTION, derive_seed(seed, "hallucination", "clusters"))
    foreign = foreign_clusters(clusters, np.arange(len(embedded)) < n_real)
    return Hallucination(
        in_foreign_cluster=np.isin(clusters[n_real:], foreign),
        far=far_cells(embedded[:n_real], embedded[n_real:]),
        n_clusters=len(foreign),
    )


def foreign_clusters(clusters: np.ndarray, is_real: np.ndarray) -> np.ndarray:
    """Return the clusters of no real type, as defined in :data:`RULE`.

    Parameters
    ----------
    clusters
        Cluster of each cell (n_cells,).
    is_real
        Mask of the real cells (n_cells,).
    """
    from scipy.stats import binom

    names, cluster = np.unique(clusters, return_inverse=True)
    size, n_real, expected = np.bincount(cluster), np.bincount(cluster, weights=is_real), is_real.mean()
    chance = binom.cdf(n_real, size, expected)
    return names[(n_real / size < MAX_REAL_SHARE * expected) & (chance < ALPHA / len(names))]


def far_cells(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return the mask of synthetic cells whose nearest real cell is unusually far, as defined in :data:`RULE`.

    Parameters
    ----------
    real, synthetic
        Coordinates of shape (n_real, n_components) and (n_synthetic, n_components).

    Returns
    -------
    Boolean mask of shape (n_synthetic,).
    """
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=1).fit(real)
    among_real = neighbours.kneighbors()[0][:, 0]  # without an argument no cell is its own neighbour
    return neighbours.kneighbors(synthetic)[0][:, 0] > np.quantile(among_real, QUANTILE)


def _components(cells: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(min(N_COMPONENTS, *cells.shape), svd_solver="randomized", random_state=seed).fit_transform(cells)


def _draw(cells: Cells, seed: int) -> Cells:
    n_cells = cells.shape[0]
    if n_cells <= MAX_CELLS:
        return cells
    return cells[np.sort(np.random.default_rng(seed).choice(n_cells, size=MAX_CELLS, replace=False))]


def _dense_log(cells: Cells) -> np.ndarray:
    dense = cells.toarray() if hasattr(cells, "toarray") else np.asarray(cells)
    return np.log1p(dense.astype(np.float32))
