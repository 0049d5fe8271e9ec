"""What every inferer promises whatever its method: no self-edges, names and not positions, nothing of constant genes.

The inferers are those of ``conf/inferer``: a new YAML is found by itself.
"""

import anndata
import numpy as np
import pandas as pd
import pytest
import tiny
from cells import GENES, TFS, driven_cells, shuffled
from test_inferers_in_line import INFERERS, QUICK

from llm4grn.cli.config import build_setting
from llm4grn.inference.genie3 import GENIE3

#: file: its edges are somebody else's. llm: see test_llm_inferer.py.
RANKING = [name for name in INFERERS if name not in ("file", "llm")]
#: Other members than those of the line's tests: a random one knows of no constant genes.
OPTIONS = QUICK | {
    "consensus": ["inferer.members=[pidc,correlation]"],
    "popular": ["inferer.of=correlation"],
    "shuffled": ["inferer.of=correlation"],
}
FURTHER = [
    ("genie3", "inferer.trees=extra_trees"),
    ("grnboost2", "inferer.n_seeds=2"),
    ("correlation", "inferer.kind=spearman"),
    ("pidc", "inferer.distribution=empirical"),
]
CASES = [*((name,) for name in RANKING), *FURTHER]


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def inferer(request):
    name, *options = request.param
    if name == "regdiffusion":
        pytest.importorskip("regdiffusion")
    return build_setting(tiny.config(f"inferer={name}", *OPTIONS.get(name, []), *options, name="infer_grn")).inferer


@pytest.fixture(scope="module")
def cells():
    return driven_cells(120)


@pytest.fixture(scope="module")
def with_list(inferer, cells):
    return inferer.infer(cells, TFS, 7).edges


@pytest.fixture(scope="module")
def without(inferer, cells):
    return inferer.infer(cells, None, 7).edges


def test_edges_run_from_tfs_to_other_genes(with_list):
    assert set(with_list["TF"]) <= set(TFS)
    assert set(with_list["target"]) <= set(GENES) - set(TFS)
    assert not with_list.duplicated(["TF", "target"]).any()
    assert np.isfinite(with_list["importance"]).all()
    assert (with_list["importance"] > 0).all()


def test_without_a_list_no_gene_regulates_itself(without):
    assert (without["TF"] != without["target"]).all()
    assert not without.duplicated(["TF", "target"]).any()
    assert set(without["TF"]) - set(TFS)
    assert (without["importance"] > 0).all()


def test_the_order_of_genes_and_tfs_decides_nothing(inferer, cells, with_list, without):
    pd.testing.assert_frame_equal(inferer.infer(shuffled(cells), sorted(TFS), 7).edges, with_list)
    pd.testing.assert_frame_equal(inferer.infer(shuffled(cells), None, 7).edges, without)


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_constant_gene_has_no_edges_and_changes_none(inferer, cells, level, with_list):
    if not inferer.uses_expression:
        pytest.skip("sees no expression")
    dense = cells.X.toarray()
    dense[:, GENES.index("z")] = level
    dense[:, GENES.index("t3")] = level  # a target
    dense[:, GENES.index("D")] = level  # a TF
    edges = inferer.infer(anndata.AnnData(dense, var=cells.var), TFS, 7).edges
    assert not {"z", "t3", "D"} & {*edges["TF"], *edges["target"]}
    varying = [gene for gene in GENES if gene not in ("z", "t3", "D")]
    alone = inferer.infer(cells[:, varying].copy(), ["A", "B", "C"], 7).edges
    pd.testing.assert_frame_equal(edges, alone)


def test_the_cells_are_left_as_they_were(inferer, cells):
    before = cells.X.copy()
    inferer.infer(cells, TFS, 7)
    assert (before != cells.X).nnz == 0
    assert list(cells.var_names) == GENES


@pytest.mark.parametrize("trees", ["random_forest", "extra_trees"])
@pytest.mark.parametrize("target", ["A", "t1"])
def test_a_target_that_could_be_a_tf_is_regressed_on_the_other_genes_alone(cells, trees, target):
    """Were it among its own TFs, it would explain itself, and nothing would be left for the others."""
    method = GENIE3(trees, n_trees=10, n_jobs=1)
    others = [gene for gene in GENES if gene != target]
    alone = method.infer(cells, others, 7).edges
    among_all = method.infer(cells, None, 7).edges
    pd.testing.assert_frame_equal(among_all[among_all["target"] == target].reset_index(drop=True), alone)
    assert alone["importance"].sum() > 0.5
