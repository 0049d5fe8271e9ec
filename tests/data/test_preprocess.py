"""Preprocessing against a plain dense reading of the protocol, and its refusals."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.sparse as sp

from llm4grn.data.preprocess import SPLITS, Preprocessing, split
from llm4grn.errors import UserError
from llm4grn.runtime.seeding import derive_seed

PREPROCESSING = Preprocessing(n_genes=40, min_cells=20, min_genes=10, n_test=60, n_validation=40)


@pytest.fixture(scope="module")
def adata():
    """300 cells x 120 genes; 5 cells and 6 genes that the filters drop, one of each just kept; names not in order."""
    rng = np.random.default_rng(1)
    mean = rng.gamma(0.6, 2.0, 120) * rng.uniform(0.7, 1.5, (300, 1)) + 0.05
    counts = rng.negative_binomial(1.5, 1.5 / (1.5 + mean))
    counts[:5, 4:] = 0
    counts[10:, :6] = 0
    counts[:, 6] = 0
    counts[100:120, 6] = 30
    counts[200] = 0
    counts[200, 20:30] = 1
    obs = pd.DataFrame({"cell_type": pd.Categorical(rng.choice(["T", "B"], 300))}, index=[f"c{i}" for i in range(300)])
    var = pd.DataFrame(index=rng.permutation([f"G{i:03d}" for i in range(120)]))
    return anndata.AnnData(sp.csr_matrix(counts.astype(np.int32)), obs=obs, var=var)


@pytest.fixture(scope="module")
def result(adata):
    return PREPROCESSING.run(adata, 1000)


def reference(adata, p, seed):
    """Section 2 step by step on a dense table."""
    table = adata.to_df().astype(float)
    table = table.iloc[np.random.default_rng(derive_seed(seed, "split")).permutation(len(table))]
    table = table.loc[(table > 0).sum(axis=1) >= p.min_genes]
    table = table.loc[:, (table > 0).sum(axis=0) >= p.min_cells]
    logged = anndata.AnnData(np.log1p(table.div(table.sum(axis=1), axis=0) * p.library_size))
    scanpy.pp.highly_variable_genes(logged, n_top_genes=p.n_genes)
    table = table.loc[:, logged.var["highly_variable"].to_numpy()]
    table = table.loc[table.sum(axis=1) > 0]
    table = table.div(table.sum(axis=1), axis=0) * p.library_size
    table = table[sorted(table.columns)]
    names = ["validation"] * p.n_validation + ["test"] * p.n_test
    names += ["train"] * (len(table) - len(names))
    groups = (table > 0).groupby(np.array(names)).any()
    return table.loc[:, groups.all()], names


@pytest.mark.parametrize("seed", [1000, 2000])
def test_same_as_the_protocol_read_plainly(adata, seed):
    result = PREPROCESSING.run(adata, seed)
    expected, names = reference(adata, PREPROCESSING, seed)
    assert result.obs_names.tolist() == expected.index.tolist()
    assert result.var_names.tolist() == expected.columns.tolist()
    assert result.obs["split"].tolist() == names
    np.testing.assert_allclose(result.X.toarray(), expected.to_numpy(), rtol=1e-6)


def test_form(adata, result):
    assert isinstance(result.X, sp.csr_matrix)
    assert result.X.dtype == np.float32
    assert result.X.has_sorted_indices
    assert result.n_vars == 40
    assert result.var_names.is_monotonic_increasing
    assert result.obs["split"].cat.categories.tolist() == list(SPLITS)
    np.testing.assert_allclose(result.X.sum(axis=1), 20_000, rtol=1e-5)
    assert result.obs["cell_type"].tolist() == adata.obs["cell_type"][result.obs_names].tolist()


def test_splits_are_exact_disjoint_and_complete(result):
    parts = {name: split(result, name) for name in SPLITS}
    assert (parts["validation"].n_obs, parts["test"].n_obs) == (40, 60)
    names = [name for part in parts.values() for name in part.obs_names]
    assert len(names) == len(set(names)) == result.n_obs == 295
    assert all((part.X.getnnz(axis=0) > 0).all() for part in parts.values())
    assert not parts["test"].is_view
    with pytest.raises(ValueError, match="train"):
        split(result, "training")


def test_same_seed_same_bytes_other_seed_other_split(adata, result):
    again = PREPROCESSING(adata, 1000)
    for attribute in ("data", "indices", "indptr"):
        assert getattr(again.X, attribute).tobytes() == getattr(result.X, attribute).tobytes()
    assert again.obs.equals(result.obs)
    other = PREPROCESSING.run(adata, 2000)
    assert set(split(other, "test").obs_names) != set(split(result, "test").obs_names)


def test_input_is_left_alone_and_global_random_state_too(adata):
    before, state = adata.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    PREPROCESSING.run(adata, 5)
    assert (before.X != adata.X).nnz == 0
    assert before.X.dtype == adata.X.dtype
    assert before.obs.equals(adata.obs)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_provenance_survives_writing(result, tmp_path):
    result.write_h5ad(tmp_path / "cells.h5ad")
    stored = anndata.read_h5ad(tmp_path / "cells.h5ad")
    provenance = stored.uns["preprocessing"]
    assert provenance["seed"] == 1000
    assert provenance["min_cells"] == 20
    assert provenance["sizes"]["loaded"] == {"cells": 300, "genes": 120}
    assert provenance["sizes"]["filtered"]["cells"] == 295
    assert provenance["sizes"]["result"] == {"cells": 295, "genes": 40}


def blocks(n_cells, *columns):
    """Counts of a few genes that cells express by their number, beside 12 that all express."""
    matrix = np.hstack([np.column_stack(columns), np.arange(1, 13) * np.ones((n_cells, 1))])
    var = pd.DataFrame(index=[f"g{i}" for i in range(matrix.shape[1])])
    obs = pd.DataFrame(index=[f"c{i}" for i in range(n_cells)])
    return anndata.AnnData(sp.csr_matrix(matrix.astype(np.int32)), obs=obs, var=var)


def test_gene_missing_from_a_split_is_dropped_without_normalising_again(caplog):
    rare = np.zeros(50)
    rare[7] = 22  # in one cell: no more than one split has it
    result = Preprocessing(n_genes=50, min_cells=1, n_test=10, n_validation=10).run(blocks(50, rare), 3)
    assert "g0" not in result.var_names
    assert result.n_vars == 12
    assert "expressed in no cell of some split" in caplog.text
    sums = pd.Series(np.asarray(result.X.sum(axis=1)).ravel(), result.obs_names)
    np.testing.assert_allclose(sums["c7"], 20_000 * 78 / 100, rtol=1e-6)
    np.testing.assert_allclose(sums.drop("c7"), 20_000, rtol=1e-6)


def test_cells_without_chosen_genes_go_before_the_split(monkeypatch):
    half = np.r_[np.ones(25), np.zeros(25)]
    monkeypatch.setattr(Preprocessing, "_chosen", lambda self, counts, genes, cells, batches: np.array([0, 1]))
    result = Preprocessing(n_genes=2, min_cells=1, n_test=10, n_validation=5).run(blocks(50, half, half * 3), 3)
    assert result.n_obs == 25
    assert result.obs["split"].value_counts().to_dict() == {"train": 10, "test": 10, "validation": 5}
    assert result.uns["preprocessing"]["sizes"]["chosen"] == {"cells": 25, "genes": 2}


def test_fewer_genes_than_asked_warns_and_goes_on(adata, caplog):
    result = Preprocessing(n_genes=5000, min_cells=20, n_test=60, n_validation=40).run(adata, 1)
    assert result.n_vars == result.uns["preprocessing"]["sizes"]["filtered"]["genes"] > 80
    assert "n_genes: 5000 asked" in caplog.text


def test_ties_at_the_threshold_never_give_more_genes_than_asked():
    matrix = np.tile(np.random.default_rng(0).poisson(3, (80, 1)), 30)  # 30 genes that are all the same
    other = np.random.default_rng(1).poisson(1, (80, 30))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(80)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(60)])
    adata = anndata.AnnData(sp.csr_matrix(np.hstack([matrix, other])), obs=obs, var=var)
    assert Preprocessing(n_genes=10, min_cells=1, n_test=20, n_validation=20).run(adata, 1).n_vars == 10


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n_test": 200, "n_validation": 95}, "n_test=200 and dataset.preprocessing.n_validation=95"),
        ({"min_cells": 301}, "dataset.preprocessing.min_cells"),
        ({"min_genes": 121}, "dataset.preprocessing.min_genes"),
    ],
)
def test_too_little_is_left(adata, changed, told):
    arguments = {"n_genes": 40, "min_cells": 20, "n_test": 60, "n_validation": 40} | changed
    with pytest.raises(UserError, match=told):
        Preprocessing(**arguments).run(adata, 1)


def test_message_tells_how_many_cells_there_are(adata):
    with pytest.raises(UserError, match="295 of the 300 loaded"):
        Preprocessing(n_genes=40, min_cells=20, n_test=200, n_validation=95).run(adata, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_genes", 1),
        ("n_genes", "many"),
        ("min_cells", 0),
        ("min_genes", -1),
        ("n_test", 0),
        ("n_test", 2.5),
        ("n_validation", -500),
        ("n_validation", None),
        ("library_size", 0),
        ("library_size", float("nan")),
        ("library_size", "big"),
    ],
)
def test_impossible_values_name_the_field(field, value):
    arguments = {"min_cells": 10, "n_test": 10, "n_validation": 10} | {field: value}
    with pytest.raises(UserError, match=rf"dataset\.preprocessing\.{field}"):
        Preprocessing(**arguments)


def test_few_cells_to_train_on_are_warned_of_and_none_refused_with_sizes_that_fit(adata, caplog):
    few = Preprocessing(n_genes=40, min_cells=20, n_test=60, n_validation=adata.n_obs - 120)
    few.run(adata, 1)
    assert "55 cells are left to train on" in caplog.text
    caplog.clear()
    PREPROCESSING.run(adata, 1)
    assert "left to train on" not in caplog.text
    with pytest.raises(
        UserError, match=r"for instance dataset\.preprocessing\.n_test=(\d+) \S+n_validation=(\d+)"
    ) as told:
        Preprocessing(n_genes=40, min_cells=20, n_test=500, n_validation=500).run(adata, 1)
    n_test, n_validation = (int(part.partition(" ")[0].strip(".")) for part in str(told.value).split("=")[-2:])
    assert 0 < n_validation < n_test
    Preprocessing(n_genes=40, min_cells=20, n_test=n_test, n_validation=n_validation).run(adata, 1)
