"""HDF5 files of cells: .h5ad, 10x's .h5, .loom and .h5mu, told apart by what is in them; and .zarr folders."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

logger = logging.getLogger(__name__)

_LOOM_GENES = ("Gene", "gene_name", "gene_names", "GeneName", "gene_symbols", "var_names", "Accession", "gene_ids")
_LOOM_CELLS = ("CellID", "obs_names", "cell_names", "Barcode", "barcode", "barcodes", "cell_id")
_RNA = ("rna", "gex", "gene expression", "genes", "gene")
#: Files of which one is in each group of a zarr store.
ZARR_GROUP = (".zgroup", "zarr.json", ".zattrs")
_ROWS = 512  # rows of a loom's dense matrix that are in memory at once


def kind_of(path: Path, field: str) -> str:
    """Return ``h5ad``, ``tenx_h5``, ``loom`` or ``h5mu`` for an HDF5 file.

    Raises
    ------
    UserError
        If the file cannot be opened, or is none of these.
    """
    with _opened(path, field) as file:
        keys = set(file)
        if {"obs", "var"} <= keys and "mod" not in keys:
            return "h5ad"
        if "mod" in keys:
            return "h5mu"
        if {"matrix", "row_attrs", "col_attrs"} <= keys:
            return "loom"
        groups = [file[key] for key in keys]
        if any("barcodes" in group for group in groups if hasattr(group, "keys")):
            return "tenx_h5"
        if {"assays", "meta.data"} <= keys:
            raise UserError(
                f"{field}: {path} is of SeuratDisk (.h5seurat); convert it in R with SeuratDisk::Convert(dest = 'h5ad')"
            )
        lacks = " and ".join(key for key in ("obs", "var") if key not in keys)
        raise UserError(
            f"{field}: {path} is HDF5 but no AnnData (it lacks {lacks}), 10x .h5, .loom or .h5mu; it holds "
            f"{', '.join(sorted(keys)[:6]) or 'nothing'}; give an .h5ad file"
        )


def read_hdf5(path: Path, kind: str, field: str) -> AnnData:
    """Read the cells of an HDF5 file of the given kind, see :func:`kind_of`.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    readers = {"h5ad": _read_h5ad, "tenx_h5": _read_tenx_h5, "loom": _read_loom, "h5mu": _read_h5mu}
    with warnings.catch_warnings():
        # check_counts reports duplicate names; anndata converts the layout of old files
        warnings.simplefilter("ignore")
        return readers[kind](path, field)


def read_zarr(path: Path, field: str) -> AnnData:
    """Read an AnnData in a zarr folder, or in a zip archive of one.

    Raises
    ------
    UserError
        If the package is not installed, or the folder cannot be read.
    """
    import anndata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import zarr
            from zarr.storage import ZipStore

            if path.is_dir():
                return anndata.read_zarr(_cells_of(zarr.open_group(path, mode="r"), path, field))
            with closing(ZipStore(path, mode="r")) as store:
                group = zarr.open_group(store, path=zarr_root(path), mode="r")
                return anndata.read_zarr(_cells_of(group, path, field))
    except ImportError as error:
        raise UserError(f"{field}: {path} is zarr, which needs a package: run pip install zarr") from error
    except (MemoryError, UserError):
        raise
    except Exception as error:  # of zarr, its codecs and anndata, which have no common class
        raise UserError(f"{field}: {path} cannot be read as zarr ({one_line(error)}); write it again") from error


def _cells_of(group: Any, path: Path, field: str) -> Any:
    """Return the group of the cells in a zarr store: its top, the RNA of a MuData, or the table of a SpatialData.

    Raises
    ------
    UserError
        If there is no such group, or chunks of its matrix are missing, which zarr would read as zeros.
    """
    for kind in "mod", "tables":
        if kind in group:
            names = sorted(name for name, _ in group[kind].groups())
            chosen = _only_or_rna(names)
            if chosen is None:
                raise UserError(f"{field}: {path} holds {kind}/{', '.join(names)}; give one of these folders")
            logger.warning("%s: %s/%s is read, and nothing else of it", path, kind, chosen)
            group = group[kind][chosen]
            break
    matrix = group.get("X")
    is_sparse = hasattr(matrix, "groups")
    stored: Any = matrix["data"] if is_sparse else matrix
    if stored is not None and (n_missing := stored.nchunks - stored.nchunks_initialized):
        text = f"{n_missing} of {stored.nchunks} chunks of X{'/data' if is_sparse else ''} are not there"
        if is_sparse:  # what is stored of a sparse matrix is never a chunk of zeros
            raise UserError(f"{field}: {path} is not whole: {text}; copy it again")
        logger.warning("%s: %s and count as zeros: copy it again, unless it was written so", path, text)
    return group


def _only_or_rna(names: Sequence[str]) -> str | None:
    """Return the name of the modality or table with the RNA; None if it cannot be told."""
    by_case = {name.casefold(): name for name in names}
    return next((by_case[name] for name in _RNA if name in by_case), names[0] if len(names) == 1 else None)


def zarr_root(path: Path) -> str | None:
    """Return the folder of the zarr group in a zip archive, empty if it is at the top; None if there is no group.

    Raises
    ------
    zipfile.BadZipFile
        If the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        groups = [name for name in archive.namelist() if name.rpartition("/")[2] in ZARR_GROUP]
    return min((name.rpartition("/")[0] for name in groups), key=len, default=None)


@contextmanager
def _opened(path: Path, field: str) -> Iterator[Any]:
    """Open an HDF5 file, also if another program has locked it; errors of reading become one line."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except UserError:
        raise
    except OSError as error:
        reason = one_line(error)
        if "already open for write" in reason or "consistency flags" in reason:
            raise UserError(
                f"{field}: another program is writing {path}, or did not close it; close it there and run this again"
            ) from error
        raise UserError(f"{field}: {path} cannot be read as .h5ad ({reason}); write it again") from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged or foreign file: h5py and anndata raise almost anything
        raise UserError(f"{field}: {path} cannot be read ({one_line(error)}); write it again") from error


def _read_h5ad(path: Path, field: str) -> AnnData:
    import anndata

    try:
        return anndata.read_h5ad(path)
    except MemoryError:
        raise
    except Exception as error:  # locked, half-precision, an encoding of a future version: read what is needed
        logger.debug("%s: %s", path, error)
    with _opened(path, field) as file:
        return _pieces(file, str(path))


def _pieces(group: Any, name: str) -> AnnData:
    """Read matrix, layers, raw, obs and var one by one; what cannot be read of obs, var and layers is left out."""
    import anndata

    obs, var = (_table(group[key], f"{name}: {key}") for key in ("obs", "var"))
    layers = {}
    for key in group.get("layers", {}):
        try:
            layers[key] = _matrix(group["layers"][key])
        except Exception as error:
            logger.warning("%s: the layer %s cannot be read and is left out (%s)", name, key, one_line(error))
    adata = anndata.AnnData(_matrix(group["X"]) if "X" in group else None, obs=obs, var=var, layers=layers)
    raw = group.get("raw")
    if hasattr(raw, "keys"):  # newer files without raw counts have an empty array there
        adata.raw = anndata.AnnData(_matrix(raw["X"]), obs=obs[[]], var=_table(raw["var"], f"{name}: raw.var"))
    return adata


def _table(group: Any, name: str) -> pd.DataFrame:
    import pandas as pd
    from anndata.io import read_elem

    try:
        return read_elem(group)
    except Exception as error:
        logger.debug("%s: %s", name, error)
    index = group.attrs.get("_index", "_index")
    columns = {}
    for key in group:
        if key in (index, "__categories"):
            continue
        try:
            columns[key] = read_elem(group[key])
        except Exception as error:
            logger.warning("%s: the column %s cannot be read and is left out (%s)", name, key, one_line(error))
    names = [text.decode() if isinstance(text, bytes) else str(text) for text in group[index][()]]
    usable = {key: values for key, values in columns.items() if len(values) == len(names)}
    return pd.DataFrame({key: getattr(values, "values", values) for key, values in usable.items()}, index=names)


def _matrix(element: Any) -> Any:
    """Read a matrix; half-precision values, which scipy does not know, become single-precision ones."""
    import numpy as np
    from anndata.io import read_elem
    from scipy import sparse

    values = element["data"] if hasattr(element, "keys") else element
    if values.dtype != np.float16:
        return read_elem(element)
    if values is element:
        return element[()].astype(np.float32)
    shape = element.attrs.get("shape", element.attrs.get("h5sparse_shape"))
    form = sparse.csc_matrix if "csc" in str(element.attrs.get("encoding-type", "csr")) else sparse.csr_matrix
    return form((values[()].astype(np.float32), element["indices"][()], element["indptr"][()]), shape=tuple(shape))


def _read_tenx_h5(path: Path, field: str) -> AnnData:
    import scanpy

    try:
        return scanpy.read_10x_h5(path, gex_only=False)
    except MemoryError:
        raise
    except Exception as error:  # scanpy passes on what h5py says about a damaged file
        if "specify the genome" in str(error):
            raise UserError(
                f"{field}: {path} holds several genomes ({one_line(error)}); read one of them with "
                "scanpy.read_10x_h5(path, genome=...), and write it as .h5ad"
            ) from error
        raise UserError(f"{field}: {path} cannot be read as 10x .h5 ({one_line(error)}); copy it again") from error


def _read_h5mu(path: Path, field: str) -> AnnData:
    with _opened(path, field) as file:
        names = list(file["mod"])
        chosen = _only_or_rna(names)
        if chosen is None:
            raise UserError(f"{field}: {path} has no modality rna (modalities: {', '.join(names)}); give its .h5ad")
        others = [name for name in names if name != chosen]
        if others:
            logger.warning("%s: the modality %s is read; %s are left out", path, chosen, ", ".join(others))
        adata = _pieces(file["mod"][chosen], str(path))
        if "obs" in file:  # annotations of all modalities stand here, those of one with its name before them
            shared = _table(file["obs"], f"{path}: obs").reindex(adata.obs_names)
            for column in shared.columns:
                name = str(column).removeprefix(f"{chosen}:")
                if name not in adata.obs:
                    adata.obs[name] = shared[column].to_numpy()
        return adata


def _read_loom(path: Path, field: str) -> AnnData:
    """Read a loom file: a dense matrix of genes x cells, layers of the same shape, and attributes of both.

    loompy, the library of this format, does not work with current versions of numpy.
    """
    import anndata
    import pandas as pd

    with _opened(path, field) as file:
        var = pd.DataFrame(_attributes(file["row_attrs"], file["matrix"].shape[0]))
        obs = pd.DataFrame(_attributes(file["col_attrs"], file["matrix"].shape[1]))
        layers = {key: _transposed(file["layers"][key]) for key in file.get("layers", {})}
        matrix = _transposed(file["matrix"])
    genes = next((name for name in _LOOM_GENES if name in var), None)
    cells = next((name for name in _LOOM_CELLS if name in obs), None)
    if genes is None:
        have = ", ".join(map(str, var.columns[:6])) or "none"
        raise UserError(f"{field}: {path} has no row attribute Gene (attributes: {have}); add it")
    var.index = pd.Index(var[genes].astype(str).to_numpy())
    obs.index = pd.Index(obs[cells].astype(str) if cells else [f"cell{i}" for i in range(1, matrix.shape[0] + 1)])
    return anndata.AnnData(matrix, obs=obs, var=var, layers=layers)


def _attributes(group: Any, n: int) -> dict[str, Any]:
    """Return the one-dimensional attributes of text or numbers, by name."""
    found = {}
    for name in group:
        values = group[name]
        if getattr(values, "shape", None) == (n,) and values.dtype.names is None:
            found[name] = values.asstr()[()] if values.dtype.kind in "OS" else values[()]
    return found


def _transposed(dataset: Any) -> Any:
    """Return a dense matrix on disk as its transposed sparse one, without holding all of it in memory."""
    from scipy.sparse import csr_matrix, vstack

    n_rows = dataset.shape[0]
    return vstack([csr_matrix(dataset[i : i + _ROWS]) for i in range(0, n_rows, _ROWS)], format="csr").T.tocsr()


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line of at most 200 letters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
