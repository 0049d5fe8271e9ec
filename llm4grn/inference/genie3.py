"""GENIE3: for each target, an ensemble of regression trees on the expression of the transcription factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer
from llm4grn.inference.expression import Expression
from llm4grn.inference.per_target import check_n_jobs, run_per_target
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import Positive, check_fields

if TYPE_CHECKING:
    import anndata
    import numpy as np

    from llm4grn.grn import GRN

# Fully grown trees on tens of thousands of cells take megabytes each, so only this many are in memory at a time.
_TREES_AT_A_TIME = 50


@dataclass(frozen=True)
class GENIE3(Inferer):
    """GENIE3 (Huynh-Thu et al., PLoS ONE 5:e12776, 2010).

    The importance of a TF is the variance of the target that the splits on the TF explain, averaged over the trees. The
    target is scaled to unit variance, so the importances of a target sum to at most 1 and importances of different
    targets can be compared. The edges depend on the data, the seed and the gene names, but not on the number of
    processes or the order of the genes.

    Parameters
    ----------
    trees
        ``random_forest`` (each tree on a bootstrap sample of the cells) or ``extra_trees`` (all cells, random
        thresholds).
    n_trees
        Number of trees per target.
    max_features
        Number of TFs tried at each split: ``sqrt`` (square root of the number of TFs), ``all``, or an integer.
    n_jobs
        Number of processes; -1 for one per available core.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    uses_expression: ClassVar[bool] = True

    trees: Literal["random_forest", "extra_trees"] = "random_forest"
    n_trees: Positive = 1000
    max_features: Literal["sqrt", "all"] | Positive = "sqrt"
    n_jobs: int = field(default=-1, compare=False)  # affects the run time, not the edges

    def __post_init__(self) -> None:
        check_fields(self, "inferer")
        check_n_jobs(self.n_jobs)

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Regress every target on all other TFs; genes with constant expression get no edges and a warning.

        Raises
        ------
        UserError
            If ``max_features`` exceeds the number of TFs.
        """
        return self.rank(Expression.of(adata, tf_names, "GENIE3"), seed)

    def rank(self, expression: Expression, seed: int) -> GRN:
        """Regress every target of ``expression`` on all other TFs; raises as :meth:`infer`."""
        import numpy as np
        from joblib import delayed

        from llm4grn.grn import GRN

        tf_matrix = expression.matrix[:, expression.tfs].toarray(order="C").astype(np.float32, copy=False)
        if not isinstance(self.max_features, str) and self.max_features > len(expression.tfs):
            raise UserError(f"inferer.max_features={self.max_features}: there are only {len(expression.tfs)} TFs")
        tasks = (
            delayed(_importances)(
                self, tf_matrix, expression.tfs != target, response, derive_seed(seed, "genie3", gene)
            )
            for target, gene, response in _responses(expression)
        )
        columns = run_per_target(tasks, self.n_jobs, len(expression.targets), "GENIE3")
        scores = np.stack(columns, axis=1) if columns else np.zeros((len(expression.tfs), 0))
        provenance = {"method": "genie3", "trees": self.trees, "n_trees": self.n_trees}
        return GRN.from_edges(expression.edges(scores), {**provenance, "seed": seed, "cells": expression.n_cells})


def _responses(expression: Expression) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield position, name and expression (n_cells,) of each target."""
    for target in expression.targets:
        yield target, expression.genes[target], expression.matrix[:, [target]].toarray().ravel()


def _importances(
    method: GENIE3, tf_matrix: np.ndarray, others: np.ndarray, response: np.ndarray, seed: int
) -> np.ndarray:
    """Compute the importance of each TF (n_tfs,) for one target; 0 for TFs that are not among the ``others``."""
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    importances = np.zeros(len(others))
    if not others.any():
        return importances
    forest = {"random_forest": RandomForestRegressor, "extra_trees": ExtraTreesRegressor}[method.trees]
    features = min(method.max_features, others.sum()) if isinstance(method.max_features, int) else method.max_features
    candidates = tf_matrix if others.all() else tf_matrix[:, others]
    scaled = response.astype(np.float64) / response.std(dtype=np.float64)
    for start in range(0, method.n_trees, _TREES_AT_A_TIME):
        grown = forest(
            n_estimators=min(_TREES_AT_A_TIME, method.n_trees - start),
            max_features=None if features == "all" else features,
            random_state=derive_seed(seed, start),
            n_jobs=1,
        ).fit(candidates, scaled)
        for tree in grown.estimators_:
            importances[others] += tree.tree_.compute_feature_importances(normalize=False)
    return importances / method.n_trees
