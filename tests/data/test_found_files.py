"""Files as found in public: tables with titles and sums, other encodings, numbers for names, damaged copies."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.io import write_elem
from scipy.sparse import csr_matrix

from llm4grn.data.name_lists import read_name_file
from llm4grn.data.sources import CellFile, TenX
from llm4grn.errors import UserError

GENES = ["ISG15", "RPL22", "PARK7", "FOS", "JUN", "SPI1", "CD14", "LYZ"]
CELLS = [f"AAACATACAACC{a}{b}{c}-1" for a in "ACGT" for b in "ACGT" for c in "AC"]
IDS = [f"ENSG{i:011d}" for i in range(1, 9)]
COUNTS = np.random.default_rng(0).poisson(2.0, (len(CELLS), len(GENES))) + np.arange(len(CELLS))[:, None] % 3
TABLE = pd.DataFrame(COUNTS.T, index=GENES, columns=CELLS)


@pytest.fixture
def told(caplog):
    caplog.set_level("INFO", logger="llm4grn")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def adata(**columns) -> anndata.AnnData:
    var = pd.DataFrame({name: list(values) for name, values in columns.items()}, index=GENES)
    return anndata.AnnData(csr_matrix(COUNTS.astype(np.float32)), obs=pd.DataFrame(index=CELLS), var=var)


def load(path, **options) -> anndata.AnnData:
    return CellFile(str(path), **options).load()


def is_whole(read: anndata.AnnData) -> bool:
    counts = read.to_df().astype(int)
    return sorted(counts) == sorted(GENES) and bool((counts[GENES] == COUNTS).all(axis=None)) and len(counts) == 32


# -- tables of text ---------------------------------------------------------------------------------------------------

LINES = TABLE.to_csv(sep="\t").splitlines()
READ = {
    "title": ("\n".join(["Counts of our cells", "", *LINES]), "1 lines above the table are skipped"),
    "gct": ("\n".join(["#1.2", "8\t32", LINES[0], *LINES[1:]]), "1 lines above the table"),
    "blank line": ("\n".join([LINES[0], "", *LINES[1:]]), "8 genes"),
    "tab behind all lines": ("\n".join(line + "\t" for line in LINES), "8 genes"),
    "tab behind the header": ("\n".join([LINES[0] + "\t", *LINES[1:]]), "8 genes"),
    "tab behind the counts": ("\n".join([LINES[0], *(line + "\t" for line in LINES[1:])]), "8 genes"),
    "bars": (TABLE.to_csv(sep="|"), "8 genes"),
    "decimal commas": (TABLE.astype(float).to_csv(sep=";", decimal=","), "8 genes"),
    "sums of genes": (TABLE.assign(Total=TABLE.sum(axis=1)).to_csv(), "describe the genes (Total)"),
    "featureCounts": (
        pd.concat([pd.DataFrame({"Chr": "1", "Start": 5, "end": 9, "Length": 4}, index=GENES), TABLE], axis=1).to_csv(),
        "4 columns are no counts and describe the genes (Chr, Start, end, Length)",
    ),
    "HTSeq": (
        pd.concat([TABLE, TABLE.iloc[:2].set_axis(["__no_feature", "__ambiguous"])]).to_csv(),
        "2 rows are no genes and left out (__no_feature, __ambiguous)",
    ),
    "annotated cells": (
        TABLE.T.assign(nUMI=9, cluster=1, **{"percent.mt": 0.5}).to_csv(),
        "3 columns are no counts and describe the cells (nUMI, cluster, percent.mt)",
    ),
    "ids and symbols": (TABLE.set_axis(IDS).rename_axis("id").pipe(lambda t: t.reset_index()).pipe(
        lambda t: pd.concat([t[["id"]], pd.Series(GENES, name="Symbol"), t[CELLS]], axis=1)).to_csv(index=False),
        "genes are named by var.Symbol"),
    "a label at the end": (TABLE.T.assign(label="T cell").to_csv(), "describe the cells (label)"),
    "thousands": (TABLE.mul(1).map(lambda n: f"{n:,}").to_csv(sep="\t"), "8 genes"),
    "numbers of rows": (TABLE.rename_axis("gene").reset_index().to_csv(), "genes are named by var.gene"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_table_is_read_and_what_is_no_count_is_told(name, tmp_path, told):
    text, line = READ[name]
    (tmp_path / "table.txt").write_text(text)
    assert is_whole(load(tmp_path / "table.txt"))
    assert line in told()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_a_table_in_another_encoding_is_read(encoding, tmp_path):
    (tmp_path / "table.csv").write_text(TABLE.rename_axis("Gène").to_csv(), encoding=encoding)
    assert is_whole(load(tmp_path / "table.csv"))


def test_a_header_longer_than_a_field_of_csv_may_be_is_read(tmp_path):
    cells = [f"AAACATACAACCACGT{i:06d}-1" for i in range(6000)]  # 150,000 letters
    wide = pd.DataFrame(np.arange(12000).reshape(2, -1) % 7 + 1, index=GENES[:2], columns=cells)
    wide.to_csv(tmp_path / "wide.csv")
    assert load(tmp_path / "wide.csv").shape == (6000, 2)


def test_text_beside_the_counts_is_kept(tmp_path):
    """Cell types in a column of the table are those of the cells."""
    TABLE.T.pipe(lambda t: t.set_axis(CELLS)).reset_index(names="cell").pipe(
        lambda t: pd.concat([t[["cell"]], pd.Series(["T", "B"] * 16, name="cell_type"), t[GENES]], axis=1)
    ).to_csv(tmp_path / "t.csv", index=False)
    read = load(tmp_path / "t.csv")
    assert is_whole(read)
    assert read.obs["cell_type"].tolist() == ["T", "B"] * 16


REFUSED = {
    "no header": (TABLE.to_csv(header=False), "no names in its first line"),
    "no names of cells": (TABLE.T.to_csv(index=False), "no names in its first column"),
    "two headers": ("\n".join([LINES[0], "type" + "\tT cell" * 32, *LINES[1:]]), "more than one line of names"),
    "true and false": ((TABLE > 2).to_csv(), "TRUE and FALSE"),
    "prose": ("Some words\nand others\n", "no separator"),
    "web page": ("<!DOCTYPE html><html></html>\n", "is a web page"),
    "pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "series matrix": ('!Series_title\t"x"\n!Series_y\t"z"\n', "supplementary"),
    "numbers for genes": (TABLE.set_axis(range(1, 9)).to_csv(), "named by numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_of_named_counts_is_refused_in_one_line(name, tmp_path):
    text, message = REFUSED[name]
    (tmp_path / "table.h5ad").write_text(text)
    source = CellFile(str(tmp_path / "table.h5ad"), genes_in="rows" if name.startswith("numbers") else "auto")
    with pytest.raises(UserError, match=message) as caught:
        source.load()
    assert "\n" not in str(caught.value)


def test_numbers_for_genes_are_kept_if_asked(tmp_path):
    TABLE.set_axis(range(1, 9)).to_csv(tmp_path / "t.csv")
    assert list(load(tmp_path / "t.csv", genes_in="rows", gene_names="index").var_names) == [*map(str, range(1, 9))]


# -- names of genes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ([f"feature{i}" for i in range(8)], {"gene_name": GENES}),
        (IDS, {"Gene_Symbol": GENES}),
        ([*map(str, range(8))], {"symbol": GENES}),
        ([f"{gene}|{identifier}" for gene, identifier in zip(GENES, IDS, strict=True)], {}),
        (IDS, {"feature_name": [f"{gene}_{identifier}" for gene, identifier in zip(GENES, IDS, strict=True)]}),
        ([f"{identifier}.2_{gene}" for gene, identifier in zip(GENES, IDS, strict=True)], {}),
    ],
)
def test_symbols_are_found_where_they_are(index, columns, tmp_path):
    cells = adata(**columns)
    cells.var_names = index
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert is_whole(load(tmp_path / "c.h5ad"))


def test_a_repeated_symbol_gets_its_id_if_there_is_one(tmp_path, told):
    cells = adata(gene_ids=IDS)
    cells.var_names = ["ISG15", "ISG15", *GENES[2:]]
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert list(load(tmp_path / "c.h5ad").var_names)[:2] == ["ISG15", f"ISG15_{IDS[1]}"]
    assert "1 repeated gene symbols" in told()


def test_genes_without_a_symbol_keep_their_id_and_are_counted(tmp_path, told):
    cells = adata(symbol=["ISG15", np.nan, *GENES[2:]])
    cells.var_names = IDS
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert list(load(tmp_path / "c.h5ad").var_names)[:2] == ["ISG15", IDS[1]]
    assert "1 genes have no symbol and keep their id" in told()


# -- matrices and annotations -----------------------------------------------------------------------------------------


def test_dense_half_precision_is_read(tmp_path):
    cells = adata()
    cells.X = COUNTS.astype(np.float16)
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert is_whole(load(tmp_path / "c.h5ad"))


def test_a_value_too_large_for_a_count_is_refused(tmp_path):
    cells = adata()
    cells.X = cells.X.toarray().astype(float) + np.eye(32, 8) * 1e19
    cells.write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(UserError, match="larger than any count"):
        load(tmp_path / "c.h5ad")


def test_without_x_the_layer_of_counts_is_recommended(tmp_path):
    cells = anndata.AnnData(None, obs=adata().obs, var=adata().var, layers={"counts": adata().X})
    cells.write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(UserError, match=r"no matrix X: set dataset\.layer=counts"):
        load(tmp_path / "c.h5ad")


@pytest.mark.parametrize("query", ["leiden", "1 + 1", "leiden + 1"])
def test_a_subset_that_is_no_condition_is_refused(query, tmp_path):
    cells = adata()
    cells.obs["leiden"] = np.arange(32) % 3
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert load(tmp_path / "c.h5ad", subset="leiden == 1").n_obs == 11
    with pytest.raises(UserError, match="not true or false of each cell"):
        load(tmp_path / "c.h5ad", subset=query)


def test_missing_types_and_batches_are_counted(tmp_path, told):
    cells = adata()
    cells.obs["cell_type"] = ["T", np.nan] * 16
    cells.obs["batch"] = [np.nan, "1", "1", "2"] * 8
    cells.write_h5ad(tmp_path / "c.h5ad")
    read = load(tmp_path / "c.h5ad", batch="batch")
    assert set(read.obs["batch"]) == {"1", "2", "unknown"}
    assert "16 cells have no value in obs.cell_type" in told()
    assert "8 cells have no value in obs.batch" in told()


# -- files of other tools, and broken copies --------------------------------------------------------------------------


def test_a_modality_with_an_empty_raw_is_read(tmp_path):
    """As the newest anndata writes it, behind the block that mudata puts first."""
    with h5py.File(tmp_path / "c.h5mu", "w", userblock_size=512) as file:
        write_elem(file.require_group("mod"), "rna", adata())
        if "raw" not in file["mod/rna"]:
            file["mod/rna"].create_dataset("raw", data=h5py.Empty("f"))
    with (tmp_path / "c.h5mu").open("r+b") as file:
        file.write(b"MuData (format-version=0.1.0;)")
    assert is_whole(load(tmp_path / "c.h5mu"))


@pytest.mark.parametrize(("kind", "name"), [("mod", "rna"), ("tables", "table")])
def test_the_cells_in_a_larger_zarr_are_read(kind, name, tmp_path, told):
    zarr.open_group(tmp_path / "c.zarr", mode="w", zarr_format=2).require_group(kind)
    adata().write_zarr(tmp_path / "c.zarr" / kind / name)
    assert is_whole(load(tmp_path / "c.zarr"))
    assert f"{kind}/{name} is read" in told()


def test_a_sparse_zarr_without_all_its_chunks_is_refused(tmp_path):
    adata().write_zarr(tmp_path / "c.zarr")
    (chunk,) = [path for path in (tmp_path / "c.zarr" / "X" / "data").rglob("*") if path.name in ("0", "0.0")]
    chunk.unlink()
    with pytest.raises(UserError, match=r"not whole: 1 of 1 chunks of X/data"):
        load(tmp_path / "c.zarr")


def test_a_dense_zarr_without_all_its_chunks_is_warned_of(tmp_path, told):
    cells = adata()
    cells.X = COUNTS.astype(np.float32)
    cells.write_zarr(tmp_path / "c.zarr", chunks=(16, 8))
    next(path for path in (tmp_path / "c.zarr" / "X").rglob("*") if path.name in ("0.0", "0")).unlink()
    load(tmp_path / "c.zarr")
    assert "1 of 2 chunks of X are not there" in told()


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "c.h5ad").symlink_to("nowhere.h5ad")
    with pytest.raises(UserError, match=r"is a link to nowhere\.h5ad"):
        CellFile(str(tmp_path / "c.h5ad")).prepare()


def test_a_10x_folder_without_its_names_says_what_it_has(tmp_path, write_10x):
    folder = write_10x(tmp_path / "x")
    (folder / "barcodes.tsv").rename(folder / "cells.tsv")
    with pytest.raises(UserError, match=r"has no barcodes\.tsv.*cells\.tsv, genes\.tsv, matrix\.mtx"):
        TenX(str(folder)).prepare()


def test_a_10x_folder_of_which_one_file_is_missing_names_it_with_its_prefix(tmp_path, write_10x):
    folder = write_10x(tmp_path / "x")
    for path in list(folder.iterdir()):
        path.rename(folder / f"GSM1_{path.name}")
    (folder / "GSM1_barcodes.tsv").unlink()
    with pytest.raises(UserError, match=r"has no GSM1_barcodes\.tsv"):
        TenX(str(folder)).prepare()


def test_quotes_around_barcodes_are_stripped(tmp_path, write_10x):
    folder = write_10x(tmp_path / "x")
    barcodes = (folder / "barcodes.tsv").read_text().split()
    (folder / "barcodes.tsv").write_text("".join(f'"{barcode}"\n' for barcode in barcodes))
    assert list(TenX(str(folder)).load().obs_names) == barcodes


@pytest.mark.parametrize("separator", [",", " "])
def test_genes_of_10x_without_tabs_are_split(separator, tmp_path, write_10x):
    folder = write_10x(tmp_path / "x")
    genes = (folder / "genes.tsv").read_text()
    (folder / "genes.tsv").write_text(genes.replace("\t", separator))
    assert list(TenX(str(folder)).load().var_names)[:2] == ["CD3D", "CD8A"]


def test_types_of_features_are_known_in_any_case(tmp_path, write_10x, told):
    folder = write_10x(tmp_path / "x", third_column=["gene expression"] * 6 + ["antibody capture"])
    assert TenX(str(folder)).load().n_vars == 6
    assert "1 features that are not genes" in told()


# -- lists ------------------------------------------------------------------------------------------------------------

LISTS = {
    "indented comment": "FOS\n  # zippers\nJUN\n",
    "comment behind a tab": "\t# x\nFOS\nJUN\n",
    "verdict in TF": "gene_name,TF\nSPI1,FALSE\nFOS,TRUE\nJUN,TRUE\n",
    "verdict in TF, yes": "gene,TF\nFOS,yes\nSPI1,no\nJUN,yes\n",
    "verdict in TF?": "Symbol\tTF?\nSPI1\tNo\nFOS\tYes\nJUN\tYes\n",
    "verdict without a header": "FOS\tYes\nSPI1\tNo\nJUN\tYes\n",
    "JSON": '["FOS",\n "JUN"]\n',
    "a comma too many": "Symbol,Family\nFOS,zf\nJUN,a,b\n",
    "scores with a decimal comma": "gene;score\nFOS;0,5\nJUN;0,3\n",
    "of R": '"","x"\n"1","FOS"\n"2","JUN"\n',
    "numbered": "1. FOS\n2. JUN\n",
    "scores behind blanks": "FOS 0.5\nJUN 1e-3\n",
    "remarks of C": "// mine\nFOS\nJUN\n",
    "column of another name": "id,name,family\n1,FOS,basic zipper\n2,JUN,basic zipper\n",
    "column TF of names": "TF,Family\nFOS,zf\nJUN,b\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=list(LISTS))
def test_lists_are_read_as_they_are_meant(text, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    assert read_name_file(tmp_path / "list.txt").names == ("FOS", "JUN")


def test_names_in_one_line_of_blanks_are_a_list(tmp_path):
    (tmp_path / "list.txt").write_text("FOS JUN SPI1 GATA1\n")
    assert read_name_file(tmp_path / "list.txt").names == ("FOS", "JUN", "SPI1", "GATA1")


@pytest.mark.parametrize("text", ["human_gene,mouse_gene\nFOS,Fos\nJUN,Jun\n", "A title of three words\nFOS\nJUN\n"])
def test_a_list_that_could_be_two_is_refused(text, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError):
        read_name_file(tmp_path / "list.txt")


def test_of_two_modalities_rna_is_read(tmp_path, told):
    with h5py.File(tmp_path / "c.h5mu", "w", userblock_size=512) as file:
        for name in "gex", "rna":
            write_elem(file.require_group("mod"), name, adata())
    load(tmp_path / "c.h5mu")
    assert "the modality rna is read; gex are left out" in told()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Symbol,KRAB,Is TF?\nGATA1,FALSE,Yes\nZNF10,TRUE,Yes\nACTB,TRUE,No\n", ("GATA1", "ZNF10")),
        ("Symbol,expressed\nGATA1,TRUE\nSPI1,FALSE\n", ("GATA1", "SPI1")),
        ("GATA1\tGATA2\nSPI1\tCD14\n", ("GATA1", "SPI1")),
        ("CUSTOMTF\tZinc\nSPI1\tETS\nGATA1\tGATA family\n", ("CUSTOMTF", "SPI1", "GATA1")),
    ],
)
def test_other_columns_of_a_list_do_not_matter(text, names, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    assert read_name_file(tmp_path / "list.txt").names == names


def test_a_category_is_no_name_of_genes(tmp_path):
    cells = adata(group=["A", "B"] * 4, human_ortholog=GENES)
    cells.var_names = [f"AT1G010{i}0" for i in range(8)]
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert list(load(tmp_path / "c.h5ad", organism="thale cress").var_names) == [f"AT1G010{i}0" for i in range(8)]


def test_time_points_called_start_and_end_are_cells(tmp_path):
    TABLE[CELLS[:3]].set_axis(["start", "mid", "end"], axis=1).to_csv(tmp_path / "t.csv")
    assert list(load(tmp_path / "t.csv").obs_names) == ["start", "mid", "end"]


def test_a_sparse_column_of_text_is_text(tmp_path):
    table = TABLE.copy()
    table.insert(0, "note", ["", "", "", "", "", "", "rare", ""])
    table.to_csv(tmp_path / "t.csv")
    assert is_whole(load(tmp_path / "t.csv"))


def test_a_last_column_without_values_shifts_no_names(tmp_path):
    """As R writes it: the header is one field short."""
    lines = ["one\ttwo\tthree", "FOS\t1\t2\t", "JUN\t3\t4\t"]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="of gene FOS in cell three is not a number"):
        load(tmp_path / "t.tsv")


def test_a_row_of_annotations_does_not_name_cells(tmp_path):
    lines = ["one\ttwo\tthree", "type\tB\tT\tT", "FOS\t1\t2\t0", "JUN\t3\t4\t1"]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="more than one line of names"):
        load(tmp_path / "t.tsv")


def test_indices_that_are_all_zero_are_no_missing_chunk(tmp_path):
    cells = anndata.AnnData(csr_matrix(np.array([[3.0, 0], [2, 0]])), var=pd.DataFrame(index=["FOS", "JUN"]))
    cells.obs_names = CELLS[:2]
    cells.write_zarr(tmp_path / "c.zarr")
    assert load(tmp_path / "c.zarr").X.sum() == 5


def test_a_decimal_comma_far_below_thousands_is_refused_and_named(tmp_path):
    rows = ["gene\tAAACATACAACC-1\tAAACATACAACG-1", *(f"G{i}\t1,234\t5" for i in range(40)), "FOS\t1,5\t7"]
    (tmp_path / "t.tsv").write_text("\n".join(rows))
    with pytest.raises(UserError, match="'1,5' in row FOS, column AAACATACAACC-1 is no number"):
        load(tmp_path / "t.tsv", genes_in="rows")


def test_thousands_far_below_are_read(tmp_path):
    rows = ["gene\tAAACATACAACC-1\tAAACATACAACG-1", *(f"G{i}\t1\t5" for i in range(40)), "FOS\t1,234\t7"]
    (tmp_path / "t.tsv").write_text("\n".join(rows))
    assert load(tmp_path / "t.tsv", genes_in="rows").to_df()["FOS"].tolist() == [1234, 7]
