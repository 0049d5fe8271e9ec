"""The shipped data and the user's own files."""

import json
import subprocess
import sys
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from llm4grn.data.sources import H5ad, PBMC3k, PBMC68kReduced, TenX, recover_counts
from llm4grn.errors import UserError


def is_handed_on_well(adata):
    return (
        isinstance(adata.X, sp.csr_matrix)
        and adata.X.dtype == np.int32
        and adata.X.data.min() > 0
        and adata.obs_names.is_unique
        and adata.var_names.is_unique
    )


def test_pbmc3k():
    source = PBMC3k()
    source.prepare()
    adata = source.load()
    assert adata.shape == (2700, 13714)
    assert is_handed_on_well(adata)
    assert adata.obs["cell_type"].nunique() == 8
    assert adata.X.sum() == 6_386_518
    recorded = source.path.with_name("README.md").read_text()
    assert source.fingerprint()["counts"] in recorded
    assert "CC BY 4.0" in recorded


def test_pbmc68k_reduced():
    source = PBMC68kReduced()
    source.prepare()
    adata = source.load()
    assert adata.shape == (700, 765)
    assert is_handed_on_well(adata)
    assert adata.obs["cell_type"].nunique() == 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old file
        stored = anndata.read_h5ad(source.path)
    again = np.log1p(adata.X.toarray() / stored.obs["n_counts"].to_numpy()[:, None] * 1e4)
    np.testing.assert_allclose(again, stored.raw.X.toarray(), atol=6e-4)
    json.dumps(source.fingerprint())


def test_recovery_of_counts_refuses_what_is_none():
    counts = np.random.default_rng(0).poisson(3, (20, 10))
    totals = counts.sum(axis=1) * 20
    rounded = sp.csr_matrix(np.round(np.log1p(counts / totals[:, None] * 1e4), 3).astype(np.float32))
    assert (recover_counts(rounded, totals, "x").toarray() == counts).all()
    with pytest.raises(UserError, match="do not come back"):
        recover_counts(rounded, totals * 1.1, "x")


@pytest.fixture
def adata(counts):
    obs = pd.DataFrame({"cell_type": ["T", "B"] * 6, "label": ["a", None] * 6}, index=[f"c{i}" for i in range(12)])
    return anndata.AnnData(counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=list("ABCDEFG")))


@pytest.fixture
def write(tmp_path):
    def write_h5ad(adata, name="mine.h5ad"):
        adata.write_h5ad(tmp_path / name)
        return str(tmp_path / name)

    return write_h5ad


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_h5ad(adata, write, counts, storage):
    adata.X = storage(adata.X)
    source = H5ad(write(adata))
    source.prepare()
    loaded = source.load()
    assert is_handed_on_well(loaded)
    assert (loaded.X.toarray() == counts).all()
    assert loaded.obs["cell_type"].tolist() == ["T", "B"] * 6
    assert loaded.obs.columns.tolist() == ["cell_type"]


def test_h5ad_layer_raw_and_cell_type_column(adata, write, counts):
    adata.raw = adata[:, ::-1].copy()
    adata.layers["umi"] = adata.X.copy()
    adata.X = np.log1p(adata.X)
    path = write(adata)
    assert (H5ad(path, layer="umi").load().X.toarray() == counts).all()
    assert H5ad(path, layer="raw").load().var_names.tolist() == list("GFEDCBA")
    assert H5ad(path, layer="umi", cell_type_column="label").load().obs["cell_type"].tolist() == ["a", "unknown"] * 6
    with pytest.raises(UserError, match=r"set dataset\.layer=raw \(layers here: raw, umi\)"):
        H5ad(path).load()
    with pytest.raises(UserError, match=r"dataset\.layer: .* no layer counts \(layers: umi, raw\)"):
        H5ad(path, layer="counts").load()
    with pytest.raises(UserError, match=r"dataset\.cell_type_column: .*type \(columns: cell_type, label\)"):
        H5ad(path, layer="umi", cell_type_column="type").load()


def test_h5ad_without_cell_types(adata, write):
    adata.obs = adata.obs[[]]
    assert H5ad(write(adata)).load().obs.columns.empty


@pytest.mark.filterwarnings("ignore:.*not unique")
def test_h5ad_with_duplicate_genes_is_refused(adata, write):
    adata.var_names = ["A", "B", "A", "D", "E", "F", "G"]
    path = write(adata)
    with pytest.raises(UserError, match=r"mine\.h5ad: gene name A occurs 2 times"):
        H5ad(path).load()


def test_h5ad_fingerprint_is_of_content_not_of_place(adata, write, tmp_path):
    path = write(adata)
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "copy.h5ad"
    other.write_bytes((tmp_path / "mine.h5ad").read_bytes())
    assert H5ad(path).fingerprint() == H5ad(str(other)).fingerprint()
    assert H5ad(path).fingerprint() != H5ad(path, layer="umi").fingerprint()
    assert H5ad(path).fingerprint() != H5ad(path, cell_type_column="label").fingerprint()
    adata.X[0, 0] += 1
    assert H5ad(path).fingerprint() != H5ad(write(adata, "changed.h5ad")).fingerprint()


def test_h5ad_that_is_not_what_its_name_says(tmp_path):
    for path, told in [(tmp_path / "none.h5ad", "no file"), (tmp_path, "is a folder.*dataset=mtx")]:
        with pytest.raises(UserError, match=rf"dataset\.path: .*{told}"):
            H5ad(str(path)).prepare()
    text = tmp_path / "text.h5ad"
    text.write_text("gene,cell\n")
    with pytest.raises(UserError, match=r"not an \.h5ad file"):
        H5ad(str(text)).prepare()
    for empty in ("", "  ", None):
        with pytest.raises(UserError, match=r"dataset\.path"):
            H5ad(empty)


def test_h5ad_that_is_other_or_cut_hdf5(adata, write, tmp_path):
    other = tmp_path / "other.h5ad"
    with h5py.File(other, "w") as file:
        file.create_group("matrix")
    H5ad(str(other)).prepare()
    with pytest.raises(UserError, match=r"no AnnData .*obs and var"):
        H5ad(str(other)).load()
    path = write(adata)
    whole = (tmp_path / "mine.h5ad").read_bytes()
    (tmp_path / "mine.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read") as caught:
        H5ad(path).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_10x_folder(write_10x, tmp_path, counts, annotations, zipped):
    folder = write_10x(tmp_path / "10x", zipped=zipped)
    (tmp_path / "types.tsv").write_text(annotations)
    source = TenX(str(folder), str(tmp_path / "types.tsv"))
    source.prepare()
    adata = source.load()
    assert is_handed_on_well(adata)
    assert (adata.X.toarray() == counts).all()
    assert adata.var_names[0] == "CD3D"
    assert adata.obs_names[1] == "CACC-1"
    assert adata.obs["cell_type"].tolist()[:2] == ["CD8+ Cytotoxic T", "CD19+ B"]
    assert set(source.fingerprint()) == {"matrix", "genes", "barcodes", "annotations", "reader"}
    assert "cell_type" not in TenX(str(folder)).load().obs


def test_10x_repeated_symbols_get_their_id(write_10x, tmp_path, caplog):
    symbols = ["RGS5", "CD8A", "RGS5", "NA", "MS4A1", "RGS5", "NA"]
    adata = TenX(str(write_10x(tmp_path / "10x", symbols))).load()
    expected = ["RGS5", "CD8A", "RGS5_ENSG00002", "NA", "MS4A1", "RGS5_ENSG00005", "NA_ENSG00006"]
    assert adata.var_names.tolist() == expected
    assert "3 repeated gene symbols" in caplog.text


def test_10x_other_features_are_left_out(write_10x, tmp_path, counts, caplog):
    kinds = ["Gene Expression"] * 5 + ["Antibody Capture"] * 2
    adata = TenX(str(write_10x(tmp_path / "10x", third_column=kinds, zipped=True))).load()
    assert (adata.X.toarray() == counts[:, :5]).all()
    assert "2 features that are not genes" in caplog.text


@pytest.mark.parametrize("name", ["matrix.mtx", "genes.tsv", "barcodes.tsv"])
def test_10x_missing_or_empty_file(write_10x, tmp_path, name):
    folder = write_10x(tmp_path / "10x")
    (folder / name).write_text("")
    with pytest.raises(UserError, match=rf"dataset\.path: .*{name} is not"):
        TenX(str(folder)).load()
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"dataset\.path: .* has no {name}"):
        TenX(str(folder)).prepare()


def test_10x_not_what_the_name_says(write_10x, tmp_path):
    folder = write_10x(tmp_path / "10x")
    matrix = folder / "matrix.mtx"
    whole = matrix.read_text()
    with pytest.raises(UserError, match=r"is a file.*dataset=h5ad"):
        TenX(str(matrix)).prepare()
    with pytest.raises(UserError, match="no folder"):
        TenX(str(tmp_path / "none")).prepare()
    matrix.write_text(",cell1,cell2\nGATA1,0,3\n")
    with pytest.raises(UserError, match="not a MatrixMarket file"):
        TenX(str(folder)).prepare()
    matrix.write_text(whole[: len(whole) // 2])
    TenX(str(folder)).prepare()
    with pytest.raises(UserError, match="cannot be read"):
        TenX(str(folder)).load()
    matrix.unlink()
    (folder / "matrix.mtx.gz").write_text(whole)
    with pytest.raises(UserError, match="not gzip-compressed"):
        TenX(str(folder)).prepare()


def test_10x_files_that_do_not_belong_together(write_10x, tmp_path, counts):
    folder = write_10x(tmp_path / "10x", matrix=counts[:-1])
    with pytest.raises(UserError, match=r"7 genes x 11 cells, .*7 lines .*has 12"):
        TenX(str(folder)).load()


def test_10x_normalised_values_and_repeated_barcodes_are_refused(write_10x, tmp_path):
    folder = write_10x(tmp_path / "10x")
    barcodes = (folder / "barcodes.tsv").read_text()
    (folder / "barcodes.tsv").write_text(barcodes.replace("CACC", "AACC"))
    with pytest.raises(UserError, match="barcode AACC-1 occurs 2 times"):
        TenX(str(folder)).load()
    (folder / "barcodes.tsv").write_text(barcodes)
    lines = (folder / "matrix.mtx").read_text().replace("integer", "real").splitlines()
    (folder / "matrix.mtx").write_text("\n".join([*lines[:-1], lines[-1] + ".25"]) + "\n")
    with pytest.raises(UserError, match="not an integer"):
        TenX(str(folder)).load()


def test_10x_annotations(write_10x, tmp_path, annotations, caplog):
    folder = str(write_10x(tmp_path / "10x"))
    table = tmp_path / "types.tsv"
    source = TenX(folder, str(table))
    with pytest.raises(UserError, match=r"dataset\.annotations: there is no file"):
        source.prepare()
    table.write_text("cell\ttype\nx\ty\n")
    with pytest.raises(UserError, match="columns cell, type"):
        source.load()
    table.write_text("barcodes\tcelltype\nx\ty\n")
    with pytest.raises(UserError, match="no barcode"):
        source.load()
    table.write_text(annotations + "AACC-1\tother\n")
    with pytest.raises(UserError, match="AACC-1 more than once"):
        source.load()
    table.write_text("".join(annotations.splitlines(keepends=True)[:4]))
    assert source.load().obs["cell_type"].tolist()[3:] == ["unknown"] * 9
    assert "9 cells have no annotation" in caplog.text
    comma = tmp_path / "types.csv"
    comma.write_text(annotations.replace("\t", ","))
    assert TenX(folder, str(comma)).load().obs["cell_type"].nunique() == 3


def test_preparing_and_fingerprints_import_nothing_heavy():
    code = (
        "import sys\n"
        "from llm4grn.data.preprocess import Preprocessing\n"
        "from llm4grn.data.sources import PBMC3k, PBMC68kReduced\n"
        "Preprocessing(min_cells=1, n_test=1, n_validation=1)\n"
        "for source in (PBMC3k(), PBMC68kReduced()):\n"
        "    source.prepare(), source.fingerprint()\n"
        "print([m for m in ('anndata', 'scanpy', 'pandas', 'scipy', 'torch', 'requests') if m in sys.modules])\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
