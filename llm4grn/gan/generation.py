"""Any number of cells from a trained causal GAN into an ``.h5ad``, in memory that does not grow with them."""

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
    """Write the cells of ``model.generate(n_cells, seed)`` without ever holding all of them.

    The file gets its name when it is complete; until then it is a hidden one beside it.

    Parameters
    ----------
    model
        Trained, on any device. Each kind of device has random numbers of its own, and so has cells of its own.
    path
        The ``.h5ad`` to create or replace: sparse by rows, float32 counts that sum to the library size.
    n_cells
        How many, at least 1. Fewer cells of the same seed are the first of more.
    seed
        Of the cells.
    cells_per_write
        About how many cells are held in memory; the file's content does not depend on it.
    compression
        Of the HDF5 datasets: ``None``, or ``gzip`` for a file of about half the size.
    provenance
        Kept in ``uns``.
    """
    genes = model.generator.genes
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        table = _Table(file, genes, compression)
        with evaluating(model), progress(total=n_cells, desc="generating", unit="cell", unit_scale=True) as bar:
            for cells in _chunks(model, n_cells, seed, cells_per_write):
                table.append(cells)
                bar.update(len(cells))
        table.finish({"provenance": {**provenance, "seed": str(seed)}})


@torch.no_grad()
def _chunks(model: CausalGAN, n_cells: int, seed: int, cells_per_write: int) -> Iterator[np.ndarray]:
    """The cells in order, about ``cells_per_write`` at a time, shape ``(n, n_genes)``."""
    waiting: list[torch.Tensor] = []
    left = n_cells
    for noise in model.noise_batches(n_cells, seed):
        waiting.append(model(noise)[:left].cpu())
        left -= len(waiting[-1])
        if left == 0 or sum(map(len, waiting)) >= cells_per_write:
            yield torch.cat(waiting).numpy()
            waiting = []


class _Table:
    """An AnnData file that grows by cells: the layout of anndata's format, version 0.1.0."""

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
