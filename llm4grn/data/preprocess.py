"""Preprocessing of raw counts to normalised training, validation and test cells (section 2 of the protocol)."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from llm4grn.data.gene_selection import (
    Selection,
    TFList,
    check_is_installed,
    listed_positions,
    most_variable,
    read_gene_list,
    variability,
    variability_in_batches,
)
from llm4grn.data.name_lists import NameList
from llm4grn.data.names import Matched, match_names
from llm4grn.errors import UserError
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import FilePath, NonNegative, Positive, check_fields

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
# At their defaults, which follow the protocol, these fields are left out of the key, so that older keys stay valid.
_OPTIONAL = {"optional": True}
_AUTO_TFS = 200
#: Number of training cells below which a user is warned.
FEW_CELLS = 100


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Selection of cells and genes, normalisation, and split (section 2 of the protocol).

    Parameters
    ----------
    n_genes
        Number of highly variable genes to keep; all genes if there are fewer.
    selection
        Criterion of variability: ``dispersion`` (the protocol), ``pearson_residuals`` or ``seurat_v3``, see
        :func:`~llm4grn.data.gene_selection.variability`.
    n_tfs
        Minimum number of TFs of ``known_tfs`` among the genes kept, the most variable ones by the same criterion; all
        TFs if there are fewer. ``auto``: 200, or a fifth of ``n_genes`` if that is less.
    known_tfs
        List of TFs for ``n_tfs``; None if there is none for the organism.
    genes
        Text file with the genes to keep, one per line, regardless of their variability and ``min_cells``.
    aliases
        True to match ``known_tfs`` and ``genes`` by case, former symbols and aliases too, see
        :func:`~llm4grn.data.names.match_names`; False to match them exactly.
    min_cells
        Genes expressed in fewer cells are dropped (in the paper: the size of the test set).
    min_genes
        Cells that express fewer genes are dropped.
    n_test, n_validation
        Numbers of held-out cells; the others are for training.
    library_size
        Sum of the selected genes in each cell after normalisation.
    """

    n_genes: Annotated[int, Field(ge=2)] = 1000
    min_cells: Positive
    min_genes: Positive = 10
    n_test: Positive
    n_validation: Positive
    library_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20_000
    selection: Selection = field(default="dispersion", metadata=_OPTIONAL)
    n_tfs: Literal["auto"] | NonNegative = field(default=0, metadata=_OPTIONAL)
    known_tfs: TFList | None = field(default=None, compare=False)  # in the key if n_tfs uses it, see fingerprint
    genes: FilePath | None = field(default=None, compare=False)  # the key holds the file's content, see fingerprint
    aliases: bool = field(default=False, metadata=_OPTIONAL)

    def __post_init__(self) -> None:
        check_fields(self, "dataset.preprocessing")
        check_is_installed(self.selection)
        if self.n_tfs != "auto" and self.n_tfs >= self.n_genes:
            raise UserError(
                f"dataset.preprocessing.n_tfs={self.n_tfs}: expected auto, or a whole number from 0 to below "
                f"dataset.preprocessing.n_genes={self.n_genes}"
            )
        _ = self.listed  # raises UserError for an invalid file before any work is done

    @cached_property
    def listed(self) -> tuple[str, ...] | None:
        """Genes of the file ``genes``; None without a file."""
        return None if self._gene_list is None else self._gene_list.names

    @cached_property
    def _gene_list(self) -> NameList | None:
        return None if self.genes is None else read_gene_list(self.genes)

    def _match(self, names: Sequence[str], genes: np.ndarray) -> Matched:
        """Return what becomes of the names of a list among the genes of the data."""
        if not self.aliases:
            known = set(genes)
            found = {name: name for name in names if name in known}
            return Matched(found, absent=tuple(name for name in names if name not in known), n_genes=len(known))
        return match_names(names, list(genes), None if self.known_tfs is None else self.known_tfs.organism)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the listed genes and of the known TFs, if they affect which genes are kept."""
        parts = {}
        if self.listed is not None:
            parts["genes"] = hashlib.sha256("\n".join(sorted(self.listed)).encode()).hexdigest()
        if self.n_tfs != 0 and self.known_tfs is not None:
            parts |= self.known_tfs.fingerprint()
        return parts

    def __call__(self, adata: AnnData, seed: int) -> AnnData:
        """Preprocess raw counts, see `run`."""
        return self.run(adata, seed)

    def run(self, adata: AnnData, seed: int) -> AnnData:
        """Preprocess raw counts; a pure function of its arguments.

        Cells without any count of the selected genes cannot be normalised; they are dropped before the split, so that
        the splits have their exact sizes. The cells that express a gene dropped in step 7 sum to slightly less than
        ``library_size``, because the protocol does not normalise again.

        Parameters
        ----------
        adata
            Raw integer counts, cells x genes, CSR, with unique names (as loaded by sources). It is not modified. With
            ``obs["batch"]``, each batch is split in the same proportions, and genes are chosen by their variability
            within batches.
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
        if self.listed is None:
            kept = counts.getnnz(axis=0) >= self.min_cells
            counts, genes = counts[:, kept], genes[kept]
        sizes["filtered"] = _size(counts)
        self._check_left(counts)
        batches = adata.obs["batch"].to_numpy().astype(str) if "batch" in adata.obs else None
        kept = self._chosen(counts, genes, cells, batches)  # 3
        counts, genes = counts[:, kept], genes[kept]
        kept = counts.getnnz(axis=1) > 0
        counts, cells = counts[kept], cells[kept]
        sizes["chosen"] = _size(counts)
        self._check_splits(len(cells), adata.n_obs)
        expression = _normalise(counts, self.library_size)  # 4
        by_name = np.argsort(genes)  # 5
        expression, genes = expression[:, by_name], genes[by_name]
        split = self._split_labels(len(cells), None if batches is None else batches[cells])  # 6
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
                f"lower them, for instance dataset.preprocessing.n_test={max(1, n_cells // 4)} "
                f"dataset.preprocessing.n_validation={max(1, n_cells // 8)}"
            )
        n_train = n_cells - self.n_test - self.n_validation
        if n_train < FEW_CELLS:
            logger.warning(
                "%d cells are left to train on (dataset.preprocessing.n_test=%d, n_validation=%d): too few to infer a "
                "network or to train a generator, so the scores will tell little",
                *(n_train, self.n_test, self.n_validation),
            )

    def _chosen(
        self, counts: csr_matrix, genes: np.ndarray, cells: np.ndarray, batches: np.ndarray | None
    ) -> np.ndarray:
        """Return the positions of the genes to keep, ascending."""
        import numpy as np

        if self._gene_list is not None:
            matched = self._match(self._gene_list.names, genes)
            return listed_positions(self._gene_list, matched, genes, counts.getnnz(axis=0) > 0, str(self.genes))
        tfs, n_tfs = self._wanted_tfs(genes)
        if len(genes) <= self.n_genes:
            return np.arange(len(genes))
        if self.selection != "dispersion":  # its sums have always been over shuffled cells, which affects rounding
            cells, counts = np.sort(cells), counts[np.argsort(cells)]  # so that every seed selects the same genes
        normalised = _normalise(counts, self.library_size)
        if batches is None:
            values = variability(counts, self.selection, normalised)
        else:
            values = variability_in_batches(counts, self.selection, normalised, batches[cells], self.n_genes)
        return most_variable(values, genes, self.n_genes, tfs, n_tfs)

    def _wanted_tfs(self, genes: np.ndarray) -> tuple[set[str], int]:
        """Return the known TFs among the genes and the minimum number to keep, and log if there are too few."""
        n_tfs = min(_AUTO_TFS, self.n_genes // 5) if self.n_tfs == "auto" else int(self.n_tfs)
        if n_tfs == 0:
            return set(), 0
        if self.known_tfs is None:
            logger.warning("no curated list of TFs for this organism: genes are chosen by their variability alone")
            return set(), 0
        tfs = set(self._match(self.known_tfs.symbols, genes).genes.values())
        if len(tfs) < n_tfs:
            (logger.info if self.n_tfs == "auto" else logger.warning)(
                "dataset.preprocessing.n_tfs=%s: %d of the %d usable genes are TFs, fewer than %d: all are kept",
                *(self.n_tfs, len(tfs), len(genes), n_tfs),
            )
        return tfs, n_tfs

    def _split_labels(self, n_cells: int, batches: np.ndarray | None) -> np.ndarray:
        """Return the split of each cell; cells are in random order, so the first of each batch are held out."""
        import numpy as np

        held_out = self.n_validation + self.n_test
        if batches is None:
            sizes = [self.n_validation, self.n_test, n_cells - held_out]
            return np.repeat(["validation", "test", "train"], sizes)
        labels = np.full(n_cells, "train", dtype="U10")
        names, codes, counts = np.unique(batches, return_inverse=True, return_counts=True)
        n_validation, n_both = apportioned(self.n_validation, counts), apportioned(held_out, counts)
        for batch in range(len(names)):
            own = np.flatnonzero(codes == batch)
            labels[own[: n_both[batch]]] = "test"
            labels[own[: min(n_validation[batch], n_both[batch])]] = "validation"
        return labels

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
        if "batch" in adata.obs:
            obs["batch"] = pd.Categorical(adata.obs["batch"].to_numpy()[cells])
        provenance = self._arguments() | {"seed": seed, "sizes": sizes}
        expression.sort_indices()
        return anndata.AnnData(expression, obs=obs, var=pd.DataFrame(index=genes), uns={"preprocessing": provenance})

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments for the provenance; optional fields only if they are not at their default."""
        decisive = [f for f in dataclasses.fields(self) if f.compare]
        at_rest = {f.name for f in decisive if f.metadata.get("optional") and getattr(self, f.name) == f.default}
        return {f.name: getattr(self, f.name) for f in decisive if f.name not in at_rest} | self.fingerprint()


def split(adata: AnnData, name: str) -> AnnData:
    """Return a copy of the cells of one split: ``train``, ``validation`` or ``test``."""
    if name not in SPLITS:
        raise ValueError(f"{name!r} is none of {SPLITS}")
    return adata[(adata.obs["split"] == name).to_numpy()].copy()


def apportioned(n: int, sizes: np.ndarray) -> np.ndarray:
    """Divide ``n`` among groups in proportion to their sizes, the remainders going to the largest fractions.

    Examples
    --------
    >>> import numpy as np
    >>> apportioned(10, np.array([50, 30, 25]))
    array([5, 3, 2])
    """
    import numpy as np

    shares = n * sizes / sizes.sum()
    whole = np.floor(shares).astype(int)
    first = np.argsort(whole - shares, kind="stable")[: n - whole.sum()]
    whole[first] += 1
    return whole


def _normalise(counts: csr_matrix, library_size: float) -> csr_matrix:
    """Scale counts so that each non-empty cell sums to ``library_size``; float32."""
    import numpy as np

    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scaled = counts.astype(np.float64)
    scaled.data *= np.repeat(library_size / np.maximum(totals, 1), np.diff(counts.indptr))
    return scaled.astype(np.float32)


def _size(counts: csr_matrix) -> dict[str, int]:
    return {"cells": int(counts.shape[0]), "genes": int(counts.shape[1])}
