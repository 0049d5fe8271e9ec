"""Readers of .h5ad files and 10x folders, with checks that are fast enough to run before any work."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm4grn.data.hdf5_files import kind_of, one_line, read_hdf5
from llm4grn.data.raw_counts import as_csr, check_counts
from llm4grn.data.text_tables import GZIP_MAGIC, clean
from llm4grn.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

logger = logging.getLogger(__name__)

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TENX_FILES = {
    "matrix": ("matrix.mtx", "matrix.mtx.gz"),
    "genes": ("genes.tsv", "features.tsv", "genes.tsv.gz", "features.tsv.gz"),
    "barcodes": ("barcodes.tsv", "barcodes.tsv.gz"),
}

_TITLES = {"", "x", "v1", "barcode", "barcodes", "cell", "cells", "cell_id", "index", "gene", "genes", "gene_id", "id"}
_TITLES |= {"gene_name", "gene_symbol", "symbol", "feature", "features", "ensembl_id"}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of the names and digests of a folder's files, in hexadecimal."""
    if path.is_dir():
        parts = [f"{part.relative_to(path)} {digest(part)}" for part in sorted(path.rglob("*")) if part.is_file()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hdf5(path: Path) -> bool:
    """Return True if a file has the signature of HDF5, at its start or behind a block of 512, 1024, ... bytes.

    mudata writes such a block.
    """
    offset, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            if file.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
                return True
            offset = 2 * offset or 512
    return False


def check_is_h5ad(path: Path, field: str) -> None:
    """Raise UserError unless ``path``, given by the config field ``field``, has the signature of an HDF5 file."""
    if path.is_dir():
        raise UserError(f"{field}: {path} is a folder, not an .h5ad file; for a 10x folder use dataset=mtx")
    if not path.is_file():
        raise UserError(f"{field}: there is no file {path}; give the path of an .h5ad file")
    if not is_hdf5(path):
        raise UserError(f"{field}: {path} is not an .h5ad file (no HDF5 signature); write it with adata.write_h5ad")


def read_h5ad(path: Path, field: str) -> AnnData:
    """Read the cells of an HDF5 file that passed `check_is_h5ad`: .h5ad, 10x's .h5, .loom or .h5mu."""
    return read_hdf5(path, kind_of(path, field), field)


def h5ad_shape(path: Path, field: str) -> tuple[int, int]:
    """Return the numbers of cells and genes of an .h5ad file's ``X``, dense or sparse, without reading it."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            matrix = file["X"]
            # sparse matrices have their shape as an attribute, named h5sparse_shape in old files
            shape = getattr(matrix, "shape", None) or matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape"))
            return int(shape[0]), int(shape[1])
    except (OSError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{field}: {path} cannot be read as .h5ad ({one_line(error)}); copy it again") from error


def tenx_files(folder: Path, field: str) -> dict[str, Path]:
    """Find the three files of a 10x folder, by their roles ``matrix``, ``genes``, ``barcodes``, and check them.

    Raises
    ------
    UserError
        If the folder or one of the files is missing, or a file is not of the type that its name states.
    """
    if folder.is_file():
        raise UserError(f"{field}: {folder} is a file, not a 10x folder; for an .h5ad file use dataset=h5ad")
    if not folder.is_dir():
        raise UserError(f"{field}: there is no folder {folder}; give the 10x folder that holds matrix.mtx")
    files = _with_prefix(folder, field)
    for path in files.values():
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP_MAGIC
        if zipped != (path.suffix == ".gz"):
            state = "gzip-compressed" if zipped else "not gzip-compressed"
            raise UserError(f"{field}: {path} is {state}, which its name denies; rename or rewrite it")
    mtx_shape(files["matrix"], field)
    return files


def _with_prefix(folder: Path, field: str) -> dict[str, Path]:
    """Return the three files by role, whose names may share a prefix, such as ``GSM123_`` of GEO."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        for role, names in TENX_FILES.items():
            for name in names:
                if path.name.endswith(name) and path.is_file():
                    found.setdefault(path.name.removesuffix(name), {}).setdefault(role, path)
    whole = {prefix: files for prefix, files in found.items() if len(files) == len(TENX_FILES)}
    if "" in found or not whole:
        prefix = "" if "" in found else max(found, key=lambda prefix: len(found[prefix]), default="")
        for role, names in TENX_FILES.items():
            if role not in found.get(prefix, {}):
                names = tuple(prefix + name for name in names[:2])
                have = ", ".join(path.name for path in sorted(folder.iterdir())[:6]) or "nothing"
                raise UserError(
                    f"{field}: the 10x folder {folder} has no {' or '.join(names)} (it has {have}); put the file "
                    "there, and give all three the names of 10x, with one prefix or none"
                )
        return {role: found[""][role] for role in TENX_FILES}
    if len(whole) > 1:
        raise UserError(
            f"{field}: the folder {folder} has {len(whole)} data sets ({', '.join(whole)}); add dataset=file and give "
            f"the matrix of one, such as dataset.path={next(iter(whole.values()))['matrix']}"
        )
    (files,) = whole.values()
    return {role: files[role] for role in TENX_FILES}


def tenx_files_beside(matrix: Path, field: str) -> dict[str, Path]:
    """Find the other two files of a 10x folder by the path of its matrix, whose prefix they share.

    Raises
    ------
    UserError
        If one of them is missing.
    """
    name = next((name for name in TENX_FILES["matrix"] if matrix.name.endswith(name)), None)
    if name is None:
        raise UserError(
            f"{field}: {matrix} is a MatrixMarket file; name it matrix.mtx, beside genes.tsv and barcodes.tsv"
        )
    prefix, files = matrix.name.removesuffix(name), {"matrix": matrix}
    for role in ("genes", "barcodes"):
        existing = [path for other in TENX_FILES[role] if (path := matrix.with_name(prefix + other)).is_file()]
        if not existing:
            names = " or ".join(prefix + other for other in TENX_FILES[role])
            raise UserError(f"{field}: beside {matrix} there is no {names}; put the file there")
        files[role] = existing[0]
    return files


def mtx_shape(path: Path, field: str) -> tuple[int, int]:
    """Read the numbers of genes and cells from the header of a MatrixMarket file."""
    try:
        with open_text(path) as file:
            if file.readline(14).lower() == "%%matrixmarket":
                file.readline()
                for line in file:
                    if not line.startswith("%") and line.strip():
                        rows, columns = (int(word) for word in line.split()[:2])
                        return rows, columns
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{field}: {path} is not a MatrixMarket file ({one_line(error)})") from error
    raise UserError(f"{field}: {path} is not a MatrixMarket file (its first line must start with %%MatrixMarket)")


def open_text(path: Path) -> Any:
    """Open a text file for reading, gzip-compressed or not."""
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def read_10x(files: dict[str, Path], annotations: Path | None, field: str, annotations_field: str) -> AnnData:
    """Read a 10x folder as cells x genes, named by symbols, with ``obs["cell_type"]`` if annotations are given.

    Real 10x gene lists contain a few symbols twice; all but the first get their Ensembl id appended.

    Parameters
    ----------
    files
        Files by role, from `tenx_files`.
    annotations
        Tab-separated table (comma-separated if it ends in .csv) with columns ``barcodes`` and ``celltype``, or None.
    field, annotations_field
        Config fields of the folder and of the annotations, for messages.

    Raises
    ------
    UserError
        If a file cannot be read, or the files do not match.
    """
    import anndata
    import scipy.io

    if files["matrix"].name not in TENX_FILES["matrix"]:
        logger.info("read: %s", ", ".join(path.name for path in files.values()))
    genes = _in_columns(_read_table(files["genes"], field, header=None))
    barcode_table = _read_table(files["barcodes"], field, header=None)
    try:
        entries = scipy.io.mmread(files["matrix"])
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise UserError(f"{field}: {files['matrix']} cannot be read ({one_line(error)}); copy it again") from error
    matrix = as_csr(entries.T, str(files["matrix"]))
    genes, barcode_table = (_without_header(table, set(matrix.shape)) for table in (genes, barcode_table))
    barcodes = barcode_table[0].map(clean)
    if matrix.shape == (len(genes), len(barcodes)) != (len(barcodes), len(genes)):
        logger.warning("%s is cells x genes, and not genes x cells: it is read transposed", files["matrix"])
        matrix = matrix.T.tocsr()
    if matrix.shape != (len(barcodes), len(genes)):
        raise UserError(
            f"{field}: {files['matrix']} is {matrix.shape[1]} genes x {matrix.shape[0]} cells, but "
            f"{files['genes'].name} has {len(genes)} lines and {files['barcodes'].name} has {len(barcodes)}; "
            f"take all three from one folder"
        )
    types = genes[2].str.casefold() if 2 in genes else None
    if types is not None and types.eq("gene expression").any():  # other features are antibodies, guides etc.
        kept = types.eq("gene expression").to_numpy()
        if not kept.all():
            logger.warning("%s: %d features that are not genes are left out", files["genes"], (~kept).sum())
        matrix, genes = matrix[:, kept], genes[kept]
    adata = anndata.AnnData(matrix)
    adata.obs_names = barcodes.to_numpy()
    adata.var_names = _unique_symbols(genes, files["genes"])
    if annotations is not None:
        adata.obs["cell_type"] = cell_types(annotations, barcodes, annotations_field).to_numpy()
    return adata


def _in_columns(genes: pd.DataFrame) -> pd.DataFrame:
    """Split ids and symbols that commas or blanks separate, where there should be tabs."""
    if genes.shape[1] == 1 and genes[0].str.fullmatch(r"ENS\w+[, ]\s*\S+").mean() > 0.9:
        return genes[0].str.split(r"[, ]\s*", n=1, expand=True, regex=True).fillna("")
    return genes


def _without_header(table: pd.DataFrame, sizes: set[int]) -> pd.DataFrame:
    """Drop a first line that names the columns, which is one more than the matrix has."""
    if len(table) not in sizes and len(table) - 1 in sizes and str(table.iloc[0, 0]).strip('"').casefold() in _TITLES:
        return table.iloc[1:].reset_index(drop=True)
    return table


def _unique_symbols(genes: pd.DataFrame, path: Path) -> list[str]:
    symbols = genes[min(1, genes.shape[1] - 1)]
    repeated = symbols.duplicated()
    if repeated.any():
        logger.warning("%s: %d repeated gene symbols got their gene id appended", path, repeated.sum())
    return symbols.where(~repeated, symbols + "_" + genes[0]).tolist()


def cell_types(path: Path, barcodes: pd.Series, field: str) -> pd.Series:
    """Return the cell type of each barcode by a table with columns ``barcodes`` and ``celltype``.

    Raises
    ------
    UserError
        If there are no such columns, a barcode is repeated, or none is one of the matrix.
    """
    table = _read_table(path, field, header=0)
    if not {"barcodes", "celltype"} <= set(table.columns):
        raise UserError(f"{field}: {path} has the columns {', '.join(table.columns)}; it needs barcodes and celltype")
    if table["barcodes"].duplicated().any():
        first = table["barcodes"][table["barcodes"].duplicated()].iloc[0]
        raise UserError(f"{field}: {path} names barcode {first} more than once; keep one line for each cell")
    types = barcodes.map(table.set_index("barcodes")["celltype"])
    if types.isna().all():
        pair = f"{', '.join(table['barcodes'][:1])} there, {barcodes.iloc[0]} here"
        raise UserError(f"{field}: no barcode of {path} is one of the matrix ({pair}); take both from one data set")
    if types.isna().any():
        logger.warning("%s: %d cells have no annotation, called 'unknown'", path, types.isna().sum())
    return types.fillna("unknown")


def _read_table(path: Path, field: str, header: int | None) -> pd.DataFrame:
    """Read a table of strings, in which NA is text and not a missing value."""
    import csv

    import pandas as pd

    separator = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    try:
        return pd.read_csv(path, sep=separator, header=header, dtype=str, keep_default_na=False, quoting=quoting)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(
            f"{field}: {path} is not a table ({one_line(error)}); copy it again, or write it without row names"
        ) from error


def as_counts(adata: AnnData, name: str, cell_types: Any | None, batch: Any | None = None) -> AnnData:
    """Validate counts and return them as integer CSR with names, and ``obs["cell_type"]`` and ``batch`` if known."""
    import anndata
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_matrix

    check_counts(adata, name)
    matrix = as_csr(adata.X, name)
    integers = matrix.data.astype(np.int32 if matrix.data.max() < 2**31 else np.int64)
    counts = csr_matrix((integers, matrix.indices, matrix.indptr), shape=matrix.shape)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    obs = pd.DataFrame(index=adata.obs_names.astype(str))
    if cell_types is not None:
        known = pd.Series(cell_types).reset_index(drop=True).astype(object)
        obs["cell_type"] = pd.Categorical(known.where(known.notna(), "unknown").astype(str))
    if batch is not None:
        known = pd.Series(batch).reset_index(drop=True).astype(object)
        obs["batch"] = pd.Categorical(known.where(known.notna(), "unknown").astype(str))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=adata.var_names.astype(str)))
