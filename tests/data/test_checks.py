"""check_counts: what is refused, and that the message says what, where and what to do."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from llm4grn.data.raw_counts import check_counts
from llm4grn.errors import UserError

STORAGES = [np.asarray, sp.csr_matrix, sp.csc_matrix]


def counts(n_cells=6, n_genes=5):
    return np.random.default_rng(0).poisson(2.0, (n_cells, n_genes)).astype(np.float32) + np.eye(n_cells, n_genes)


def make(matrix, **more):
    n_cells, n_genes = matrix.shape
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    return anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]), **more)


def refusal(adata):
    with pytest.raises(UserError) as caught:
        check_counts(adata, "my.h5ad")
    message = str(caught.value)
    assert "my.h5ad" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16])
def test_counts_pass(storage, dtype):
    assert check_counts(make(storage(counts().astype(dtype))), "my.h5ad") is None


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("value", "told"),
    [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite"), (-1, "negative"), (1.5, "integer")],
)
def test_a_bad_value_is_named_with_its_place(storage, value, told):
    matrix = counts()
    matrix[4, 1] = matrix[2, 3] = value
    message = refusal(make(storage(matrix)))
    assert told in message
    assert "gene3" in message, "the first in cell order"
    assert "cell2" in message


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("cell", [0, 1, 3, 5])
@pytest.mark.parametrize("gene", [0, 2, 4])
def test_the_cell_that_is_named_is_that_of_the_value(storage, cell, gene):
    """Wherever it stands in its row: the first value, the only one, after cells without any."""
    matrix = np.zeros((6, 5), dtype=np.float32)
    matrix[5, 4] = 1
    if cell == 3:
        matrix[0] = matrix[cell] = 1  # in full rows, and behind an empty one
    matrix[cell, gene] = 1.5
    assert f"value 1.5 of gene gene{gene} in cell cell{cell} is not an integer" in refusal(make(storage(matrix)))


def test_negative_integers_are_refused():
    matrix = counts().astype(np.int64)
    matrix[1, 1] = -3
    assert "negative" in refusal(make(sp.csr_matrix(matrix)))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_empty_matrix(shape):
    assert "empty" in refusal(make(sp.csr_matrix(shape, dtype=np.float32)))


def test_all_zero_matrix():
    assert "empty" in refusal(make(np.zeros((3, 4), dtype=np.float32)))


@pytest.mark.filterwarnings("ignore:.*not unique")
def test_duplicate_names():
    adata = make(counts())
    adata.var_names = ["CD4", "CD8A", "CD4", "NKG7", "CD4"]
    assert "gene name CD4 occurs 3 times" in refusal(adata)
    adata = make(counts())
    adata.obs_names = ["AAA", "AAC", "AAG", "AAC", "AAA", "AAT"]
    message = refusal(adata)
    assert "barcode AAC occurs 2 times" in message
    assert "1 more" in message


def test_hint_tells_what_was_done_to_the_counts():
    matrix = counts()
    normalised = matrix / matrix.sum(1, keepdims=True) * 1e4
    assert "normalised to 10000" in refusal(make(normalised))
    assert "log1p of counts normalised to 10000" in refusal(make(sp.csr_matrix(np.log1p(normalised))))
    assert "log-transformed" in refusal(make(np.log1p(matrix)))
    assert "normalised or corrected" in refusal(make(matrix * 77.7))


def test_remedy_names_the_layer_that_holds_counts():
    adata = make(np.log1p(counts()), layers={"ambient": counts() * 0.3, "spliced": sp.csr_matrix(counts())})
    assert "dataset.layer=spliced (layers here: spliced, ambient)" in refusal(adata)
    adata = make(np.log1p(counts()))
    adata.raw = make(counts())
    assert "dataset.layer=raw" in refusal(adata)
    assert "no other layer" in refusal(make(np.log1p(counts())))


def test_no_matrix_or_no_numbers():
    assert "no matrix X" in refusal(anndata.AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["g"])))
    with pytest.raises(UserError, match="not numbers"):
        check_counts(make(counts().astype(complex)), "my.h5ad")


def test_large_sparse_matrix_is_not_made_dense():
    """A million cells by 30,000 genes would need 120 GB."""
    matrix = sp.csr_matrix((np.ones(3, dtype=np.float32), ([0, 5, 999_999], [0, 1, 29_999])), shape=(1_000_000, 30_000))
    assert check_counts(make(matrix), "large") is None
