"""Whether the fast metrics of many cells agree with the reference, at several degrees of difference of two sets.

The reference of RF AUROC is scikit-learn's forest, of 100 trees on either side; that of miLISI the Barnes-Hut t-SNE of
scikit-learn; that of MMD float64 and the bandwidth of all real cells. The spread is that over pairs of sets.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np

N_TREES = 100
#: Standard deviation of the log of the factor by which each gene of the second set is multiplied.
DEGREES = {"one distribution": 0.0, "levels of genes changed by 5 %": 0.05, "changed by 30 %": 0.3}


@dataclass(frozen=True)
class Agreement:
    """Values of one metric at one size and degree, in the order of the pairs of sets.

    Parameters
    ----------
    n_cells
        Cells on each side.
    degree, metric
        Names.
    fast, reference
        Values of this package and of the reference.
    """

    n_cells: int
    degree: str
    metric: str
    fast: list[float]
    reference: list[float]

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        differences = [abs(a - b) for a, b in zip(self.fast, self.reference, strict=True)]
        values = [_mean(self.fast), _mean(self.reference), f"{max(differences):.5f}"]
        return [f"{self.n_cells:,}", self.degree, self.metric, *values]


def measure(sizes: Sequence[int], n_pairs: int, degrees: Sequence[str]) -> Iterator[Agreement]:
    """Yield one agreement per size, degree and metric."""
    for n_cells in sizes:
        for degree in degrees:
            values: dict[str, list[tuple[float, float]]] = {}
            for number in range(n_pairs):
                real, synthetic = pair(n_cells, number, DEGREES[degree])
                for metric, found in compare(real, synthetic, number).items():
                    values.setdefault(metric, []).append(found)
            for metric, found in values.items():
                fast, reference = map(list, zip(*found, strict=True))
                yield Agreement(n_cells, degree, metric, fast, reference)


def pair(n_cells: int, number: int, degree: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of made cells, the second with other levels of its genes."""
    from benchmarks.metrics import LIBRARY_SIZE, made_cells

    real, synthetic = (made_cells(n_cells, 2 * number + i).toarray().astype(np.float64) for i in (0, 1))
    synthetic *= np.exp(np.random.default_rng(number).normal(0.0, degree, size=synthetic.shape[1]))
    return real, synthetic * (LIBRARY_SIZE / synthetic.sum(axis=1, keepdims=True))


def compare(real: np.ndarray, synthetic: np.ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """Return the value of this package and that of the reference, by metric."""
    from llm4grn.metrics import trees
    from llm4grn.metrics.functional import milisi, mmd, rf_auroc

    with mock.patch.object(trees, "forest_votes", _votes):
        reference = rf_auroc(real, synthetic, seed, n_trees=N_TREES)
    forest = rf_auroc(real, synthetic, seed, n_trees=N_TREES), reference
    with mock.patch("llm4grn.metrics.mixing.tsne", _tsne):
        reference = milisi(real, synthetic, seed)
    mixing = milisi(real, synthetic, seed), reference
    return {"RF AUROC": forest, "miLISI": mixing, "MMD": (mmd(real, synthetic), mmd(real, synthetic, exact=True))}


def _votes(cells: np.ndarray, labels: np.ndarray, others: np.ndarray, n_trees: int, seed: int) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_trees, n_jobs=-1, random_state=seed).fit(cells, labels)
    forest.set_params(n_jobs=1)  # threads would add votes in any order
    return forest.predict_proba(others)[:, 1]


def _tsne(cells: np.ndarray, seed: int, method: str) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    pca = PCA(min(50, *cells.shape), svd_solver="randomized", random_state=seed)
    with threadpool_limits(limits=1):
        components = pca.fit_transform(cells)
        return TSNE(init="pca", angle=0.7, max_iter=500, random_state=seed).fit_transform(components)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.5f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.5f}{spread}"
