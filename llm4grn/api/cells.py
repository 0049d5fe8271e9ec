"""Preprocess raw counts in an AnnData into training, validation and test cells."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from llm4grn.api.datasets import DESCRIPTION
from llm4grn.data.preprocess import Preprocessing, split
from llm4grn.data.users_cells import CellChoice, chosen_counts
from llm4grn.knowledge.curated import curated_list

if TYPE_CHECKING:
    from anndata import AnnData

_MIN_CELLS = 10  # as in conf/dataset/h5ad.yaml


@dataclass(frozen=True, eq=False, repr=False)
class SplitCells:
    """Preprocessed cells, split into training, validation and test cells by :func:`preprocess`.

    Parameters
    ----------
    adata
        All cells, (n_cells, n_genes): normalised counts (CSR, float32), genes sorted by name;
        ``obs["split"]`` is ``train``, ``validation`` or ``test``.
    organism
        Organism, which selects the curated list of TFs.
    context
        Description of the cells for a language model, which learns nothing else about them.
    library_size
        Sum of the normalised counts of each cell.
    aliases
        True if lists of TFs are matched by case, former symbols and aliases too.
    """

    adata: AnnData
    organism: str
    context: str
    library_size: float
    aliases: bool = False

    @cached_property
    def train(self) -> AnnData:
        """Cells for inference and training."""
        return split(self.adata, "train")

    @cached_property
    def validation(self) -> AnnData:
        """Cells for model selection."""
        return split(self.adata, "validation")

    @cached_property
    def test(self) -> AnnData:
        """Held-out cells, used for scoring only."""
        return split(self.adata, "test")

    @property
    def genes(self) -> tuple[str, ...]:
        """Names of all genes, in column order."""
        return tuple(map(str, self.adata.var_names))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of counts, gene names and split, which identifies the cells in a store."""
        matrix = self.adata.X.tocsr()
        digest = hashlib.sha256("\n".join([*self.genes, *self.adata.obs["split"].astype(str)]).encode())
        for part in matrix.indptr.astype("int64"), matrix.indices.astype("int64"), matrix.data:
            digest.update(part.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {getattr(self, name).n_obs}" for name in ("train", "validation", "test"))
        return f"SplitCells: {self.adata.n_vars} genes of {self.organism}; cells: {sizes}"


def preprocess(
    adata: AnnData,
    *,
    organism: str | None = None,
    context: str | None = None,
    layer: str | None = None,
    cell_type_column: str | None = None,
    gene_names: str | None = None,
    subset: str | None = None,
    batch: str | None = None,
    round: bool = False,
    aliases: bool | None = None,
    n_genes: int = 1000,
    selection: Literal["pearson_residuals", "seurat_v3", "dispersion"] = "pearson_residuals",
    n_tfs: int | Literal["auto"] = "auto",
    genes: str | None = None,
    min_cells: int | None = None,
    min_genes: int = 10,
    n_test: int = 500,
    n_validation: int = 500,
    library_size: float = 20_000,
    seed: int = 1000,
) -> SplitCells:
    """Select cells and genes, normalise, and split (paper, section 4; protocol section 2).

    Parameters
    ----------
    adata
        Raw counts, (n_cells, n_genes), with unique names. It is not changed.
    organism
        Organism, which selects the curated list that ``n_tfs`` counts by. None takes the value in
        ``adata.uns["llm4grn"]``, which the data sets of :mod:`llm4grn.datasets` have, or else human.
    context
        A few sentences for a language model: organism, tissue, cells, assay. None takes the value in
        ``adata.uns["llm4grn"]``, or else no context.
    layer
        Layer with the raw counts, or ``raw``; None for ``adata.X``.
    cell_type_column
        Column of ``obs`` with cell types; None for ``cell_type``, if it exists.
    gene_names, subset, batch, round
        Column of ``var`` with the names of the genes; query on ``obs``; column of ``obs`` with batches; True to round
        corrected counts: see :class:`~llm4grn.data.users_cells.CellChoice`.
    aliases
        True to match lists of names by case, former symbols and aliases too; None does so except for the data sets of
        :mod:`llm4grn.datasets`.
    min_cells
        Genes expressed in fewer cells are dropped. None takes the value in ``adata.uns["llm4grn"]``, or else 10.
    n_genes, selection, n_tfs, genes, min_genes, n_test, n_validation, library_size
        See :class:`~llm4grn.data.preprocess.Preprocessing`; names and defaults are those of ``conf/dataset``.
    seed
        Seed for the split.

    Raises
    ------
    UserError
        If the matrix does not hold raw counts, or too few cells or genes are left.

    Examples
    --------
    >>> import llm4grn as lg
    >>> lg.preprocess(lg.datasets.pbmc3k(), n_genes=300)
    SplitCells: 300 genes of human; cells: train 1700, validation 500, test 500
    """
    described = {"organism": "human", "context": "", "min_cells": _MIN_CELLS, **adata.uns.get(DESCRIPTION, {})}
    organism = described["organism"] if organism is None else organism
    aliases = DESCRIPTION not in adata.uns if aliases is None else aliases
    preprocessing = Preprocessing(
        n_genes=n_genes,
        min_cells=int(described["min_cells"]) if min_cells is None else min_cells,
        min_genes=min_genes,
        n_test=n_test,
        n_validation=n_validation,
        library_size=library_size,
        selection=selection,
        n_tfs=n_tfs,
        known_tfs=curated_list(organism),
        genes=genes,
        aliases=aliases,
    )
    choice = CellChoice(
        layer=layer,
        cell_type_column=cell_type_column,
        gene_names=gene_names,
        subset=subset,
        batch=batch,
        round=round,
        organism=organism,
    )
    counts = chosen_counts(adata, "adata", choice)
    context = str(described["context"]) if context is None else context
    return SplitCells(preprocessing.run(counts, seed), str(organism), context, library_size, aliases)
