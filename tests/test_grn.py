"""Ranked edges: checking, ordering, files, and the choice of regulators."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4grn.errors import UserError
from llm4grn.grn import GRN

TFS = [f"TF{i}" for i in range(6)]
GENES = sorted([*TFS, "T1", "T2"])


def edges(*rows):
    return pd.DataFrame(rows, columns=["TF", "target", "importance"])


def ranked_grn():
    """T1 ranks TF0 > TF1 > ... > TF5; T2 ranks them the other way round."""
    rows = [(tf, "T1", 10.0 - i) for i, tf in enumerate(TFS)] + [(tf, "T2", 1.0 + i) for i, tf in enumerate(TFS)]
    return GRN.from_edges(edges(*rows))


def test_edges_are_ordered_by_importance_then_names():
    grn = GRN.from_edges(edges(("B", "t", 1.0), ("A", "u", 1.0), ("A", "t", 1.0), ("C", "t", 2.0)))
    assert grn.edges[["TF", "target"]].values.tolist() == [["C", "t"], ["A", "t"], ["A", "u"], ["B", "t"]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("A", "t", float("nan"))], "not a finite number"),
        ([("A", "t", float("inf"))], "not a finite number"),
        ([("A", "t", "high")], "not a number"),
        ([("A", "t", 1.0), ("A", "t", 2.0)], "given twice"),
        ([("A", "A", 1.0)], "regulates itself"),
        ([("", "t", 1.0)], "without a gene name"),
        ([(None, "t", 1.0)], "without a gene name"),
    ],
)
def test_unusable_edges_are_refused(rows, message):
    with pytest.raises(UserError, match=message):
        GRN.from_edges(edges(*rows))


def test_the_first_unusable_edge_is_named_and_all_are_counted():
    rows = ("A", "t", 1.0), ("B", "B", 2.0), ("C", "C", 3.0), ("D", "D", 4.0)
    with pytest.raises(UserError, match=r"'B' -> 'B' with importance 2.0 \(3 such edges\)"):
        GRN.from_edges(edges(*rows))


def test_a_missing_column_is_named():
    with pytest.raises(UserError, match="column importance"):
        GRN.from_edges(pd.DataFrame({"TF": ["A"], "target": ["t"], "weight": [1.0]}))


SIGNED = [("A", "t", 3.0, 1), ("B", "t", 2.0, -1), ("C", "t", 1.0, 0)]


def signed(*rows):
    return GRN.from_edges(pd.DataFrame(rows, columns=["TF", "target", "importance", "sign"]))


def test_signs_are_kept_in_files_and_graphs(tmp_path):
    grn = signed(*SIGNED)
    grn.write(tmp_path / "grn.tsv")
    text = (tmp_path / "grn.tsv").read_text()
    assert text.splitlines() == ["TF\ttarget\timportance\tsign", "A\tt\t3.0\t1", "B\tt\t2.0\t-1", "C\tt\t1.0\t0"]
    read = GRN.read(tmp_path / "grn.tsv")
    assert read.signs == grn.signs == {("A", "t"): 1, ("B", "t"): -1}
    assert dict(read.to_networkx().edges) == {
        ("A", "t"): {"importance": 3.0, "sign": 1},
        ("B", "t"): {"importance": 2.0, "sign": -1},
        ("C", "t"): {"importance": 1.0},
    }
    assert read.top(2, ["A", "B", "C", "t"], ["A", "B", "C"]).regulators == {"t": ("A", "B")}


def test_signs_of_others_are_read_and_something_else_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("Gene1,Gene2,EdgeWeight,Sign\nA,t,1,+\nB,t,2,-1.0\nC,t,3,\n")
    assert GRN.read(tmp_path / "a.csv").signs == {("A", "t"): 1, ("B", "t"): -1}
    (tmp_path / "b.csv").write_text("TF,target,importance,sign\nA,t,1,0.7\n")
    with pytest.raises(UserError, match=r"b\.csv: column sign holds '0\.7'; expected 1 \(activation\)"):
        GRN.read(tmp_path / "b.csv")


def test_a_network_without_signs_has_none_and_joins_one_that_has():
    plain = GRN.from_edges(edges(("D", "t", 1.0)))
    assert (plain.signs, "sign" in plain.edges) == (None, False)
    assert plain.joined(signed(*SIGNED)).signs == {("A", "t"): 1, ("B", "t"): -1}


def test_signs_are_compared_among_the_best_edges():
    other = signed(("A", "t", 3.0, 1), ("B", "t", 2.0, 1), ("C", "t", 1.0, 1))
    row = signed(*SIGNED).compare(other, k=2).loc["signed edges"]
    assert row.tolist() == [2, 2, 1, 1 / 3]  # A is +; B differs; C is the third
    assert "signed edges" not in ranked_grn().compare(other.joined(ranked_grn())).index


def test_files_are_exact_and_the_same_bytes_for_the_same_content(tmp_path):
    rng = np.random.default_rng(0)
    table = edges(*[(f"TF{i}", "t", value) for i, value in enumerate(rng.random(50) / 3)])
    grn = GRN.from_edges(table, {"method": "test", "seed": 1})
    grn.write(tmp_path / "a.tsv")
    GRN.from_edges(table.sample(frac=1, random_state=3), {"seed": 1, "method": "test"}).write(tmp_path / "b.tsv")

    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.tsv").read_text().startswith("TF\ttarget\timportance\n")
    again = GRN.read(tmp_path / "a.tsv")
    pd.testing.assert_frame_equal(again.edges, grn.edges, check_exact=True, check_dtype=False)
    assert again.provenance == {"method": "test", "seed": 1}


@pytest.mark.parametrize(
    "text",
    [
        "TF\ttarget\timportance\nNA\tt\t2\nB\tt\t1.5\n",
        "TF,target,importance\nNA,t,2\nB,t,1.5\n",
        ",TF,target,importance\n0,B,t,1.5\n1,NA,t,2\n",
        "Gene1\tGene2\tEdgeWeight\nNA\tt\t2\nB\tt\t1.5\n",
        "NA\tt\t2\nB\tt\t1.5\n",
        "\ufefftf,Target,Importance\r\nNA,t,2\r\nB,t,1.5\r\n",
    ],
    ids=["arboreto", "comma", "pandas index", "BEELINE", "no header", "spreadsheet"],
)
def test_the_tables_of_other_tools_are_read(tmp_path, text):
    path = tmp_path / "net.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert GRN.read(path).edges.values.tolist() == [["NA", "t", 2.0], ["B", "t", 1.5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"TF\ttarget\timportance\n", "no edges"),
        (b"\x89HDF\r\n\x1a\n\x00\xff\xfe", "not a text file"),
        (b"source\tsink\nA\tB\n", "without the column"),
        (b"TF\ttarget\timportance\nA\tB\n", "row 2"),
        (b"TF\ttarget\timportance\nA\tB\thigh\n", "not a number"),
        (b"TF\ttarget\timportance\nA\tB\t\n", "not a number"),
        (b"TF,Gene1,target,importance\nA,A,B,1\n", "two columns"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "net.tsv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        GRN.read(path)
    assert str(path) in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.tsv: cannot be read"):
        GRN.read(tmp_path / "absent.tsv")


def test_broken_provenance_is_refused(tmp_path):
    ranked_grn().write(tmp_path / "grn.tsv")
    (tmp_path / "grn.json").write_text("{broken")
    with pytest.raises(UserError, match=r"grn\.json"):
        GRN.read(tmp_path / "grn.tsv")


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("top", ("TF0", "TF1")),
        ("bottom", ("TF4", "TF5")),
        ("odd", ("TF0", "TF2")),
        ("even", ("TF1", "TF3")),
    ],
)
def test_strategies_choose_by_rank(strategy, expected):
    graph = ranked_grn().top(2, GENES, TFS, strategy)
    assert graph.regulators["T1"] == expected
    mirrored = {f"TF{5 - int(tf[2:])}" for tf in expected}
    assert set(graph.regulators["T2"]) == mirrored
    assert graph.genes == tuple(GENES)
    assert graph.tf_names == tuple(TFS)
    graph.validate()


def test_random_draws_any_tf_by_seed_whatever_the_order_of_genes():
    grn = GRN.from_edges(edges(("TF0", "T1", 1.0)))
    draws = [grn.top(2, GENES, TFS, "random", seed) for seed in range(200)]
    counts = pd.Series([tf for graph in draws for tf in graph.regulators["T1"]]).value_counts()
    assert set(counts.index) == set(TFS)
    assert counts.min() > 200 * 2 / 6 / 2
    assert all(len(set(graph.regulators["T2"])) == 2 for graph in draws)
    assert grn.top(2, GENES[::-1], TFS[::-1], "random", 7).regulators == draws[7].regulators
    assert any(graph.regulators["T1"] != graph.regulators["T2"] for graph in draws)


def test_edges_outside_the_bipartite_protocol_are_ignored():
    rows = [("T2", "T1", 99.0), ("TF0", "TF1", 98.0), ("TF0", "T1", 2.0), ("TF1", "T1", 1.0), ("TF3", "T2", 1.0)]
    graph = GRN.from_edges(edges(*rows, ("TF0", "stranger", 5.0))).top(1, GENES, TFS)
    assert graph.regulators == {"T1": ("TF0",), "T2": ("TF3",)}


def test_a_number_for_each_target():
    graph = ranked_grn().top({"T1": 1, "T2": 3}, GENES, TFS)
    assert graph.regulators == {"T1": ("TF0",), "T2": ("TF5", "TF4", "TF3")}


def test_targets_short_of_k_are_counted_in_a_warning(caplog):
    rows = [("TF0", "T1", 1.0), ("TF1", "T1", 2.0), *[(tf, "T2", 1.0 + i) for i, tf in enumerate(TFS)]]
    with caplog.at_level("WARNING", logger="llm4grn"):
        graph = GRN.from_edges(edges(*rows)).top(3, GENES, TFS)
    assert len(graph.regulators["T1"]) == 2
    assert len(graph.regulators["T2"]) == 3
    assert "1 of 2 targets" in caplog.text


@pytest.mark.parametrize(
    ("k", "strategy", "message"),
    [
        (7, "top", r"graph\.k=7.*only 6 TFs"),
        (0, "top", r"graph\.k=0"),
        (True, "top", r"graph\.k=True"),
        (2.5, "top", r"graph\.k=2\.5"),
        ("ten", "top", r"graph\.k='ten'"),
        ([3], "top", r"graph\.k=\[3\]"),
        ({"T1": 2}, "top", r"graph\.k gives no number for 1 targets, for instance T2"),
        ({"T1": 2, "T2": 9}, "top", r"graph\.k=9"),
        (2, "best", r"graph\.strategy=best.*bottom"),
    ],
)
def test_impossible_choices_are_refused(k, strategy, message):
    with pytest.raises(UserError, match=message):
        ranked_grn().top(k, GENES, TFS, strategy)


def test_a_tf_that_is_no_gene_is_refused():
    with pytest.raises(UserError, match="not among the genes, for instance XX"):
        ranked_grn().top(1, GENES, [*TFS, "XX"])


def test_provenance_of_a_foreign_file_is_its_name(tmp_path):
    (tmp_path / "net.csv").write_text("TF,target,importance\nA,t,1\n")
    assert json.dumps(GRN.read(tmp_path / "net.csv").provenance) == '{"source": "net.csv"}'


def test_the_spread_of_importances_is_kept_where_there_is_one(tmp_path):
    table = pd.DataFrame(
        {"TF": ["A", "B"], "target": ["T", "T"], "importance": [1.0, 2.0], "importance_std": [0.5, 0.1]}
    )
    grn = GRN.from_edges(pd.concat([table.iloc[:1], table.iloc[1:].set_axis([0])]))  # an index that repeats itself
    assert list(grn.edges["importance_std"]) == [0.1, 0.5]
    grn.write(tmp_path / "grn.tsv")
    assert GRN.read(tmp_path / "grn.tsv").edges.equals(grn.edges)
    with pytest.raises(UserError, match="not a finite number"):
        GRN.from_edges(table.assign(importance_std=[1.0, float("inf")]))
    assert "importance_std" not in GRN.from_edges(table.drop(columns="importance_std")).edges


def test_tfs_keep_their_regulators_if_asked_and_as_far_as_no_cycle_closes():
    among = [("TF0", "TF1", 3.0), ("TF1", "TF0", 9.0), ("TF2", "TF0", 8.0), ("TF0", "TF2", 1.0), ("TF1", "TF3", 1.0)]
    grn = ranked_grn().joined(GRN.from_edges(edges(*among)))
    assert grn.top(2, GENES, TFS).tf_names == tuple(TFS)
    # TF0 comes first and takes TF1, which may then not take TF0; TF2 does, before TF0 could take it in a second round.
    for tf_k in 1, 2:
        graph = grn.top(2, GENES, TFS, tf_k=tf_k)
        assert {tf: graph.regulators.get(tf) for tf in TFS[:4]} == {
            "TF0": ("TF1",), "TF1": None, "TF2": ("TF0",), "TF3": ("TF1",)
        }  # fmt: skip
        assert graph.layers() == [["T2", "TF0", "TF3"], ["T1", "TF2"]]
    with pytest.raises(UserError, match="given twice"):
        grn.joined(ranked_grn())


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from(["top", "bottom", "odd", "even", "random"]))
@settings(max_examples=60, deadline=None)
def test_any_ranking_of_tfs_becomes_an_acyclic_graph(seed, tf_k, strategy):
    rng = np.random.default_rng(seed)
    among = [(a, b, rng.random()) for a in TFS for b in TFS if a != b and rng.random() < 0.7]
    grn = ranked_grn().joined(GRN.from_edges(edges(*among))) if among else ranked_grn()
    graph = grn.top(3, GENES, TFS, strategy, seed, tf_k)
    graph.validate()
    assert all(len(graph.regulators.get(tf, ())) <= tf_k for tf in TFS)
    bipartite = grn.top(3, GENES, TFS, strategy, seed)
    assert {target: graph.regulators[target] for target in ("T1", "T2")} == bipartite.regulators


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_an_acyclic_network_is_kept_whole(seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(TFS)
    among = [(order[i], order[j], rng.random()) for i in range(6) for j in range(i + 1, 6) if rng.random() < 0.5]
    grn = ranked_grn().joined(GRN.from_edges(edges(*among))) if among else ranked_grn()
    graph = grn.top(6, GENES, TFS, tf_k=5)
    assert graph.n_edges == len(grn.edges)


def test_with_tf_k_1_every_tf_but_a_root_has_its_best_regulator_that_closes_no_cycle():
    ranked = {"A": "BC", "B": "AC", "C": "BA", "x": "A"}
    rows = [(tf, target, 1.0 - i / 10) for target, tfs in ranked.items() for i, tf in enumerate(tfs)]
    grn = GRN.from_edges(pd.DataFrame(rows, columns=["TF", "target", "importance"]))
    bipartite, one, two = (grn.top(1, tuple("ABCx"), tuple("ABC"), tf_k=tf_k) for tf_k in (0, 1, 2))
    assert bipartite.regulators == {"x": ("A",)}
    # B regulates A and C first, so that neither A nor C can regulate B
    assert one.regulators == {"x": ("A",), "A": ("B",), "C": ("B",)}
    assert two.regulators == {"x": ("A",), "A": ("B", "C"), "C": ("B",)}
    for graph in bipartite, one, two:
        graph.validate()
