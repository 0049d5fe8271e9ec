"""Sources of raw counts: one class for each kind of source, all with the same three methods.

``prepare`` provides the files, ``fingerprint`` identifies their content (not their location), ``load`` reads them.
Heavy libraries are imported only by ``load``, so a run that finds its stages in the store does not import them.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llm4grn.data import readers
from llm4grn.data.tutorial import TutorialArchive
from llm4grn.data.users_files import CellFile, H5ad, TenX
from llm4grn.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

__all__ = ["CellFile", "H5ad", "PBMC3k", "PBMC68kReduced", "Source", "TenX", "TutorialArchive"]

logger = logging.getLogger(__name__)


class Source(Protocol):
    """The interface of a source of counts."""

    def prepare(self) -> None:
        """Download missing files and check the files without reading them; raises UserError."""
        ...

    def fingerprint(self) -> dict[str, str]:
        """Return what determines the content: SHA-256 digests of the files and the arguments of reading them."""
        ...

    def load(self) -> AnnData:
        """Load integer CSR counts, cells x genes, with unique names and ``obs["cell_type"]`` if known.

        Raises
        ------
        UserError
            If a file cannot be read or does not hold raw counts.
        """
        ...


@dataclass(frozen=True)
class PBMC3k:
    """2,700 blood cells x 13,714 genes, shipped with the package (``embedded/README.md``)."""

    @property
    def path(self) -> Path:
        return Path(__file__).with_name("embedded") / "pbmc3k_counts.h5ad"

    def prepare(self) -> None:
        readers.check_is_h5ad(self.path, "dataset=pbmc3k")

    def fingerprint(self) -> dict[str, str]:
        return {"counts": readers.digest(self.path), "cell_types": "cell_type"}

    def load(self) -> AnnData:
        adata = readers.read_h5ad(self.path, "dataset=pbmc3k")
        return readers.as_counts(adata, "pbmc3k", adata.obs["cell_type"])


@dataclass(frozen=True)
class PBMC68kReduced:
    """700 blood cells x 765 genes, shipped with scanpy; the integer counts are recovered from its ``raw``."""

    @property
    def path(self) -> Path:
        package = importlib.util.find_spec("scanpy")
        if package is None or not package.submodule_search_locations:
            raise UserError("dataset=pbmc68k_reduced: scanpy, which ships this file, is not installed; run make setup")
        return Path(package.submodule_search_locations[0]) / "datasets" / "10x_pbmc68k_reduced.h5ad"

    def prepare(self) -> None:
        readers.check_is_h5ad(self.path, "dataset=pbmc68k_reduced")

    def fingerprint(self) -> dict[str, str]:
        return {"counts": readers.digest(self.path), "cell_types": "bulk_labels"}

    def load(self) -> AnnData:
        import anndata

        stored = readers.read_h5ad(self.path, "dataset=pbmc68k_reduced")
        counts = recover_counts(stored.raw.X.tocsr(), stored.obs["n_counts"].to_numpy(), str(self.path))
        adata = anndata.AnnData(counts, obs=stored.obs[[]], var=stored.raw.var[[]])
        return readers.as_counts(adata, "pbmc68k_reduced", stored.obs["bulk_labels"])


def recover_counts(rounded: csr_matrix, n_counts: object, name: str) -> csr_matrix:
    """Recover integer counts from log1p of counts per 10,000, rounded to 3 decimals.

    Parameters
    ----------
    rounded
        Rounded values, shape (n_cells, n_genes).
    n_counts
        Total counts of each cell, shape (n_cells,).
    name
        Name of the data for messages.

    Raises
    ------
    UserError
        If a recovered value is further from an integer than the rounding explains, or the nearest integer is ambiguous.
    """
    import numpy as np

    scale = np.repeat(np.asarray(n_counts, dtype=np.float64) / 1e4, np.diff(rounded.indptr))
    recovered = np.expm1(rounded.data.astype(np.float64)) * scale
    deviation = np.abs(recovered - np.rint(recovered))
    # half a unit of the third decimal and a margin for float32, times the slope at each value
    explained = np.minimum((recovered + scale) * np.expm1(5.1e-4), 0.49)
    if (deviation > explained).any():
        worst = deviation[deviation > explained].max()
        raise UserError(f"{name}: the counts do not come back (off by up to {worst:.3g}); reinstall scanpy: make setup")
    logger.info("%s: integer counts recovered, largest deviation %.3f", name, deviation.max(initial=0))
    counts = rounded.copy()
    counts.data = np.rint(recovered).astype(np.int32)
    return counts
