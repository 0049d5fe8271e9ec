"""Metrics of how well real and synthetic cells mix among neighbours. They run on the CPU; tensors are copied there.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import pair, to_numpy
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import CellsLike

PERPLEXITY = 30.0
TSNE_COMPONENTS = 50
# Bisection steps of a bracket of 2^-50 to 2^50 times the inverse mean distance: enough for double precision.
_BISECTIONS = 60


def milisi(real: CellsLike, synthetic: CellsLike, seed: int) -> float:
    r"""Compute the mean integration LISI: the effective number of sets among a cell's neighbours in a joint t-SNE.

    .. math:: \frac{1}{n} \sum_i \frac{1}{p_i(\mathrm{real})^2 + p_i(\mathrm{synthetic})^2}

    with the weights :math:`p_i` of :func:`lisi`. 1 = each cell has neighbours of its own set only, 2 = perfectly mixed;
    with about 30 effective neighbours, two halves of one set reach about 1.9. As in GRouNdGAN (Zinati et al. 2024),
    except that the cells are reduced to 50 principal components before the t-SNE.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes); only sets of equal size can reach 2.
    seed
        Seed for the principal components. The t-SNE starts from them and draws no further random numbers, so that
        values vary little over seeds.

    Raises
    ------
    UserError
        If both sets together have fewer than four cells.

    Examples
    --------
    >>> cells = np.random.default_rng(0).normal(size=(100, 5))
    >>> milisi(cells, cells + 100, seed=0)
    1.0
    """
    real, synthetic = map(to_numpy, pair(real, synthetic))
    points = tsne(np.concatenate([real, synthetic]), derive_seed(seed, "milisi"))
    return float(lisi(points, np.repeat([0, 1], [len(real), len(synthetic)])).mean())


def lisi(points: np.ndarray, labels: np.ndarray, perplexity: float = PERPLEXITY) -> np.ndarray:
    r"""Compute the local inverse Simpson index (Korsunsky et al., Nature Methods 16:1289, 2019) of every point.

    .. math:: \frac{1}{\sum_l p_i(l)^2}, \qquad
              p_i(l) = \frac{\sum_{j:\, l_j = l} e^{-\beta_i d_{ij}}}{\sum_j e^{-\beta_i d_{ij}}}

    over the nearest neighbours j of i at the Euclidean distances d, where :math:`\beta_i` makes the perplexity of the
    weights (the exponential of their entropy) equal ``perplexity``. As in the authors' program there are
    3 x perplexity neighbours, among which the point itself is counted, but it is left out of the sums.

    Parameters
    ----------
    points
        Shape (n_points, n_dimensions).
    labels
        Shape (n_points,).
    perplexity
        Effective number of neighbours; reduced to a third of the other points if it is larger.

    Returns
    -------
    Shape (n_points,), from 1 to the number of labels.

    Examples
    --------
    >>> lisi(np.array([[0.0], [1.0], [2.0], [90.0], [91.0], [92.0]]), np.array(list("aaabbb"))).round(6)
    array([1., 1., 1., 1., 1., 1.])
    """
    from sklearn.neighbors import NearestNeighbors

    points, labels = np.asarray(points), np.asarray(labels)
    perplexity = min(perplexity, (len(points) - 1) / 3)
    n_neighbours = max(1, int(3 * perplexity) - 1)
    distances, neighbours = NearestNeighbors(n_neighbors=n_neighbours).fit(points).kneighbors()
    weights = _weights(distances, perplexity)
    shares = [(weights * (labels[neighbours] == label)).sum(axis=1) for label in np.unique(labels)]
    return 1.0 / np.square(shares).sum(axis=0)


def _weights(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Return rows proportional to exp(-beta d), summing to 1, with beta bisected until the perplexity is reached."""
    # Shift and scale of a row leave the resulting weights unchanged, and keep exp in range.
    distances = distances - distances[:, :1]
    scale = distances.mean(axis=1, keepdims=True)
    distances /= np.where(scale > 0, scale, 1.0)
    low, high = np.full(len(distances), -50.0), np.full(len(distances), 50.0)
    for _ in range(_BISECTIONS):
        exponent = (low + high) / 2
        beta = np.exp2(exponent)[:, None]
        weights = np.exp(-beta * distances)
        total = weights.sum(axis=1)
        entropy = np.log(total) + (beta * distances * weights).sum(axis=1) / total
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, exponent, low), np.where(too_wide, high, exponent)
    return weights / total[:, None]


def tsne(cells: np.ndarray, seed: int) -> np.ndarray:
    """Compute a t-SNE in two dimensions over 50 principal components.

    Parameters
    ----------
    cells
        Shape (n_cells, n_features).
    seed
        Seed for the principal components and the t-SNE.

    Returns
    -------
    Shape (n_cells, 2).

    Raises
    ------
    UserError
        If there are fewer than four cells.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(cells) < 4:
        raise UserError(f"t-SNE needs at least 4 cells in all, got {len(cells)}: give more")
    pca = PCA(min(TSNE_COMPONENTS, *cells.shape), svd_solver="randomized", random_state=seed)
    # With half of sklearn's default steps and a coarser angle, 2000 cells take a few seconds and look the same.
    embedding = TSNE(
        perplexity=min(PERPLEXITY, (len(cells) - 1) / 3),
        init="pca",
        angle=0.7,
        max_iter=500,
        random_state=seed,
    )
    # Threads of the t-SNE synchronise at every step: on a busy machine several are ten times slower than one.
    with threadpool_limits(limits=1):
        return embedding.fit_transform(pca.fit_transform(cells))
