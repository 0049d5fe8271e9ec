"""Which genes are kept: criteria against plain formulas, the minimum of TFs, lists of genes, and what is said of it."""

import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hydra.utils import instantiate
from omegaconf import OmegaConf

from llm4grn.data.gene_selection import most_variable, read_gene_list, variability
from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import PBMC3k
from llm4grn.errors import UserError
from llm4grn.knowledge.curated import CuratedList, curated_list
from llm4grn.pipeline import describe

CONF = Path(__file__).parents[2] / "conf" / "dataset"
PBMC3K_GENES = Path(__file__).with_name("pbmc3k_genes.txt").read_text().split()
SIZES = {"n_genes": 20, "min_cells": 5, "n_test": 20, "n_validation": 20}


@pytest.fixture(scope="module")
def adata():
    """100 cells x 60 genes of falling variability; the last 20 are human TFs by name."""
    rng = np.random.default_rng(0)
    mean = 3 * rng.gamma(1 / np.linspace(2.0, 0.05, 60), np.linspace(2.0, 0.05, 60), size=(100, 60))
    tfs = list(CuratedList("human").symbols[:20])
    var = pd.DataFrame(index=[*(f"g{i:02d}" for i in range(40)), *tfs])
    obs = pd.DataFrame(index=[f"c{i}" for i in range(100)])
    return anndata.AnnData(sp.csr_matrix(rng.poisson(mean).astype(np.int32)), obs=obs, var=var)


def kept(adata, **arguments):
    return list(Preprocessing(**{**SIZES, **arguments}).run(adata, 1).var_names)


def test_pearson_residuals_are_those_of_lause_2021(adata):
    counts = adata.X.toarray().astype(float)
    expected = counts.sum(axis=1, keepdims=True) @ counts.sum(axis=0, keepdims=True) / counts.sum()
    residuals = (counts - expected) / np.sqrt(expected + expected**2 / 100)
    residuals = np.clip(residuals, -np.sqrt(len(counts)), np.sqrt(len(counts)))
    found = variability(adata.X, "pearson_residuals", adata.X)
    np.testing.assert_allclose(found, residuals.var(axis=0), rtol=1e-4)


def test_seurat_v3_is_scanpys_on_raw_counts(adata):
    scanpy = pytest.importorskip("scanpy")
    pytest.importorskip("skmisc")
    table = scanpy.pp.highly_variable_genes(
        anndata.AnnData(adata.X.astype(np.float32)), flavor="seurat_v3", n_top_genes=20, inplace=False
    )
    marked = set(adata.var_names[table["highly_variable"].to_numpy()])
    assert set(kept(adata, selection="seurat_v3")) == marked


def test_seurat_v3_without_its_package_names_the_install_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"scikit-misc is not installed.*pip install 'llm4grn\[seurat\]'"):
        Preprocessing(**SIZES, selection="seurat_v3")


@pytest.mark.parametrize("selection", ["dispersion", "pearson_residuals", "seurat_v3"])
def test_the_order_of_genes_and_of_cells_changes_no_choice(adata, selection):
    if selection == "seurat_v3":
        pytest.importorskip("skmisc")
    rng = np.random.default_rng(3)
    shuffled = adata[rng.permutation(100), rng.permutation(60)].copy()
    assert kept(shuffled, selection=selection) == kept(adata, selection=selection)


@pytest.mark.slow
def test_pbmc3k_has_the_genes_that_the_shipped_answers_are_about_for_every_seed():
    root = OmegaConf.create({"dataset": OmegaConf.load(CONF / "pbmc3k.yaml")})
    preprocessing = instantiate(root.dataset.preprocessing)
    counts = PBMC3k().load()
    for seed in (1000, 2000, 3000, 4, 5):
        assert list(preprocessing.run(counts, seed).var_names) == PBMC3K_GENES, f"seed {seed}"
    assert len(set(CuratedList("human").symbols) & set(PBMC3K_GENES)) == 200


@pytest.mark.parametrize(
    ("dataset", "selection", "n_tfs"),
    [
        *((name, "dispersion", 0) for name in ("pbmc", "pbmc_ctl", "bone_marrow")),
        *((name, "pearson_residuals", "auto") for name in ("pbmc3k", "pbmc68k_reduced", "h5ad", "mtx")),
    ],
)
def test_the_papers_data_sets_keep_its_protocol_and_the_others_genes_that_can_tell(dataset, selection, n_tfs):
    config = OmegaConf.load(CONF / f"{dataset}.yaml").preprocessing
    assert (config.selection, config.n_tfs) == (selection, n_tfs)


@pytest.mark.parametrize("n_tfs", [1, 7])
def test_so_many_tfs_at_least_the_most_variable_ones_and_then_the_most_variable_others(adata, n_tfs):
    tfs = curated_list("human")
    values = pd.Series(variability(adata.X, "pearson_residuals", adata.X), adata.var_names)
    ranked = values.sort_values(ascending=False)
    expected = [name for name in ranked.index if name in set(tfs.symbols)][:n_tfs]
    expected += [name for name in ranked.index if name not in expected][: 20 - n_tfs]
    assert kept(adata, selection="pearson_residuals", n_tfs=n_tfs, known_tfs=tfs) == sorted(expected)
    plain = kept(adata, selection="pearson_residuals")
    assert set(plain) == set(ranked.index[:20])
    assert len(set(plain) & set(tfs.symbols)) < n_tfs  # else the test would show nothing


def test_more_tfs_than_asked_for_may_be_among_the_most_variable():
    values, genes = np.array([9.0, 8.0, 7.0, 1.0]), np.array(["A", "B", "C", "D"])
    assert most_variable(values, genes, 3, {"A", "B"}, 1).tolist() == [0, 1, 2]


def test_auto_is_a_fifth_of_the_genes_and_200_at_most(adata):
    assert Preprocessing(**SIZES, n_tfs="auto")._wanted_tfs(np.array(["A"]))[1] == 0  # no list
    tfs = curated_list("human")
    of_20 = Preprocessing(**SIZES, n_tfs="auto", known_tfs=tfs)
    assert of_20._wanted_tfs(np.array(tfs.symbols))[1] == 4
    of_5000 = Preprocessing(**{**SIZES, "n_genes": 5000}, n_tfs="auto", known_tfs=tfs)
    assert of_5000._wanted_tfs(np.array(tfs.symbols))[1] == 200


def test_fewer_tfs_than_asked_for_are_all_kept_and_it_is_said(adata, caplog):
    few = adata[:, [*range(40), 58, 59]].copy()
    names = kept(few, selection="pearson_residuals", n_tfs=7, known_tfs=curated_list("human"))
    assert set(few.var_names[-2:]) <= set(names)
    assert len(names) == 20
    assert "n_tfs=7: 2 of the 42 usable genes are TFs, fewer than 7: all are kept" in caplog.text


def test_an_organism_without_a_curated_list_gets_the_plain_selection_and_a_line(adata, caplog):
    assert curated_list("zebrafish") is None
    names = kept(adata, selection="pearson_residuals", n_tfs=7, known_tfs=None)
    assert names == kept(adata, selection="pearson_residuals")
    assert "no curated list of TFs for this organism" in caplog.text


def test_a_list_of_genes_is_kept_exactly_and_what_the_data_lack_is_named(adata, tmp_path, caplog):
    rare = adata.copy()
    counts = rare.X.toarray()
    counts[:, 3] = 0
    counts[:, 2] = np.arange(100) < 5  # in 5 cells, which min_cells=50 would drop
    rare.X = sp.csr_matrix(counts)
    (tmp_path / "genes.txt").write_text("# mine\ng30\n\ng02 \ng03\nNOPE1\ng10\n")
    preprocessing = Preprocessing(**{**SIZES, "min_cells": 50}, genes=str(tmp_path / "genes.txt"))
    caplog.set_level(logging.INFO)
    result = preprocessing.run(rare, 1)
    told = [record.getMessage() for record in caplog.records if "genes=" in record.getMessage()]
    assert told == [
        f"dataset.preprocessing.genes={tmp_path / 'genes.txt'}: 3 of 5 genes are used; 1 are not in the data (NOPE1); "
        "1 are expressed in no cell (g03)"
    ]
    dropped_by_a_split = {"g02", "g10", "g30"} - set(result.var_names)
    assert dropped_by_a_split <= {"g02"}  # step 7 of the protocol, which has a line of its own
    assert str(tmp_path) not in str(dict(result.uns["preprocessing"]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "no symbol in it"),
        (b"A\n", "1 genes in it"),
        (b"A\nA\n", "1 genes in it"),
        (b"A\tB\nC\tD\n", "no column Symbol"),
        (b"A\nthese are words\n", "is not one gene"),
        (b"\xff\xfe\x00", "not a text file"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_list_of_genes_is_refused_when_the_command_is_read(tmp_path, text, told):
    path = tmp_path / "genes.txt"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(UserError, match=rf"dataset\.preprocessing\.genes=.*{told}"):
        Preprocessing(**SIZES, genes=str(path))


def test_a_list_is_matched_by_other_symbols_where_that_is_asked(adata, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    renamed = adata.copy()
    renamed.var_names = ["TBXT", "gata1", "MARCHF1", *adata.var_names[3:]]
    (tmp_path / "genes.txt").write_text('"T"\nGATA1\nMARCH1\nMARCH1\ng10\n')
    options = {"genes": str(tmp_path / "genes.txt"), "known_tfs": curated_list("human")}
    assert set(kept(renamed, aliases=True, **options)) == {"TBXT", "gata1", "MARCHF1", "g10"}
    assert "4 of 4 genes are used; 3 by other case or symbols (GATA1 = gata1, T = TBXT" in caplog.text
    assert "1 repeat an earlier one" in caplog.text
    with pytest.raises(UserError, match="1 of 4 genes are used; 3 are not in the data"):
        kept(renamed, **options)


def test_a_list_that_fits_other_data_is_refused(adata, tmp_path):
    (tmp_path / "genes.txt").write_text("Gata1\nSpi1\n")
    with pytest.raises(UserError, match=r"0 of 2 genes are used.*check that the list has the gene names of this data"):
        kept(adata, genes=str(tmp_path / "genes.txt"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("selection", "cv2"), ("n_tfs", -1), ("n_tfs", 20), ("n_tfs", "many"), ("n_tfs", True), ("genes", 3)],
)
def test_impossible_values_name_the_field(field, value):
    with pytest.raises(UserError, match=rf"dataset\.preprocessing\.{field}"):
        Preprocessing(**{**SIZES, field: value})


def test_what_decides_the_genes_is_part_of_the_key_and_what_does_not_is_not(tmp_path):
    plain = Preprocessing(**SIZES)
    tfs, others = CuratedList("human"), CuratedList("mouse")
    assert describe(plain) == describe(Preprocessing(**SIZES, known_tfs=tfs))  # nothing asks for it
    assert describe(Preprocessing(**SIZES, n_tfs=5, known_tfs=tfs)) != describe(
        Preprocessing(**SIZES, n_tfs=5, known_tfs=others)
    )
    for name in "a", "b":
        (tmp_path / name).write_text("A\nB\n")
    (tmp_path / "c").write_text("A\nC\n")
    of_a, of_b, of_c = (describe(Preprocessing(**SIZES, genes=str(tmp_path / name))) for name in "abc")
    assert of_a == of_b != of_c
    assert read_gene_list(str(tmp_path / "a")).names == ("A", "B")
