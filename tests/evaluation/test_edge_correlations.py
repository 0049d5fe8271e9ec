"""Correlations of edges against numpy's, and within types where genes merely mark the types."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from llm4grn.evaluation.graphs.edge_correlations import edge_correlations

EDGES = pd.DataFrame([("A", "x"), ("B", "x"), ("A", "y"), ("B", "constant")], columns=["TF", "target"])


@pytest.fixture
def cells():
    """In the two types A, B and x differ much; within the types only A and y go together, in opposite ways."""
    rng = np.random.default_rng(0)
    types = np.repeat(["one", "two"], 300)
    rate = np.where(types == "one", 2.0, 20.0)
    driver = rng.random(600)
    counts = np.stack(
        [rng.poisson(rate * (0.2 + driver)), rng.poisson(rate), rng.poisson(rate), rng.poisson(9 * (1 - driver))],
        axis=1,
    )
    counts = np.column_stack([counts, np.zeros(600)])
    obs = pd.DataFrame({"cell_type": types}, index=[f"cell{i}" for i in range(600)])
    adata = anndata.AnnData(csr_matrix(counts.astype(np.float32)), obs=obs)
    adata.var_names = ["A", "B", "x", "y", "constant"]
    return adata


def test_they_are_those_of_numpy(cells):
    log = np.log1p(cells.X.toarray().astype(float))
    found = edge_correlations(cells, EDGES)
    centred = log.copy()
    for name in "one", "two":
        own = (cells.obs["cell_type"] == name).to_numpy()
        centred[own] -= centred[own].mean(axis=0)
    for values, column in (log, "raw"), (centred, "within"):
        expected = np.corrcoef(values[:, :4].T)
        assert found[column].iloc[:3].tolist() == pytest.approx(
            [expected[0, 2], expected[1, 2], expected[0, 3]], abs=1e-6
        )
    dense = anndata.AnnData(cells.X.toarray(), obs=cells.obs, var=cells.var)
    pd.testing.assert_frame_equal(found, edge_correlations(dense, EDGES))


def test_markers_of_one_type_are_not_correlated_within_it(cells):
    found = edge_correlations(cells, EDGES)
    assert found["raw"].iloc[1] > 0.7
    assert abs(found["within"].iloc[1]) < 0.1
    assert found["within"].iloc[2] < -0.3


def test_what_cannot_be_known_is_missing(cells):
    assert edge_correlations(cells, EDGES).iloc[3].isna().all()
    del cells.obs["cell_type"]
    found = edge_correlations(cells, EDGES)
    assert found["within"].isna().all()
    assert found["raw"].iloc[:3].notna().all()
    assert len(edge_correlations(cells, EDGES.iloc[:0])) == 0
