"""GRNBoost2: for each target, gradient boosting on the expression of the transcription factors."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
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

logger = logging.getLogger("llm4grn")

_TOP = 10  # the paper's number of TFs per target, for which the expected agreement of two networks is reported


@dataclass(frozen=True)
class GRNBoost2(Inferer):
    """GRNBoost2 (section 4 of the protocol): the importance of a TF is its contribution to predicting the target.

    The edges depend on the data, the seed and the gene names, not on the order of the genes or on ``n_jobs``,
    ``backend`` and ``scheduler``.

    Parameters
    ----------
    n_jobs
        Threads of the native engine, or processes of arboreto or of a local cluster; -1 for one per available core.
    engine
        ``native``: this package's engine, see :func:`~llm4grn.inference.boosting.engine.boosted_importances`.
        ``arboreto``: the reference, arboreto's ``infer_partial_network`` on the genes in alphabetical order. Their
        random numbers differ, so they agree with each other as much as either agrees with itself under another seed.
    n_seeds
        Number of independent runs whose importances are combined, see :func:`combine`. If it is above 1, the edges
        have the standard deviation between runs as ``importance_std``, and the provenance has the expected agreement of
        two such networks.
    backend
        ``threads`` of this process, or ``dask`` (native engine only), the workers of a cluster.
    scheduler
        Address of the cluster's scheduler, ``tcp://host:port``; None for a local cluster of ``n_jobs`` processes.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    uses_expression: ClassVar[bool] = True

    n_jobs: int = field(default=-1, compare=False)  # affects the run time, not the edges
    engine: Literal["native", "arboreto"] = "native"
    n_seeds: Positive = 1
    backend: Literal["threads", "dask"] = field(default="threads", compare=False)
    scheduler: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_n_jobs(self.n_jobs)
        check_fields(self, "inferer")
        if self.engine == "arboreto" and importlib.util.find_spec("arboreto") is None:
            raise UserError("inferer.engine=arboreto: run pip install 'llm4grn[arboreto]', or take native")
        if self.backend == "dask" and self.engine != "native":
            raise UserError(f"inferer.backend=dask: only for inferer.engine=native, not {self.engine}")
        if self.scheduler is not None and self.backend != "dask":
            raise UserError(f"inferer.scheduler={self.scheduler}: only for inferer.backend=dask; set that too")

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Regress every target on all other TFs; genes with constant expression get no edges and a warning.

        Raises
        ------
        UserError
            If the native engine finds a value that is not a finite number, or the cluster fails (see
            :func:`~llm4grn.inference.boosting.dask.boost_on_dask`).
        """
        return self.rank(Expression.of(adata, tf_names, "GRNBoost2"), seed)

    def rank(self, expression: Expression, seed: int) -> GRN:
        """Regress every target of ``expression`` on all other TFs; raises as :meth:`infer`."""
        import numpy as np

        from llm4grn.grn import GRN

        runs = np.zeros((self.n_seeds, len(expression.tfs), len(expression.targets)))
        if runs.size:
            seeds = [derive_seed(seed, "grnboost2", run) if run else seed for run in range(self.n_seeds)]
            if self.engine == "native":
                runs = _regress_native(expression, seeds, self)
            else:
                runs = _regress_arboreto(expression, seeds, self.n_jobs)
        scores = combine(runs)
        _warn_of_targets_without_edges(expression, scores)
        edges = expression.edges(scores)
        provenance: dict[str, object] = {
            "method": "grnboost2",
            "engine": self.engine,
            "seed": seed,
            "cells": expression.n_cells,
        }
        if self.n_seeds > 1:
            edges["importance_std"] = runs.std(axis=0, ddof=1)[(scores > 0)]
            agreement = expected_jaccard(runs, _TOP, seed)
            provenance |= {"n_seeds": self.n_seeds, f"expected_top{_TOP}_jaccard": round(agreement, 4)}
            logger.info(
                "GRNBoost2: expected top-%d Jaccard of two networks of %d seeds each: %.2f",
                *(_TOP, self.n_seeds, agreement),
            )
        return GRN.from_edges(edges, provenance)


def combine(runs: np.ndarray) -> np.ndarray:
    """Combine the importances of several runs by their power mean with exponent 1/4.

    On sparse counts a TF's importance varies between seeds by orders of magnitude, so that the largest of ten values
    would dominate an arithmetic mean. The fourth root reduces this tail: on pbmc3k, two networks of ten seeds each
    have a top-10 overlap of 0.81 instead of 0.78, and a simulated network is recovered equally well
    (``benchmarks.grnboost2 --parts seeds``).

    Parameters
    ----------
    runs
        Non-negative importances, shape (n_runs, ...).

    Returns
    -------
    array
        Combined importances, shape (...).
    """
    import numpy as np

    return runs[0] if len(runs) == 1 else np.mean(runs**0.25, axis=0) ** 4


def expected_jaccard(runs: np.ndarray, k: int, seed: int) -> float:
    """Estimate the top-k Jaccard index J, averaged over targets, of two networks that each combine ``n_runs`` runs.

    J is measured between halves and between quarters of the available runs, then extrapolated: the odds against
    agreement, (1 - J) / J, are assumed to fall with a power of the number of runs. The exponent, at most 1/2, is
    estimated from quarters and halves.

    Parameters
    ----------
    runs
        Importances of at least two runs, shape (n_runs, n_tfs, n_targets); with fewer than four the exponent is 1/2.
    k
        Number of TFs per target.
    seed
        Seed for drawing the halves and quarters.
    """
    import numpy as np

    rng = np.random.default_rng(derive_seed(seed, "grnboost2", "halves"))
    half, quarter = len(runs) // 2, len(runs) // 4
    odds, power = _odds(runs, half, k, rng), 0.5
    if quarter and odds:
        power = np.clip(np.log(_odds(runs, quarter, k, rng) / odds) / np.log(half / quarter), 0, 0.5)
    return float(1 / (1 + odds * (half / len(runs)) ** power))


def _odds(runs: np.ndarray, size: int, k: int, rng: np.random.Generator) -> float:
    """Compute (1 - J) / J for two groups of ``size`` runs, with J averaged over ten random choices of the groups."""
    import numpy as np

    overlaps = []
    for _ in range(10):
        order = rng.permutation(len(runs))
        one, other = (_top(combine(runs[part]), k) for part in (order[:size], order[size : 2 * size]))
        intersection, union = (one & other).sum(axis=0), (one | other).sum(axis=0)
        overlaps.append(np.mean(intersection[union > 0] / union[union > 0]) if union.any() else 1.0)
    return (1 - np.mean(overlaps)) / max(np.mean(overlaps), 1e-9)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Mark the TFs that are among the k best of a target and score above 0; boolean, shape (n_tfs, n_targets)."""
    import numpy as np

    best = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(best, np.argsort(-scores, axis=0, kind="stable")[:k], True, axis=0)
    return best & (scores > 0)


def _warn_of_targets_without_edges(expression: Expression, scores: np.ndarray) -> None:
    """Warn about targets that vary although no TF other than themselves does."""
    empty = expression.genes[expression.targets[~scores.any(axis=0)]]
    if len(empty):
        logger.warning(
            "GRNBoost2: %d of %d targets get no edges, for instance %s: no TF tells their cells apart",
            *(len(empty), len(expression.targets), empty[0]),
        )


def _regress_native(expression: Expression, seeds: Sequence[int], settings: GRNBoost2) -> np.ndarray:
    """Compute importances with the native engine, shape (n_seeds, n_tfs, n_targets)."""
    import numpy as np
    from joblib import effective_n_jobs

    from llm4grn.inference.boosting.engine import boost_on_threads, prepare

    if not np.isfinite(expression.matrix.data).all():
        raise UserError("GRNBoost2: some expression values are no finite numbers; remove those cells or genes")
    place = {gene: i for i, gene in enumerate(expression.tfs)}
    problem = prepare(
        expression.matrix[:, expression.tfs],
        expression.matrix[:, expression.targets],
        owns=np.array([place.get(target, -1) for target in expression.targets]),
    )
    n_jobs = effective_n_jobs(settings.n_jobs)
    if settings.backend == "dask":
        from llm4grn.inference.boosting.dask import boost_on_dask

        importances = boost_on_dask(problem, seeds, settings.scheduler, n_jobs)
    else:
        importances = boost_on_threads(problem, seeds, n_jobs)
    return importances.transpose(0, 2, 1)


def _regress_arboreto(expression: Expression, seeds: Sequence[int], n_jobs: int) -> np.ndarray:
    """Compute importances with arboreto, shape (n_seeds, n_tfs, n_targets)."""
    import numpy as np
    from joblib import delayed

    # scikit-learn's trees convert to row-major float32; doing it here avoids a conversion in every regression.
    tf_matrix = expression.matrix[:, expression.tfs].toarray(order="C").astype(np.float32, copy=False)
    tfs = [str(name) for name in expression.genes[expression.tfs]]
    tasks = (
        delayed(_regress)(
            tf_matrix, tfs, str(expression.genes[target]), expression.matrix[:, [target]].toarray().ravel(), seed
        )
        for seed in seeds
        for target in expression.targets
    )
    importances = run_per_target(tasks, n_jobs, len(seeds) * len(expression.targets), "GRNBoost2")
    return np.stack(importances).reshape(len(seeds), -1, len(tfs)).transpose(0, 2, 1)


def _regress(tf_matrix: np.ndarray, tfs: list[str], target: str, response: np.ndarray, seed: int) -> np.ndarray:
    """Compute arboreto's importances of the TFs for one target, shape (n_tfs,)."""
    import numpy as np
    from arboreto import core
    from sklearn import config_context

    if tfs == [target]:
        return np.zeros(1)
    # Validating the same constant arguments for each of a target's trees would take a fifth of the time.
    with config_context(skip_parameter_validation=True):
        links = core.infer_partial_network("GBM", core.SGBM_KWARGS, tf_matrix, tfs, target, response, seed=seed)
    # After ten failed attempts arboreto logs the error and returns this empty table.
    if links is core._GRN_SCHEMA:
        raise RuntimeError(f"GRNBoost2 failed for target {target}: arboreto's log above says why")
    importances = dict(zip(links["TF"], links["importance"], strict=True))
    return np.array([importances.get(tf, 0.0) for tf in tfs])
