"""Controls: shuffled lists keep everything but their targets; popular TFs are counted by hand."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_consensus import network

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.inference.consensus import Consensus
from llm4grn.inference.controls import Popular, Shuffled, deal
from llm4grn.inference.random_graph import RandomGRN

OF = {"llm": RandomGRN()}
TFS = [f"TF{i}" for i in range(12)]
TARGETS = [f"G{i}" for i in range(40)]
GENES = sorted([*TFS, *TARGETS])


def ranked(seed: int = 0, targets=TARGETS, tfs=TFS) -> GRN:
    """Each target has three to seven TFs, of which the first ones are named more often."""
    rng = np.random.default_rng(seed)
    edges = []
    for target in targets:
        own = [tf for tf in tfs if tf != target]
        weights = 1.0 / np.arange(1, len(own) + 1)
        chosen = rng.choice(len(own), size=rng.integers(3, 8), replace=False, p=weights / weights.sum())
        edges += [(own[i], target, float(rng.random())) for i in chosen]
    return GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]), {"method": "by hand"})


def lists(edges: pd.DataFrame) -> dict[str, tuple]:
    """Regulators and importances of each target."""
    return {target: tuple(zip(own["TF"], own["importance"], strict=True)) for target, own in edges.groupby("target")}


# ---- shuffled


def test_lists_stay_whole_and_no_target_keeps_its_own():
    before, after = ranked().edges, Shuffled(OF).combine({"llm": ranked()}, GENES, TFS, 7).edges
    assert sorted(lists(before).values()) == sorted(lists(after).values())
    assert all(lists(before)[target] != lists(after)[target] for target in TARGETS)
    assert Counter(before["TF"]) == Counter(after["TF"])  # out-degrees


def test_the_seed_decides_and_the_order_of_the_edges_does_not():
    control, of = Shuffled(OF), ranked()
    one = control.combine({"llm": of}, GENES, TFS, 7).edges
    pd.testing.assert_frame_equal(one, control.combine({"llm": of}, GENES[::-1], TFS[::-1], 7).edges)
    assert not one.equals(control.combine({"llm": of}, GENES, TFS, 8).edges)


def test_columns_of_the_other_network_travel_with_its_lists():
    fused = Consensus({"one": RandomGRN(), "two": RandomGRN()}).combine({"one": ranked(), "two": ranked(1)}, GENES, TFS)
    dealt = Shuffled({"consensus": RandomGRN()}).combine({"consensus": fused}, GENES, TFS).edges
    columns = ["TF", "importance", "rank_one", "rank_two"]
    assert sorted(map(str, fused.edges[columns].to_numpy())) == sorted(map(str, dealt[columns].to_numpy()))


def test_lists_onto_tfs_go_to_other_tfs_and_those_onto_targets_to_other_targets():
    onto_targets, onto_tfs = ranked(), ranked(2, targets=TFS)
    both = onto_targets.joined(onto_tfs)
    dealt = Shuffled(OF).combine({"llm": both}, GENES, TFS, 7)
    alone = Shuffled(OF).combine({"llm": onto_targets}, GENES, TFS, 7)
    on_tfs = dealt.edges["target"].isin(TFS)
    pd.testing.assert_frame_equal(dealt.edges[~on_tfs].reset_index(drop=True), alone.edges)
    assert set(dealt.edges.loc[on_tfs, "TF"]) <= set(TFS)
    assert (dealt.edges["TF"] != dealt.edges["target"]).all()


def test_where_any_gene_may_be_a_tf_lists_are_dealt_without_loss():
    of = ranked(3, targets=GENES, tfs=GENES)
    dealt = Shuffled(OF).combine({"llm": of}, GENES, None, 7).edges
    assert Counter(dealt["TF"]) == Counter(of.edges["TF"])
    assert Counter(Counter(dealt["target"]).values()) == Counter(Counter(of.edges["target"]).values())


def test_a_ranking_of_all_genes_loses_no_more_than_one_late_edge_per_target():
    full = _full_ranking()
    dealt = Shuffled(OF).combine({"llm": full}, GENES, None, 7)
    assert len(full.edges) - len(dealt.edges) == len(GENES)  # every list holds every other gene
    best = {target: tfs[:10] for target, tfs in full.regulators(10).items()}
    after = dealt.regulators(10)
    assert sum(after[target] not in best.values() for target in GENES) <= 1  # the top 10 came through whole


def _full_ranking() -> GRN:
    rng = np.random.default_rng(0)
    edges = [(tf, target, float(rng.random())) for target in GENES for tf in GENES if tf != target]
    return GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]), {})


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**31 - 1), st.integers(0, 4))
def test_dealing_is_a_permutation_without_fixed_points(n, seed, n_regulators):
    names = [f"G{i}" for i in range(n)]
    rng = np.random.default_rng(seed)
    of = {name: tuple(rng.permutation([other for other in names if other != name])[:n_regulators]) for name in names}
    giver = deal(of, seed)
    assert sorted(giver) == sorted(giver.values()) == sorted(names)
    assert all(target != source for target, source in giver.items())


def test_one_list_cannot_be_dealt():
    with pytest.raises(UserError, match=r"TFs for one target only, X, .*use inferer=random"):
        Shuffled(OF).combine({"llm": network(X="AB")}, ["A", "B", "X"], ["A", "B"])


# ---- popular


def test_the_most_named_tfs_are_those_of_every_target():
    of = network(X="AB", Y="AC", Z="CB", W="DA")  # A three times, B and C twice, D once
    popular = Popular(OF, k=2).combine({"llm": of}, list("ABCDWXYZ"), list("ABCD"))
    assert set(popular.regulators(9).values()) == {("A", "C", "B", "D")}  # C: 1/2 + 1, B: 1/2 + 1/2
    assert sorted(popular.regulators(9)) == ["W", "X", "Y", "Z"]


def test_only_the_k_best_of_each_target_are_counted():
    of = network(X="ABC", Y="ABC", Z="BAC")
    assert Popular(OF, k=1).combine({"llm": of}, list("ABCXYZ"), list("ABC")).regulators(9)["X"] == ("A", "B")


def test_a_tie_is_broken_by_name():
    of = network(X="BA", Y="AB")
    assert Popular(OF, k=2).combine({"llm": of}, list("ABXY"), list("AB")).regulators(9)["X"] == ("A", "B")


def test_a_popular_gene_is_not_its_own_regulator():
    of = network(A="BC", B="AC", C="AB", D="AB")
    popular = Popular(OF, k=2).combine({"llm": of}, list("ABCD"), None).regulators(9)
    assert popular == {"A": ("B", "C"), "B": ("A", "C"), "C": ("A", "B"), "D": ("A", "B", "C")}


# ---- both


@pytest.mark.parametrize("control", [Shuffled(OF), Popular(OF, k=3)], ids=["shuffled", "popular"])
def test_provenance_holds_the_other_network(control):
    provenance = control.combine({"llm": ranked()}, GENES, TFS, 7).provenance
    assert provenance["method"] in ("shuffled", "popular")
    assert provenance["of"] == "llm"
    assert provenance["members"] == {"llm": {"method": "by hand"}}
    assert ("seed" in provenance) == (provenance["method"] == "shuffled")


@pytest.mark.parametrize("control", [Shuffled, Popular])
def test_what_cannot_be_is_refused(control):
    with pytest.raises(UserError, match=r"expected one inferer, for instance inferer\.of=grnboost2"):
        control({"one": RandomGRN(), "two": RandomGRN()})
    with pytest.raises(UserError, match="the network of llm has no edges"):
        control(OF).combine({"llm": GRN.from_edges(network(X="A").edges.head(0))}, ["A", "X"], ["A"])
    if control is Popular:
        with pytest.raises(UserError, match=r"graph\.k=0"):
            Popular(OF, k=0)
