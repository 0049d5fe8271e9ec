"""A file that cannot be written: one line, status 1, and nothing half-written."""

import contextlib
import errno
import resource
import shutil
import sqlite3

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from llm4grn.cli.errors import one_line_errors
from llm4grn.errors import UserError, WriteError
from llm4grn.runtime.h5ad import write_h5ad as write_cells
from llm4grn.runtime.write_failures import write_failure
from llm4grn.store import Stage, Store, atomic_write


@contextlib.contextmanager
def files_limited_to(n_bytes):
    """The kernel's limit for the size of files, as ``ulimit -f`` sets it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_text(path):
    path.write_text("x" * 20_000)


def write_h5ad(path):
    write_cells(anndata.AnnData(np.random.default_rng(0).random((50, 50))), path)


@pytest.mark.parametrize("write", [write_text, write_h5ad], ids=["text", "HDF5"])
def test_the_limit_of_a_files_size_leaves_nothing_behind(tmp_path, write):
    path = tmp_path / "out" / "net.h5ad"
    told = pytest.raises(WriteError, match=r"cannot write .*net\.h5ad \(.*; free space there")
    with told as caught, files_limited_to(2000), atomic_write(path) as temporary:
        write(temporary)
    assert "\n" not in str(caught.value)
    assert list(path.parent.iterdir()) == []


def test_what_was_there_stays_whole(tmp_path):
    path = tmp_path / "net.tsv"
    path.write_text("before")
    with pytest.raises(WriteError), files_limited_to(2000), atomic_write(path) as temporary:
        write_text(temporary)
    assert path.read_text() == "before"


def test_a_folder_that_is_removed_meanwhile(tmp_path):
    folder = tmp_path / "out"

    def write(temporary):
        shutil.rmtree(folder)
        write_text(temporary)

    with pytest.raises(WriteError, match="its folder is gone"), atomic_write(folder / "net.tsv") as temporary:
        write(temporary)


def test_other_errors_keep_their_class(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a") as temporary:
        temporary.write_bytes((tmp_path / "absent").read_bytes())
    with pytest.raises(KeyError), atomic_write(tmp_path / "a"):
        raise KeyError("x")


def test_a_stage_that_cannot_be_written_leaves_no_folder(tmp_path):
    store, stage = Store(tmp_path), Stage("data", 1)

    def build(folder):
        with atomic_write(folder / "cells") as path:
            write_text(path)

    with pytest.raises(WriteError), files_limited_to(2000):
        store.get_or_run(stage, build)
    assert list((tmp_path / "data").iterdir()) == []
    assert store.get_or_run(stage, build) == store.path(stage)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "out/generator.pt"),
        OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
        RuntimeError("[enforce fail at inline_container.cc:745] . PytorchStreamWriter failed writing file data/0"),
        sqlite3.OperationalError("database or disk is full"),
        WriteError("cannot write a file (full); free space"),
    ],
    ids=["Python", "HDF5", "PyTorch", "SQLite", "ours"],
)
def test_the_command_ends_with_one_line_and_status_1(error, capsys):
    around = ValueError("around it")
    around.__cause__ = error
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise around
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: cannot write")
    assert told.count("\n") == 1
    assert "free space" in told


def test_bugs_keep_their_traceback_and_mistakes_their_status():
    assert write_failure(RuntimeError("No such layer")) is None
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("x")
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise UserError("k is wrong")
    assert ended.value.code == 2


def test_cells_are_read_as_they_were_written(tmp_path):
    adata = anndata.AnnData(csr_matrix(np.eye(3, dtype=np.float32)), uns={"preprocessing": {"seed": 1}})
    adata.obs["split"] = pd.Categorical(["train", "test", "train"])
    write_cells(adata, tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert (again.X != adata.X).nnz == 0
    assert again.X.dtype == np.float32
    assert again.obs.equals(adata.obs)
    assert again.uns == {"preprocessing": {"seed": 1}}
