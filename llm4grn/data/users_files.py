"""The user's own files of cells: one class for each option ``dataset=h5ad|mtx|file``."""

from __future__ import annotations

import difflib
import gzip
import logging
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.data import readers
from llm4grn.data.expression import chosen_expression
from llm4grn.data.hdf5_files import ZARR_GROUP, read_zarr, zarr_root
from llm4grn.data.matrix_tables import GenesIn
from llm4grn.data.text_tables import GZIP_MAGIC
from llm4grn.data.users_cells import CellChoice, chosen_counts
from llm4grn.errors import UserError
from llm4grn.validation import check_fields

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

_OPTIONAL = {"optional": True}  # left out of the key at its default
_FIELD = "dataset.path"
# Raised whenever files are read differently, so that cells that were read before are read again.
_READER = {"reader": "2"}
_FOREIGN = {  # first bytes of files that no reader of Python should be expected to open
    b"version https://git-lfs": "is a pointer of Git LFS and not the file; run git lfs pull",
    b"!Series": "is a series matrix of GEO, which describes samples; take the counts among its supplementary files",
    b"<!DOCTYPE": "is a web page; download the file itself",
    b"<!doctype": "is a web page; download the file itself",
    b"<html": "is a web page; download the file itself",
    b"PAR1": "is a Parquet file; write it with pandas as .csv, or as .h5ad",
    b"ARROW1": "is a Feather file; write it with pandas as .csv, or as .h5ad",
    b"PK\x03\x04": "is a zip archive or a spreadsheet (.xlsx); unpack it, or save the sheet as .csv (symbols such as "
    "MARCH1 may be dates in it)",
    b"RDX": "is of R (.RData); write the counts in R with DropletUtils::write10xCounts",
    b"X\n": "is of R (.rds); write the counts in R with DropletUtils::write10xCounts",
    b"BZh": "is compressed with bzip2; unpack it",
    b"\xfd7zXZ": "is compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it",
}


@dataclass(frozen=True)
class UsersCells:
    """What all of the user's own files have in common.

    Parameters
    ----------
    path
        Path of the file or folder.
    layer, cell_type_column, gene_names, subset, batch, round, organism
        See :class:`~llm4grn.data.users_cells.CellChoice`.
    """

    path: str = field(compare=False)  # the key holds the files' content, see fingerprint
    gene_names: str | None = field(default=None, metadata=_OPTIONAL, kw_only=True)
    subset: str | None = field(default=None, metadata=_OPTIONAL, kw_only=True)
    batch: str | None = field(default=None, metadata=_OPTIONAL, kw_only=True)
    round: bool = field(default=False, metadata=_OPTIONAL, kw_only=True)
    organism: str | None = field(default=None, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path.strip():
            raise UserError(f"{_FIELD}: {self.path!r} is no path; give {_FIELD}=FILE_OR_FOLDER")
        check_fields(self, "dataset")

    @property
    def file(self) -> Path:
        """The path, with ``~`` as the home folder."""
        return Path(self.path).expanduser()

    def _choice(self, **more: Any) -> CellChoice:
        names = ("gene_names", "subset", "batch", "round", "organism")
        return CellChoice(**{name: getattr(self, name) for name in names}, **more)


@dataclass(frozen=True)
class H5ad(UsersCells):
    """The user's own .h5ad file; 10x's .h5, .loom and .h5mu are read too.

    Parameters
    ----------
    path
        Path of the file.
    layer
        Layer with the raw counts; ``raw`` means ``adata.raw`` unless a layer has that name; None means ``adata.X``.
    cell_type_column
        Column of ``obs`` with cell types; None means ``cell_type`` if it exists.
    gene_names, subset, batch, round, organism
        See :class:`~llm4grn.data.users_cells.CellChoice`.
    """

    layer: str | None = None
    cell_type_column: str | None = None

    def prepare(self) -> None:
        """Check that the file has the signature of its format."""
        readers.check_is_h5ad(self.file, _FIELD)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the file and the arguments of reading it."""
        arguments = {"layer": self.layer or "", "cell_types": self.cell_type_column or ""}
        return {"counts": readers.digest(self.file), **arguments, **_READER}

    def load(self) -> AnnData:
        """Load the counts."""
        adata = readers.read_h5ad(self.file, _FIELD)
        return chosen_counts(adata, self.path, self._choice(layer=self.layer, cell_type_column=self.cell_type_column))


@dataclass(frozen=True)
class TenX(UsersCells):
    """The user's own 10x folder: ``matrix.mtx``, ``genes.tsv`` or ``features.tsv``, ``barcodes.tsv``, each also as .gz.

    Parameters
    ----------
    path
        Path of the folder.
    annotations
        Table of cell types with columns ``barcodes`` and ``celltype``: tab-separated, or comma-separated if it ends in
        .csv.
    gene_names, subset, batch, round, organism
        See :class:`~llm4grn.data.users_cells.CellChoice`.
    """

    annotations: str | None = field(default=None, compare=False)

    @property
    def _table(self) -> Path | None:
        return Path(self.annotations).expanduser() if self.annotations else None

    def _files(self) -> dict[str, Path]:
        return readers.tenx_files(self.file, _FIELD)

    def prepare(self) -> None:
        """Check that the files of the folder are there."""
        self._files()
        _check_annotations(self._table)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each file."""
        files = self._files() | ({} if self._table is None else {"annotations": self._table})
        return {role: readers.digest(path) for role, path in files.items()} | _READER

    def load(self) -> AnnData:
        """Load the counts."""
        adata = readers.read_10x(self._files(), self._table, _FIELD, "dataset.annotations")
        return chosen_counts(adata, self.path, self._choice())


@dataclass(frozen=True)
class CellFile(UsersCells):
    """The user's own file or folder of any known format, which is recognised from what is in it.

    .h5ad, 10x's .h5, .loom, .h5mu; a zarr folder, zipped or not; a 10x folder, whose files may have a prefix, or its
    matrix; a table of counts, genes x cells or cells x genes.

    Parameters
    ----------
    path
        Path of the file or folder.
    layer, cell_type_column, gene_names, subset, batch, round, organism
        See :class:`~llm4grn.data.users_cells.CellChoice`.
    annotations
        Table of cell types with columns ``barcodes`` and ``celltype``, see :class:`TenX`.
    genes_in
        Whether ``rows`` or ``columns`` of a table are genes; ``auto`` recognises it.
    """

    layer: str | None = None
    cell_type_column: str | None = None
    annotations: str | None = field(default=None, compare=False)
    genes_in: GenesIn = field(default="auto", metadata=_OPTIONAL)

    @property
    def _table(self) -> Path | None:
        return Path(self.annotations).expanduser() if self.annotations else None

    def prepare(self) -> None:
        """Check that the file exists and is of a known format."""
        kind_of_file(self.file, _FIELD)
        _check_annotations(self._table)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the files and the arguments of reading them."""
        kind = kind_of_file(self.file, _FIELD)
        files = self._tenx_files() if kind == "tenx" else {"counts": self.file}
        files |= {} if self._table is None else {"annotations": self._table}
        arguments = {"layer": self.layer or "", "cell_types": self.cell_type_column or ""}
        return {role: readers.digest(path) for role, path in files.items()} | arguments | _READER

    def _tenx_files(self) -> dict[str, Path]:
        if self.file.is_dir():
            return readers.tenx_files(self.file, _FIELD)
        return readers.tenx_files_beside(self.file, _FIELD)

    def load(self) -> AnnData:
        """Load the counts."""
        adata, choice = self._opened()
        return chosen_counts(adata, self.path, choice)

    def expression(self) -> AnnData:
        """Load the expression as it is, raw or normalised."""
        adata, choice = self._opened()
        return chosen_expression(adata, self.path, choice)

    def _opened(self) -> tuple[AnnData, CellChoice]:
        import pandas as pd

        adata = self._read(kind_of_file(self.file, _FIELD))
        column = self.cell_type_column
        if self._table is not None:
            barcodes = pd.Series(adata.obs_names.to_numpy())
            column = column or "cell_type"
            adata.obs[column] = readers.cell_types(self._table, barcodes, "dataset.annotations").to_numpy()
        return adata, self._choice(layer=self.layer, cell_type_column=column)

    def _read(self, kind: str) -> AnnData:
        from llm4grn.data.matrix_tables import read_matrix_table

        if kind == "hdf5":
            return readers.read_h5ad(self.file, _FIELD)
        if kind == "zarr":
            return read_zarr(self.file, _FIELD)
        if kind == "tenx":
            return readers.read_10x(self._tenx_files(), None, _FIELD, "dataset.annotations")
        return read_matrix_table(self.file, _FIELD, self.genes_in)


def kind_of_file(path: Path, field: str) -> str:
    """Return ``hdf5``, ``zarr``, ``tenx`` (a folder, or the matrix in one) or ``table`` by what is there.

    Raises
    ------
    UserError
        If there is nothing, or it is of no known format; the message says how to convert it where that is known.
    """
    if path.is_dir():
        if any((path / name).exists() for name in ZARR_GROUP):
            return "zarr"
        inside = _known_inside(path)
        if inside and not any(part.name.endswith(("matrix.mtx", "matrix.mtx.gz")) for part in path.iterdir()):
            raise UserError(
                f"{field}: {path} is a folder with several files of cells ({', '.join(map(str, inside[:4]))}); "
                f"give one of them"
            )
        readers.tenx_files(path, field)
        return "tenx"
    if path.is_symlink() and not path.exists():
        raise UserError(f"{field}: {path} is a link to {path.readlink()}, which does not exist; link to the file again")
    if not path.exists():
        near = difflib.get_close_matches(path.name, [part.name for part in path.parent.glob("*")], n=1, cutoff=0.8)
        hint = f"; is it {path.parent / near[0]}?" if near else "; give the path of a file or folder of cells"
        raise UserError(f"{field}: there is no file {path}{hint}")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(f"{field}: {path} cannot be read ({error.strerror}); check its permissions") from error
    packed = start.startswith(GZIP_MAGIC)
    if packed:
        start = _unpacked(path, field)
    if start.startswith(b"PK\x03\x04") and not packed and _is_zipped_zarr(path, field):
        return "zarr"
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise UserError(f"{field}: {path} {what}")
    if packed and start.startswith(readers.HDF5_MAGIC):
        raise UserError(f"{field}: {path} is HDF5 compressed with gzip; unpack it with gunzip")
    if not packed and readers.is_hdf5(path):
        return "hdf5"
    if start[257:262] == b"ustar":
        raise UserError(f"{field}: {path} is a tar archive; unpack it and give the folder or file in it")
    if start.lower().startswith(b"%%matrixmarket"):
        readers.tenx_files_beside(path, field)
        return "tenx"
    return "table"


def _is_zipped_zarr(path: Path, field: str) -> bool:
    try:
        return zarr_root(path) is not None
    except zipfile.BadZipFile as error:
        raise UserError(f"{field}: {path} begins as a zip archive and is damaged ({error}); copy it again") from error


def _known_inside(folder: Path) -> list[Path]:
    endings = (".h5ad", ".h5", ".loom", ".h5mu", ".zarr")
    found = [part for part in sorted(folder.iterdir()) if part.name.endswith(endings)]
    return found + [part.parent for part in sorted(folder.glob("*/*matrix.mtx*"))]


def _unpacked(path: Path, field: str) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(512)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{field}: {path} begins as gzip and does not unpack ({error}); copy it again") from error


def _check_annotations(table: Path | None) -> None:
    if table is not None and not table.is_file():
        raise UserError(f"dataset.annotations: there is no file {table}; give a table of cell types, or null")
