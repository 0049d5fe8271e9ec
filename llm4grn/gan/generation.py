"""Any number of cells from a trained causal GAN into an ``.h5ad``, with constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
import torch
from anndata.io import write_elem

from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.monitor import evaluating
from llm4grn.runtime.progress import progress
from llm4grn.store import atomic_write

CELLS_PER_WRITE = 8192
_HDF5_CHUNK = 1 << 18


def write_cells(
    model: CausalGAN,
    path: Path,
    n_cells: int,
    seed: int,
    *,
    cells_per_write: int = CELLS_PER_WRITE,
    compression: str | None = None,
    provenance: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the cells of ``model.generate(n_cells, seed)`` without holding all of them in memory.

    The file is written under a hidden name beside ``path``, and renamed when it is complete.

    Parameters
    ----------
    model
        A trained model on any device. Kinds of devices differ in their random numbers, and so in their cells.
    path
        Output path of the ``.h5ad``: sparse by rows, float32 counts that sum to the library size.
    n_cells
        Number of cells, at least 1. The first cells of a seed do not depend on it.
    seed
        Seed for the noise.
    cells_per_write
        Approximate number of cells held in memory; the file's content does not depend on it.
    compression
        Compression of the HDF5 datasets: ``None``, or ``gzip`` for a file of about half the size.
    provenance
        Entries of ``uns["provenance"]``, to which the seed is added.
    """
    genes = model.generator.genes
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        table = _GrowingTable(file, genes, compression)
        with evaluating(model), progress(total=n_cells, desc="generating", unit="cell", unit_scale=True) as bar:
            for cells in _chunks(model, n_cells, seed, cells_per_write):
                table.append(cells)
                bar.update(len(cells))
        table.finish({"provenance": {**provenance, "seed": str(seed)}})


@torch.no_grad()
def _chunks(model: CausalGAN, n_cells: int, seed: int, cells_per_write: int) -> Iterator[np.ndarray]:
    """Yield the cells in order, about ``cells_per_write`` at a time, shape ``(n, n_genes)``."""
    pending: list[torch.Tensor] = []
    left = n_cells
    for cells in model.cell_batches(n_cells, seed):
        pending.append(cells[:left].cpu())
        left -= len(pending[-1])
        if left == 0 or sum(map(len, pending)) >= cells_per_write:
            yield torch.cat(pending).numpy()
            pending = []


class _GrowingTable:
    """An AnnData file, in version 0.1.0 of anndata's format, that cells are appended to."""

    def __init__(self, file: h5py.File, genes: tuple[str, ...], compression: str | None) -> None:
        self.file, self.genes = file, genes
        self.n_cells = 0
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = file.create_group("X")
        matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        obs = file.create_group("obs")
        obs.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
        obs.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
        growing = {"shape": (0,), "maxshape": (None,), "compression": compression}
        self.data = matrix.create_dataset("data", dtype="f4", chunks=(_HDF5_CHUNK,), **growing)
        self.indices = matrix.create_dataset("indices", dtype="i4", chunks=(_HDF5_CHUNK,), **growing)
        self.indptr = matrix.create_dataset("indptr", dtype="i8", chunks=(_HDF5_CHUNK,), **growing)
        self.names = obs.create_dataset("_index", dtype=h5py.string_dtype(), chunks=(1 << 14,), **growing)
        self.names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        _append(self.indptr, np.zeros(1, dtype=np.int64))

    def append(self, cells: np.ndarray) -> None:
        values, n_genes = cells.ravel(), len(self.genes)
        expressed = np.flatnonzero(values)
        ends = np.searchsorted(expressed, np.arange(1, len(cells) + 1) * n_genes)
        _append(self.indptr, len(self.data) + ends)
        _append(self.data, values[expressed])
        _append(self.indices, (expressed % n_genes).astype(np.int32))
        names = [f"synthetic-{i}" for i in range(self.n_cells, self.n_cells + len(cells))]
        _append(self.names, np.array(names, dtype=object))
        self.n_cells += len(cells)

    def finish(self, uns: Mapping[str, Any]) -> None:
        import pandas as pd

        self.file["X"].attrs["shape"] = np.array([self.n_cells, len(self.genes)])
        write_elem(self.file, "var", pd.DataFrame(index=pd.Index(list(self.genes), dtype=object)))
        write_elem(self.file, "uns", dict(uns))
        for name in "layers", "obsm", "varm", "obsp", "varp":
            write_elem(self.file, name, {})


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    before = len(dataset)
    dataset.resize(before + len(values), axis=0)
    dataset[before:] = values
