"""Metrics that compare summaries of two sets of cells: the mean cell, the genes one by one, and genes in pairs.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import namespace, one_thread, pair

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import Array


@one_thread()
def cosine_distance(real, synthetic) -> float:
    r"""Cosine distance between the mean real and the mean synthetic cell.

    .. math:: 1 - \frac{\bar r \cdot \bar s}{\lVert \bar r \rVert \, \lVert \bar s \rVert}

    A mean cell of zeros has no direction and scores 1, scikit-learn's convention.

    Examples
    --------
    >>> cosine_distance([[3.0, 0.0], [1.0, 0.0]], [[0.0, 2.0]])
    1.0
    """
    real, synthetic = pair(real, synthetic)
    r, s = real.mean(0), synthetic.mean(0)
    norms = math.sqrt((r * r).sum()) * math.sqrt((s * s).sum())
    # Rounding may push the cosine of parallel vectors past 1.
    return max(0.0, float(1.0 - (r * s).sum() / norms)) if norms > 0 else 1.0


@one_thread()
def euclidean_distance(real, synthetic) -> float:
    r"""Euclidean distance :math:`\lVert \bar r - \bar s \rVert` of the mean cells, in counts per 20,000.

    Examples
    --------
    >>> euclidean_distance([[3.0, 0.0], [5.0, 0.0]], [[1.0, 4.0]])
    5.0
    """
    real, synthetic = pair(real, synthetic)
    difference = real.mean(0) - synthetic.mean(0)
    return math.sqrt((difference * difference).sum())


@one_thread()
def gene_means(real, synthetic) -> float:
    r"""Mean absolute difference over the G genes of their mean log expression.

    .. math:: \frac{1}{G} \sum_g \left\lvert \overline{\log(1 + r_g)} - \overline{\log(1 + s_g)} \right\rvert

    Unlike the distances of the mean cells it gives each gene the same weight, however highly it is expressed. Logs are
    taken cell by cell: the log of a mean hangs on the few cells that express a rare gene.

    Examples
    --------
    >>> gene_means([[0.0, math.e - 1]], [[0.0, 0.0]])
    0.5
    """
    real, synthetic = pair(real, synthetic, counts=True)
    r, s = (_log_moments(cells)[0] for cells in (real, synthetic))
    return float(abs(r - s).mean())


@one_thread()
def gene_variances(real, synthetic) -> float:
    r"""Mean absolute difference over the G genes of the variance of their log expression over cells.

    .. math:: \frac{1}{G} \sum_g \left\lvert \mathrm{var}(\log(1 + r_g)) - \mathrm{var}(\log(1 + s_g)) \right\rvert

    The variance is that of the set itself: divided by the number of cells.

    Examples
    --------
    >>> gene_variances([[0.0], [math.e**2 - 1]], [[1.0], [1.0]])
    1.0
    """
    real, synthetic = pair(real, synthetic, counts=True)
    r, s = (_log_moments(cells)[1] for cells in (real, synthetic))
    return float(abs(r - s).mean())


def _log_moments(cells: Array) -> tuple[Array, Array]:
    """Mean and variance over cells of the log1p values of each gene."""
    logs = namespace(cells).log1p(cells)
    mean = logs.mean(0)
    logs -= mean
    logs *= logs
    return mean, logs.mean(0)


@one_thread()
def zero_fractions(real, synthetic) -> float:
    r"""Mean absolute difference over the G genes of the fraction of cells that do not express them.

    .. math:: \frac{1}{G} \sum_g \lvert \overline{[r_g = 0]} - \overline{[s_g = 0]} \rvert

    Examples
    --------
    >>> zero_fractions([[0.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]])
    0.5
    """
    real, synthetic = pair(real, synthetic)
    n_real, n_synthetic, n_genes = len(real), len(synthetic), real.shape[1]
    # Whole numbers up to the last division: exact, and on every device alike.
    differences = abs((real == 0).sum(0) * n_synthetic - (synthetic == 0).sum(0) * n_real)
    return int(differences.sum()) / (n_real * n_synthetic * n_genes)


@one_thread()
def gene_correlations(real, synthetic) -> float:
    r"""Root mean square difference of the gene-gene correlations.

    .. math:: \sqrt{\frac{1}{G (G - 1)} \sum_{g \ne h} \left(\rho^r_{gh} - \rho^s_{gh}\right)^2}

    over the G genes expressed in some real cell, with Pearson's correlation of log1p values over cells. A gene that is
    constant in one of the sets correlates with none there: 0.

    Raises
    ------
    UserError
        Fewer than two genes are expressed in the real cells.

    Examples
    --------
    >>> round(gene_correlations([[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]), 12)
    2.0
    """
    real, synthetic = pair(real, synthetic, counts=True)
    expressed = (real > 0).any(0)
    n_genes = int(expressed.sum())
    if n_genes < 2:
        raise UserError(f"{n_genes} genes are expressed in the real cells: correlations need at least 2")
    difference = correlations(real[:, expressed]) - correlations(synthetic[:, expressed])
    own = float((difference.diagonal() ** 2).sum())
    difference *= difference
    return math.sqrt(max(0.0, float(difference.sum()) - own) / (n_genes * (n_genes - 1)))


def correlations(cells: Array) -> Array:
    """Pearson's correlation of log1p counts over the cells (n_cells, n_genes), for every two genes.

    Returns
    -------
    Shape (n_genes, n_genes); 0 for a gene that is constant.
    """
    standard = standardised(cells)
    return standard.T @ standard


def standardised(cells: Array) -> Array:
    """Log1p counts with every gene centred and of norm 1, so that products of columns are correlations."""
    xp = namespace(cells)
    logs = xp.log1p(cells)
    # By comparison, as rounding gives a constant gene a norm above 0.
    varies = xp.amax(logs, 0) > xp.amin(logs, 0)
    logs -= logs.mean(0)
    norms = xp.sqrt(xp.einsum("ij,ij->j", logs, logs))
    logs *= varies / xp.where(varies, norms, xp.ones_like(norms))
    return logs
