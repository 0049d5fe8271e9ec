"""From raw counts to normalised training, validation and test cells: section 2 of the protocol, in its order."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm4grn.errors import UserError
from llm4grn.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
_AT_LEAST = {"n_genes": 2, "min_cells": 1, "min_genes": 1, "n_test": 1, "n_validation": 1}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Choose cells and genes, normalise, split (protocol section 2).

    Parameters
    ----------
    n_genes
        Highly variable genes to keep; all, if there are no more.
    min_cells
        Genes expressed in fewer cells are dropped (in the paper: the size of the test set).
    min_genes
        Cells expressing fewer genes are dropped.
    n_test, n_validation
        Cells held out; the rest is for training.
    library_size
        What the chosen genes of each cell sum to afterwards.
    """

    n_genes: int = 1000
    min_cells: int
    min_genes: int = 10
    n_test: int
    n_validation: int
    library_size: float = 20_000

    def __post_init__(self) -> None:
        for field, least in _AT_LEAST.items():
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"dataset.preprocessing.{field}: {value!r} must be an integer of at least {least}")
        size = self.library_size
        if not isinstance(size, int | float) or isinstance(size, bool) or not 0 < size < float("inf"):
            raise UserError(f"dataset.preprocessing.library_size: {size!r} must be a positive number")

    def __call__(self, adata: AnnData, seed: int) -> AnnData:
        """The same as `run`."""
        return self.run(adata, seed)

    def run(self, adata: AnnData, seed: int) -> AnnData:
        """Preprocess raw counts; a pure function of its arguments.

        Cells without any count of the chosen genes cannot be normalised: they are dropped before the split, so that
        the splits have their exact sizes. A gene that step 7 drops leaves the cells that had it a little below
        ``library_size``: the protocol does not normalise again.

        Parameters
        ----------
        adata
            Raw integer counts, cells x genes, CSR, names unique (as sources load them). It is not changed.
        seed
            Seed of the split.

        Returns
        -------
        AnnData
            Float32 CSR, genes sorted by name, cells in the order of the shuffle; ``obs["split"]`` (train, validation,
            test), ``obs["cell_type"]`` if known, ``uns["preprocessing"]`` with arguments, seed and sizes at each step.

        Raises
        ------
        UserError
            If too few cells or genes are left.
        """
        import numpy as np
        from scipy.sparse import csr_matrix

        counts = csr_matrix(adata.X)
        genes = adata.var_names.to_numpy().astype(str)
        cells = np.random.default_rng(derive_seed(seed, "split")).permutation(adata.n_obs)  # 1
        counts, sizes = counts[cells], {"loaded": _size(counts)}
        kept = counts.getnnz(axis=1) >= self.min_genes  # 2
        counts, cells = counts[kept], cells[kept]
        kept = counts.getnnz(axis=0) >= self.min_cells
        counts, genes = counts[:, kept], genes[kept]
        sizes["filtered"] = _size(counts)
        self._check_left(counts)
        if len(genes) > self.n_genes:
            kept = self._highly_variable(counts, genes)  # 3
            counts, genes = counts[:, kept], genes[kept]
        kept = counts.getnnz(axis=1) > 0
        counts, cells = counts[kept], cells[kept]
        sizes["chosen"] = _size(counts)
        self._check_splits(len(cells), adata.n_obs)
        expression = _normalise(counts, self.library_size)  # 4
        by_name = np.argsort(genes)  # 5
        expression, genes = expression[:, by_name], genes[by_name]
        split = self._split_labels(len(cells))  # 6
        kept = self._in_every_split(expression, split)  # 7
        expression, genes = expression[:, kept], genes[kept]
        sizes["result"] = _size(expression)
        return self._assemble(adata, expression, cells, genes, split, seed, sizes)

    def _check_left(self, counts: csr_matrix) -> None:
        n_cells, n_genes = counts.shape
        if n_cells == 0:
            raise UserError(f"dataset.preprocessing.min_genes: no cell expresses {self.min_genes} genes; lower it")
        if n_genes < 2:
            raise UserError(
                f"dataset.preprocessing.min_cells: {n_genes} genes are expressed in {self.min_cells} or more of "
                f"{n_cells} cells, and 2 are needed; lower it"
            )
        if n_genes < self.n_genes:
            logger.warning(
                "dataset.preprocessing.n_genes: %d asked, but %d are expressed in min_cells=%d cells or more: all kept",
                *(self.n_genes, n_genes, self.min_cells),
            )

    def _check_splits(self, n_cells: int, n_loaded: int) -> None:
        if n_cells <= self.n_test + self.n_validation:
            raise UserError(
                f"dataset.preprocessing.n_test={self.n_test} and dataset.preprocessing.n_validation="
                f"{self.n_validation} leave no cell to train on: {n_cells} of the {n_loaded} loaded are usable; "
                f"lower them"
            )

    def _highly_variable(self, counts: csr_matrix, genes: np.ndarray) -> np.ndarray:
        """Positions of the ``n_genes`` most variable genes by scanpy's default flavour; ties go by name."""
        import anndata
        import numpy as np
        import scanpy

        adata = anndata.AnnData(_normalise(counts, self.library_size))
        scanpy.pp.log1p(adata)
        table = scanpy.pp.highly_variable_genes(adata, n_top_genes=self.n_genes, inplace=False)
        dispersion = np.nan_to_num(table["dispersions_norm"].to_numpy(), nan=-np.inf)
        # scanpy keeps all genes that tie at the threshold: more than asked
        return np.sort(np.lexsort((genes, -dispersion))[: self.n_genes])

    def _split_labels(self, n_cells: int) -> np.ndarray:
        import numpy as np

        held_out = self.n_validation + self.n_test
        sizes = [self.n_validation, self.n_test, n_cells - held_out]
        return np.repeat(["validation", "test", "train"], sizes)

    def _in_every_split(self, expression: csr_matrix, split: np.ndarray) -> np.ndarray:
        import numpy as np

        kept = np.all([expression[split == name].getnnz(axis=0) > 0 for name in SPLITS], axis=0)
        if kept.sum() < 2:
            raise UserError(
                f"dataset.preprocessing.min_cells: only {kept.sum()} genes are expressed in every split; raise it, or "
                f"n_test and n_validation"
            )
        if not kept.all():
            logger.warning("%d genes are expressed in no cell of some split and are dropped", (~kept).sum())
        return kept

    def _assemble(
        self,
        adata: AnnData,
        expression: csr_matrix,
        cells: np.ndarray,
        genes: np.ndarray,
        split: np.ndarray,
        seed: int,
        sizes: dict[str, dict[str, int]],
    ) -> AnnData:
        import anndata
        import pandas as pd

        obs = pd.DataFrame({"split": pd.Categorical(split, categories=list(SPLITS))}, index=adata.obs_names[cells])
        if "cell_type" in adata.obs:
            obs["cell_type"] = pd.Categorical(adata.obs["cell_type"].to_numpy()[cells])
        provenance = dataclasses.asdict(self) | {"seed": seed, "sizes": sizes}
        expression.sort_indices()
        return anndata.AnnData(expression, obs=obs, var=pd.DataFrame(index=genes), uns={"preprocessing": provenance})


def split(adata: AnnData, name: str) -> AnnData:
    """The cells of one split, ``train``, ``validation`` or ``test``, as a copy."""
    if name not in SPLITS:
        raise ValueError(f"{name!r} is none of {SPLITS}")
    return adata[(adata.obs["split"] == name).to_numpy()].copy()


def _normalise(counts: csr_matrix, library_size: float) -> csr_matrix:
    """Counts scaled so that each non-empty cell sums to ``library_size``, float32."""
    import numpy as np

    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scaled = counts.astype(np.float64)
    scaled.data *= np.repeat(library_size / np.maximum(totals, 1), np.diff(counts.indptr))
    return scaled.astype(np.float32)


def _size(counts: csr_matrix) -> dict[str, int]:
    return {"cells": int(counts.shape[0]), "genes": int(counts.shape[1])}
