"""Writers of the files that a user could give by mistake."""

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
    """Return a writer of ``counts.h5ad``."""

    def make(folder: Path) -> None:
        shape = counts.shape
        obs, var = pd.DataFrame(index=list(barcodes)[: shape[0]]), pd.DataFrame(index=list(genes)[: shape[1]])
        anndata.AnnData(csr_matrix(counts), obs=obs, var=var, layers=layers).write_h5ad(folder / "counts.h5ad")

    return make


def with_value(value: float) -> np.ndarray:
    """Return the counts with one of them replaced."""
    counts = COUNTS.copy()
    counts[7, 3] = value
    return counts


def truncated(folder: Path) -> None:
    h5ad()(folder)
    path = folder / "counts.h5ad"
    path.write_bytes(path.read_bytes()[:3000])


def tenx(replace: dict[str, str] | None = None, leave_out: str | None = None):
    """Return a writer of a 10x folder ``tenx`` and an annotation table, with some files replaced by a text."""

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
    """Return a writer of one file."""

    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def both(*makers: Callable[[Path], None]):
    """Return one writer that calls several."""

    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make


def finished_run(
    name: str,
    *,
    inferer: str = "grnboost2",
    genes: Sequence[str] = GENES,
    leave_out: Sequence[str] = (),
    replace: dict[str, str | bytes] | None = None,
):
    """Return a writer of ``outputs/name``, a finished run on the cells above, without some of its files."""

    def make(path: Path) -> None:
        from llm4grn.grn import GRN
        from llm4grn.grn.causal_graph import CausalGraph
        from llm4grn.knowledge.base import TFSet
        from llm4grn.results import SOURCES, Result, write_results

        folder = path / "outputs" / name
        folder.mkdir(parents=True)
        setting = {"dataset": "cells", "kb": "human", "inferer": inferer, "llm": "", "model": "small", "graph": "top 1"}
        setting |= {"seed": 1}
        results = [Result(**setting, sample=0, source=of, metric="mmd", value=i + 1.0) for i, of in enumerate(SOURCES)]
        stages = {stage: stage for stage in ("data", "controller", "causal_gan")}
        write_results(results, folder, {"key": name, "setting": setting, "n_cells": N_CELLS, "stages": stages})
        tfs, targets = genes[:2], genes[2:]
        edges = [(tfs[i % 2], target, 1.0) for i, target in enumerate(targets)]
        CausalGraph(tuple(genes), {target: (tf,) for tf, target, _ in edges}).to_json(folder / "graph.json")
        TFSet(tuple(tfs)).to_json(folder / "tfs.json")
        GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"])).write(folder / "grn.tsv")
        (folder / "config.yaml").write_text(_CONFIG.format(inferer=inferer))
        for cells in "test", "synthetic_0":
            h5ad(COUNTS[:, : len(genes)], genes)(folder)
            (folder / "counts.h5ad").rename(folder / f"{cells}.h5ad")
        for missing in leave_out:
            (folder / missing).unlink()
        for file_name, content in (replace or {}).items():
            file(file_name, content)(folder)

    return make


_CONFIG = """\
dataset: {{name: cells, source: {{_target_: llm4grn.data.sources.H5AD}}, preprocessing: {{n_genes: 40}}}}
kb: {{name: human, method: {{_target_: llm4grn.knowledge.curated.CuratedList}}}}
inferer: {{name: {inferer}, method: {{_target_: {inferer}}}}}
graph: {{strategy: top, k: 1}}
seed: 1
inference_seed: 1
"""
