"""Which runs may be compared, asked of folders as train.py writes them."""

import anndata
import pytest
from bad_input_files import GENES, finished_run

from llm4grn.errors import UserError
from llm4grn.evaluation.report.run_check import check_runs
from llm4grn.evaluation.scores.comparison import find_runs


@pytest.fixture
def folders(tmp_path):
    finished_run("a")(tmp_path)
    finished_run("b", inferer="random")(tmp_path)
    return [tmp_path / "outputs" / name for name in ("a", "b")]


def test_whole_runs_on_the_same_cells_pass(folders):
    check_runs(folders)
    check_runs([])


@pytest.mark.parametrize("name", ["config.yaml", "tfs.json", "grn.tsv", "graph.json", "test.h5ad", "synthetic_0.h5ad"])
def test_what_is_missing_is_named(folders, name):
    (folders[1] / name).unlink()
    with pytest.raises(UserError, match=rf"b: no {name} in it; .*run the same command again"):
        check_runs(folders)


@pytest.mark.parametrize("name", ["test.h5ad", "synthetic_0.h5ad"])
def test_cut_off_cells_are_named(folders, name):
    path = folders[1] / name
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=rf"b/{name}: cannot be read"):
        check_runs(folders)


def test_other_test_cells_of_the_same_seed_are_refused(folders):
    path = folders[1] / "test.h5ad"
    cells = anndata.read_h5ad(path)
    cells[1:].copy().write_h5ad(path)
    with pytest.raises(UserError, match=r"a and .*b: both are of cells, seed 1, but have different test cells"):
        check_runs(folders)


def test_other_genes_are_refused_of_the_same_seed_alone(folders, tmp_path):
    finished_run("c", genes=GENES[:30])(tmp_path)
    other = tmp_path / "outputs" / "c"
    with pytest.raises(UserError, match="different genes"):
        check_runs([*folders, other])
    for name in "results.json", "config.yaml":
        path = other / name
        path.write_text(path.read_text().replace('"seed": 1', '"seed": 2').replace("\nseed: 1", "\nseed: 2"))
    check_runs([*folders, other])


def test_genes_within_a_run_are_the_same(folders):
    path = folders[0] / "synthetic_0.h5ad"
    anndata.read_h5ad(path)[:, ::-1].copy().write_h5ad(path)
    with pytest.raises(UserError, match=r"synthetic_0\.h5ad: its genes are not those of test\.h5ad"):
        check_runs(folders)


def test_graphs_alone_are_left_out_of_a_pattern_and_refused_by_name(folders, tmp_path):
    finished_run("g", leave_out=["results.json", "results.csv"])(tmp_path)
    outputs = tmp_path / "outputs"
    assert find_runs([f"{outputs}/*"]) == folders
    assert find_runs([f"{outputs}/g"]) == [outputs / "g"]
    with pytest.raises(UserError, match=r"outputs/g: a graph of infer_grn\.py, without scores"):
        find_runs([f"{outputs}/*", f"{outputs}/g"])
