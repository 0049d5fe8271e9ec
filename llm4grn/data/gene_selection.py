"""Selection of genes: the most variable ones by one of three criteria with a minimum number of TFs, or a list."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

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


def read_gene_list(path: str) -> tuple[str, ...]:
    """Read genes from a text file, one per line; empty lines and lines that begin with # are skipped.

    Raises
    ------
    UserError
        If the file cannot be read, has fewer than two genes, or names a gene twice.
    """
    where = f"dataset.preprocessing.genes={path}"
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{where}: cannot be read ({error.strerror}); give a text file with one gene per line"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not a text file; give one with one gene per line") from error
    names = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(names) < 2:
        raise UserError(f"{where}: {len(names)} genes in it, and at least 2 are needed; write one gene per line")
    invalid = next((name for name in names if any(letter in name for letter in "\t,;\0")), None)
    if invalid:
        raise UserError(f"{where}: the line {invalid[:60]!r} is not one gene; write one gene per line")
    if repeated := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise UserError(f"{where}: {shorten(repeated)} more than once; name each gene once")
    return tuple(names)


def listed_positions(wanted: Sequence[str], genes: np.ndarray, expressed: np.ndarray, path: str) -> np.ndarray:
    """Return the positions of the listed genes, ascending, and log which of them are absent or not expressed.

    Raises
    ------
    UserError
        If fewer than two genes are left.
    """
    import numpy as np

    position = {gene: i for i, gene in enumerate(genes)}
    absent = [name for name in wanted if name not in position]
    silent = [name for name in wanted if name in position and not expressed[position[name]]]
    used = [position[name] for name in wanted if name in position and expressed[position[name]]]
    report = f"dataset.preprocessing.genes={path}: {len(used)} of {len(wanted)} genes are used"
    for names, reason in (absent, "are not in the data"), (silent, "are expressed in no cell"):
        report += f"; {len(names)} {reason} ({shorten(names)})" if names else ""
    if len(used) < 2:
        raise UserError(f"{report}; check that the list has the gene names of this data set")
    (logger.warning if absent or silent else logger.info)(report)
    return np.sort(used)


def shorten(names: Sequence[str], limit: int = _SHOWN) -> str:
    """Join the first names and add the number of the others."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
