"""One reader of edges: the tables of all tools, what is dropped, and that it is counted."""

import gzip

import pytest

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.grn.edge_tables import read_edge_file, read_edges

FORMS = {
    "arboreto": "TF\ttarget\timportance\nSPI1\tCD14\t2\nGATA1\tHBB\t1.5\n",
    "semicolons and decimal commas": "TF;target;importance\nSPI1;CD14;2\nGATA1;HBB;1,5\n",
    "blanks": "TF target importance\nSPI1 CD14 2\nGATA1  HBB 1.5\n",
    "bars": "SPI1|CD14|2\nGATA1|HBB|1.5\n",
    "R, with row names": '"TF" "target" "importance"\n"1" "SPI1" "CD14" 2\n"2" "GATA1" "HBB" 1.5\n',
    "R, commas": '"","TF","target","importance"\n"1","SPI1","CD14",2\n"2","GATA1","HBB",1.5\n',
    "GENIE3": '"regulatoryGene","targetGene","weight"\n"SPI1","CD14",2\n"GATA1","HBB",1.5\n',
    "BEELINE": "Gene1\tGene2\tEdgeWeight\nSPI1\tCD14\t2\nGATA1\tHBB\t1.5\n",
    "decoupler": ",source,target,weight,PMID\n0,SPI1,CD14,2,1;2\n1,GATA1,HBB,1.5,3;4\n",
    "CellOracle": "source,target,coef_mean,coef_abs,p,-logp\nSPI1,CD14,2,2,0,9\nGATA1,HBB,1.5,1.5,0,9\n",
    "stray blanks": "TF, target ,importance\n SPI1, CD14 ,2\n'GATA1','HBB',1.5\n",
    "a remark": "# made by hand\nTF\ttarget\timportance\n\nSPI1\tCD14\t2\nGATA1\tHBB\t1.5\n",
}
SIGNED = {
    "TRRUST": "SPI1\tCD14\tActivation\t1;2\nGATA1\tHBB\tRepression\t3\n",
    "SIF": "SPI1 activates CD14\nGATA1 represses HBB\n",
    "CollecTRI": "source,target,weight\nSPI1,CD14,1\nGATA1,HBB,-1\n",
    "DoRothEA": "tf,confidence,target,mor\nSPI1,A,CD14,1.0\nGATA1,B,HBB,-1.0\n",
    "OmniPath": "source,target,source_genesymbol,target_genesymbol,is_stimulation,is_inhibition\n"
    "P17947,P08571,SPI1,CD14,1,0\nP15976,P68871,GATA1,HBB,0,1\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_tables_of_all_tools(tmp_path, text, packed):
    path = tmp_path / ("net.txt.gz" if packed else "net.txt")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    table = read_edge_file(path)
    assert table.edges[["TF", "target", "importance"]].values.tolist() == [["SPI1", "CD14", 2], ["GATA1", "HBB", 1.5]]
    assert table.report() is None
    assert len(GRN.read(path).edges) == 2


@pytest.mark.parametrize("text", SIGNED.values(), ids=list(SIGNED))
def test_tables_that_tell_the_sign(text):
    table = read_edges(text.splitlines())
    assert table.edges.values.tolist() == [["SPI1", "CD14", 1, 1], ["GATA1", "HBB", 1, -1]]
    assert list(table.edges) == ["TF", "target", "importance", "sign"]
    assert "all importances are equal" in table.report()


def test_gene_sets_and_base_grns(tmp_path):
    (tmp_path / "regulons.gmt").write_text("SPI1(+)\tregulon\tCD14\tMPO\nGATA1(-)\tx\tHBB\n")
    edges = read_edge_file(tmp_path / "regulons.gmt").edges
    assert edges.values.tolist() == [["SPI1", "CD14", 1, 1], ["SPI1", "MPO", 1, 1], ["GATA1", "HBB", 1, -1]]
    base = "peak_id,gene_short_name,SPI1,GATA1\nchr1_1_2,CD14,1.0,0.0\nchr1_3_4,CD14,1.0,0.0\nchr2_1_2,HBB,0,1\n"
    edges = read_edges(base.splitlines()).edges
    assert edges[["TF", "target"]].values.tolist() == [["SPI1", "CD14"], ["GATA1", "HBB"]]


def test_signed_importances_rank_by_size_and_keep_their_sign():
    table = read_edges(["TF,target,importance", "A,t,0.5", "B,t,-0.9", "C,t,0"])
    assert table.edges.values.tolist() == [["A", "t", 0.5, 1], ["B", "t", 0.9, -1], ["C", "t", 0.0, 0]]
    assert "ranked by their size" in table.report()


def test_what_is_no_edge_is_dropped_and_counted(tmp_path, caplog):
    path = tmp_path / "net.csv"
    path.write_text("TF,target,importance\nA,t,1\nA,A,9\nA,t,3\nB,,4\n,t,1\nB,t,2\n")
    with caplog.at_level("WARNING", logger="llm4grn"):
        assert GRN.read(path).edges.values.tolist() == [["A", "t", 3.0], ["B", "t", 2.0]]
    assert "2 of 6 edges are used; 2 rows without a gene name are dropped; 1 rows of genes that regulate" in caplog.text
    assert "1 rows that repeat an edge, of which the strongest is kept" in caplog.text


def test_ties_are_told():
    equal = read_edges(["TF,target,importance", "A,t,1", "B,t,1"])
    assert "all importances are equal, so the ranking is by name" in equal.report()
    few = read_edges(["TF,target,importance", *(f"A{i},t,{i % 3}" for i in range(100))])
    assert "only 3 different importances" in few.report()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c,d\n1,2,3,4\n", "without the column TF, target among a, b, c, d"),
        ("TF,target,importance\nA,t,1,2,3\n", "row 2"),
        ("TF,target,importance\nA,A,1\n", "no edges"),
        ("TF,target,importance\nA,t,high\n", "not a number"),
    ],
)
def test_other_tables_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        read_edges(text.splitlines())


def test_a_file_of_ours_is_read_as_it_is(tmp_path, caplog):
    """... whatever its importances: they are the result of a stage."""
    (tmp_path / "grn.tsv").write_text("TF\ttarget\timportance\nA\tt\t1.0\nB\tt\t-2.0\n")
    (tmp_path / "grn.json").write_text('{"method": "correlation"}')
    assert GRN.read(tmp_path / "grn.tsv").edges.values.tolist() == [["A", "t", 1.0], ["B", "t", -2.0]]
    assert not caplog.text


def test_the_network_in_the_folder_of_a_run_is_ours_too(tmp_path, caplog):
    path = tmp_path / "grn.tsv"
    path.write_text("TF\ttarget\timportance\nA\tx\t1.0\nB\tx\t1.0\n")
    (tmp_path / "graph.json").touch()
    GRN.read(path)
    assert not caplog.text
    (tmp_path / "graph.json").unlink()
    GRN.read(path)
    assert "ranking is by name" in caplog.text


# -- as people have them ----------------------------------------------------------------------------------------------

FOUND = {
    "a decimal comma in each row": "TF;target;importance\nSPI1;CD14;3,5\nGATA1;HBB;2,5\n",
    "decimal commas without a header": "SPI1;CD14;3,5\nGATA1;HBB;2,5\n",
    "decimal commas and exponents": "TF\ttarget\timportance\nSPI1\tCD14\t3,5\nGATA1\tHBB\t25e-1\n",
    "tabs behind rows": "TF\ttarget\timportance\nSPI1\tCD14\t3.5\t\nGATA1\tHBB\t2.5\t\n\t\t\n",
    "an indented remark": "TF\ttarget\timportance\nSPI1\tCD14\t3.5\n  # end\nGATA1\tHBB\t2.5\n",
    "quoted lists": 'TF,target,importance,genes\nSPI1,CD14,3.5,"a;b"\nGATA1,HBB,2.5,"c;d"\n',
}


@pytest.mark.parametrize("text", FOUND.values(), ids=list(FOUND))
def test_untidy_tables_are_read(text):
    edges = read_edges(text.splitlines()).edges[["TF", "target", "importance"]]
    assert edges.values.tolist() == [["SPI1", "CD14", 3.5], ["GATA1", "HBB", 2.5]]


@pytest.mark.parametrize(
    ("word", "sign"),
    [
        *(("Activator", 1), ("->", 1), ("up-regulation", 1), ("pos", 1), ("Inhibits", -1), ("Inhibitor", -1)),
        *(("-|", -1), ("Down-Regulation", -1), ("?", 0), ("Activation;Repression", 0), ("Repression; Unknown", -1)),
        *(("+/-", 0), ("+|-", 0), ("inhibition|", -1)),
    ],
)
def test_words_for_signs(word, sign):
    edges = read_edges(["source,target,effect", "A,x,activation", f'B,y,"{word}"']).edges
    assert dict(zip(edges["TF"], edges["sign"], strict=True)) == {"A": 1, "B": sign}


def test_a_word_that_is_no_sign_is_named_and_costs_its_row_only():
    table = read_edges(["source,target,regulation", "A,x,activation", "B,y,inhibits", "C,z,binding"])
    assert table.edges["sign"].tolist() == [1, -1, 0]
    assert "binding among the signs is not known" in table.report()


def test_opposite_signs_of_an_edge_are_counted():
    table = read_edges(["source,target,weight,sign", "A,x,1,+", "A,x,1,-", "A,y,1,+"])
    assert table.edges["sign"].tolist() == [0, 1]
    assert "1 edges have opposite signs" in table.report()


def test_targets_in_a_list_are_an_edge_each():
    table = read_edges(["TF\ttarget\timportance", "SPI1\tCD14;LYZ\t2", "GATA1\tHBB, HBA1\t1"])
    assert table.edges.values.tolist() == [
        ["SPI1", "CD14", 2], ["SPI1", "LYZ", 2], ["GATA1", "HBB", 1], ["GATA1", "HBA1", 1]
    ]  # fmt: skip
    assert "2 rows list several targets" in table.report()


def test_a_base_grn_binds_where_it_says_so():
    lines = ["peak_id,gene_short_name,A,B,C,D", "p,t,True,False,nan,0.00", "q,u,0,yes,,1"]
    assert read_edges(lines).edges[["TF", "target"]].values.tolist() == [["A", "t"], ["B", "u"], ["D", "u"]]


@pytest.mark.parametrize("text", ["SPI1 pd CD14 LYZ\nJUN pd FOS\n", "SPI1\tpp\tCD14\nSPI1\tpp\tLYZ\nJUN\tpp\tFOS\n"])
def test_simple_interactions(text, tmp_path):
    (tmp_path / "net.sif").write_text(text)
    edges = read_edge_file(tmp_path / "net.sif").edges
    assert edges[["TF", "target"]].values.tolist() == [["SPI1", "CD14"], ["SPI1", "LYZ"], ["JUN", "FOS"]]
    if "\t" in text:  # recognised without the ending, too
        assert len(read_edges(text.splitlines()).edges) == 3


@pytest.mark.parametrize("name", ["SPI1(+)", "SPI1 (12g)", "SPI1_extended (12g)", "SPI1_regulon", "SPI1 (+)", "SPI1"])
def test_names_of_regulons_are_those_of_their_tf(name):
    assert set(read_edges([f"{name}\tx\tCD14\tLYZ"], as_gmt=True).edges["TF"]) == {"SPI1"}


def test_missing_names_are_none():
    table = read_edges(["TF\ttarget\timportance", "nan\tCD14\t1", "SPI1\tNaN\t1", "SPI1\tNA\t2"])
    assert table.edges["target"].tolist() == ["NA"]  # sodium's symbol of a gene is no missing value
    assert table.nameless == 2


def test_columns_of_numbers_that_are_not_used_are_named():
    table = read_edges(["TF\ttarget\tp_value", "A\tx\t0.01", "B\ty\t0.2"])
    assert "the column p_value is not used" in table.report()
    assert "not used" not in read_edges(["TF\ttarget\tsource_db", "A\tx\tdb1", "B\ty\tdb2"]).report()


def test_trrust_without_a_known_sign_is_read():
    assert len(read_edges(["A\tx\tUnknown\t1", "B\ty\tUnknown\t2"]).edges) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TF\ttarget\timportance\nA\tx\t1,234\nB\ty\t999\n", "could be 1234 or 1.234"),
        ("TF\ttarget\timportance\nA\tx\t2\nB\ty\t\n", "'' in edge 2"),
        ('{"nodes": []}', "begins with '{'"),
        ("version https://git-lfs.github.com/spec/v1\noid a\nsize 1\n", "begins with 'version https://git-lfs'"),
        (",A,B\nx,0.1,0.2\ny,0,1\n", "a matrix of weights"),
        ("0,1,0\n1,0,1\n", "names are numbers"),
        ("1 2\n3 4\n", "names are numbers"),
        ("Target,SPI1,TF\nCD14,0.1,0\nLYZ,0.2,2\n", "column TF are numbers"),
    ],
)
def test_what_is_no_table_of_edges_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        read_edges(text.splitlines())


def test_another_tool_s_json_beside_does_not_make_a_file_ours(tmp_path, caplog):
    (tmp_path / "adjacencies.tsv").write_text("TF\ttarget\timportance\nA\tA\t2\nA\tx\t1\nA\tx\t1\n")
    (tmp_path / "adjacencies.json").write_text('{"tool": "other"}')
    assert len(GRN.read(tmp_path / "adjacencies.tsv").edges) == 1
    assert "1 rows of genes that regulate themselves" in caplog.text


def test_names_that_look_like_lists_or_programs_are_names():
    assert read_edges(["TF\ttarget\timportance", "A\tlnc(1,2)\t1"]).edges["target"].tolist() == ["lnc(1,2)"]
    assert len(read_edges(["MZF1\tGATA1\t1.0", "SPI1\tCD14\t0.5"]).edges) == 2
    assert len(read_edges(["TF\ttarget\timportance", "12\t13\t1", "12\t14\t2"]).edges) == 2  # Entrez ids
    with pytest.raises(UserError, match="without the column"):
        read_edges(["tbx16\tgata1\tchip", "tbx5\tgata1\tmotif"])
