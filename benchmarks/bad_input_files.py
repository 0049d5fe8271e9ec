"""Files that a user could give by mistake: writers of each into a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.io
from scipy.sparse import coo_matrix, csr_matrix

N_CELLS = 60
TFS = ["ATF3", "CEBPB", "FOS", "GATA1", "IRF8", "JUN", "KLF4", "MYC", "PAX5", "RUNX3", "SPI1", "STAT1"]
GENES = TFS + [f"TARGET{i}" for i in range(28)]
BARCODES = [f"CELL{i}-1" for i in range(N_CELLS)]
COUNTS = np.random.default_rng(0).poisson(2.0, (N_CELLS, len(GENES))).astype(np.float32)
NORMALISED = 1e4 * COUNTS / COUNTS.sum(axis=1, keepdims=True)


def h5ad(counts: object = COUNTS, genes: Sequence[str] = GENES, barcodes: Sequence[str] = BARCODES, **layers: object):
    """Writer of ``counts.h5ad``."""

    def make(folder: Path) -> None:
        shape = counts.shape
        obs, var = pd.DataFrame(index=list(barcodes)[: shape[0]]), pd.DataFrame(index=list(genes)[: shape[1]])
        anndata.AnnData(csr_matrix(counts), obs=obs, var=var, layers=layers).write_h5ad(folder / "counts.h5ad")

    return make


def with_value(value: float) -> np.ndarray:
    """The counts, one of them replaced."""
    counts = COUNTS.copy()
    counts[7, 3] = value
    return counts


def truncated(folder: Path) -> None:
    h5ad()(folder)
    path = folder / "counts.h5ad"
    path.write_bytes(path.read_bytes()[:3000])


def tenx(replace: dict[str, str] | None = None, leave_out: str | None = None):
    """Writer of a 10x folder ``tenx`` with an annotation table beside it, some of its files replaced by a text."""

    def make(path: Path) -> None:
        folder = path / "tenx"
        folder.mkdir()
        scipy.io.mmwrite(folder / "matrix.mtx", coo_matrix(COUNTS.T.astype(int)))
        (folder / "genes.tsv").write_text("".join(f"ENSG{i:011d}\t{gene}\n" for i, gene in enumerate(GENES)))
        (folder / "barcodes.tsv").write_text("\n".join(BARCODES) + "\n")
        for name, text in (replace or {}).items():
            (folder / name).write_text(text)
        if leave_out:
            (folder / leave_out).unlink()

    return make


def file(name: str, content: str | bytes):
    """Writer of one file."""

    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def both(*makers: Callable[[Path], None]):
    """Several writers as one."""

    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make
