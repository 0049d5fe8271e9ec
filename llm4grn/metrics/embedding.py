"""t-SNE in two dimensions (van der Maaten and Hinton, JMLR 9:2579, 2008), with forces exact or from a grid.

The objective, its start and its descent are those of scikit-learn's ``TSNE(init="pca", max_iter=500)``. What differs is
how the repulsion of all pairs of points is computed: exactly for few points, and for many by interpolation on a grid,
where it is a convolution (FIt-SNE: Linderman et al., Nature Methods 16:243, 2019), instead of by a Barnes-Hut tree.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import one_thread
from llm4grn.runtime import threads

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Method = Literal["auto", "pairs", "grid"]
    Repulsion = Callable[[np.ndarray], tuple[np.ndarray, float]]

PERPLEXITY = 30.0
TSNE_COMPONENTS = 50
#: Number of points up to which the repulsion of all pairs takes less time than the grid.
MOST_PAIRED = 3000
_STEPS = 500  # half of scikit-learn's default: the picture looks the same
_EARLY, _EXAGGERATION = 250, 12.0
_SPREAD = 1e-4  # standard deviation of the start along the first component
_SPACING = 1.0 / 3.0  # of the grid, in units of the width of Student's t
_MOST_NODES = 1000  # along a side; the embedding of 40,000 cells takes about 250, and an outlier may take any number


def tsne(cells: np.ndarray, seed: int, method: Method = "auto") -> np.ndarray:
    """Compute a t-SNE in two dimensions over 50 principal components.

    Parameters
    ----------
    cells
        Shape (n_cells, n_features).
    seed
        Seed for the principal components. The t-SNE starts from them and draws no further random numbers.
    method
        How repulsion is computed: of all ``pairs``, exact and quadratic in the number of cells, or on a ``grid``, which
        is within a few per cent; ``auto``: on a grid for more than 3000 cells.

    Returns
    -------
    Shape (n_cells, 2), float32.

    Raises
    ------
    UserError
        If there are fewer than four cells.
    """
    from sklearn.decomposition import PCA

    if len(cells) < 4:
        raise UserError(f"t-SNE needs at least 4 cells in all, got {len(cells)}: give more")
    pca = PCA(min(TSNE_COMPONENTS, *cells.shape), svd_solver="randomized", random_state=seed)
    with one_thread():
        components = pca.fit_transform(cells)
    attraction = affinities(components, min(PERPLEXITY, (len(cells) - 1) / 3))
    start = np.zeros((2, len(cells)), np.float32)
    start[: components.shape[1]] = components[:, :2].T
    start *= _SPREAD / max(float(start[0].std()), 1e-30)
    on_grid = method == "grid" or (method == "auto" and len(cells) > MOST_PAIRED)
    # Threads wait for each other at every step: for few cells, or on a busy machine, one is faster than several.
    with _Threads(threads.n_threads() if len(cells) > MOST_PAIRED else 1) as workers:
        repulsion = _Grid(workers) if on_grid else _Pairs(workers)
        return np.ascontiguousarray(_descend(start, attraction, repulsion, workers).T)


class _Threads(ThreadPoolExecutor):
    """Threads that share the points of a step; a point's force is computed by one, so their number changes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def share(self, work: Callable[[int, int], None], n_points: int) -> None:
        """Call ``work(first, n_rows)`` for pieces of the points."""
        n_rows = -(-n_points // self.number)
        list(self.map(lambda first: work(first, n_rows), range(0, n_points, n_rows)))


def affinities(points: np.ndarray, perplexity: float) -> csr_matrix:
    """Compute the symmetric probabilities of neighbours, float32, shape (n_points, n_points), that sum to 1."""
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    from llm4grn.metrics import forces

    n = len(points)
    n_neighbours = min(n - 1, int(3.0 * perplexity + 1))
    distances, neighbours = NearestNeighbors(n_neighbors=n_neighbours).fit(points).kneighbors()
    weights = forces.weights(distances**2, perplexity)
    one_sided = csr_matrix(
        (weights.ravel(), neighbours.ravel(), np.arange(0, weights.size + 1, n_neighbours)), shape=(n, n)
    )
    return ((one_sided + one_sided.T) / (2 * n)).astype(np.float32).tocsr()


def _descend(points: np.ndarray, attraction: csr_matrix, repulsion: Repulsion, workers: _Threads) -> np.ndarray:
    """Return points of shape (2, n_points) after gradient descent with momentum and a gain for each coordinate."""
    from llm4grn.metrics.forces import attract

    n = points.shape[1]
    rate = np.float32(max(n / _EXAGGERATION / 4, 50.0))
    update, gains, pull = np.zeros_like(points), np.ones_like(points), np.empty_like(points)

    places = np.empty((n, 2), np.float32)

    def attract_some(first: int, n_rows: int) -> None:
        attract(places, attraction.indptr, attraction.indices, attraction.data, first, n_rows, pull)

    for step in range(_STEPS):
        exaggeration, momentum = (_EXAGGERATION, 0.5) if step < _EARLY else (1.0, 0.8)
        if step == _EARLY:
            update, gains = np.zeros_like(points), np.ones_like(points)
            # Points without structure may have fallen onto a line or into one place, where exact forces hold them.
            extent = points.std(axis=1, keepdims=True)
            points *= np.where((extent > 0) & (extent < _SPREAD), _SPREAD / np.maximum(extent, 1e-30), 1.0)
        np.copyto(places, points.T)
        workers.share(attract_some, n)
        push, total = repulsion(points)
        gradient = np.float32(4 * exaggeration) * pull - np.float32(4 / total) * push
        grows = update * gradient < 0
        gains = np.maximum(np.where(grows, gains + np.float32(0.2), gains * np.float32(0.8)), np.float32(0.01))
        update = np.float32(momentum) * update - rate * gains * gradient
        np.add(points, update, out=points)
        points -= points.mean(axis=1, keepdims=True)  # rounded forces do not quite add up to none
    return points


class _Pairs:
    """Repulsion of all pairs of points."""

    def __init__(self, workers: _Threads) -> None:
        self._workers = workers

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the forces, shape (2, n_points), before division by the sum of the kernel, and that sum."""
        from llm4grn.metrics.forces import repel

        push, sums = np.empty_like(points), np.empty(points.shape[1], np.float32)
        self._workers.share(lambda first, n_rows: repel(points, first, n_rows, push, sums), points.shape[1])
        return push, float(sums.sum(dtype=np.float64))


class _Grid:
    """Repulsion from a grid: charges are spread over its nodes, convolved with the kernels, and read off at the points.

    Lagrange interpolation of third order; the forces are within a few per cent of those of all pairs.
    """

    def __init__(self, workers: _Threads) -> None:
        self._n_workers = workers.number
        self._kernels: dict[tuple[int, float], np.ndarray] = {}

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the forces, shape (2, n_points), before division by the sum of the kernel, and that sum."""
        from scipy import fft

        from llm4grn.metrics import forces

        low, high = points.min(axis=1), points.max(axis=1)
        spacing = np.float32(max(_SPACING, (high - low).max() / _MOST_NODES))
        low -= 2 * spacing
        n_nodes = int(np.ceil((high - low).max() / spacing)) + 3
        size = fft.next_fast_len(-(-2 * n_nodes // 32) * 32, real=True)
        charges = forces.spread(points, low, spacing, n_nodes)
        spectrum = fft.rfft2(charges, (size, size), workers=self._n_workers)
        first, second = self._spectra(size, float(spacing))
        fields = np.concatenate([spectrum * second, spectrum[2:] * first])
        fields = fft.irfft2(fields, (size, size), workers=self._n_workers, overwrite_x=True)
        push, sums = forces.read(points, low, spacing, fields)
        return push, float(sums.sum(dtype=np.float64)) - points.shape[1]

    def _spectra(self, size: int, spacing: float) -> np.ndarray:
        """Return the transforms of Student's kernel and of its square, shape (2, size, size // 2 + 1)."""
        from scipy import fft

        if (size, spacing) not in self._kernels:
            steps = np.minimum(np.arange(size), size - np.arange(size)) * spacing
            kernel = 1.0 / (1.0 + steps[:, None] ** 2 + steps[None, :] ** 2)
            self._kernels = {(size, spacing): fft.rfft2(np.stack([kernel, kernel**2]).astype(np.float32))}
        return self._kernels[size, spacing]
