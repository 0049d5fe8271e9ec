"""Log expression of training and test cells, as it is and with cell type and sequencing depth regressed out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.data.clusters import communities
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger("llm4grn")

RAW, WITHIN = SPACES = ("raw", "within cell type")
_N_COMPONENTS = 20
_RESOLUTION = 1.0
_N_NEAREST = 15
#: Larger sets are subsampled to so many cells, which bounds the memory.
MAX_TRAIN, MAX_TEST = 10_000, 5_000


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Cells to fit and to score predictions of expression.

    Parameters
    ----------
    genes
        Names of the genes.
    train, test
        Log expression by space, (n_cells, n_genes). In ``within cell type`` the test cells of types that no training
        cell has are left out.
    types
        What stands for cell types: ``annotated``, or ``clusters`` found in the training cells.
    n_types
        Number of types.
    """

    genes: tuple[str, ...]
    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    types: str
    n_types: int

    @classmethod
    def of(cls, train: AnnData, test: AnnData, seed: int = 0) -> HeldOut:
        """Prepare both spaces.

        Log expression is log1p of the normalised counts. Within cell type, it is what a linear regression on cell type
        and the logarithm of the depth leaves, with coefficients from training cells. The depth is the number of counts
        before the normalisation, up to a factor: the inverse of the smallest value, which was one count.

        Parameters
        ----------
        train, test
            Counts normalised to one library size, (n_cells, n_genes), sparse or dense; ``obs["cell_type"]`` if the
            types are known. Without at least two types, the training cells are clustered, and each test cell is given
            the most common cluster of its nearest training cells.
        seed
            Seed for the subsampling of large sets and for the clustering.
        """
        train, test = _sample(train, MAX_TRAIN, seed), _sample(test, MAX_TEST, seed)
        raw = [np.log1p(_dense(cells)) for cells in (train, test)]
        kinds, types = _annotated(train, test), "annotated"
        if kinds is None:
            kinds, types = _clusters(raw[0], raw[1], seed), "clusters"
        known = np.unique(kinds[0])
        if types == "clusters":
            logger.info("no cell types: %d clusters of the training cells stand for them", len(known))
        seen = np.isin(kinds[1], known)
        designs = [
            np.column_stack([kind[:, None] == known, _log_depth(cells)])
            for kind, cells in zip(kinds, (train, test), strict=True)
        ]
        coefficients = np.linalg.lstsq(designs[0], raw[0], rcond=None)[0]
        within = [values - design @ coefficients for values, design in zip(raw, designs, strict=True)]
        return cls(
            genes=tuple(map(str, train.var_names)),
            train={RAW: raw[0], WITHIN: within[0]},
            test={RAW: raw[1], WITHIN: within[1][seen]},
            types=types,
            n_types=len(known),
        )

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Return the positions of genes."""
        position = {gene: i for i, gene in enumerate(self.genes)}
        return np.array([position[name] for name in names], dtype=int)


def _sample(cells: AnnData, n_cells: int, seed: int) -> AnnData:
    if cells.n_obs <= n_cells:
        return cells
    rng = np.random.default_rng(derive_seed(seed, "predictive", "cells"))
    return cells[np.sort(rng.choice(cells.n_obs, n_cells, replace=False))]


def _dense(cells: AnnData) -> np.ndarray:
    matrix = cells.X
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)


def _log_depth(cells: AnnData) -> np.ndarray:
    values = _dense(cells)
    smallest = np.where(values > 0, values, np.inf).min(axis=1)
    return -np.log(np.where(np.isfinite(smallest), smallest, 1.0))


def _annotated(train: AnnData, test: AnnData) -> tuple[np.ndarray, np.ndarray] | None:
    if "cell_type" not in train.obs or "cell_type" not in test.obs:
        return None
    kinds = [cells.obs["cell_type"].astype(str).to_numpy() for cells in (train, test)]
    return (kinds[0], kinds[1]) if len(np.unique(kinds[0])) > 1 else None


def _clusters(train: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster the training cells, and assign the test cells to the clusters."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    n_components = min(_N_COMPONENTS, *train.shape)
    pca = PCA(n_components, svd_solver="randomized", random_state=derive_seed(seed, "predictive", "pca"))
    points = pca.fit_transform(train)
    clusters = communities(points, _RESOLUTION, derive_seed(seed, "predictive", "clusters"))
    nearest = KNeighborsClassifier(min(_N_NEAREST, len(train))).fit(points, clusters)
    return clusters, nearest.predict(pca.transform(test))
