"""No prior list: TFs chosen from the ranked network."""

import itertools

import numpy as np
import pandas as pd
import pytest

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.knowledge.none import NoPriorList, iterative, naive

GENES = [f"g{i:02}" for i in range(30)]


def dense_grn(seed=0, genes=GENES):
    pairs = list(itertools.permutations(genes, 2))
    importance = np.random.default_rng(seed).random(len(pairs))
    return GRN.from_edges(pd.DataFrame(pairs, columns=["TF", "target"]).assign(importance=importance))


def grn_of(*edges):
    rows = [(*edge, float(len(edges) - i)) for i, edge in enumerate(edges)]
    return GRN.from_edges(pd.DataFrame(rows, columns=["TF", "target", "importance"]))


EDGES = [("A", "B"), ("C", "A"), ("B", "D"), ("A", "D"), ("E", "D"), ("C", "F"), ("F", "E")]


def test_naive_takes_the_first_names():
    assert naive(EDGES, 2) == {"A", "C"}
    assert naive(EDGES, 3) == {"A", "B", "C"}
    assert naive(EDGES, 99) == {"A", "B", "C", "E", "F"}


def test_iterative_gives_every_gene_one_role():
    # A -> B; C -> A would make the TF A a target; B is a target; A, E -> D; C -> F; F is a target
    assert iterative(EDGES, k=2) == {"A", "E", "C"}
    assert iterative(EDGES, k=1) == {"A", "C"}  # D has its one regulator before E comes
    assert iterative(EDGES, k=2, n_tfs=1) == {"A"}


@pytest.mark.parametrize("n_tfs", [None, 5])
@pytest.mark.parametrize("seed", range(3))
def test_top_k_imposes_exactly_the_edges_that_iterative_kept(seed, n_tfs):
    grn, k = dense_grn(seed), 3
    tfs, kept = set(), {}
    for tf, target, _ in grn.edges.itertuples(index=False):
        admitted = tf in tfs or n_tfs is None or len(tfs) < n_tfs
        if tf not in kept and target not in tfs and admitted and len(kept.get(target, ())) < k:
            tfs.add(tf)
            kept[target] = (*kept.get(target, ()), tf)
    chosen = NoPriorList("iterative", n_tfs, k).select(grn, GENES)
    assert set(chosen.names) == tfs
    graph = grn.top(k, GENES, chosen.names)
    graph.validate()
    assert graph.regulators == kept


def test_naive_makes_a_valid_graph():
    chosen = NoPriorList("naive", 6, 4).select(dense_grn(), GENES)
    assert len(chosen.names) == 6
    graph = dense_grn().top(4, GENES, chosen.names)
    graph.validate()
    assert len(graph.targets) == 24
    assert chosen.provenance == {"method": "none", "selection": "naive", "chosen": 6, "left_over": []}


def test_a_gene_without_ranked_tfs_becomes_a_root(caplog):
    genes = ["A", "B", "C", "D"]
    grn = grn_of(("A", "B"), ("C", "D"))
    with caplog.at_level("WARNING", logger="llm4grn"):
        chosen = NoPriorList("naive", 1, 1).select(grn, genes)
    assert chosen.names == ("A", "C", "D")
    assert chosen.provenance["left_over"] == ["C", "D"]
    assert "2 of 4 genes" in caplog.text
    graph = grn.top(1, genes, chosen.names)
    graph.validate()
    assert graph.regulators == {"B": ("A",)}


def test_no_target_left_is_refused():
    with pytest.raises(UserError, match=r"kb\.n_tfs=4: no target is left among 4 genes"):
        NoPriorList("naive", 4, 2).select(dense_grn(genes=GENES[:4]), GENES[:4])


def test_all_genes_are_candidates():
    assert NoPriorList().transcription_factors(["b", "a"]).names == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"selection": "best"}, r"kb\.selection=best"),
        ({"n_tfs": 9}, r"kb\.n_tfs=9.*graph\.k=10"),
        ({"n_tfs": 20.0}, r"kb\.n_tfs=20\.0"),
        ({"n_tfs": None}, r"kb\.n_tfs=null"),
    ],
)
def test_impossible_settings_are_refused(arguments, field):
    with pytest.raises(UserError, match=field):
        NoPriorList(**arguments)
