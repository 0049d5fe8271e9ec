"""A network from a file: what fits the data set is used, the rest is counted."""

import anndata
import pandas as pd
import pytest

from llm4grn.errors import UserError
from llm4grn.inference.file import FileGRN

ADATA = anndata.AnnData(var=pd.DataFrame(index=["A", "B", "t", "u"]))
TABLE = "TF\ttarget\timportance\nA\tt\t3\nB\tu\t2\nA\tB\t9\nt\tu\t8\nX\tt\t7\nA\tY\t6\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "net.tsv"
    path.write_text(TABLE)
    return path


def test_edges_of_other_genes_are_left_out_and_counted(path, caplog):
    with caplog.at_level("INFO", logger="llm4grn"):
        grn = FileGRN(str(path)).infer(ADATA, ["A", "B"], 0)
    assert grn.edges.values.tolist() == [["A", "t", 3.0], ["B", "u", 2.0]]
    assert "2 of 6 edges are used; 2 come from genes that are no TFs here, 2 more end" in caplog.text
    assert grn.provenance == {
        "method": "file",
        "file": {"source": "net.tsv"},
        **{"edges": 6, "kept": 2, "from_no_tf": 2, "onto_no_target": 2},
    }


def test_without_a_list_of_tfs_all_edges_between_genes_at_hand_are_used(path):
    assert len(FileGRN(str(path)).infer(ADATA, None, 0).edges) == 4


def test_a_file_of_other_genes_is_refused_and_named(path):
    with pytest.raises(UserError, match=r"net\.tsv: 0 of 6 edges.*check"):
        FileGRN(str(path)).infer(anndata.AnnData(var=pd.DataFrame(index=["c", "d"])), ["c"], 0)


def test_the_content_is_the_fingerprint_and_the_place_is_not(path, tmp_path):
    elsewhere = tmp_path / "copy.csv"
    elsewhere.write_text(TABLE)
    assert FileGRN(str(path)) == FileGRN(str(elsewhere))
    first = FileGRN(str(path)).fingerprint()
    assert first == FileGRN(str(elsewhere)).fingerprint()
    elsewhere.write_text(TABLE.replace("9", "1"))
    assert first != FileGRN(str(elsewhere)).fingerprint()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"inferer\.path=.*absent\.tsv: cannot be read"):
        FileGRN(str(tmp_path / "absent.tsv")).fingerprint()


def test_names_in_other_case_and_former_symbols_are_found_and_told(tmp_path, caplog):
    path = tmp_path / "net.csv"
    path.write_text("TF,target,importance\nT,gata1,3\nTBXT,GATA1,2\nT,SPI1,1\nT,CD4,1\n")
    adata = anndata.AnnData(var=pd.DataFrame(index=["TBXT", "GATA1", "SPI1"]))
    with caplog.at_level("INFO", logger="llm4grn"):
        grn = FileGRN(str(path), organism="human").infer(adata, ["TBXT"], 0)
    assert grn.edges.values.tolist() == [["TBXT", "GATA1", 3.0], ["TBXT", "SPI1", 1.0]]
    assert "3 of 4 edges are used; 0 come from" in caplog.text
    assert "1 more end" in caplog.text
    assert "T = TBXT" in caplog.text
    assert "gata1 = GATA1" in caplog.text
    assert "1 repeat an edge under another name" in caplog.text
