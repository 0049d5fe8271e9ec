"""How well real and synthetic cells mix among neighbours. On the CPU: tensors are copied there.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

import numpy as np

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import pair, to_numpy
from llm4grn.runtime.seeding import derive_seed

PERPLEXITY = 30.0
TSNE_COMPONENTS = 50
# Halvings of a bracket of 2^-50 to 2^50 times the inverse mean distance: to the last digits of a float.
_HALVINGS = 60


def milisi(real, synthetic, seed: int) -> float:
    r"""Mean integration LISI: in a joint t-SNE, the effective number of sets among the neighbours of a cell.

    .. math:: \frac{1}{n} \sum_i \frac{1}{p_i(\mathrm{real})^2 + p_i(\mathrm{synthetic})^2}

    with the weights :math:`p_i` of :func:`lisi`. 1 = every cell among its own kind, 2 = perfectly mixed; with about 30
    neighbours to count, two halves of one set reach about 1.9. As in GRouNdGAN (Zinati et al. 2024), except that the
    cells are reduced to 50 principal components before the t-SNE.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes); 2 is reached for equal numbers only.
    seed
        Of the principal components. The t-SNE starts from them and draws nothing more, so seeds differ little.

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
    r"""Local inverse Simpson index (Korsunsky et al., Nature Methods 16:1289, 2019) of every point.

    .. math:: \frac{1}{\sum_l p_i(l)^2}, \qquad
              p_i(l) = \frac{\sum_{j:\, l_j = l} e^{-\beta_i d_{ij}}}{\sum_j e^{-\beta_i d_{ij}}}

    over the nearest neighbours j of i at the Euclidean distances d, where :math:`\beta_i` makes the perplexity of the
    weights (the exponential of their entropy) the one asked for. As in the authors' program there are
    3 x perplexity neighbours, the point itself counted among them and left out of the sums.

    Parameters
    ----------
    points
        Shape (n_points, n_dimensions).
    labels
        Shape (n_points,).
    perplexity
        Effective number of neighbours; at most a third of the other points.

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
    """Rows exp(-beta d), each summing to 1, whose entropy is the log of the perplexity: by bisection, all at once."""
    # Neither a shift of a row nor its scale changes the weights that are found, and both keep exp in range.
    distances = distances - distances[:, :1]
    scale = distances.mean(axis=1, keepdims=True)
    distances /= np.where(scale > 0, scale, 1.0)
    low, high = np.full(len(distances), -50.0), np.full(len(distances), 50.0)
    for _ in range(_HALVINGS):
        exponent = (low + high) / 2
        beta = np.exp2(exponent)[:, None]
        weights = np.exp(-beta * distances)
        total = weights.sum(axis=1)
        entropy = np.log(total) + (beta * distances * weights).sum(axis=1) / total
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, exponent, low), np.where(too_wide, high, exponent)
    return weights / total[:, None]


def tsne(cells: np.ndarray, seed: int) -> np.ndarray:
    """A t-SNE of the cells (n_cells, n_features) in two dimensions, over 50 principal components.

    Raises
    ------
    UserError
        Fewer than four cells.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(cells) < 4:
        raise UserError(f"t-SNE needs at least 4 cells in all, got {len(cells)}: give more")
    pca = PCA(min(TSNE_COMPONENTS, *cells.shape), svd_solver="randomized", random_state=seed)
    # Half of sklearn's steps and a coarser angle settle 2000 cells in a few seconds, and look no different.
    embedding = TSNE(
        perplexity=min(PERPLEXITY, (len(cells) - 1) / 3),
        init="pca",
        angle=0.7,
        max_iter=500,
        random_state=seed,
    )
    # Its threads wait for each other at every step: on a busy machine several are ten times slower than one.
    with threadpool_limits(limits=1):
        return embedding.fit_transform(pca.fit_transform(cells))
