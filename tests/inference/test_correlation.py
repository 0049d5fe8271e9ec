"""Correlation agrees with numpy and scipy, on sparse and dense data, zeros or not."""

import numpy as np
import pytest
from cells import GENES, TFS, driven_cells, regulators, shuffled
from scipy.sparse import csc_matrix
from scipy.stats import rankdata, spearmanr

from llm4grn.errors import UserError
from llm4grn.inference.correlation import Correlation, pearson, ranks


@pytest.fixture(scope="module")
def adata():
    return driven_cells()


def expected(adata, kind):
    dense = adata.X.toarray().astype(float)[:, :7]
    if kind == "pearson":
        return np.abs(np.corrcoef(np.log1p(dense), rowvar=False))
    return np.abs(spearmanr(dense).statistic)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("tf_names", [TFS, None])
def test_importances_are_absolute_correlations(adata, kind, tf_names):
    grn = Correlation(kind).infer(adata, tf_names, 0)
    matrix = expected(adata, kind)
    for tf, target, importance in grn.edges.itertuples(index=False):
        assert importance == pytest.approx(matrix[GENES.index(tf), GENES.index(target)], abs=1e-12)
    assert len(grn.edges) == (4 * 3 if tf_names else 7 * 6)
    assert regulators(grn, "t1", 1) == {"A"}
    assert regulators(Correlation(kind).infer(adata, TFS, 0), "t2", 2) == {"B", "C"}


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_order_of_genes_and_density_change_nothing(adata, kind):
    edges = Correlation(kind).infer(adata, TFS, 0).edges
    assert edges.equals(Correlation(kind).infer(shuffled(adata), TFS[::-1], 1).edges)


def test_a_constant_gene_gets_no_edges_and_a_warning(adata, caplog):
    with caplog.at_level("WARNING", logger="llm4grn"):
        grn = Correlation().infer(adata, [*TFS, "z"], 0)
    assert "z" not in {*grn.edges["TF"], *grn.edges["target"]}
    assert "1 of 8 genes" in caplog.text
    assert "for instance z" in caplog.text


def test_a_gene_that_hardly_varies_has_a_finite_correlation():
    values = np.column_stack([np.full(50, 0.1), np.arange(50.0)])
    values[0, 0] += 1e-15
    assert np.isfinite(pearson(csc_matrix(values), csc_matrix(values))).all()


def test_ranks_with_ties_zeros_and_negative_values():
    values = np.random.default_rng(0).integers(-3, 6, (60, 4)).astype(float) * (np.arange(4) > 0)
    ranked = ranks(csc_matrix(values)).toarray()
    expected = rankdata(values, axis=0)
    of_zero = np.array([expected[values[:, i] == 0, i][0] for i in range(4)])
    np.testing.assert_allclose(ranked, expected - of_zero)


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match=r"inferer\.kind=kendall: choose pearson or spearman"):
        Correlation("kendall")
