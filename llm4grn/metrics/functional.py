"""The metrics as pure functions of two sets of cells (protocol section 6).

Every function takes arrays (or CPU/GPU tensors) of shape (n_cells, n_genes) in counts normalised to a library size of
20,000 per cell, computes in float64 and returns a plain ``float``. Linear algebra whose rounding could depend on the
number of threads runs on one, so that a score is the same to the last bit on every run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from llm4grn.errors import UserError
from llm4grn.seeding import derive_seed

BANDWIDTH_NEIGHBOUR = 24
BANDWIDTH_FACTORS = (0.5, 1.0, 2.0)
PCA_COMPONENTS = 50
N_TREES = 1000
TEST_FRACTION = 0.2
N_REPEATS = 5
_TILE = 2048
_LARGEST_COVARIANCE = 5000


def _pair(real, synthetic) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as finite float64 matrices over the same genes, or a ``UserError`` that names the set."""
    sets = {"real": real, "synthetic": synthetic}
    for name, cells in sets.items():
        if hasattr(cells, "detach"):
            cells = cells.detach().cpu().numpy()
        cells = np.ascontiguousarray(cells, dtype=np.float64)
        if cells.ndim != 2 or not cells.size:
            raise UserError(f"{name} cells have shape {cells.shape}: give a non-empty matrix of (n_cells, n_genes)")
        if not np.isfinite(cells).all():
            raise UserError(f"{name} cells hold NaN or infinite values: they cannot be scored; did training diverge?")
        sets[name] = cells
    real, synthetic = sets["real"], sets["synthetic"]
    if real.shape[1] != synthetic.shape[1]:
        raise UserError(f"real cells have {real.shape[1]} genes, synthetic {synthetic.shape[1]}: give both the same")
    return real, synthetic


def equal_size(real, synthetic, seed: int, n_repeats: int = N_REPEATS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of sets with the same number of cells; scores are averaged over them.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes).
    seed
        Of the subsampling.
    n_repeats
        How often the larger set is subsampled, without replacement. Sets of equal size come back once, untouched.

    Examples
    --------
    >>> [(len(r), len(s)) for r, s in equal_size(np.eye(3), np.eye(3)[:2], seed=0, n_repeats=2)]
    [(2, 2), (2, 2)]
    """
    n = min(len(real), len(synthetic))
    if len(real) == len(synthetic):
        yield real, synthetic
        return
    for repeat in range(n_repeats):
        rng = np.random.default_rng(derive_seed(seed, "equal_size", repeat))
        kept = np.sort(rng.choice(max(len(real), len(synthetic)), size=n, replace=False))
        yield (real[kept], synthetic) if len(real) > n else (real, synthetic[kept])


def cosine_distance(real, synthetic) -> float:
    r"""Cosine distance between the mean real and the mean synthetic cell.

    .. math:: 1 - \frac{\bar r \cdot \bar s}{\lVert \bar r \rVert \, \lVert \bar s \rVert}

    A mean cell of zeros has no direction and scores 1, scikit-learn's convention.

    Examples
    --------
    >>> cosine_distance([[3.0, 0.0], [1.0, 0.0]], [[0.0, 2.0]])
    1.0
    """
    real, synthetic = _pair(real, synthetic)
    r, s = real.mean(axis=0), synthetic.mean(axis=0)
    norms = math.sqrt((r * r).sum()) * math.sqrt((s * s).sum())
    # Rounding may push the cosine of parallel vectors past 1.
    return max(0.0, float(1.0 - (r * s).sum() / norms)) if norms > 0 else 1.0


def euclidean_distance(real, synthetic) -> float:
    r"""Euclidean distance :math:`\lVert \bar r - \bar s \rVert` of the mean cells, in counts per 20,000.

    Examples
    --------
    >>> euclidean_distance([[3.0, 0.0], [5.0, 0.0]], [[1.0, 4.0]])
    5.0
    """
    real, synthetic = _pair(real, synthetic)
    difference = real.mean(axis=0) - synthetic.mean(axis=0)
    return math.sqrt((difference * difference).sum())


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (len(x), len(y)); callers centre the cells first, which keeps cancellation small."""
    squared = x @ y.T
    squared *= -2.0
    squared += (x * x).sum(axis=1)[:, None]
    squared += (y * y).sum(axis=1)[None, :]
    return np.maximum(squared, 0.0, out=squared)


def _one_thread():
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


def mmd_bandwidth(real, neighbour: int = BANDWIDTH_NEIGHBOUR) -> float:
    """The kernel's width m: median over the real cells of the distance to their ``neighbour``-th nearest other cell.

    With fewer than ``neighbour`` other cells the farthest one counts.

    Raises
    ------
    UserError
        Fewer than two cells, or a median of zero (most cells are copies of each other): no width can be read off.
    """
    real, _ = _pair(real, real)
    n = len(real)
    if n < 2:
        raise UserError("MMD reads its bandwidth off the real cells and needs at least 2 of them: give more real cells")
    centred = real - real.mean(axis=0)
    rank = min(neighbour, n - 1) - 1
    step = max(1, _TILE * _TILE // n)
    nearest = np.empty(n)
    with _one_thread():
        for start in range(0, n, step):
            rows = np.arange(start, min(start + step, n))
            squared = _squared_distances(centred[rows], centred)
            squared[np.arange(len(rows)), rows] = np.inf
            nearest[rows] = np.partition(squared, rank, axis=1)[:, rank]
    bandwidth = float(np.median(np.sqrt(nearest)))
    if bandwidth <= 0:
        raise UserError(
            "MMD bandwidth is 0: more than half of the real cells are copies of others; give distinct real cells"
        )
    return bandwidth


def _kernel_mean(x: np.ndarray, y: np.ndarray, bandwidth: float, tile: int) -> float:
    """Mean of the three-width kernel over all pairs, tile by tile; of a set with itself only half the tiles."""
    same, sums = x is y, []
    for i in range(0, len(x), tile):
        for j in range(i if same else 0, len(y), tile):
            squared = _squared_distances(x[i : i + tile], y[j : j + tile])
            if same and i == j:
                np.fill_diagonal(squared, 0.0)
            # Widths 2m, m and m/2 are the powers 1, 4 and 16 of one exponential.
            wide = np.exp(squared * (-1.0 / (2.0 * bandwidth) ** 2))
            middle = np.square(np.square(wide))
            total = float((wide + middle + np.square(np.square(middle))).sum())
            sums.append(2.0 * total if same and j > i else total)
    return math.fsum(sums) / (len(x) * len(y))


def mmd(real, synthetic, bandwidth: float | None = None, *, tile: int = _TILE) -> float:
    r"""Squared maximum mean discrepancy, biased estimate.

    .. math:: \overline{k(r, r')} + \overline{k(s, s')} - 2\,\overline{k(r, s)}, \qquad
              k(x, y) = \sum_{\sigma \in \{m/2,\, m,\, 2m\}} \exp(-\lVert x - y \rVert^2 / \sigma^2)

    Each mean runs over all pairs, a cell with itself included. GRouNdGAN's own tables show three times this.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes).
    bandwidth
        The width m, in the cells' unit; read off the real cells when None (:func:`mmd_bandwidth`).
    tile
        Cells per side of a block of distances: memory is about 5 x 8 x tile^2 bytes beyond the cells themselves.

    Examples
    --------
    >>> by_hand = 2 * (3 - sum(math.exp(-(2.0**2) / s**2) for s in (0.5, 1.0, 2.0)))
    >>> math.isclose(mmd([[0.0]], [[2.0]], bandwidth=1.0), by_hand)
    True
    """
    real, synthetic = _pair(real, synthetic)
    width = mmd_bandwidth(real) if bandwidth is None else float(bandwidth)
    if not (math.isfinite(width) and width > 0):
        raise UserError(f"MMD bandwidth is {width}: give a positive number, or none to read it off the real cells")
    centre = real.mean(axis=0)
    real, synthetic = real - centre, synthetic - centre
    with _one_thread():
        within = _kernel_mean(real, real, width, tile) + _kernel_mean(synthetic, synthetic, width, tile)
        across = _kernel_mean(real, synthetic, width, tile)
    # A squared norm: below zero there is rounding only.
    return max(0.0, within - 2.0 * across)


def rf_auroc(real, synthetic, seed: int, *, n_trees: int = N_TREES) -> float:
    """AUROC of a random forest that tells real from synthetic cells: 0.5 = it cannot, 1 = always.

    Both sets together are reduced to 50 principal components (fewer when there are fewer cells or genes); a forest of
    1000 trees (Gini) learns on a stratified 80 % and is scored on the other 20 %. Lower is better with a floor at 0.5:
    values a little below it are chance.

    Parameters
    ----------
    real, synthetic
        Cells of shape (n_real, n_genes) and (n_synthetic, n_genes), at least 5 of each.
    seed
        Of the split and of the forest.
    n_trees
        Of the forest.

    Examples
    --------
    >>> cells = np.random.default_rng(0).normal(size=(40, 5))
    >>> rf_auroc(cells, cells + 100, seed=0, n_trees=20)
    1.0
    """
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    real, synthetic = _pair(real, synthetic)
    if min(len(real), len(synthetic)) < 5:
        raise UserError(
            f"RF AUROC needs at least 5 cells of each: got {len(real)} real and {len(synthetic)} synthetic; give more"
        )
    cells = np.concatenate([real, synthetic])
    is_real = np.repeat([1, 0], [len(real), len(synthetic)])
    # Both solvers are exact; the covariance one is much faster while genes are few against cells.
    by_covariance = cells.shape[1] <= min(len(cells), _LARGEST_COVARIANCE)
    pca = PCA(min(PCA_COMPONENTS, *cells.shape), svd_solver="covariance_eigh" if by_covariance else "full")
    with _one_thread():
        components = pca.fit_transform(cells)
    split_seed, forest_seed = (derive_seed(seed, "rf_auroc", name) for name in ("split", "forest"))
    fit_x, test_x, fit_y, test_y = train_test_split(
        components, is_real, test_size=TEST_FRACTION, stratify=is_real, random_state=split_seed
    )
    forest = RandomForestClassifier(n_trees, n_jobs=-1, random_state=forest_seed)
    forest.fit(fit_x, fit_y)
    # With several threads the trees' votes are added in the order they finish, and sums of floats depend on it.
    forest.set_params(n_jobs=1)
    return float(roc_auc_score(test_y, forest.predict_proba(test_x)[:, 1]))
