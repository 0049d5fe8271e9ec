"""Which type is a synthetic cell? Asked of a classifier that learned the types of real cells."""

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

MAX_CELLS = 10_000
UNKNOWN = "not annotated"
_REGULARISATION = 0.01
_FOLDS = 5


@dataclass(frozen=True)
class RealTypes:
    """The types of real cells, and who tells them in other cells.

    Parameters
    ----------
    classify
        Cells of shape (n_cells, n_genes), counts in ``X``, to the names of their types (n_cells,).
    train
        Real cells whose ``obs["cell_type"]`` markers may be sought in.
    annotated
        The types of the real test cells as the data set has them; ``None`` if the classifier has its own names.
    predicted
        Those that the classifier tells, never having seen these cells.
    held_out
        Whether it learned from other cells than the test cells; if not, ``predicted`` is cross-validated.
    """

    classify: Callable[[AnnData], np.ndarray]
    train: AnnData
    annotated: np.ndarray | None
    predicted: np.ndarray
    held_out: bool

    @property
    def names(self) -> list[str]:
        """Of the types among the real test cells, the most common first."""
        counts = _counts(self.predicted if self.annotated is None else self.annotated)
        return sorted(counts, key=lambda name: (-counts[name], name))

    @property
    def annotated_counts(self) -> dict[str, int]:
        """Test cells annotated with each type."""
        return {} if self.annotated is None else _counts(self.annotated)

    def recall(self) -> dict[str, float]:
        """Of each type among the annotated test cells, the share that the classifier tells."""
        return {name: float((self.predicted[self.annotated == name] == name).mean()) for name in self.annotated_counts}


def cell_types_of(
    run_folder: Path, store: Path | None = None, seed: int = 0
) -> tuple[list[np.ndarray], np.ndarray] | None:
    """The types of all cells of a run, told by one classifier on both sides.

    Parameters
    ----------
    run_folder
        Of a finished run.
    store
        Of finished stages: has the training cells. Without it the classifier learns from the test cells, and theirs are
        its cross-validated answers.
    seed
        Of the choice of training cells, where there are more than 10,000, and of the folds.

    Returns
    -------
    For each synthetic set the types of its cells (n_cells,), and those of the real test cells (n_test,). ``None`` if
    the data set has no cell types, or one only. The annotated types of the real cells are in the run's ``test.h5ad``.
    """
    import anndata

    run = RunCells.open(run_folder, store)
    types = real_types(run, seed)
    if types is None:
        return None
    return [types.classify(anndata.read_h5ad(path)) for path in run.synthetic_files()], types.predicted


def real_types(run: RunCells, seed: int = 0, celltypist: Path | None = None) -> RealTypes | None:
    """Learn the types of a run's real cells; ``None`` if they have none, or one only.

    Parameters
    ----------
    run
        Runs on the same split share one classifier.
    seed
        As in :func:`cell_types_of`.
    celltypist
        A model of CellTypist: it then tells the types, real cells included, whether or not they are annotated.
    """
    if celltypist is not None:
        return _by_celltypist(run, celltypist, seed)
    path = run.data_file or run.folder / "test.h5ad"
    return _learned(path, path.stat().st_mtime_ns, run.data_file is not None, seed)


def logistic_regression(cells: AnnData) -> Callable[[AnnData], np.ndarray]:
    """Learn ``obs["cell_type"]`` from log1p of the counts in ``X``: a multinomial logistic regression, L2-regularised.

    Cells weigh inversely to the number of their type: else a rare type is lost to its common neighbours.
    """
    model = _model().fit(log1p(cells), _labels(cells))
    return lambda other: model.predict(log1p(other)).astype(str)


def log1p(cells: AnnData) -> csr_matrix:
    """log1p of the counts, sparse (n_cells, n_genes)."""
    from scipy.sparse import csr_matrix

    return csr_matrix(cells.X, dtype=np.float64).log1p()


def proportions(labels: np.ndarray) -> dict[str, float]:
    """The share of each type among the cells whose type is known.

    Examples
    --------
    >>> proportions(np.array(["B", "NK", "B", "B"]))
    {'B': 0.75, 'NK': 0.25}
    """
    counts = _counts(labels)
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def total_variation(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Half the sum over types of the difference of two shares: the part of the cells whose type is out of place.

    Examples
    --------
    >>> total_variation({"B": 0.75, "NK": 0.25}, {"B": 0.5, "T": 0.5})
    0.5
    """
    return 0.5 * sum(abs(first.get(name, 0.0) - second.get(name, 0.0)) for name in {*first, *second})


@lru_cache(maxsize=8)
def _learned(path: Path, changed: int, held_out: bool, seed: int) -> RealTypes | None:
    """From all splits (``held_out``) or from the test cells alone; ``changed`` tells versions of the file apart."""
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


def _model():
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
