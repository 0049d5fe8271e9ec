"""GRNBoost2 gives arboreto's own edges, on any number of processes, for dense and sparse data."""

import signal
import subprocess
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from llm4grn.errors import UserError
from llm4grn.inference.grnboost2 import GRNBoost2

GENES = ["A", "B", "C", "D", "t1", "t2", "t3", "z"]
TFS = ["D", "A", "C", "B"]


@pytest.fixture(scope="module")
def adata():
    """120 cells; t1 follows A, t2 follows B and C, t3 is noise, z is silent. TFs are 0 in half the cells."""
    rng = np.random.default_rng(0)
    tfs = rng.gamma(2.0, 50.0, (120, 4)) * (rng.random((120, 4)) < 0.5)
    noise = rng.gamma(1.0, 10.0, (120, 3))
    t1, t2, t3 = 3 * tfs[:, 0] + noise[:, 0], tfs[:, 1] + tfs[:, 2] + noise[:, 1], noise[:, 2]
    dense = np.column_stack([tfs, t1, t2, t3, np.zeros(120)]).astype(np.float32)
    return anndata.AnnData(sp.csr_matrix(dense), var=pd.DataFrame(index=GENES))


@pytest.fixture(scope="module")
def grn(adata):
    return GRNBoost2(n_jobs=1).infer(adata, TFS, 7)


def test_the_edges_are_arboretos(adata, grn):
    from arboreto import core

    dense = adata.X.toarray().astype(np.float64)
    tables = [
        core.infer_partial_network(
            "GBM", core.SGBM_KWARGS, np.asfortranarray(dense[:, :4]), GENES[:4], target, dense[:, i], seed=7
        )
        for i, target in [(4, "t1"), (5, "t2"), (6, "t3")]
    ]
    expected = pd.concat(tables).sort_values(["importance", "TF", "target"], ascending=[False, True, True])
    pd.testing.assert_frame_equal(grn.edges, expected.reset_index(drop=True), check_exact=True)


def test_it_finds_what_drives_the_targets(grn):
    assert grn.edges.iloc[0][["TF", "target"]].tolist() == ["A", "t1"]
    best = grn.edges[grn.edges["target"] == "t2"]["TF"].head(2)
    assert set(best) == {"B", "C"}


def test_processes_density_and_order_of_tfs_change_nothing_but_the_seed_does(adata, grn, tmp_path):
    grn.write(tmp_path / "one.tsv")
    dense = anndata.AnnData(adata.X.toarray(), var=adata.var)
    GRNBoost2(n_jobs=2).infer(dense, TFS[::-1], 7).write(tmp_path / "two.tsv")
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert not GRNBoost2(n_jobs=1).infer(adata, TFS, 8).edges.equals(grn.edges)


def test_a_constant_target_gets_no_edges_and_a_warning(adata, caplog):
    with caplog.at_level("WARNING", logger="llm4grn"):
        grn = GRNBoost2(n_jobs=1).infer(adata, TFS, 7)
    assert set(grn.edges["target"]) == {"t1", "t2", "t3"}
    assert "1 of 4 targets" in caplog.text
    assert "for instance z" in caplog.text
    alone = GRNBoost2(n_jobs=1).infer(adata[:, ["A", "B", "z"]].copy(), ["A", "B"], 7)
    assert alone.edges.empty


def test_a_single_tf_regulates_what_follows_it(adata):
    grn = GRNBoost2(n_jobs=1).infer(adata[:, ["A", "t1"]].copy(), ["A"], 7)
    assert grn.edges[["TF", "target"]].values.tolist() == [["A", "t1"]]


def test_it_is_quiet(adata, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GRNBoost2(n_jobs=1).infer(adata[:, GENES[:5]].copy(), TFS, 7)
    out, err = capfd.readouterr()
    assert out == ""
    assert "GRNBoost2: 100%" in err
    assert "arning" not in err


def test_a_failure_of_arboreto_is_not_taken_for_no_edges(adata):
    broken = adata[:, GENES[:5]].copy()
    broken.X[0, 4] = np.nan
    with pytest.raises(RuntimeError, match="failed for target t1"):
        GRNBoost2(n_jobs=1).infer(broken, TFS, 7)


@pytest.mark.parametrize("arguments", [{"n_jobs": 0}, {"n_jobs": "all"}, {"n_jobs": True}, {"engine": "xgboost"}])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=f"inferer.{next(iter(arguments))}="):
        GRNBoost2(**arguments)


WORKER = """
import os, time
from llm4grn.inference.grnboost2 import _leave_with_parent
_leave_with_parent(os.getppid())
print("ready", flush=True)
time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_a_worker_does_not_outlive_a_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WORKER], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(signal.SIGKILL)
    # The pipe closes when the last process that writes to it, the worker, is gone.
    assert parent.communicate(timeout=15)[0] == ""
