"""Metrics that compare summaries of two sets of cells: the mean cell, single genes, and pairs of genes.

Contract and units: :mod:`llm4grn.metrics.functional`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.metrics.arrays import RealCells, namespace, one_thread, pair

if TYPE_CHECKING:
    from llm4grn.metrics.arrays import Array, CellsLike


@one_thread()
def cosine_distance(real: CellsLike | RealCells, synthetic: CellsLike) -> float:
    r"""Compute the cosine distance between the mean real and the mean synthetic cell.

    .. math:: 1 - \frac{\bar r \cdot \bar s}{\lVert \bar r \rVert \, \lVert \bar s \rVert}

    If a mean cell is zero and so has no direction, the distance is 1, as in scikit-learn.

    Examples
    --------
    >>> cosine_distance([[3.0, 0.0], [1.0, 0.0]], [[0.0, 2.0]])
    1.0
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic)
    r, s = known.once("mean", lambda: real.mean(0)), synthetic.mean(0)
    norms = math.sqrt((r * r).sum()) * math.sqrt((s * s).sum())
    # Rounding may push the cosine of parallel vectors past 1.
    return max(0.0, float(1.0 - (r * s).sum() / norms)) if norms > 0 else 1.0


@one_thread()
def euclidean_distance(real: CellsLike | RealCells, synthetic: CellsLike) -> float:
    r"""Compute the Euclidean distance :math:`\lVert \bar r - \bar s \rVert` of the mean cells, in counts per 20,000.

    Examples
    --------
    >>> euclidean_distance([[3.0, 0.0], [5.0, 0.0]], [[1.0, 4.0]])
    5.0
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic)
    difference = known.once("mean", lambda: real.mean(0)) - synthetic.mean(0)
    return math.sqrt((difference * difference).sum())


@one_thread()
def gene_means(real: CellsLike | RealCells, synthetic: CellsLike) -> float:
    r"""Compute the mean absolute difference, over the G genes, of the mean log expression.

    .. math:: \frac{1}{G} \sum_g \left\lvert \overline{\log(1 + r_g)} - \overline{\log(1 + s_g)} \right\rvert

    Unlike the distances of the mean cells, it gives each gene the same weight, whatever its expression level. The log
    is taken before the mean, because the log of a mean depends on the few cells that express a rare gene.

    Raises
    ------
    UserError
        If a value is negative.

    Examples
    --------
    >>> gene_means([[0.0, math.e - 1]], [[0.0, 0.0]])
    0.5
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic, counts=True)
    return _mean_difference(known.once("log moments", lambda: _log_moments(real))[0], _log_moments(synthetic)[0])


@one_thread()
def gene_variances(real: CellsLike | RealCells, synthetic: CellsLike) -> float:
    r"""Compute the mean absolute difference, over the G genes, of the variance of log expression over cells.

    .. math:: \frac{1}{G} \sum_g \left\lvert \mathrm{var}(\log(1 + r_g)) - \mathrm{var}(\log(1 + s_g)) \right\rvert

    The variance is the biased one: the sum of squares is divided by the number of cells.

    Raises
    ------
    UserError
        If a value is negative.

    Examples
    --------
    >>> gene_variances([[0.0], [math.e**2 - 1]], [[1.0], [1.0]])
    1.0
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic, counts=True)
    return _mean_difference(known.once("log moments", lambda: _log_moments(real))[1], _log_moments(synthetic)[1])


def _log_moments(cells: Array) -> tuple[Array, Array]:
    """Return mean and biased variance over cells of each gene's log1p values, shape (n_genes,) each."""
    logs = namespace(cells).log1p(cells)
    mean = logs.mean(0)
    logs -= mean
    logs *= logs
    return mean, logs.mean(0)


def _mean_difference(r: Array, s: Array) -> float:
    """Return the mean absolute difference of two arrays of the same kind."""
    return float(namespace(r).abs(r - s).mean())


@one_thread()
def zero_fractions(real: CellsLike | RealCells, synthetic: CellsLike) -> float:
    r"""Compute the mean absolute difference, over the G genes, of the fraction of cells with zero counts.

    .. math:: \frac{1}{G} \sum_g \lvert \overline{[r_g = 0]} - \overline{[s_g = 0]} \rvert

    Examples
    --------
    >>> zero_fractions([[0.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]])
    0.5
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic)
    n_real, n_synthetic, n_genes = len(real), len(synthetic), real.shape[1]
    # All numbers before the last division are integers, so the result is exact, and the same on every device.
    zeros = known.once("zeros", lambda: (real == 0).sum(0))
    differences = abs(zeros * n_synthetic - (synthetic == 0).sum(0) * n_real)
    return int(differences.sum()) / (n_real * n_synthetic * n_genes)


@one_thread()
def gene_correlations(real: CellsLike | RealCells, synthetic: CellsLike) -> float:
    r"""Compute the root mean square difference of the gene-gene correlations.

    .. math:: \sqrt{\frac{1}{G (G - 1)} \sum_{g \ne h} \left(\rho^r_{gh} - \rho^s_{gh}\right)^2}

    over the G genes expressed in at least one real cell, with Pearson's correlation of log1p values over cells. The
    correlations of a gene that is constant in a set are 0 in that set.

    Raises
    ------
    UserError
        If a value is negative, or if fewer than two genes are expressed in the real cells.

    Examples
    --------
    >>> round(gene_correlations([[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]), 12)
    2.0
    """
    known = RealCells.of(real)
    real, synthetic = pair(known, synthetic, counts=True)
    expressed = namespace(real).any(real > 0, 0)
    n_genes = int(expressed.sum())
    if n_genes < 2:
        raise UserError(f"{n_genes} genes are expressed in the real cells: correlations need at least 2")
    of_real = known.once("correlations", lambda: correlations(real[:, expressed]))
    difference = of_real - correlations(synthetic[:, expressed])
    own = float((difference.diagonal() ** 2).sum())
    difference *= difference
    return math.sqrt(max(0.0, float(difference.sum()) - own) / (n_genes * (n_genes - 1)))


def correlations(cells: Array) -> Array:
    """Compute Pearson's correlation of log1p counts over cells for every pair of genes.

    Parameters
    ----------
    cells
        Counts, shape (n_cells, n_genes).

    Returns
    -------
    Shape (n_genes, n_genes); 0 for a gene that is constant.
    """
    standard = standardised(cells)
    return standard.T @ standard


def standardised(cells: Array) -> Array:
    """Return log1p counts with every gene centred and of norm 1, so that products of columns are correlations."""
    xp = namespace(cells)
    logs = xp.log1p(cells)
    # Maximum and minimum are compared because rounding gives a constant gene a norm above 0.
    varies = xp.amax(logs, 0) > xp.amin(logs, 0)
    logs -= logs.mean(0)
    norms = xp.sqrt(xp.einsum("ij,ij->j", logs, logs))
    logs *= varies / xp.where(varies, norms, xp.ones_like(norms))
    return logs
