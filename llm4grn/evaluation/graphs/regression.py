"""Regress many targets at once on a few regulators each: ridge regression, and gradient-boosted trees.

Both take training cells and return predictions for test cells. The regulators of the targets are an integer array of
shape (n_targets, k): columns of the regulators' expression, each at most once in a row, and -1 in places that a target
with fewer than k regulators leaves empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Regression: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

N_FOLDS = 5
#: Ridge penalties per training cell, for standardised regulators.
PENALTIES = np.logspace(-3, 2, 11)
_AT_ONCE = 2_000_000  # entries of the largest array held for a group of targets

TREES = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 6,
    "max_depth": 3,
    "max_bin": 15,
    "min_data_in_leaf": 20,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
MAX_TREES = 100
PATIENCE = 5
#: Number of regulators, drawn at random, that a tree may use.
MAX_FEATURES = 20


@dataclass(frozen=True, eq=False)
class Ridge:
    """A ridge regression of each target, with its penalty chosen by cross-validation.

    Parameters
    ----------
    coefficients
        Of the regulators as given, (n_regulators, n_targets); 0 for those that are not a target's own.
    intercepts
        Of the targets (n_targets,).
    cv_r2
        Cross-validated share of each target's variance in the training cells that is explained (n_targets,).
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    cv_r2: np.ndarray

    def predict(self, regulators: np.ndarray) -> np.ndarray:
        """Predict the targets, (n_cells, n_targets), from the regulators, (n_cells, n_regulators)."""
        return regulators @ self.coefficients + self.intercepts


def fit_ridge(x: np.ndarray, y: np.ndarray, regulators: np.ndarray) -> Ridge:
    """Fit a ridge regression of each target on its own regulators.

    Every fit needs only sums of products of genes, which are computed once per fold, so the cost hardly depends on
    the number of cells.

    Parameters
    ----------
    x
        Expression of all regulators in the training cells (n_cells, n_regulators).
    y
        Expression of the targets in the same cells (n_cells, n_targets).
    regulators
        Columns of ``x`` for each target (n_targets, k), see the module's docstring.
    """
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    # The last column is 0 in all cells: what a target with fewer regulators has in its empty places.
    padded = np.column_stack([(x - mean) / scale, np.zeros(len(x))])
    centred = y - y.mean(axis=0)
    folds = [_Moments.of(padded[f::N_FOLDS], centred[f::N_FOLDS]) for f in range(N_FOLDS)]
    whole = _Moments.sum(folds)
    lists = np.where(regulators < 0, x.shape[1], regulators)
    unique, own = np.unique(lists, axis=0, return_inverse=True)
    own = own.ravel()
    errors = np.zeros((y.shape[1], len(PENALTIES)))
    for held_out in folds:
        fit = _Solver.of(whole - held_out, unique)
        for targets in _chunks(y.shape[1], unique.shape[1]):
            errors[targets] += fit.held_out_errors(targets, own[targets], held_out)
    best = errors.argmin(axis=1)
    variance = np.where(whole.yy > 0, whole.yy, 1.0)
    coefficients = np.zeros((x.shape[1] + 1, y.shape[1]))
    fit = _Solver.of(whole, unique)
    for targets in _chunks(y.shape[1], unique.shape[1]):
        values = fit.coefficients(targets, own[targets])[np.arange(len(targets)), best[targets]]
        coefficients[lists[targets], targets[:, None]] = values
    coefficients = coefficients[:-1] / scale[:, None]
    intercepts = y.mean(axis=0) - mean @ coefficients
    return Ridge(coefficients, intercepts, 1 - errors[np.arange(len(best)), best] / variance)


def ridge(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, regulators: np.ndarray) -> np.ndarray:
    """Predict the targets in test cells, (n_test, n_targets), by ridge regression; see :func:`fit_ridge`."""
    return fit_ridge(x, y, regulators).predict(x_test)


def trees(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, regulators: np.ndarray) -> np.ndarray:
    """Predict the targets in test cells, (n_test, n_targets), by small gradient-boosted trees (LightGBM).

    Trees of at most six leaves are added until the loss in every fifth training cell, which they are not fitted on, has
    not fallen for five trees. The predictions of a target that its regulators say nothing about stay near its mean.

    One target after the other: LightGBM's number of threads is global, and predictions beside another training in
    Python threads have crashed the process.

    Parameters
    ----------
    x, y, regulators
        As in :func:`fit_ridge`.
    x_test
        Expression of all regulators in the test cells (n_test, n_regulators).
    """
    held_out = np.arange(len(x)) % N_FOLDS == N_FOLDS - 1
    fitted, stopping, test = (np.asarray(part, np.float32) for part in (x[~held_out], x[held_out], x_test))

    def predict(target: int) -> np.ndarray:
        import lightgbm

        columns = regulators[target][regulators[target] >= 0]
        if not len(columns):
            return np.full(len(x_test), y[:, target].mean())
        share = min(1.0, MAX_FEATURES / len(columns))
        parameters = {**TREES, "feature_fraction": share}
        data = lightgbm.Dataset(fitted[:, columns], y[~held_out, target], params=parameters)
        unseen = lightgbm.Dataset(stopping[:, columns], y[held_out, target], reference=data, params=parameters)
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        model = lightgbm.train(parameters, data, MAX_TREES, valid_sets=[unseen], callbacks=[stop])
        return np.asarray(model.predict(test[:, columns], num_threads=1))

    return np.column_stack([predict(target) for target in range(y.shape[1])])


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over cells, of which means and products of centred columns follow.

    Attributes
    ----------
    n
        Number of cells.
    x, y
        Sums of the columns.
    xx, xy, yy
        Sums of the products: of two regulators, of a regulator and a target, of a target with itself.
    """

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> _Moments:
        return cls(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y, (y * y).sum(axis=0))

    @classmethod
    def sum(cls, parts: list[_Moments]) -> _Moments:
        return cls(*(sum(getattr(part, name) for part in parts) for name in ("n", "x", "y", "xx", "xy", "yy")))

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(
            *(getattr(self, name) - getattr(other, name) for name in ("n", "x", "y", "xx", "xy", "yy")),
        )


@dataclass(frozen=True, eq=False)
class _Solver:
    """Ridge regressions of many targets for all penalties, by one eigendecomposition per list of regulators.

    Attributes
    ----------
    lists
        Lists of regulators (n_lists, k).
    moments
        Sums over the cells that are fitted.
    values, vectors
        Eigenvalues (n_lists, k) and eigenvectors (n_lists, k, k) of the products of each list.
    """

    lists: np.ndarray
    moments: _Moments
    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, moments: _Moments, lists: np.ndarray) -> _Solver:
        products = moments.xx - np.outer(moments.x, moments.x) / moments.n
        values, vectors = np.linalg.eigh(products[lists[:, :, None], lists[:, None, :]])
        return cls(lists, moments, values, vectors)

    def coefficients(self, targets: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return the coefficients for each penalty, (n, n_penalties, k); ``own`` is the list of each target (n,)."""
        m = self.moments
        columns = self.lists[own]
        products = m.xy[columns, targets[:, None]] - m.x[columns] * m.y[targets, None] / m.n
        if len(self.lists) == 1:  # all targets share the matrices
            values, vectors = self.values[0], self.vectors[0]
            return ((products @ vectors)[:, None] / (values + PENALTIES[:, None] * m.n)) @ vectors.T
        rotated = np.einsum("tij,ti->tj", self.vectors[own], products)
        shrunk = rotated[:, None] / (self.values[own][:, None] + PENALTIES[:, None] * m.n)
        return shrunk @ self.vectors[own].swapaxes(1, 2)

    def held_out_errors(self, targets: np.ndarray, own: np.ndarray, cells: _Moments) -> np.ndarray:
        """Return the squared error in other cells for each target and penalty (n, n_penalties)."""
        m, columns = self.moments, self.lists[own]
        b = self.coefficients(targets, own)
        x, y = m.x[columns] / m.n, m.y[targets] / m.n  # the means by which these fits are centred
        y_sum = cells.y[targets]
        yy = cells.yy[targets] - 2 * y * y_sum + cells.n * y**2
        xy = cells.xy[columns, targets[:, None]] - x * y_sum[:, None] - y[:, None] * (cells.x[columns] - cells.n * x)
        lists = self.lists if len(self.lists) == 1 else columns
        means, sums = m.x[lists] / m.n, cells.x[lists]
        xx = cells.xx[lists[:, :, None], lists[:, None, :]]
        xx = xx - means[:, :, None] * sums[:, None, :] - sums[:, :, None] * means[:, None, :]
        xx += cells.n * means[:, :, None] * means[:, None, :]
        squares = ((b @ xx) * b).sum(axis=2)
        return yy[:, None] - 2 * (b * xy[:, None]).sum(axis=2) + squares


def _chunks(n_targets: int, k: int) -> list[np.ndarray]:
    """Divide the targets into groups that are computed at once."""
    size = max(1, _AT_ONCE // max(1, k * max(k, len(PENALTIES))))
    return np.array_split(np.arange(n_targets), -(-n_targets // size))
