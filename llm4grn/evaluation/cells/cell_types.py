"""Predict the types of synthetic cells with a classifier trained on the types of real cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm4grn.evaluation.cells.run_cells import RunCells
from llm4grn.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

MAX_CELLS = 10_000
UNKNOWN = "not annotated"
_REGULARISATION = 0.01
_FOLDS = 5


@dataclass(frozen=True)
class RealTypes:
    """The types of real cells, and the classifier that predicts them for other cells.

    Parameters
    ----------
    classify
        Function from cells of shape (n_cells, n_genes), counts in ``X``, to the names of their types (n_cells,).
    train
        Real cells with ``obs["cell_type"]``, from which markers can be computed.
    annotated
        Types of the real test cells in the data set; ``None`` if the classifier has its own type names.
    predicted
        Types of the real test cells predicted by a classifier that was not trained on them.
    held_out
        Whether the classifier was trained on cells other than the test cells; if not, ``predicted`` is cross-validated.
    """

    classify: Callable[[AnnData], np.ndarray]
    train: AnnData
    annotated: np.ndarray | None
    predicted: np.ndarray
    held_out: bool

    @property
    def names(self) -> list[str]:
        """Return the names of the types among the real test cells, the most common first."""
        counts = _counts(self.predicted if self.annotated is None else self.annotated)
        return sorted(counts, key=lambda name: (-counts[name], name))

    @property
    def annotated_counts(self) -> dict[str, int]:
        """Return the number of test cells annotated with each type."""
        return {} if self.annotated is None else _counts(self.annotated)

    def recall(self) -> dict[str, float]:
        """Return the classifier's recall for each type among the annotated test cells."""
        return {name: float((self.predicted[self.annotated == name] == name).mean()) for name in self.annotated_counts}


def cell_types_of(
    run_folder: Path, store: Path | None = None, seed: int = 0
) -> tuple[list[np.ndarray], np.ndarray] | None:
    """Predict the types of all cells of a run, synthetic and real, with one classifier.

    Parameters
    ----------
    run_folder
        Folder of a finished run.
    store
        Folder of finished stages, which has the training cells. Without it the classifier is trained on the test cells,
        and their types are cross-validated predictions.
    seed
        Seed for subsampling more than 10,000 training cells, and for the folds.

    Returns
    -------
    The types of the cells of each synthetic set (n_cells,), and those of the real test cells (n_test,). ``None`` if
    the data set has fewer than two cell types. The annotated types of the real cells are in the run's ``test.h5ad``.
    """
    import anndata

    run = RunCells.open(run_folder, store)
    types = real_types(run, seed)
    if types is None:
        return None
    return [types.classify(anndata.read_h5ad(path)) for path in run.synthetic_files()], types.predicted


def real_types(run: RunCells, seed: int = 0, celltypist: Path | None = None) -> RealTypes | None:
    """Train a classifier on the types of a run's real cells; ``None`` if they have fewer than two types.

    Parameters
    ----------
    run
        The run; runs on the same split share one classifier.
    seed
        As in :func:`cell_types_of`.
    celltypist
        Path of a CellTypist model, which then predicts the types of all cells, real ones included, annotated or not.

    Raises
    ------
    UserError
        If the CellTypist model cannot be read or shares no gene with the cells.
    """
    if celltypist is not None:
        return _by_celltypist(run, celltypist, seed)
    path = run.data_file or run.folder / "test.h5ad"
    return _learned(path, path.stat().st_mtime_ns, run.data_file is not None, seed)


def logistic_regression(cells: AnnData) -> Callable[[AnnData], np.ndarray]:
    """Fit an L2-regularised multinomial logistic regression of ``obs["cell_type"]`` on log1p of the counts in ``X``.

    Each cell is weighted inversely to the frequency of its type; otherwise rare types would be predicted as similar
    common ones.
    """
    model = _model().fit(log1p(cells), _labels(cells))
    return lambda other: model.predict(log1p(other)).astype(str)


def log1p(cells: AnnData) -> csr_matrix:
    """Return log1p of the counts, as a sparse matrix of shape (n_cells, n_genes)."""
    from scipy.sparse import csr_matrix

    return csr_matrix(cells.X, dtype=np.float64).log1p()


def proportions(labels: np.ndarray) -> dict[str, float]:
    """Return the share of each type among the cells whose type is known.

    Examples
    --------
    >>> proportions(np.array(["B", "NK", "B", "B"]))
    {'B': 0.75, 'NK': 0.25}
    """
    counts = _counts(labels)
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def total_variation(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Return the total variation distance: half the sum over types of the absolute difference of their two shares.

    Examples
    --------
    >>> total_variation({"B": 0.75, "NK": 0.25}, {"B": 0.5, "T": 0.5})
    0.5
    """
    return 0.5 * sum(abs(first.get(name, 0.0) - second.get(name, 0.0)) for name in {*first, *second})


@lru_cache(maxsize=8)
def _learned(path: Path, changed: int, held_out: bool, seed: int) -> RealTypes | None:
    """Train on the training split (``held_out``) or on the test cells alone.

    ``changed`` is the file's modification time: a part of the cache key, so that a rewritten file is read again.
    """
    import anndata

    cells = anndata.read_h5ad(path)
    if "cell_type" not in cells.obs:
        return None
    test = cells[(cells.obs["split"] == "test").to_numpy()].copy() if held_out else cells
    learn_from = _labels(cells) != UNKNOWN
    if held_out:
        learn_from &= (cells.obs["split"] == "train").to_numpy()
    train = _at_most(cells[learn_from], MAX_CELLS, derive_seed(seed, "cell_types"))
    if len(set(_labels(train))) < 2:
        return None
    classify = logistic_regression(train)
    predicted = classify(test) if held_out else _cross_validated(test, seed)
    return RealTypes(classify, train, _labels(test), predicted, held_out)


def _by_celltypist(run: RunCells, path: Path, seed: int) -> RealTypes:
    from llm4grn.evaluation.cells.celltypist_model import CellTypistModel

    model, test, train = CellTypistModel.read(path), run.test(), run.real("train")
    train = _at_most(test if train is None else train, MAX_CELLS, derive_seed(seed, "cell_types"))
    train.obs["cell_type"] = model.classify(train)
    return RealTypes(model.classify, train, None, model.classify(test), True)


def _cross_validated(cells: AnnData, seed: int) -> np.ndarray:
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(min(_FOLDS, cells.n_obs), shuffle=True, random_state=derive_seed(seed, "cell_types", "folds"))
    return cross_val_predict(_model(), log1p(cells), _labels(cells), cv=folds).astype(str)


def _counts(labels: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(labels[labels != UNKNOWN], return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _model() -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=2000)


def _labels(cells: AnnData) -> np.ndarray:
    return cells.obs["cell_type"].astype(object).fillna(UNKNOWN).to_numpy().astype(str)


def _at_most(cells: AnnData, n_cells: int, seed: int) -> AnnData:
    if cells.n_obs > n_cells:
        cells = cells[np.sort(np.random.default_rng(seed).choice(cells.n_obs, size=n_cells, replace=False))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns of a view that becomes a copy, which is what is wanted
        return cells.copy()
