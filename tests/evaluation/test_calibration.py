"""Shares of confirmed edges by rank and by votes, counted by hand; what separates good ranks from bad ones shows."""

import numpy as np
import pandas as pd
import pytest
from graph_folders import column, texts, write_folder
from matplotlib.image import imread

from llm4grn.evaluation.graphs.calibration import calibration, vote_shares
from llm4grn.evaluation.graphs.calibration_figure import calibration_blocks
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.grn import GRN
from llm4grn.inference.llm import importances
from llm4grn.llm.parsing.answers import Answer

GENES = "ABCDxyz"
TFS = "ABCD"
LLM = "llm4grn.inference.llm.LLMInferer"


def grn(**ranked):
    edges = [(tf, target, 1 / (i + 1)) for target, tfs in ranked.items() for i, tf in enumerate(tfs)]
    return GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]))


def reference(*edges):
    return pd.DataFrame([tuple(edge) for edge in edges], columns=["TF", "target"])


def test_by_rank():
    """D regulates nothing in the reference, so its edges are no candidates; the ranks of the others stay."""
    table = calibration(grn(x="ABC", y="DAB", z="A"), reference("Ax", "Ay", "Cx", "Bz", "Bz", "AA"), GENES, TFS)
    assert table[["group", "edges", "confirmed"]].values.tolist() == [
        ["1", 2, 1],  # A -> x, not A -> z
        ["2", 2, 1],  # A -> y, not B -> x
        ["3–5", 2, 1],  # C -> x, not B -> y
        ["not ranked", 3, 1],  # B -> z, not C -> y, C -> z
    ]
    assert table["share"].tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 2, 1 / 3])
    assert set(table["at_random"]) == {4 / 9}
    assert table["low"].iloc[0] == pytest.approx(0.0945, abs=1e-3)  # Wilson's interval of 1 in 2
    assert table["high"].iloc[0] == pytest.approx(0.9055, abs=1e-3)


def test_by_votes():
    both = Answer(("A", "B"), found=True), Answer(("A", "C"), found=True)
    edges = [(tf, "x", score) for tf, score in importances(both).items()]
    network = GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]))
    table = calibration(network, reference("Ax", "Bx", "Cy"), GENES, TFS, n_answers=2)
    assert table[["group", "position", "edges", "confirmed"]].values.tolist() == [
        ["2 of 2", 1.0, 1, 1],
        ["1 of 2", 0.5, 2, 1],
        ["not named", 0.0, 6, 1],
    ]


def test_votes_are_recovered_from_any_importances():
    rng = np.random.default_rng(0)
    for n in 1, 2, 3, 5:
        answers = [Answer(tuple(rng.permutation(list("ABCDEFGH"))[:4]), found=True) for _ in range(n)]
        scores = pd.Series(importances(answers))
        expected = [sum(tf in answer.symbols for answer in answers) / n for tf in scores.index]
        assert vote_shares(scores, n).tolist() == pytest.approx(expected)
    assert vote_shares(pd.Series([1.0, 1 / 2, 1 / 3]), 3).tolist() == [0, 0, 0]  # drawn at random


def test_a_network_that_knows_what_it_knows_falls():
    rng = np.random.default_rng(1)
    tfs, targets = [f"T{i:02d}" for i in range(30)], [f"g{i:03d}" for i in range(200)]
    true = rng.random((30, 200)) < 0.1
    order = np.argsort(-(true + rng.normal(0, 0.5, true.shape)), axis=0)
    ranked = grn(**{target: [tfs[i] for i in order[:20, j]] for j, target in enumerate(targets)})
    edges = reference(*[(tfs[i], targets[j]) for i, j in zip(*np.nonzero(true), strict=True)])
    table = calibration(ranked, edges, [*tfs, *targets], tfs)
    shares = table["share"].tolist()
    assert shares == sorted(shares, reverse=True)
    assert table["low"].iloc[0] > table["high"].iloc[-1]
    assert table["edges"].sum() == 30 * 200
    assert table["confirmed"].sum() == true.sum()


def test_blocks_of_runs(tmp_path):
    """Two seeds of one setting are averaged; a language model with several answers has a curve by votes, too."""
    regulators = {"x": "AB", "y": "AC", "z": "AD"}
    answers = [Answer(("A", "B"), found=True), Answer(("A", "C"), found=True)]
    votes = [(tf, target, score) for target in "xyz" for tf, score in importances(answers).items()]
    ranked = pd.DataFrame(votes, columns=["TF", "target", "importance"])
    folders = [
        write_folder(tmp_path / "one", GENES, regulators, seed=1),
        write_folder(tmp_path / "two", GENES, {**regulators, "x": "BA"}, seed=2),
        write_folder(tmp_path / "llm", GENES, regulators, inferer=LLM, ranked=ranked, n_samples=2),
    ]
    path = tmp_path / "curated.tsv"
    path.write_text("TF\ttarget\nA\tx\nB\tx\nA\ty\nC\tz\nD\ty\n")
    table, figure = calibration_blocks(read_graph_runs(folders), path, tmp_path / "figures")
    rows = texts(table)
    assert {tuple(row[2:4]) for row in rows} == {("grnboost2", "rank"), (LLM, "rank"), (LLM, "votes")}
    boosted = [row for row in rows if row[2] == "grnboost2"]
    assert [row[4:8] for row in boosted] == [
        ["1", "2", "3", "66.67"],
        ["2", "2", "3", "33.33"],
        ["not ranked", "2", "6", "33.33"],
    ]
    assert all(0 <= value <= 100 for value in column(table, "to"))
    assert imread(figure.path).shape[1] > 1000


def test_a_reference_of_other_genes_makes_no_blocks(tmp_path):
    folder = write_folder(tmp_path / "one", GENES, {"x": "AB"})
    (tmp_path / "other.tsv").write_text("TF\ttarget\nQ\tR\n")
    assert calibration_blocks(read_graph_runs([folder]), tmp_path / "other.tsv", tmp_path) == []
