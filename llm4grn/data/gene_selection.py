"""Selection of genes: the most variable ones by one of three criteria with a minimum number of TFs, or a list."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from llm4grn.data.name_lists import NameList, read_name_file
from llm4grn.data.names import Matched, shortened
from llm4grn.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

Selection = Literal["dispersion", "pearson_residuals", "seurat_v3"]
_THETA = 100  # overdispersion of the negative binomial behind the Pearson residuals (Lause et al. 2021)
_SHOWN = 10


class TFList(Protocol):
    """A list of transcription factors that does not depend on the cells."""

    @property
    def organism(self) -> str:
        """Organism, which has or has not a table of other symbols."""
        ...

    @property
    def symbols(self) -> Sequence[str]:
        """Gene symbols."""
        ...

    def fingerprint(self) -> dict[str, str]:
        """Return a digest of the symbols."""
        ...


def variability(counts: csr_matrix, selection: str, normalised: csr_matrix) -> np.ndarray:
    """Compute the variability of each gene by one criterion; genes without a value get minus infinity.

    Parameters
    ----------
    counts
        Raw counts, shape (n_cells, n_genes).
    selection
        ``dispersion``: scanpy's default flavour, on log1p of ``normalised`` (the protocol, section 2).
        ``pearson_residuals``: variance of the Pearson residuals of the raw counts (Lause et al. 2021).
        ``seurat_v3``: variance of the raw counts, standardised by its trend over the means (Stuart et al. 2019).
    normalised
        The same cells, normalised to one library size.

    Raises
    ------
    UserError
        If the package of ``seurat_v3`` is not installed.
    """
    import anndata
    import numpy as np
    import scanpy

    if selection == "dispersion":
        adata = anndata.AnnData(normalised)
        scanpy.pp.log1p(adata)
        # n_top_genes does not affect the values, only which genes scanpy marks
        table, column = scanpy.pp.highly_variable_genes(adata, n_top_genes=1, inplace=False), "dispersions_norm"
    elif selection == "pearson_residuals":
        table = scanpy.experimental.pp.highly_variable_genes(
            anndata.AnnData(counts.astype(np.float32)), theta=_THETA, n_top_genes=1, inplace=False
        )
        column = "residual_variances"
    else:
        check_is_installed(selection)
        adata = anndata.AnnData(counts.astype(np.float32))
        table = scanpy.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=1, inplace=False)
        column = "variances_norm"
    return np.nan_to_num(table[column].to_numpy(), nan=-np.inf)


def variability_in_batches(
    counts: csr_matrix, selection: str, normalised: csr_matrix, batches: np.ndarray, n_genes: int
) -> np.ndarray:
    """Rank genes by their variability within batches as scanpy does, and return values that descend with the rank.

    Genes that are among the ``n_genes`` most variable ones of more batches come first, and of these the ones that are
    more variable on average (``dispersion``) or rank higher in the median batch (the other criteria).

    Parameters
    ----------
    counts, selection, normalised
        See :func:`variability`.
    batches
        Batch of each cell.
    n_genes
        Number of genes that are counted as most variable in a batch.
    """
    import anndata
    import numpy as np
    import pandas as pd
    import scanpy

    obs = pd.DataFrame({"batch": pd.Categorical(batches)}, index=[str(i) for i in range(counts.shape[0])])
    n_top = min(n_genes, counts.shape[1])
    if selection == "dispersion":
        adata = anndata.AnnData(normalised, obs=obs)
        scanpy.pp.log1p(adata)
        scanpy.pp.highly_variable_genes(adata, n_top_genes=n_top, batch_key="batch")
        order = {"highly_variable_nbatches": False, "dispersions_norm": False}
    else:
        adata = anndata.AnnData(counts.astype(np.float32), obs=obs)
        if selection == "pearson_residuals":
            scanpy.experimental.pp.highly_variable_genes(adata, theta=_THETA, n_top_genes=n_top, batch_key="batch")
            order = {"highly_variable_nbatches": False, "highly_variable_rank": True}
        else:
            check_is_installed(selection)
            scanpy.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=n_top, batch_key="batch")
            order = {"highly_variable_rank": True, "highly_variable_nbatches": False}
    table = adata.var.reset_index(drop=True)
    ranked = table.sort_values(list(order), ascending=list(order.values()), na_position="last", kind="stable").index
    values = np.empty(len(table))
    values[ranked] = -np.arange(len(table), dtype=float)
    return values


def most_variable(values: np.ndarray, genes: np.ndarray, n_genes: int, tfs: Collection[str], n_tfs: int) -> np.ndarray:
    """Return the positions of the genes to keep, ascending: the most variable TFs, then the most variable others.

    Parameters
    ----------
    values
        Variability of each gene, from :func:`variability`; ties are ordered by name.
    genes
        Gene names.
    n_genes
        Number of genes to keep.
    tfs
        Known TFs, of which at least ``n_tfs`` are kept, or all if fewer are among the genes.
    n_tfs
        Minimum number of TFs, at most ``n_genes``.

    Examples
    --------
    >>> import numpy as np
    >>> most_variable(np.array([5.0, 4.0, 3.0, 2.0]), np.array(["A", "B", "C", "D"]), 2, {"C", "D"}, 1)
    array([0, 2])
    """
    import numpy as np

    by_value = np.lexsort((genes, -values))
    is_tf = np.isin(genes[by_value], sorted(tfs))
    first = by_value[is_tf][:n_tfs]
    others = by_value[~np.isin(by_value, first)][: n_genes - len(first)]
    return np.sort(np.concatenate([first, others]))


def check_is_installed(selection: str) -> None:
    """Raise UserError if the package of a selection is not installed."""
    import importlib.util

    if selection == "seurat_v3" and importlib.util.find_spec("skmisc") is None:
        raise UserError(
            "dataset.preprocessing.selection=seurat_v3: scikit-misc is not installed; run "
            "pip install 'llm4grn[seurat]', or choose pearson_residuals"
        )


def read_gene_list(path: str) -> NameList:
    """Read genes from a text file, see :func:`~llm4grn.data.name_lists.read_names`.

    Raises
    ------
    UserError
        If the file cannot be read, or has fewer than two genes.
    """
    where = f"dataset.preprocessing.genes={path}"
    try:
        listed = read_name_file(path)
    except UserError as error:
        raise UserError(f"{where}: {error}; give a text file with one gene per line") from error
    if len(listed.names) < 2:
        raise UserError(f"{where}: {len(listed.names)} genes in it, and at least 2 are needed; write one gene per line")
    return listed


def listed_positions(
    listed: NameList, matched: Matched, genes: np.ndarray, expressed: np.ndarray, path: str
) -> np.ndarray:
    """Return the positions of the listed genes, ascending, and log which of them are absent or not expressed.

    Parameters
    ----------
    listed
        Content of the file.
    matched
        What became of its names among ``genes``.
    genes, expressed
        Genes of the data, and whether any cell expresses them.
    path
        Path of the file, for messages.

    Raises
    ------
    UserError
        If fewer than two genes are left.
    """
    import numpy as np

    position = {gene: i for i, gene in enumerate(genes)}
    found = list(dict.fromkeys(matched.genes.values()))
    silent = [gene for gene in found if not expressed[position[gene]]]
    used = [position[gene] for gene in found if expressed[position[gene]]]
    report = f"dataset.preprocessing.genes={path}: {len(used)} of {len(listed.names)} genes are used"
    renamed = [f"{name} = {matched.genes[name]}" for name in (*matched.other_case, *matched.other_symbol)]
    doubtful = [f"{name} could be {' or '.join(could)}" for name, could in matched.ambiguous.items()]
    for names, reason in (
        (renamed, "by other case or symbols"),
        (doubtful, "are ambiguous"),
        (matched.absent, "are not in the data"),
        (silent, "are expressed in no cell"),
    ):
        report += f"; {len(names)} {reason} ({shortened(names, _SHOWN)})" if names else ""
    if listed.n_entries > len(listed.names):
        report += f"; the file has {listed.report()}"
    if len(used) < 2:
        raise UserError(f"{report}; check that the list has the gene names of this data set")
    (logger.warning if matched.absent or silent or doubtful else logger.info)(report)
    return np.sort(used)
