"""Which edges are shown as cards, by hand; and the cards as a block of the page and of its files."""

import pandas as pd
import pytest
from graph_folders import texts, write_folder

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.edge_cards import agreed, disputed, edge_cards, paired_ranks, pairs
from llm4grn.evaluation.graphs.runs import read_graph_runs

GENES = "ABCDxyz"
LLM, BOOST = "llm4grn.inference.llm.LLMInferer", "llm4grn.inference.grnboost2.GRNBoost2"


def table(*edges):
    return pd.DataFrame(edges, columns=["TF", "target", "importance"])


@pytest.fixture
def folders(tmp_path):
    said = table(("A", "x", 1.5), ("B", "x", 1.3), ("C", "y", 1.5), ("A", "y", 1.2), ("D", "z", 1.5))
    seen = table(("A", "x", 9), ("C", "x", 8), ("D", "x", 2), ("B", "x", 1), ("A", "y", 7), ("C", "y", 1))
    regulators = {"x": "AB", "y": "AC", "z": "AD"}
    return [
        write_folder(tmp_path / "said", GENES, regulators, inferer=LLM, ranked=said),
        write_folder(tmp_path / "seen", GENES, regulators, inferer=BOOST, ranked=seen),
        write_folder(tmp_path / "other", GENES, regulators, inferer=BOOST, ranked=seen, seed=2),
        write_folder(tmp_path / "chance", GENES, regulators, inferer="random"),
    ]


def test_pairs_are_of_one_data_set_kb_and_seed(folders):
    (pair,) = pairs(read_graph_runs(folders))
    assert [run.folder.name for run in pair] == ["said", "seen"]
    assert pairs(read_graph_runs([folders[0], folders[2]])) == []
    assert pairs(read_graph_runs([folders[0], folders[3]])) == []


def test_agreed_and_disputed_edges_by_hand(folders):
    ranked = paired_ranks(*pairs(read_graph_runs(folders))[0])
    assert "z" not in set(ranked["target"])  # the other network knows nothing of it
    assert agreed(ranked, 3) == [("A", "x"), ("A", "y"), ("C", "y")]  # ranks 1 1; 2 1 and 1 2, by importance; B 2 4
    # B -> x has the widest gap; the rest of the model's edges are level. Of those it does not name: C, then D.
    assert disputed(ranked, 4) == [("B", "x"), ("C", "y"), ("C", "x"), ("D", "x")]


def test_a_generator_that_cannot_be_used_costs_its_fact_alone(folders):
    def knock_outs(folder, edges):
        if folder.name == "said":
            raise UserError("said: not the generator of this graph")
        return dict.fromkeys(edges, 1.5)

    for folder in folders[:2]:
        (folder / "generator.pt").touch()
    agree, _ = edge_cards(folders, "truth", knock_outs=knock_outs)  # the truth of these cells is not known
    facts = dict(agree.cards[0].facts)
    assert facts["log2 fold change under do(A = 0)"].startswith("+1.500 (human · ")
    assert "truth" not in facts


def test_as_blocks_with_tables_for_files(folders):
    agree, differ = edge_cards(folders)
    assert agree.title.endswith("agree")
    assert [card.title for card in agree.cards] == ["A → x", "A → y", "C → y", "B → x"]
    assert dict(differ.cards[-1].facts)[f"human · {BOOST}"].startswith("rank 3 of 4")
    rows = texts(agree.table)
    assert rows[0][0] == "A → x"
    assert agree.name == "edges_agreed_tiny"
    assert edge_cards(folders[1:]) == []
