"""The real cells of a training: on the device if they fit, else read from their file step by step."""

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

#: Cells are kept dense in memory if they take no more than this share of what is free.
_SHARE_OF_MEMORY = 0.5
#: Numbers held at once by what passes through a whole file.
_NUMBERS_PER_PASS = 1 << 26
#: Genes are taken in multiples of these: torch adds up so many columns side by side, in an order that is theirs.
_COLUMNS = 64


class Cells(nn.Module, ABC):
    """Cells by number. They follow the module that they belong to from device to device.

    Attributes
    ----------
    n_genes
        Of each cell.
    """

    n_genes: int

    @abstractmethod
    def __len__(self) -> int:
        """Number of cells."""

    @property
    @abstractmethod
    def index_device(self) -> torch.device:
        """Where numbers of cells are looked up."""

    @abstractmethod
    def rows(self, index: Tensor) -> Tensor:
        """The cells of these numbers, shape ``(len(index), n_genes)``, on the device."""

    def prefetch(self, index: Tensor) -> None:
        """Begin to read what :meth:`rows` is asked for next; nothing to do for cells in memory."""

    @abstractmethod
    def per_gene(self, statistic: Callable[[Tensor], Tensor]) -> Tensor:
        """Something that each gene has of its own, over all cells.

        Parameters
        ----------
        statistic
            Takes cells of shape ``(n_cells, n)`` for any ``n`` genes and returns their values in the last dimension.
        """


class DenseCells(Cells):
    """Cells in the memory of the device.

    Parameters
    ----------
    values
        Shape ``(n_cells, n_genes)``.
    """

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
    """Cells of an ``.h5ad``, sparse by rows, of which memory holds one batch and the next.

    Random cells out of a compressed file would unpack a whole chunk each. Such a file is unpacked once, into a nameless
    file beside it that ends with the process.

    Parameters
    ----------
    path
        The ``.h5ad``.
    positions
        Which of its cells, in this order, shape ``(n_cells,)``.
    """

    def __init__(self, path: Path, positions: np.ndarray) -> None:
        super().__init__()
        self.path, self.positions = Path(path), positions
        with h5py.File(self.path) as file:
            self.n_genes = int(file["X"].attrs["shape"][1])
            self.indptr = file["X/indptr"][:].astype(np.int64)
        self.register_buffer("_at", torch.empty(0), persistent=False)  # knows the device
        self._close()

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def index_device(self) -> torch.device:
        return torch.device("cpu")

    def rows(self, index: Tensor) -> Tensor:
        expected, cells = self._next or (None, None)
        self._next = None
        if expected is None or not torch.equal(expected, index):
            return self._dense(index).to(self._at.device)
        return cells.result().to(self._at.device, non_blocking=True)

    def prefetch(self, index: Tensor) -> None:
        self._reader = self._reader or ThreadPoolExecutor(1, thread_name_prefix="cells")
        self._next = index, self._reader.submit(self._dense, index)

    def per_gene(self, statistic: Callable[[Tensor], Tensor]) -> Tensor:
        n_at_once = _COLUMNS * max(1, _NUMBERS_PER_PASS // (_COLUMNS * max(1, len(self))))
        blocks = [
            statistic(self._genes(first, min(first + n_at_once, self.n_genes)))
            for first in range(0, self.n_genes, n_at_once)
        ]
        return torch.cat(blocks, dim=-1).to(self._at.device)

    def _dense(self, index: Tensor) -> Tensor:
        """The cells of these numbers on the CPU, in pinned memory if they go to a GPU."""
        positions = self.positions[index.numpy()]
        cells = torch.zeros(len(index), self.n_genes, pin_memory=self._at.device.type == "cuda")
        forwards = np.argsort(positions)  # through the file
        row, entries = self._entries(positions[forwards])
        data, indices = self._arrays()
        cells.numpy()[forwards[row], indices[entries]] = data[entries]
        return cells

    def _genes(self, first: int, stop: int) -> Tensor:
        """Some genes of all cells, by one pass through the file."""
        block = np.zeros((len(self), stop - first), dtype=np.float32)
        data, indices = self._arrays()
        n_at_once = max(1, _NUMBERS_PER_PASS // self.n_genes)
        for start in range(0, len(self), n_at_once):
            row, entries = self._entries(self.positions[start : start + n_at_once])
            gene = indices[entries]
            wanted = (gene >= first) & (gene < stop)
            block[start + row[wanted], gene[wanted] - first] = data[entries[wanted]]
        return torch.from_numpy(block)

    def _entries(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each stored number of these cells: the cell, counted from 0, and where the number is in the file."""
        counts = self.indptr[positions + 1] - self.indptr[positions]
        row = np.repeat(np.arange(len(positions)), counts)
        return row, np.arange(len(row)) + np.repeat(self.indptr[positions] - (np.cumsum(counts) - counts), counts)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and their genes, as arrays that stay on disk."""
        if self._mapped is None:
            with h5py.File(self.path) as file:
                self._mapped = _on_disk(file["X/data"]), _on_disk(file["X/indices"])
        return self._mapped

    def _close(self) -> None:
        self._mapped: tuple[np.ndarray, np.ndarray] | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._next: tuple[Tensor, Future[Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_mapped": None, "_reader": None, "_next": None}


def _on_disk(dataset: h5py.Dataset) -> np.ndarray:
    """A dataset as an array that is read where it is touched."""
    path, n = dataset.file.filename, len(dataset)
    if dataset.chunks is None and dataset.id.get_offset() is not None:
        return np.memmap(path, dataset.dtype, mode="r", offset=dataset.id.get_offset(), shape=(n,))
    if n == 0:
        return np.empty(0, dataset.dtype)
    with tempfile.TemporaryFile(dir=Path(path).parent) as file:
        for start in range(0, n, _NUMBERS_PER_PASS):
            dataset[start : start + _NUMBERS_PER_PASS].tofile(file)
        file.flush()
        return np.memmap(file, dataset.dtype, mode="r", shape=(n,))  # the mapping outlives the name


def dense(adata: anndata.AnnData) -> Tensor:
    """All of its cells, shape ``(n_cells, n_genes)``, float32."""
    values = adata.X.toarray() if issparse(adata.X) else adata.X
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def open_cells(path: Path, split: str, stream: bool | None = None, accelerator: str = "auto") -> Cells:
    """The cells of one split of a data stage.

    Parameters
    ----------
    path
        ``cells.h5ad``, sparse by rows, with ``obs["split"]``.
    split
        ``train``, ``validation`` or ``test``.
    stream
        True: from the file; False: from memory; None: from memory if they fit.
    accelerator
        Where they are used, as Lightning calls it.
    """
    adata = anndata.read_h5ad(path, backed="r")
    try:
        chosen = (adata.obs["split"] == split).to_numpy()
        if stream is None:
            stream = int(chosen.sum()) * adata.n_vars * 4 > _SHARE_OF_MEMORY * free_memory(accelerator)
        return StreamedCells(path, np.flatnonzero(chosen)) if stream else DenseCells(dense(adata[chosen].to_memory()))
    finally:
        adata.file.close()


def free_memory(accelerator: str) -> int:
    """Bytes that are free where cells would be kept: of the host, and of the GPU if that is where they are used."""
    host = _free_memory_of_host()
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return min(host, torch.cuda.mem_get_info()[0])
    return host


def _free_memory_of_host() -> int:
    """Bytes, those counted that only cache files; where the system does not say it, all there are."""
    if (table := Path("/proc/meminfo")).exists():
        found = dict(line.split(":") for line in table.read_text().splitlines())
        return int(found["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
