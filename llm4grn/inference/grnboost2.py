"""GRNBoost2: per target, gradient boosting on the expression of the transcription factors."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer, split_genes

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import pandas as pd
    from scipy.sparse import csc_matrix

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class GRNBoost2(Inferer):
    """GRNBoost2 as arboreto computes it (section 4 of the protocol), one target per task over processes.

    The edges are those of ``arboreto.algo.grnboost2`` with the same seed on the same matrix, without its Dask cluster.
    The number of processes does not change them.

    Parameters
    ----------
    n_jobs
        Number of processes; -1 for one per available core.
    engine
        ``arboreto``: its ``infer_partial_network``, the reference.

    Raises
    ------
    UserError
        If ``n_jobs`` is 0 or no integer, or the engine is unknown.
    """

    uses_expression: ClassVar[bool] = True

    n_jobs: int = field(default=-1, compare=False)  # changes the time, not the edges
    engine: Literal["arboreto"] = "arboreto"

    def __post_init__(self) -> None:
        if isinstance(self.n_jobs, bool) or not isinstance(self.n_jobs, int) or self.n_jobs == 0:
            raise UserError(f"inferer.n_jobs={self.n_jobs!r}: must be a number of processes, or -1 for all cores")
        if self.engine != "arboreto":
            raise UserError(f"inferer.engine={self.engine}: choose arboreto")

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str], seed: int) -> GRN:
        """Regress every target on all TFs; a target with constant expression gets no edges, and a warning says so."""
        import numpy as np
        import pandas as pd
        from scipy.sparse import csc_matrix

        from llm4grn.grn import COLUMNS, GRN

        genes = list(adata.var_names)
        tfs, targets = split_genes(genes, tf_names)
        position = {gene: i for i, gene in enumerate(genes)}
        expression = csc_matrix(adata.X)
        # Trees see float32 in rows anyway: converted here once, not in every one of the regressions.
        tf_matrix = expression[:, [position[tf] for tf in tfs]].toarray(order="C").astype(np.float32, copy=False)
        targets, responses = _varying(targets, expression[:, [position[target] for target in targets]])
        links = self._regress_all(tf_matrix, tfs, targets, responses, seed)
        found = [table for table in links if len(table)]
        edges = pd.concat(found) if found else pd.DataFrame(columns=COLUMNS)
        return GRN.from_edges(edges, {"method": "grnboost2", "engine": self.engine, "seed": seed, "cells": adata.n_obs})

    def _regress_all(
        self, tf_matrix: np.ndarray, tf_names: list[str], targets: list[str], responses: csc_matrix, seed: int
    ) -> list[pd.DataFrame]:
        """The links of each target, in order, with a progress bar."""
        from joblib import Parallel, delayed, parallel_config

        from llm4grn.progress import progress

        tasks = (
            delayed(_regress)(tf_matrix, tf_names, target, responses[:, i].toarray().ravel(), seed)
            for i, target in enumerate(targets)
        )
        # One thread each: the processes already fill the cores. Idle workers hold several hundred megabytes that the
        # training that follows can use, so they leave soon.
        with parallel_config(
            backend="loky",
            inner_max_num_threads=1,
            idle_worker_timeout=5,
            initializer=_leave_with_parent,
            initargs=(os.getpid(),),
        ):
            results = Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks)
            return list(progress(results, total=len(targets), desc="GRNBoost2", unit="target"))


def _varying(targets: list[str], responses: csc_matrix) -> tuple[list[str], csc_matrix]:
    """The targets whose expression varies: on a constant, boosting finds nothing and never meets its stopping rule."""
    varies = (responses.max(axis=0) != responses.min(axis=0)).toarray().ravel()
    constant = [target for target, keep in zip(targets, varies, strict=True) if not keep]
    if constant:
        logger.warning(
            "GRNBoost2: %d of %d targets have the same expression in all cells and get no regulators, for instance %s",
            *(len(constant), len(targets), constant[0]),
        )
    return [target for target, keep in zip(targets, varies, strict=True) if keep], responses[:, varies]


def _leave_with_parent(parent: int) -> None:
    """Make this worker end when the process that started it does.

    Killed with SIGKILL, that process cannot tell its workers, and they would wait for its next task for good.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _regress(
    tf_matrix: np.ndarray, tf_names: list[str], target: str, expression: np.ndarray, seed: int
) -> pd.DataFrame:
    """Links onto one target: ``TF, target, importance``, those with importance above 0."""
    from arboreto import core
    from sklearn import config_context

    # Checking the same constant arguments again for each of a target's trees is a fifth of the time.
    with config_context(skip_parameter_validation=True):
        links = core.infer_partial_network("GBM", core.SGBM_KWARGS, tf_matrix, tf_names, target, expression, seed=seed)
    # Arboreto tries ten times, logs what went wrong, and hands back this empty table.
    if links is core._GRN_SCHEMA:
        raise RuntimeError(f"GRNBoost2 failed for target {target}: arboreto's log above says why")
    return links
