"""The real cells of a training, kept on the device if they fit, otherwise read from their file step by step."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor, nn

#: Maximum fraction of the free memory that cells kept dense in memory may take.
_SHARE_OF_MEMORY = 0.5
#: Maximum number of values that a pass through a whole file holds in memory.
_NUMBERS_PER_PASS = 1 << 26
#: Genes are processed in multiples of this number, as torch sums so many columns side by side, each in its own order.
_COLUMNS = 64


class Cells(nn.Module, ABC):
    """Training cells by index. As a submodule, they move between devices along with their module.

    Attributes
    ----------
    n_genes
        Number of genes of a cell.
    """

    n_genes: int

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of cells."""

    @property
    @abstractmethod
    def index_device(self) -> torch.device:
        """Return the device that indices for :meth:`rows` must be on."""

    @abstractmethod
    def rows(self, index: Tensor) -> Tensor:
        """Return the cells at ``index``, shape ``(len(index), n_genes)``, on the module's device."""

    def prefetch(self, index: Tensor) -> None:
        """Start reading the cells of the next call of :meth:`rows`; cells in memory need no reading."""

    @abstractmethod
    def per_gene(self, statistic: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute a statistic of each gene over all cells.

        Parameters
        ----------
        statistic
            Function of cells of shape ``(n_cells, n)``, for any ``n`` genes, that returns values of these genes in its
            last dimension.

        Returns
        -------
        Shape ``(..., n_genes)``, on the module's device.
        """


class DenseCells(Cells):
    """Cells in the memory of the device.

    Parameters
    ----------
    values
        Counts, shape ``(n_cells, n_genes)``.
    """

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values, persistent=False)
        self.n_genes = values.shape[1]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def index_device(self) -> torch.device:
        return self.values.device

    def rows(self, index: Tensor) -> Tensor:
        return self.values[index]

    def per_gene(self, statistic: Callable[[Tensor], Tensor]) -> Tensor:
        return statistic(self.values)


class StreamedCells(Cells):
    """Cells of an ``.h5ad`` that is sparse by rows; memory holds the current batch and the next one.

    Reading random cells from a compressed file would decompress a whole chunk for each cell. Such a file is therefore
    decompressed once, into an unnamed file beside it that is gone when the process ends.

    Parameters
    ----------
    path
        Path of the ``.h5ad``.
    positions
        Rows of these cells in the file, shape ``(n_cells,)``.
    """

    _device_of: Tensor

    def __init__(self, path: Path, positions: np.ndarray) -> None:
        super().__init__()
        self.path, self.positions = Path(path), positions
        with h5py.File(self.path) as file:
            self.n_genes = int(file["X"].attrs["shape"][1])
            self.indptr = file["X/indptr"][:].astype(np.int64)
        self.register_buffer("_device_of", torch.empty(0), persistent=False)  # moves to the module's device
        self._mapped: tuple[np.ndarray, np.ndarray] | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._next: tuple[Tensor, Future[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def index_device(self) -> torch.device:
        return torch.device("cpu")

    def rows(self, index: Tensor) -> Tensor:
        prefetched, self._next = self._next, None
        if prefetched is None or not torch.equal(prefetched[0], index):
            return self._dense(index).to(self._device_of.device)
        return prefetched[1].result().to(self._device_of.device, non_blocking=True)

    def prefetch(self, index: Tensor) -> None:
        self._reader = self._reader or ThreadPoolExecutor(1, thread_name_prefix="cells")
        self._next = index, self._reader.submit(self._dense, index)

    def per_gene(self, statistic: Callable[[Tensor], Tensor]) -> Tensor:
        n_at_once = _COLUMNS * max(1, _NUMBERS_PER_PASS // (_COLUMNS * max(1, len(self))))
        blocks = [
            statistic(self._genes(first, min(first + n_at_once, self.n_genes)))
            for first in range(0, self.n_genes, n_at_once)
        ]
        return torch.cat(blocks, dim=-1).to(self._device_of.device)

    def _dense(self, index: Tensor) -> Tensor:
        """Read the cells at ``index`` into CPU memory, pinned if they go to a GPU."""
        positions = self.positions[index.numpy()]
        cells = torch.zeros(len(index), self.n_genes, pin_memory=self._device_of.device.type == "cuda")
        order = np.argsort(positions)  # the order of the file
        row, entries = self._entries(positions[order])
        data, indices = self._arrays()
        cells.numpy()[order[row], indices[entries]] = data[entries]
        return cells

    def _genes(self, first: int, stop: int) -> Tensor:
        """Read genes ``first`` to ``stop - 1`` of all cells in one pass through the file."""
        block = np.zeros((len(self), stop - first), dtype=np.float32)
        data, indices = self._arrays()
        n_at_once = max(1, _NUMBERS_PER_PASS // self.n_genes)
        for start in range(0, len(self), n_at_once):
            row, entries = self._entries(self.positions[start : start + n_at_once])
            gene = indices[entries]
            is_in_block = (gene >= first) & (gene < stop)
            block[start + row[is_in_block], gene[is_in_block] - first] = data[entries[is_in_block]]
        return torch.from_numpy(block)

    def _entries(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each stored value of these cells, the cell counted from 0 and the value's index in the file."""
        counts = self.indptr[positions + 1] - self.indptr[positions]
        row = np.repeat(np.arange(len(positions)), counts)
        return row, np.arange(len(row)) + np.repeat(self.indptr[positions] - (np.cumsum(counts) - counts), counts)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return stored values and their genes as memory-mapped arrays."""
        if self._mapped is None:
            with h5py.File(self.path) as file:
                self._mapped = _memory_map(file["X/data"]), _memory_map(file["X/indices"])
        return self._mapped

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files and threads, which each process opens for itself."""
        return super().__getstate__() | {"_mapped": None, "_reader": None, "_next": None}


def _memory_map(dataset: h5py.Dataset) -> np.ndarray:
    """Return a dataset as a memory-mapped array, decompressed into an unnamed file if necessary."""
    path, n = dataset.file.filename, len(dataset)
    if dataset.chunks is None and dataset.id.get_offset() is not None:
        return np.memmap(path, dataset.dtype, mode="r", offset=dataset.id.get_offset(), shape=(n,))
    if n == 0:
        return np.empty(0, dataset.dtype)
    with tempfile.TemporaryFile(dir=Path(path).parent) as file:
        for start in range(0, n, _NUMBERS_PER_PASS):
            dataset[start : start + _NUMBERS_PER_PASS].tofile(file)
        file.flush()
        return np.memmap(file, dataset.dtype, mode="r", shape=(n,))  # the mapping keeps the unnamed file alive


def dense(adata: anndata.AnnData) -> Tensor:
    """Return all cells as a float32 tensor of shape ``(n_cells, n_genes)``."""
    values = adata.X.toarray() if issparse(adata.X) else adata.X
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def open_cells(path: Path, split: str, stream: bool | None = None, accelerator: str = "auto") -> Cells:
    """Open the cells of one split of a data stage.

    Parameters
    ----------
    path
        Path of ``cells.h5ad``, sparse by rows, with ``obs["split"]``.
    split
        ``train``, ``validation`` or ``test``.
    stream
        True: read from the file; False: keep in memory; None: keep in memory if they fit.
    accelerator
        Accelerator of the training, by Lightning's name.
    """
    adata = anndata.read_h5ad(path, backed="r")
    try:
        mask = (adata.obs["split"] == split).to_numpy()
        if stream is None:
            stream = int(mask.sum()) * adata.n_vars * 4 > _SHARE_OF_MEMORY * free_memory(accelerator)
        return StreamedCells(path, np.flatnonzero(mask)) if stream else DenseCells(dense(adata[mask].to_memory()))
    finally:
        adata.file.close()


def free_memory(accelerator: str) -> int:
    """Return the free bytes where cells would be kept: of the host, or the minimum of host and GPU if a GPU is used."""
    host = _free_memory_of_host()
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return min(host, torch.cuda.mem_get_info()[0])
    return host


def _free_memory_of_host() -> int:
    """Return the available bytes, including the page cache; the total on systems without ``/proc/meminfo``."""
    if (table := Path("/proc/meminfo")).exists():
        fields = dict(line.split(":") for line in table.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
