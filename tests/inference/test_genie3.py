"""GENIE3: the forests of its definition, the same on any number of processes and for any order of genes."""

import numpy as np
import pytest
from cells import GENES, TFS, driven_cells, regulators, shuffled
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from llm4grn.errors import UserError
from llm4grn.inference.genie3 import GENIE3
from llm4grn.runtime.seeding import derive_seed


@pytest.fixture(scope="module")
def adata():
    return driven_cells()


@pytest.mark.parametrize(
    ("trees", "forest"), [("random_forest", RandomForestRegressor), ("extra_trees", ExtraTreesRegressor)]
)
def test_importances_are_explained_variances_of_one_forest(adata, trees, forest):
    grn = GENIE3(trees, n_trees=30, n_jobs=1).infer(adata, TFS, 7)
    dense = adata.X.toarray()
    response = dense[:, GENES.index("t2")].astype(np.float64)
    seed = derive_seed(derive_seed(7, "genie3", "t2"), 0)
    fitted = forest(30, max_features="sqrt", random_state=seed).fit(dense[:, :4], response / response.std())
    importances = np.mean([t.tree_.compute_feature_importances(normalize=False) for t in fitted.estimators_], axis=0)
    found = grn.edges[grn.edges["target"] == "t2"].set_index("TF")["importance"]
    np.testing.assert_allclose(found[list("ABCD")], importances, rtol=1e-12)
    assert found.sum() <= 1 + 0.3  # a bootstrap sample can vary more than all cells do
    assert regulators(grn, "t1", 1) == {"A"}
    assert regulators(grn, "t2", 2) == {"B", "C"}


def test_more_trees_than_are_alive_at_a_time_still_average(adata):
    grn = GENIE3("extra_trees", n_trees=120, n_jobs=1).infer(adata, TFS, 7)
    totals = grn.edges.groupby("target")["importance"].sum()
    assert totals.max() <= 1 + 1e-9  # each tree sees all cells: it cannot explain more than there is
    assert totals.min() > 0.9  # and grown to the end, it explains nearly all


@pytest.mark.slow
def test_every_further_tree_is_another_one(adata):
    """The second fifty are not the first again, nor are the third."""
    found = [
        GENIE3(n_trees=n_trees, n_jobs=1).infer(adata, TFS, 7).edges.set_index(["TF", "target"])["importance"]
        for n_trees in (50, 100, 150)
    ]
    fifties = found[0], 2 * found[1] - found[0], 3 * found[2] - 2 * found[1]  # of each fifty alone
    for one, other in (fifties[0], fifties[1]), (fifties[0], fifties[2]), (fifties[1], fifties[2]):
        assert (one - other).abs().max() > 1e-3
        assert (one - other).abs().max() < 0.2  # and still forests of the same cells


@pytest.mark.slow
def test_processes_order_of_genes_and_density_change_nothing_but_the_seed_does(adata):
    edges = GENIE3(n_trees=10, n_jobs=1).infer(adata, TFS, 7).edges
    assert edges.equals(GENIE3(n_trees=10, n_jobs=2).infer(shuffled(adata), TFS[::-1], 7).edges)
    assert not edges.equals(GENIE3(n_trees=10, n_jobs=1).infer(adata, TFS, 8).edges)


def test_without_a_list_of_tfs_no_gene_regulates_itself(adata):
    edges = GENIE3(n_trees=10, max_features=4, n_jobs=1).infer(adata, None, 7).edges
    assert set(edges["TF"]) == set(edges["target"]) == set(GENES) - {"z"}
    assert (edges["TF"] != edges["target"]).all()


def test_a_single_tf_and_a_constant_gene(adata, caplog):
    with caplog.at_level("WARNING", logger="llm4grn"):
        grn = GENIE3(n_trees=5, n_jobs=1).infer(adata, ["A"], 7)
    assert set(grn.edges["TF"]) == {"A"}
    assert "z" not in set(grn.edges["target"])
    assert "1 of 8 genes" in caplog.text


@pytest.mark.parametrize(
    "arguments",
    [{"trees": "oak"}, {"n_trees": 0}, {"max_features": "log2"}, {"max_features": 0}, {"n_jobs": 0}, {"n_jobs": "all"}],
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=f"inferer.{next(iter(arguments))}="):
        GENIE3(**arguments)


def test_more_features_than_tfs_are_refused(adata):
    with pytest.raises(UserError, match=r"max_features=5: there are only 4 TFs"):
        GENIE3(max_features=5).infer(adata, TFS, 0)
