"""Sources of raw counts: one class for each kind of source, all with the same three methods.

``prepare`` provides the files, ``fingerprint`` identifies their content (not their location), ``load`` reads them.
Heavy libraries are imported only by ``load``, so a run that finds its stages in the store does not import them.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llm4grn.data import readers
from llm4grn.data.tutorial import TutorialArchive
from llm4grn.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

__all__ = ["H5ad", "PBMC3k", "PBMC68kReduced", "Source", "TenX", "TutorialArchive"]

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


@dataclass(frozen=True)
class H5ad:
    """The user's own .h5ad file.

    Parameters
    ----------
    path
        Path of the file.
    layer
        Layer with the raw counts; ``raw`` means ``adata.raw`` unless a layer has that name; None means ``adata.X``.
    cell_type_column
        Column of ``obs`` with cell types; None means ``cell_type`` if it exists.
    """

    path: str = field(compare=False)  # the key holds the file's content, see fingerprint
    layer: str | None = None
    cell_type_column: str | None = None

    def __post_init__(self) -> None:
        _require_path(self.path)

    @property
    def file(self) -> Path:
        return Path(self.path).expanduser()

    def prepare(self) -> None:
        readers.check_is_h5ad(self.file, "dataset.path")

    def fingerprint(self) -> dict[str, str]:
        arguments = {"layer": self.layer or "", "cell_types": self.cell_type_column or ""}
        return {"counts": readers.digest(self.file)} | arguments

    def load(self) -> AnnData:
        adata = readers.read_h5ad(self.file, "dataset.path")
        return select_counts(adata, self.path, self.layer, self.cell_type_column)


def select_counts(adata: AnnData, name: str, layer: str | None, cell_type_column: str | None) -> AnnData:
    """Return the raw counts of a user's AnnData, checked, with ``obs["cell_type"]`` if it is known.

    Parameters
    ----------
    adata
        It is not changed.
    name
        What messages call it: its path, for instance.
    layer, cell_type_column
        See :class:`H5ad`.

    Raises
    ------
    UserError
        If there is no such layer or column, or the matrix holds no raw counts.
    """
    column = cell_type_column
    if column is not None and column not in adata.obs:
        have = ", ".join(map(str, adata.obs.columns)) or "none"
        raise UserError(f"dataset.cell_type_column: {name} has no obs column {column} (columns: {have})")
    if column is None and "cell_type" in adata.obs:
        column = "cell_type"
    cell_types = None if column is None else adata.obs[column]
    shown = name if layer is None else f"{name} (layer {layer})"
    return readers.as_counts(_with_layer(adata, name, layer), shown, cell_types)


def _with_layer(adata: AnnData, name: str, layer: str | None) -> AnnData:
    import anndata

    if layer is None:
        return adata
    if layer in adata.layers:
        # With all layers: a message about what is no count names them.
        return anndata.AnnData(adata.layers[layer], obs=adata.obs, var=adata.var, layers=dict(adata.layers))
    if layer == "raw" and adata.raw is not None:
        return adata.raw.to_adata()
    layers = sorted(adata.layers) + (["raw"] if adata.raw is not None else [])
    have = f"layers: {', '.join(layers)}" if layers else "it has none: leave dataset.layer out"
    raise UserError(f"dataset.layer: {name} has no layer {layer} ({have})")


@dataclass(frozen=True)
class TenX:
    """The user's own 10x folder: ``matrix.mtx``, ``genes.tsv`` or ``features.tsv``, ``barcodes.tsv``, each also as .gz.

    Parameters
    ----------
    path
        Path of the folder.
    annotations
        Table of cell types with columns ``barcodes`` and ``celltype``: tab-separated, or comma-separated if it ends in
        .csv.
    """

    path: str = field(compare=False)  # the key holds the files' content, see fingerprint
    annotations: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _require_path(self.path)

    @property
    def _table(self) -> Path | None:
        return Path(self.annotations).expanduser() if self.annotations else None

    def _files(self) -> dict[str, Path]:
        return readers.tenx_files(Path(self.path).expanduser(), "dataset.path")

    def prepare(self) -> None:
        self._files()
        if self._table is not None and not self._table.is_file():
            raise UserError(f"dataset.annotations: there is no file {self._table}; give a table of cell types, or null")

    def fingerprint(self) -> dict[str, str]:
        files = self._files() | ({} if self._table is None else {"annotations": self._table})
        return {role: readers.digest(path) for role, path in files.items()}

    def load(self) -> AnnData:
        adata = readers.read_10x(self._files(), self._table, "dataset.path", "dataset.annotations")
        return readers.as_counts(adata, self.path, adata.obs.get("cell_type"))


def _require_path(path: object) -> None:
    if not isinstance(path, str) or not path.strip():
        raise UserError(f"dataset.path: {path!r} is no path; give dataset.path=FILE_OR_FOLDER")
