"""Files as users bring them: each of tests/data/cases does what it shall, and all formats give the same network."""

import gzip
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.io
import scipy.sparse as sp

from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import CellFile, H5ad, PBMC3k, TenX
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.reference import read_reference
from llm4grn.grn import GRN
from llm4grn.grn.edge_tables import read_edge_file
from llm4grn.inference.correlation import Correlation
from llm4grn.inference.file import FileGRN
from llm4grn.knowledge.curated import CuratedList, curated_list

CASES = Path(__file__).with_name("cases")
SIZES = {"n_genes": 400, "min_cells": 5, "n_test": 60, "n_validation": 60}
pytestmark = pytest.mark.filterwarnings("ignore:.*not unique")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The files of ``cases``, unpacked."""
    folder = tmp_path_factory.mktemp("cases")
    for path in CASES.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.suffix == ".gz":
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def base(cases):
    return CellFile(str(cases / "h_base.h5ad")).load()


@pytest.fixture
def told(caplog):
    """Everything that was logged."""
    caplog.set_level("INFO", logger="llm4grn")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


# -- the right matrix and the right names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("lower_half.h5ad", "60 TFs found, 50 of them in other case"),
        ("renamed_tfs.h5ad", "60 TFs found, 3 of them by other symbols (C11orf95 = ZFTA, T = TBXT, ZUFSP = ZUP1)"),
        ("h_base.h5ad", "60 TFs found; 60 of 1639 listed names are among the 400 genes"),
    ],
)
def test_all_tfs_are_found_and_how_is_told(cases, name, line):
    genes = list(H5ad(str(cases / name), organism="human").load().var_names)
    kb = CuratedList("human", aliases=True)
    assert len(kb.transcription_factors(genes).names) == 60
    assert line in kb.report(genes)
    tfs, _ = Preprocessing(**SIZES, n_tfs=60, known_tfs=kb, aliases=True)._wanted_tfs(np.array(genes))
    assert len(tfs) == 60


def test_exact_matching_tells_what_it_leaves_out(cases):
    genes = list(H5ad(str(cases / "renamed_tfs.h5ad")).load().var_names)
    kb = CuratedList("human")
    assert len(kb.transcription_factors(genes).names) == 57
    assert "3 more would be by case or former symbols (C11orf95 = ZFTA" in kb.report(genes)


@pytest.mark.parametrize("source", [H5ad, CellFile])
def test_cellxgene_names_genes_by_feature_name(cases, base, told, source):
    path = str(cases / "cxg.h5ad")
    adata = source(path, layer="raw").load()
    assert adata.var_names.tolist() == base.var_names.tolist()
    assert (adata.X != base.X).nnz == 0
    assert "genes are named by var.feature_name" in told()
    assert source(path, layer="raw", gene_names="index").load().var_names[0].startswith("ENSG")
    with pytest.raises(UserError, match=r"log1p of counts.*set dataset\.layer=raw"):
        source(path).load()
    with pytest.raises(UserError, match=r"dataset\.gene_names: .* no var column nope \(columns: .*feature_name"):
        source(path, layer="raw", gene_names="nope").load()


def test_antibodies_are_left_out_and_counted(cases, base, told):
    adata = H5ad(str(cases / "h5ad_antibody.h5ad")).load()
    assert adata.var_names.tolist() == base.var_names.tolist()
    assert "20 features that are not genes are left out (20 Antibody Capture)" in told()


@pytest.mark.parametrize("source", [H5ad, CellFile])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transposed.h5ad", "looks transposed: its genes are named AAACATACAACCAC-1, .* barcodes"),
        ("name_empty.h5ad", "gene 1 has no name"),
        ("soupx.h5ad", r"not an integer: it looks normalised or corrected; .* set dataset\.round=true"),
    ],
)
def test_wrong_matrices_are_refused_with_the_reason(cases, source, name, message):
    with pytest.raises(UserError, match=message) as caught:
        source(str(cases / name)).load()
    assert "\n" not in str(caught.value)


def test_decontaminated_counts_are_rounded_if_asked(cases, told):
    adata = H5ad(str(cases / "soupx.h5ad"), round=True).load()
    assert adata.X.dtype == np.int32
    assert "fractional counts are rounded" in told()


def test_rounding_does_not_take_logarithms_for_counts(cases, tmp_path):
    with pytest.raises(UserError, match="log1p of counts"):
        H5ad(str(cases / "cxg.h5ad"), round=True).load()
    adata = anndata.read_h5ad(cases / "h_base.h5ad")
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(tmp_path / "log.h5ad")
    with pytest.raises(UserError, match="looks log-transformed"):
        H5ad(str(tmp_path / "log.h5ad"), round=True).load()


def test_small_fractional_counts_are_not_taken_for_logarithms(cases, tmp_path):
    adata = anndata.read_h5ad(cases / "soupx.h5ad")
    adata = adata[:, np.asarray(adata.X.max(axis=0).todense()).ravel() < 6].copy()
    adata.write_h5ad(tmp_path / "small.h5ad")
    with pytest.raises(UserError, match=r"dataset\.round=true"):
        H5ad(str(tmp_path / "small.h5ad")).load()


def test_batches_are_split_alike_and_genes_chosen_as_scanpy_does(cases, tmp_path):
    adata = anndata.read_h5ad(cases / "h_base.h5ad")
    adata.obs["donor"] = ["a", "b", "b", "c"] * 100
    adata.write_h5ad(tmp_path / "donors.h5ad")
    counts = H5ad(str(tmp_path / "donors.h5ad"), batch="donor").load()
    assert counts.obs["batch"].tolist() == ["a", "b", "b", "c"] * 100
    sizes = {**SIZES, "n_genes": 100, "selection": "pearson_residuals"}
    result = Preprocessing(**sizes).run(counts, 1)
    table = pd.crosstab(result.obs["batch"], result.obs["split"])
    assert table["test"].tolist() == table["validation"].tolist() == [15, 30, 15]
    expected = anndata.AnnData(counts.X.astype(np.float32), obs=counts.obs, var=counts.var)
    expected = expected[:, counts.X.getnnz(axis=0) >= 5].copy()
    options = {"theta": 100, "n_top_genes": 100, "batch_key": "batch"}
    scanpy.experimental.pp.highly_variable_genes(expected, **options)
    assert set(result.var_names) == set(expected.var_names[expected.var["highly_variable"]])
    together = Preprocessing(**sizes).run(H5ad(str(tmp_path / "donors.h5ad")).load(), 1)
    assert set(result.var_names) != set(together.var_names)
    with pytest.raises(UserError, match=r"dataset\.batch: .* no obs column plate \(columns: cell_type, donor\)"):
        H5ad(str(tmp_path / "donors.h5ad"), batch="plate").load()


def test_cells_are_chosen_by_a_query(cases):
    path = str(cases / "h_base.h5ad")
    assert set(H5ad(path, subset="cell_type == 'B'").load().obs["cell_type"]) == {"B"}
    with pytest.raises(UserError, match=r"dataset\.subset=nope == 1: not a query on obs \(.*columns: cell_type\)"):
        H5ad(path, subset="nope == 1").load()
    with pytest.raises(UserError, match=r"no cell of .* fulfils it"):
        H5ad(path, subset="cell_type == 'Z'").load()


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        (np.eye(30, 40)[:, ::-1] + np.eye(30, 40), "all values are 0 or 1"),
        (np.random.default_rng(0).multinomial(10**6, np.full(40, 1 / 40), 30), "rounded TPM"),
        (np.r_[np.random.default_rng(0).poisson(3, (10, 40)), np.eye(60, 40)], "empty droplets"),
        (np.random.default_rng(0).poisson(3, (30, 40)) + 2.0**24 * np.eye(30, 40), "beyond 16777216"),
        (np.tile(np.random.default_rng(0).poisson(3, (15, 40)), (2, 1)), "15 cells are exact copies"),
    ],
)
def test_odd_matrices_are_warned_of(tmp_path, told, counts, line):
    adata = anndata.AnnData(counts.astype(np.float64), var=pd.DataFrame(index=[f"G{i}" for i in range(40)]))
    adata.write_h5ad(tmp_path / "odd.h5ad")
    H5ad(str(tmp_path / "odd.h5ad")).load()
    assert line in told()


def test_the_message_names_velocytos_spliced_layer(cases, tmp_path):
    adata = anndata.read_h5ad(cases / "h_base.h5ad")
    counts = adata.X.copy()
    adata.layers["ambiguous"], adata.layers["spliced"], adata.layers["unspliced"] = counts, counts.copy(), counts * 2
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(tmp_path / "velocyto.h5ad")
    with pytest.raises(UserError, match=r"set dataset\.layer=spliced"):
        H5ad(str(tmp_path / "velocyto.h5ad")).load()


def test_ids_without_symbols_are_named_by_the_shipped_tables(cases, base, tmp_path, told):
    adata = anndata.read_h5ad(cases / "h_base.h5ad")
    adata.var = pd.DataFrame(index=[f"{gene}.7" for gene in adata.var["gene_id"]])
    adata.write_h5ad(tmp_path / "ids.h5ad")
    named = H5ad(str(tmp_path / "ids.h5ad")).load().var_names
    assert "ISG15" in named
    assert "genes are named by Ensembl ids" in told()
    assert H5ad(str(tmp_path / "ids.h5ad"), gene_names="index").load().var_names[0] == "ENSG00000187608.7"


def test_genomes_are_recognised_by_their_prefix(cases, tmp_path, told):
    adata = anndata.read_h5ad(cases / "h_base.h5ad")
    adata.var_names = [f"GRCh38_{gene}" for gene in adata.var_names]
    adata.write_h5ad(tmp_path / "prefix.h5ad")
    assert "ISG15" in H5ad(str(tmp_path / "prefix.h5ad")).load().var_names
    assert "400 genes lost the prefix GRCh38_" in told()
    adata.var_names = [gene if i % 2 else f"mm10___{gene[7:]}" for i, gene in enumerate(adata.var_names)]
    adata.write_h5ad(tmp_path / "two.h5ad")
    with pytest.raises(UserError, match="genes are of 2 genomes"):
        H5ad(str(tmp_path / "two.h5ad")).load()


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("filtered_feature_bc_matrix.h5", "scenic.loom", "ExpressionData.csv", "seurat_counts.tsv", "mtx_geo_prefix"),
        *("mtx_transposed", "mtx_geo_prefix/GSM123_matrix.mtx.gz"),
    ],
)
def test_formats_are_read_and_orientation_is_recognised(cases, base, name):
    source = CellFile(str(cases / name))
    source.prepare()
    adata = source.load()
    assert adata.shape == (600, 400)
    assert adata.var_names.tolist() == base.var_names.tolist()
    assert (adata[base.obs_names].X != base.X).nnz == 0


def test_other_options_read_what_they_can(cases):
    assert H5ad(str(cases / "filtered_feature_bc_matrix.h5")).load().shape == (600, 400)
    assert TenX(str(cases / "mtx_geo_prefix")).load().shape == TenX(str(cases / "mtx_transposed")).load().shape


@pytest.fixture(scope="module")
def pbmc3k(tmp_path_factory):
    """700 cells x 250 genes of PBMC3k, and a folder with them in every format that is read."""
    folder = tmp_path_factory.mktemp("formats")
    adata = PBMC3k().load()
    genes = np.argsort(-adata.X.getnnz(axis=0), kind="stable")[:240]
    tfs = np.flatnonzero(np.isin(adata.var_names, curated_list("human").symbols) & (adata.X.getnnz(axis=0) > 300))[:20]
    adata = adata[:700, np.union1d(genes, tfs)].copy()
    adata.X = adata.X.astype(np.float32)
    write_formats(adata, folder)
    return adata, folder


def write_formats(adata, folder):
    """Write one file or folder per format."""
    genes, cells = list(adata.var_names), list(adata.obs_names)
    dense = adata.X.toarray().astype(int)
    adata.write_h5ad(folder / "counts.h5ad")
    dense_file = adata.copy()
    dense_file.X = dense.astype(np.float64)
    dense_file.write_h5ad(folder / "dense.h5ad")
    layered = adata.copy()
    layered.layers["counts"], layered.X = adata.X.copy(), np.log1p(adata.X)
    layered.write_h5ad(folder / "layer.h5ad")
    adata.write_zarr(folder / "counts.zarr")
    shutil.make_archive(str(folder / "counts.zarr"), "zip", folder, "counts.zarr")
    _half_precision(folder / "counts.h5ad", folder / "half.h5ad")
    with (
        h5py.File(folder / "counts.h5mu", "w", userblock_size=512) as file,  # as mudata writes it
        h5py.File(folder / "counts.h5ad") as source,
    ):
        for key in source:
            source.copy(key, file.require_group("mod/rna"), key)
        file["mod/rna"].attrs.update(source.attrs)
        file.require_group("mod/atac")
    with h5py.File(folder / "counts.loom", "w") as file:
        file["matrix"] = dense.T.astype(np.float32)
        file["row_attrs/Gene"], file["col_attrs/CellID"] = np.array(genes, "S"), np.array(cells, "S")
        file["row_attrs/Regulons"] = np.zeros(len(genes), dtype=[("A", int)])
        file.create_group("layers")
    with h5py.File(folder / "10x.h5", "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"] = adata.X.data.astype(int), adata.X.indices
        group["indptr"], group["shape"] = adata.X.indptr, np.array(adata.shape[::-1])
        group["barcodes"] = np.array(cells, "S")
        for key, values in {"id": genes, "name": genes, "genome": ["GRCh38"] * len(genes)}.items():
            group[f"features/{key}"] = np.array(values, "S")
        group["features/feature_type"] = np.array(["Gene Expression"] * len(genes), "S")
    table = pd.DataFrame(dense.T, index=genes, columns=cells)
    table.to_csv(folder / "genes_x_cells.csv")
    table.T.to_csv(folder / "cells_x_genes.tsv.gz", sep="\t")
    table.to_csv(folder / "semicolons.txt", sep=";", quoting=1)
    table.to_csv(folder / "blanks.txt", sep=" ", index_label=False, quoting=2)
    for name, matrix, prefix in ("mtx", dense.T, ""), ("transposed", dense, ""), ("geo", dense.T, "GSM1_s1_"):
        (folder / name).mkdir()
        scipy.io.mmwrite(folder / name / f"{prefix}matrix.mtx", sp.coo_matrix(matrix))
        (folder / name / f"{prefix}features.tsv").write_text("".join(f"{g}\t{g}\tGene Expression\n" for g in genes))
        with gzip.open(folder / name / f"{prefix}barcodes.tsv.gz", "wt") as file:
            file.write("\n".join(cells) + "\n")


def _half_precision(source, target):
    """Copy an .h5ad with values in half precision, and with parts of encodings that no anndata knows."""
    shutil.copy(source, target)
    with h5py.File(target, "a") as file:
        values = file["X/data"][()].astype(np.float16)
        del file["X/data"]
        file["X/data"] = values
        for place in "uns/future", "obs/future", "var/future":
            group = file.require_group(place)
            group.attrs["encoding-type"], group.attrs["encoding-version"] = "of-the-future", "9"


FORMATS = {
    "counts.h5ad": {},
    "dense.h5ad": {},
    "layer.h5ad": {"layer": "counts"},
    "half.h5ad": {},
    "counts.zarr": {},
    "counts.zarr.zip": {},
    "counts.h5mu": {},
    "counts.loom": {},
    "10x.h5": {},
    "genes_x_cells.csv": {},
    "cells_x_genes.tsv.gz": {},
    "semicolons.txt": {},
    "blanks.txt": {},
    "mtx": {},
    "transposed": {},
    "geo": {},
}


@pytest.mark.parametrize("name", FORMATS)
def test_networks_of_all_formats_are_identical(pbmc3k, name):
    adata, folder = pbmc3k
    preprocessing = Preprocessing(
        n_genes=200, min_cells=20, n_test=100, n_validation=100, selection="pearson_residuals"
    )

    def network(cells):
        train = preprocessing.run(cells, 1)
        train = train[(train.obs["split"] == "train").to_numpy()].copy()
        tfs = CuratedList("human").transcription_factors(list(train.var_names)).names
        return Correlation().infer(train, tfs, 0).edges

    source = CellFile(str(folder / name), **FORMATS[name])
    source.prepare()
    assert source.fingerprint()
    loaded = source.load()
    pd.testing.assert_frame_equal(network(loaded), network(adata), check_exact=True)
    as_it_is = source.expression()  # what llm4grn adjacencies reads
    assert (as_it_is.X != loaded.X).nnz == 0
    assert as_it_is.var_names.equals(loaded.var_names)


def test_a_zarr_zipped_without_its_folder_is_read_and_a_damaged_archive_refused(pbmc3k, tmp_path):
    adata, folder = pbmc3k
    path = Path(shutil.make_archive(str(tmp_path / "flat"), "zip", folder / "counts.zarr"))
    assert (CellFile(str(path)).load().X != adata.X).nnz == 0
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"cut\.zip begins as a zip archive and is damaged"):
        CellFile(str(tmp_path / "cut.zip")).prepare()


def test_the_table_of_formats_in_the_documentation_is_that_of_this_test():
    text = (Path(__file__).parents[2] / "docs" / "howto" / "your_files.md").read_text()
    assert [name for name in FORMATS if f"`{name}`" not in text] == []


# -- networks and lists, as the files say ------------------------------------------------------------------------------


def test_signed_importances_rank_by_size(cases, base):
    tfs = CuratedList("human").transcription_factors(base.var_names).names
    edges = FileGRN(str(cases / "signed.csv")).infer(base, tfs, 0).edges.set_index(["TF", "target"])["importance"]
    raw = pd.read_csv(cases / "signed.csv").set_index(["TF", "target"])["importance"]
    assert raw.min() < -3
    assert edges[raw.idxmin()] == -raw.min()
    assert edges.sort_values().tolist() == raw.abs().sort_values().tolist()
    signs = read_edge_file(cases / "signed.csv").edges.set_index(["TF", "target"])["sign"]
    assert signs.to_dict() == np.sign(raw).to_dict()


def test_ties_are_warned_of(cases, told):
    GRN.read(cases / "ties.csv")
    assert "all importances are equal" in told()


@pytest.mark.parametrize(
    ("name", "n_edges"), [("omnipath.csv", 600), ("trrust_rawdata.human.tsv", 600), ("genie3.csv", 3661)]
)
def test_one_reader_serves_inferer_and_reference(cases, base, name, n_edges):
    assert len(read_reference(cases / name)) == len(GRN.read(cases / name).edges) == n_edges
    tfs = CuratedList("human").transcription_factors(base.var_names).names
    assert len(FileGRN(str(cases / name)).infer(base, tfs, 0).edges) == n_edges


def test_self_loops_and_duplicates_are_dropped_with_a_count(cases, told):
    assert len(GRN.read(cases / "adj_self_loops.tsv").edges) == 3661
    assert "1 rows of genes that regulate themselves are dropped" in told()
    kept = GRN.read(cases / "adj_duplicates.tsv").edges.set_index(["TF", "target"])["importance"]
    assert len(kept) == 3661
    assert kept["AKNA", "ARHGDIB"] == 20.1243
    assert "1 rows that repeat an edge, of which the strongest is kept" in told()


@pytest.mark.parametrize(("name", "n"), [("tf_csv_hgnc.txt", 60), ("tf_quoted_R.txt", 60), ("tf_symbol_is_tf.txt", 44)])
def test_lists_are_read_as_what_they_are(cases, base, name, n):
    kb = CuratedList("human", path=str(cases / name))
    assert len(kb.transcription_factors(base.var_names).names) == n
    assert f"{n} TFs found" in kb.report(base.var_names)
    if "is_tf" in name:
        assert "256 are empty or called no TF and left out (ISG15" in kb.report(base.var_names)
