"""Metrics of how well real and synthetic cells mix among neighbours. They run on the CPU; tensors are copied there.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm4grn.metrics.arrays import pair, to_numpy
from llm4grn.metrics.embedding import PERPLEXITY, tsne
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import CellsLike, RealCells


def milisi(real: CellsLike | RealCells, synthetic: CellsLike, seed: int, *, exact: bool = False) -> float:
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
    exact
        Whether the forces of the t-SNE are exact for any number of cells (:func:`~llm4grn.metrics.embedding.tsne`).

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
    points = tsne(np.concatenate([real, synthetic]), derive_seed(seed, "milisi"), "pairs" if exact else "auto")
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

    from llm4grn.metrics import forces

    points, labels = np.asarray(points), np.asarray(labels)
    perplexity = min(perplexity, (len(points) - 1) / 3)
    n_neighbours = max(1, int(3 * perplexity) - 1)
    distances, neighbours = NearestNeighbors(n_neighbors=n_neighbours).fit(points).kneighbors()
    weights = forces.weights(distances, perplexity)
    shares = [(weights * (labels[neighbours] == label)).sum(axis=1) for label in np.unique(labels)]
    return 1.0 / np.square(shares).sum(axis=0)
