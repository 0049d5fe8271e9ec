"""``llm4grn adjacencies``: the file of ``pyscenic grn``, from any file of cells, the same for any number of workers."""

import gzip
import logging
import multiprocessing
import os
import signal

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from tiny import TFS, write_counts

from llm4grn.cli.adjacencies import main
from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.grn.exports import write_adjacencies
from llm4grn.inference.expression import Expression
from llm4grn.inference.genie3 import GENIE3
from llm4grn.inference.grnboost2 import GRNBoost2


@pytest.fixture(autouse=True)
def _logger_as_before():
    """The command sends all messages to stderr, where those of other tests would go too."""
    ours = logging.getLogger("llm4grn")
    before = ours.handlers, ours.level, ours.propagate
    yield
    ours.handlers, ours.level, ours.propagate = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Counts in several forms and lists of TFs, one of them with other case, a former symbol and a stranger."""
    folder = tmp_path_factory.mktemp("adjacencies")
    adata = anndata.read_h5ad(write_counts(folder / "cells.h5ad"))
    table = pd.DataFrame(adata.X.toarray().astype(int), index=adata.obs_names, columns=adata.var_names)
    table.T.to_csv(folder / "genes_x_cells.csv.gz")
    adata[:, np.random.default_rng(1).permutation(adata.n_vars)].copy().write_h5ad(folder / "shuffled.h5ad")
    normalised = adata.copy()
    scanpy.pp.normalize_total(normalised, target_sum=10_000)
    scanpy.pp.log1p(normalised)
    normalised.write_h5ad(folder / "log.h5ad")
    copied = adata[[*range(adata.n_obs), *range(20)]].copy()
    copied.obs_names = [f"cell{i}" for i in range(copied.n_obs)]
    copied.write_h5ad(folder / "copied.h5ad")
    (folder / "tfs.txt").write_text("\n".join(TFS) + "\n")
    (folder / "awkward.txt").write_text("gata1\nGATA3\nSPI1\nIRF8\nCEBPA\nNOT_A_GENE\n")
    return folder


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Run the command; return the file that it wrote, and what it said."""

    def run(cells="cells.h5ad", *options, tfs="tfs.txt", output="adjacencies.tsv"):
        main([str(folder / cells), str(folder / tfs), "-o", str(tmp_path / output), "--workers=1", *options])
        said = capsys.readouterr()
        return tmp_path / output, said.out + said.err

    return run


@pytest.fixture(scope="module")
def expected(folder):
    """The network from the data in memory: every gene is a target."""
    adata = anndata.read_h5ad(folder / "cells.h5ad")
    return GRNBoost2(n_jobs=1).rank(Expression.of(adata, TFS, "GRNBoost2", every_gene=True), 0)


def as_ctx_reads(path):
    """The table as ``pyscenic.cli.utils.load_adjacencies`` reads it."""
    separator = "," if ".csv" in path.suffixes else "\t"
    return pd.read_csv(path, sep=separator, dtype={0: str, 1: str, 2: np.float64}, keep_default_na=False)


def test_ctx_reads_what_was_inferred_for_every_gene(run, expected):
    path, said = run()
    table = as_ctx_reads(path)
    pd.testing.assert_frame_equal(table, expected.edges)
    assert path.read_text().startswith("TF\ttarget\timportance\n")
    assert table["importance"].is_monotonic_decreasing
    assert set(table["TF"]) == set(TFS)
    assert set(TFS) < set(table["target"])
    assert (table["TF"] != table["target"]).all()
    assert f"next: pyscenic ctx {path} DATABASE.feather" in said
    assert list(path.parent.iterdir()) == [path]


def test_targets_besides_the_tfs_are_those_of_an_ordinary_inference(folder, expected):
    alone = GRNBoost2(n_jobs=1).infer(anndata.read_h5ad(folder / "cells.h5ad"), TFS, 0).edges
    others = expected.edges[~expected.edges["target"].isin(TFS)].reset_index(drop=True)
    # The TFs tried at a node are a tenth of the others, at least one: here one, with a TF among the targets or without.
    pd.testing.assert_frame_equal(others, alone)


def test_our_reader_reads_it_too(run, expected):
    pd.testing.assert_frame_equal(GRN.read(run()[0]).edges, expected.edges)


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        ("cells.h5ad", ["--workers=2"]),
        ("shuffled.h5ad", []),
        ("genes_x_cells.csv.gz", ["--genes-in=rows"]),
        pytest.param("cells.h5ad", ["--dask=local", "--workers=2"], marks=pytest.mark.slow),
    ],
)
def test_workers_order_of_genes_and_format_do_not_change_a_byte(run, cells, options):
    first, _ = run()
    assert run(cells, *options, output="other.tsv")[0].read_bytes() == first.read_bytes()


def test_the_seed_does(run):
    first = run()[0].read_bytes()
    assert run("cells.h5ad", "--seed=1")[0].read_bytes() != first
    several, _ = run("cells.h5ad", "--n-seeds=2")
    assert several.read_bytes() != first
    assert list(as_ctx_reads(several)) == ["TF", "target", "importance"]


@pytest.mark.parametrize("name", ["adjacencies.csv", "adjacencies.tsv.gz"])
def test_other_endings(run, expected, name):
    path, _ = run(output=name)
    pd.testing.assert_frame_equal(as_ctx_reads(path), expected.edges)
    if name.endswith(".gz"):
        assert gzip.decompress(path.read_bytes()).startswith(b"TF\ttarget\timportance\n")
        assert run(output="again.tsv.gz")[0].read_bytes() == path.read_bytes()


def test_what_became_of_the_names_and_what_the_values_are_is_told(run):
    _, said = run(tfs="awkward.txt")
    assert "5 TFs found, 1 of them in other case (gata1 = GATA1); 5 of 6 listed names are among the 30 genes" in said
    assert "140 cells x 30 genes; the values look like raw counts, and are used as they are" in said
    assert "copies" not in said


def test_normalised_values_are_used_as_they_are(run):
    of_counts = run()[0].read_bytes()
    path, said = run("log.h5ad")
    assert "the values look like log1p of counts normalised to 10000 per cell, and are used as they are" in said
    assert path.read_bytes() != of_counts


def test_copies_of_cells_are_warned_of(run):
    _, said = run("copied.h5ad")
    assert "20 of 160 cells are exact copies of others" in said


def test_the_list_of_the_package(folder, tmp_path, expected):
    main([str(folder / "cells.h5ad"), "human", "-o", str(tmp_path / "human.tsv"), "--workers=1"])
    pd.testing.assert_frame_equal(as_ctx_reads(tmp_path / "human.tsv"), expected.edges)


@pytest.mark.parametrize(
    ("cells", "tfs", "options", "message"),
    [
        ("absent.h5ad", "tfs.txt", [], "EXPRESSION: there is no file"),
        ("cells.h5ad", "absent.txt", [], "TF_LIST="),
        ("cells.h5ad", "none.txt", [], "no TF among the 30 genes by the list"),
        ("cells.h5ad", "tfs.txt", ["--layer=spliced"], "--layer: "),
        ("cells.h5ad", "tfs.txt", ["--workers=0"], "--workers=0: must be a number of processes"),
        ("cells.h5ad", "tfs.txt", ["--n-seeds=0"], "--n-seeds=0: "),
        ("cells.h5ad", "tfs.txt", ["--method=genie3", "--n-seeds=2"], "are for --method grnboost2"),
        ("cells.h5ad", "tfs.txt", ["--output=adjacencies.txt"], "pyscenic ctx reads .tsv"),
        ("genes_x_cells.csv.gz", "tfs.txt", [], "add --genes-in=rows or --genes-in=columns"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(folder, tmp_path, capsys, cells, tfs, options, message):
    (folder / "none.txt").write_text("FOXP3\n")
    output = f"--output={tmp_path / 'adjacencies.tsv'}"
    with pytest.raises(SystemExit) as ended:
        main([str(folder / cells), str(folder / tfs), output, *options])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert ended.value.code == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert "dataset." not in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_another_species_is_refused(folder, tmp_path, capsys):
    adata = anndata.read_h5ad(folder / "cells.h5ad")[:, list(TFS)].copy()
    adata.write_h5ad(tmp_path / "human.h5ad")
    (tmp_path / "mouse.txt").write_text("Gata1\nGata3\nSpi1\n")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "human.h5ad"), str(tmp_path / "mouse.txt"), f"--output={tmp_path / 'a.tsv'}"])
    assert "its names are those of mouse" in capsys.readouterr().err


def test_interrupted_it_says_so_in_one_line(run, monkeypatch, capsys, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(GRNBoost2, "rank", interrupted)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 130
    assert capsys.readouterr().err.endswith("\ninterrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["adjacencies.tsv", "adjacencies.tsv.gz"])
def test_killed_while_it_writes_it_leaves_what_was_there(expected, tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_text("before")
    monkeypatch.setattr("llm4grn.store.os.fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    child = multiprocessing.get_context("fork").Process(target=write_adjacencies, args=(expected, path))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert path.read_text() == "before"


def test_genie3_ranks_for_every_gene_too(folder):
    adata = anndata.read_h5ad(folder / "cells.h5ad")
    grn = GENIE3(n_trees=2, n_jobs=1).rank(Expression.of(adata, TFS, "GENIE3", every_gene=True), 0)
    assert set(TFS) < set(grn.edges["target"])


def test_genes_that_are_all_tfs_are_all_targets(folder):
    adata = anndata.read_h5ad(folder / "cells.h5ad")[:, list(TFS)].copy()
    with pytest.raises(UserError, match="0 targets"):
        Expression.of(adata, TFS, "GRNBoost2")
    expression = Expression.of(adata, TFS, "GRNBoost2", every_gene=True)
    assert list(expression.tfs) == list(expression.targets) == [0, 1, 2, 3, 4]
