"""``python -m llm4grn.grn``: comparison and conversion as a user types them."""

import pickle
import subprocess
import sys

import pandas as pd
import pytest

from llm4grn.cli.grn import main, read_regulators
from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.grn.exports import write_decoupler

EDGES = [("A", "t", 3.0), ("B", "t", 2.0), ("C", "t", 1.0), ("A", "u", 1.0), ("B", "u", 0.5)]


@pytest.fixture
def networks(tmp_path):
    """Two tables and the folder of a run with a causal graph."""
    GRN.from_edges(pd.DataFrame(EDGES, columns=["TF", "target", "importance"])).write(tmp_path / "first.tsv")
    (tmp_path / "second.csv").write_text("TF,target,importance\nA,t,1\nC,t,2\nA,v,1\n")
    CausalGraph(("A", "D", "t", "u"), {"t": ("A",), "u": ("A", "D")}).to_json(tmp_path / "run" / "graph.json")
    return [str(tmp_path / name) for name in ("first.tsv", "second.csv", "run")]


def test_two_networks_side_by_side(networks, capsys):
    main(["compare", *networks[:2], "--k", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["A", networks[0]]
    rows = {line.split()[0]: line.split()[1:] for line in lines[3:] if line}
    assert rows["TFs"] == ["2", "2", "1"]  # A, B; A, C
    assert rows["targets"] == ["2", "2", "1"]  # t, u; t, v
    assert rows["edges"] == ["4", "3", "1"]  # A -> t
    assert lines[-1].endswith("0.3333")  # {A, B} and {C, A}


def test_k_counts_for_rankings(networks, capsys):
    main(["compare", *networks[:2]])
    assert capsys.readouterr().out.splitlines()[-1].endswith("0.6667")  # {A, B, C} and {C, A}


def test_several_networks_in_a_matrix(networks, capsys):
    main(["compare", *networks, "--k", "2"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line[:1] in "ABC" and "." in line and "/" not in line]
    assert rows == [
        ["A", "1.0000", "0.3333", "0.4167"],  # with the run: t {A, B} {A}: 1/2; u {A, B} {A, D}: 1/3
        ["B", "0.3333", "1.0000", "0.5000"],
        ["C", "0.4167", "0.5000", "1.0000"],
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.tsv", "TF\ttarget\timportance\nA\tt\t3.0\nB\tt\t2.0\nA\tu\t1.0\nB\tu\t0.5\n"),
        ("net.decoupler.csv", "source,target,weight\nA,t,3.0\nB,t,2.0\nA,u,1.0\nB,u,0.5\n"),
        ("net.celloracle.csv", "peak_id,gene_short_name,A,B\nt,t,1,1\nu,u,1,1\n"),
        ("net.gmt", "A\ttargets of A\tt\tu\nB\ttargets of B\tt\tu\n"),
    ],
)
def test_networks_are_written_in_the_forms_of_other_tools_and_read_again(networks, tmp_path, name, text):
    main(["convert", networks[0], str(tmp_path / "out" / name), "--k", "2"])
    assert (tmp_path / "out" / name).read_text() == text
    again = GRN.read(tmp_path / "out" / name).edges
    assert sorted(zip(again["TF"], again["target"], strict=True)) == [("A", "t"), ("A", "u"), ("B", "t"), ("B", "u")]


def test_the_sign_of_an_edge_is_in_the_weight_for_decoupler(tmp_path):
    edges = pd.DataFrame({"TF": ["A", "B"], "target": ["t", "t"], "importance": [2.0, 1.0], "sign": [-1, 0]})
    write_decoupler(GRN(edges), tmp_path / "net.csv")
    assert (tmp_path / "net.csv").read_text() == "source,target,weight\nA,t,-2.0\nB,t,1.0\n"


def test_networks_without_a_shared_target_have_a_dash(networks, tmp_path, capsys):
    (tmp_path / "alone.tsv").write_text("TF\ttarget\timportance\nA\tw\t1\n")
    main(["compare", *networks[:2], str(tmp_path / "alone.tsv")])
    assert capsys.readouterr().out.splitlines()[-1].split() == ["C", "-", "-", "1.0000"]


def test_a_ranking_without_a_list_of_tfs_keeps_all_targets(tmp_path):
    (tmp_path / "all.tsv").write_text("TF\ttarget\timportance\nA\tB\t2\nB\tA\t1\n")
    assert read_regulators(tmp_path / "all.tsv", 1).regulators == {"A": ("B",), "B": ("A",)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "one.tsv"], "at least two"),
        (["compare", "a.tsv", "b.tsv", "--k", "0"], "--k=0"),
        (["compare", "absent.tsv", "b.tsv"], "absent.tsv: cannot be read"),
        (["convert", "absent.pkl", "b.tsv"], "absent.pkl: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_convert_writes_a_table_that_is_read_again(tmp_path):
    pickled, table = tmp_path / "graph.pkl", tmp_path / "graph.tsv"
    pickled.write_bytes(pickle.dumps({"t": {"A", "B"}, "u": {"A"}}))
    command = [sys.executable, "-m", "llm4grn.grn", "convert", str(pickled), str(table), "--keys", "target"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"3 edges from 2 TFs to 2 targets written to {table}\n")
    assert "all importances are equal" in done.stderr
    assert GRN.read(table).edges.values.tolist() == [["A", "t", 1.0], ["A", "u", 1.0], ["B", "t", 1.0]]


# -- what a conversion writes -----------------------------------------------------------------------------------------

SIGNED = "TF\ttarget\timportance\tsign\nSPI1\tCD14\t3\t1\nSPI1\tMPO\t2\t-1\nJUN\tCD14\t1\t0\n"


@pytest.mark.parametrize("ending", [".tsv", ".txt", ".csv", ".tsv.gz", ".csv.gz", ".decoupler.csv", ".gmt"])
def test_every_form_is_read_again(ending, tmp_path, capsys):
    (tmp_path / "net.tsv").write_text(SIGNED)
    main(["convert", str(tmp_path / "net.tsv"), str(tmp_path / f"out{ending}")])
    edges = GRN.read(tmp_path / f"out{ending}").edges
    assert {*zip(edges["TF"], edges["target"], strict=True)} == {("SPI1", "CD14"), ("SPI1", "MPO"), ("JUN", "CD14")}
    said = capsys.readouterr().out
    assert ("holds no importances" in said) is (ending == ".gmt")
    assert ("holds no signs" in said) is (ending in (".csv", ".tsv.gz", ".csv.gz"))
    if "sign" in edges and ending != ".decoupler.csv":  # whose weight has the sign
        assert edges.set_index(["TF", "target"])["sign"].to_dict() == {
            ("SPI1", "CD14"): 1, ("SPI1", "MPO"): -1, ("JUN", "CD14"): 0
        }  # fmt: skip


def test_a_table_with_commas_has_commas(tmp_path):
    (tmp_path / "net.tsv").write_text(SIGNED)
    main(["convert", str(tmp_path / "net.tsv"), str(tmp_path / "out.csv")])
    assert (tmp_path / "out.csv").read_text().startswith("TF,target,importance\n")


@pytest.mark.parametrize(
    ("name", "message"), [("out.xlsx", "says no form"), ("out.gmt.gz", "says no form"), ("", "folder")]
)
def test_no_form_is_guessed(name, message, tmp_path, capsys):
    (tmp_path / "net.tsv").write_text(SIGNED)
    with pytest.raises(SystemExit, match="2"):
        main(["convert", str(tmp_path / "net.tsv"), str(tmp_path / name)])
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["net.tsv"]


def test_networks_of_other_names_are_told_apart(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text(SIGNED)
    (tmp_path / "b.tsv").write_text("TF\ttarget\timportance\nENSG00000000001\tENSG00000000002\t1\n")
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv")])
    assert "b.tsv: ENSG00000000002); give all the same names" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_named(networks, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(["compare", networks[0], str(tmp_path / "folder")])
    assert "is a folder without graph.json" in capsys.readouterr().err


def test_a_pickled_frame_has_the_columns_of_any_tool(tmp_path, capsys):
    frame = pd.DataFrame({"source": ["A", "A", "A"], "target": ["x", "x", "A"], "weight": [2.0, 1.0, 3.0]})
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(frame))
    main(["convert", str(tmp_path / "net.pkl"), str(tmp_path / "out.tsv")])
    assert GRN.read(tmp_path / "out.tsv").edges.values.tolist() == [["A", "x", 2.0]]


def test_a_name_for_a_list_is_one_gene(tmp_path):
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"SPI1": "CD14"}))
    main(["convert", str(tmp_path / "net.pkl"), str(tmp_path / "out.tsv"), "--keys", "tf"])
    assert GRN.read(tmp_path / "out.tsv").edges["target"].tolist() == ["CD14"]
