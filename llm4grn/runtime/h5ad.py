"""Write an AnnData so that a full disk raises an error that can be handled."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def write_h5ad(adata: AnnData, path: Path) -> None:
    """Write a compressed .h5ad through a buffer in memory, of the size of the compressed file.

    HDF5 cannot close a file on a full disk: it prints tracebacks, and can end the process. In memory it does not fail,
    and Python's own writing raises :class:`OSError`.

    Parameters
    ----------
    adata
        Cells x genes.
    path
        Output path.
    """
    import h5py
    from anndata.io import write_elem

    adata.strings_to_categoricals()  # as AnnData's own writing does
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip"})
        if adata.raw is None and "raw" in file:  # written as an empty element, which backed reading takes for a matrix
            del file["raw"]
    with path.open("wb") as target:
        target.write(buffer.getbuffer())
