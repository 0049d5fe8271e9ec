"""Cells from a file are the cells from memory: the same batches, statistics and weights, bit for bit."""

import pickle
from pathlib import Path

import anndata
import numpy as np
import pytest
import tiny
import torch
from scipy.sparse import csr_matrix, random_array
from test_training import CPU, causal_gan, controller, same, weights

from llm4grn.cli.config import build_setting
from llm4grn.gan import training
from llm4grn.gan import training_cells as module
from llm4grn.gan.api import GENERATOR
from llm4grn.gan.collapse import MONITOR
from llm4grn.gan.marginals import rectified_gaussians
from llm4grn.gan.training_cells import DenseCells, StreamedCells, dense, open_cells
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store


def write(path: Path, n_genes: int, compression: str | None) -> Path:
    """500 cells in three splits that lie in no order; some cells are empty."""
    rng = np.random.default_rng(0)
    counts = random_array((500, n_genes), density=0.3, rng=rng, dtype=np.float32) * 100
    adata = anndata.AnnData(csr_matrix(counts))
    adata.obs["split"] = rng.choice(["train", "validation", "test"], size=500, p=[0.7, 0.2, 0.1])
    adata.write_h5ad(path, compression=compression)
    return path


@pytest.fixture(params=["gzip", None], ids=["packed", "plain"])
def path(request, tmp_path):
    return write(tmp_path / "cells.h5ad", 12, request.param)


@pytest.fixture
def both(path) -> tuple[DenseCells, StreamedCells]:
    return open_cells(path, "train", stream=False), open_cells(path, "train", stream=True)


def test_rows_are_those_of_the_split(both, path):
    adata = anndata.read_h5ad(path)
    expected = torch.from_numpy(adata[adata.obs["split"] == "train"].X.toarray())
    index = torch.randint(len(expected), (40,), generator=torch.Generator().manual_seed(0))
    for cells in both:
        assert (len(cells), cells.n_genes) == expected.shape
        assert torch.equal(cells.rows(index), expected[index])
        assert cells.rows(index).dtype == torch.float32


def test_what_was_prefetched_is_what_comes(both):
    kept, streamed = both
    first, second = torch.arange(5, 15), torch.arange(40, 3, -1)
    streamed.prefetch(first)
    assert torch.equal(streamed.rows(first), kept.rows(first))
    streamed.prefetch(first)
    assert torch.equal(streamed.rows(second), kept.rows(second))  # asked for something else
    assert torch.equal(streamed.rows(first), kept.rows(first))


@pytest.mark.parametrize("numbers_per_pass", [1, 50_000, 1 << 26])
def test_what_genes_have_is_bit_for_bit_the_same(tmp_path, monkeypatch, numbers_per_pass):
    path = write(tmp_path / "cells.h5ad", 150, None)
    kept, streamed = (open_cells(path, "train", stream=stream) for stream in (False, True))
    monkeypatch.setattr(module, "_NUMBERS_PER_PASS", numbers_per_pass)
    for statistic in (
        lambda some: torch.stack([some.mean(dim=0), some.var(dim=0)]),
        lambda some: some.mean(dim=0, dtype=torch.float64),
        lambda some: torch.stack([rectified_gaussians(some).offset, rectified_gaussians(some).unit]),
        lambda some: some.isfinite().all(dim=0),
    ):
        assert torch.equal(kept.per_gene(statistic), streamed.per_gene(statistic))


@pytest.mark.slow
@pytest.mark.parametrize("make", [controller, causal_gan])
def test_a_training_from_the_file_is_the_one_from_memory(make, both, tmp_path):
    trained = []
    for cells in both:
        module = make(preconditioned=True, cells=cells)
        folder = tmp_path / type(cells).__name__
        training.fit(module, folder, "model", CPU)
        trained.append((weights(module), [(folder / name).read_bytes() for name in (training.LOSSES, MONITOR)]))
    assert same(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]


def test_it_is_read_again_in_another_process(both):
    kept, streamed = both
    index = torch.arange(7)
    streamed.prefetch(index)
    copied = pickle.dumps(streamed)
    assert len(copied) < 50_000  # no cells
    assert torch.equal(pickle.loads(copied).rows(index), kept.rows(index))


def test_memory_decides(path, monkeypatch):
    size = len(open_cells(path, "train")) * 12 * 4
    monkeypatch.setattr(module, "free_memory", lambda accelerator: 2 * size)
    assert isinstance(open_cells(path, "train"), DenseCells)
    monkeypatch.setattr(module, "free_memory", lambda accelerator: 2 * size - 2)
    assert isinstance(open_cells(path, "train"), StreamedCells)


def test_free_memory_is_some_of_the_machines():
    import os

    assert 1 << 20 < module.free_memory("cpu") <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("accelerator", "host", "gpu", "free"),
    [("auto", 900, 700, 700), ("gpu", 900, 700, 700), ("cuda", 500, 700, 500), ("cpu", 900, 700, 900)],
)
def test_memory_of_a_gpu_counts_where_the_cells_would_be_on_it(monkeypatch, accelerator, host, gpu, free):
    monkeypatch.setattr(module, "_free_memory_of_host", lambda: host)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (gpu, 10_000))
    assert module.free_memory(accelerator) == free
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module.free_memory(accelerator) == host


def test_dense_takes_any_matrix():
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    for matrix in values, csr_matrix(values):
        assert torch.equal(dense(anndata.AnnData(matrix)), torch.arange(6.0).view(2, 3))


def test_nothing_is_left_beside_the_file(both, path):
    both[1].rows(torch.arange(3))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
def test_a_trainer_may_stream_and_its_stage_is_the_same(tmp_path):
    """The whole way from the option to the generator."""
    setting = build_setting(tiny.config(*tiny.options(tiny.write_counts(tmp_path / "counts.h5ad"), tmp_path)))
    stages = []
    for stream in False, True:
        trainer = {"accelerator": "cpu", "devices": 1, "compile": False, "stream": stream}
        pipeline = Pipeline(setting, Store(tmp_path / f"store_{stream}"), trainer)
        assert isinstance(pipeline._training_cells(), StreamedCells if stream else DenseCells)
        generator = torch.load(pipeline.controller_folder() / GENERATOR, weights_only=True)
        stages.append((pipeline.controller.key, list(generator.values())))
    assert stages[0][0] == stages[1][0]
    assert same(stages[0][1], stages[1][1])
