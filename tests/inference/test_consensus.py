"""Reciprocal rank fusion against sums done by hand; what a consensus cannot do is said; its ranks travel with it."""

import anndata
import numpy as np
import pandas as pd
import pytest

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.inference.consensus import Consensus
from llm4grn.inference.correlation import Correlation
from llm4grn.inference.random_graph import RandomGRN

GENES = ["A", "B", "C", "X", "Y"]
TFS = ["A", "B", "C"]


def network(**ranked: str) -> GRN:
    """The regulators of each target, the best first."""
    edges = [(tf, target, 1 / (i + 1)) for target, tfs in ranked.items() for i, tf in enumerate(tfs)]
    return GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"]), {"method": "by hand"})


def importances(grn: GRN, target: str) -> dict[str, float]:
    own = grn.edges[grn.edges["target"] == target]
    return dict(zip(own["TF"], own["importance"], strict=True))


@pytest.fixture
def members():
    return {"one": RandomGRN(), "two": RandomGRN()}


@pytest.fixture
def networks():
    return {"one": network(X="ABC", Y="CA"), "two": network(X="CB", Y="CB")}


def test_the_sum_of_reciprocal_ranks(members, networks):
    fused = Consensus(members).combine(networks, GENES, TFS)
    assert importances(fused, "X") == pytest.approx({"A": 1 / 11, "B": 1 / 12 + 1 / 12, "C": 1 / 13 + 1 / 11})
    assert importances(fused, "Y") == pytest.approx({"A": 1 / 12, "B": 1 / 12, "C": 2 / 11})
    assert fused.top(2, GENES, TFS).regulators == {"X": ("C", "B"), "Y": ("C", "A")}


def test_signs_are_those_of_the_larger_weight(members, networks):
    assert "sign" not in Consensus(members).combine(networks, GENES, TFS).edges

    def signed(name, sign):
        return GRN.from_edges(networks[name].edges.assign(sign=sign))

    half = {"one": signed("one", 1), "two": networks["two"]}
    assert set(Consensus(members).combine(half, GENES, TFS).edges["sign"]) == {0, 1}  # B of Y is in two alone
    against = {"one": signed("one", 1), "two": signed("two", -1)}
    fused = Consensus(members).combine(against, GENES, TFS)
    assert fused.signs == {("A", "X"): 1, ("A", "Y"): 1, ("B", "Y"): -1}
    assert set(Consensus(members, weights={"two": 2}).combine(against, GENES, TFS).signs.values()) == {1, -1}


def test_weights_and_constant(members, networks):
    fused = Consensus(members, weights={"one": 3}, constant=0).combine(networks, GENES, TFS)
    assert importances(fused, "X") == pytest.approx({"A": 3.0, "B": 3 / 2 + 1 / 2, "C": 3 / 3 + 1})


def test_ranks_are_of_the_target_not_of_the_whole_network(members):
    strong = network(X="A")
    weak = GRN.from_edges(strong.edges.assign(target="Y", TF="B", importance=1e-9))
    fused = Consensus(members).combine({"one": strong.joined(weak), "two": strong.joined(weak)}, GENES, TFS)
    assert set(fused.edges["importance"]) == {2 / 11}


def test_the_order_of_the_members_changes_no_digit(members, networks):
    one = Consensus(members).combine(networks, GENES, TFS)
    other = Consensus(dict(reversed(members.items()))).combine(dict(reversed(networks.items())), GENES, TFS)
    pd.testing.assert_frame_equal(one.edges, other.edges, check_exact=True)


def test_each_members_ranks_stay_in_the_file_and_plain_readers_read_on(members, networks, tmp_path):
    fused = Consensus(members).combine(networks, GENES, TFS)
    fused.write(tmp_path / "grn.tsv")
    again = GRN.read(tmp_path / "grn.tsv").edges
    pd.testing.assert_frame_equal(again, fused.edges)
    ranks = again.set_index(["target", "TF"])[["rank_one", "rank_two"]]
    assert ranks.loc[("X", "C")].tolist() == [3, 1]
    assert ranks.loc[("Y", "A"), "rank_one"] == 2
    assert pd.isna(ranks.loc[("Y", "A"), "rank_two"])
    plain = pd.read_csv(tmp_path / "grn.tsv", sep="\t", usecols=["TF", "target", "importance"])  # as pySCENIC does
    assert len(plain) == len(fused.edges)


def test_provenance_holds_the_members(members, networks):
    provenance = Consensus(members, weights={"two": 2}).combine(networks, GENES, TFS).provenance
    assert provenance["weights"] == {"one": 1.0, "two": 2}
    assert provenance["members"] == {"one": {"method": "by hand"}, "two": {"method": "by hand"}}


def test_a_member_without_edges_for_a_target_is_named_and_the_other_decides(members, caplog):
    fused = Consensus(members).combine({"one": network(X="AB"), "two": network(X="BA", Y="CAB")}, GENES, TFS)
    assert fused.top(2, GENES, TFS).regulators["Y"] == ("C", "A")
    assert "one ranks no TF for 1 of 2 targets, for instance Y: there the other members decide" in caplog.text
    assert "two ranks" not in caplog.text


def test_without_a_pipeline_the_members_are_run_and_names_only_reach_those_that_must_not_see(members):
    seen = {}

    class Witness(RandomGRN):
        def infer(self, adata, tf_names, seed):
            seen["X"] = adata.X
            return super().infer(adata, tf_names, seed)

    rng = np.random.default_rng(0)
    cells = anndata.AnnData(rng.poisson(2.0, (50, 5)).astype(np.float32), var=pd.DataFrame(index=GENES))
    consensus = Consensus({"correlation": Correlation(), "witness": Witness()})
    assert consensus.uses_expression
    fused = consensus.infer(cells, TFS, 3)
    assert seen["X"] is None
    by_hand = {"correlation": Correlation().infer(cells, TFS, 3), "witness": RandomGRN().infer(cells, TFS, 3)}
    pd.testing.assert_frame_equal(fused.edges, consensus.combine(by_hand, GENES, TFS).edges)
    assert not Consensus(members).uses_expression


def test_previews_are_those_of_the_members_that_have_one(members):
    class Asking(RandomGRN):
        def preview(self, genes, tf_names, seed):
            return "20 questions"

    assert Consensus(members).preview(GENES, TFS, 0) is None
    assert Consensus({**members, "asking": Asking()}).preview(GENES, TFS, 0) == "20 questions"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"members": {"one": RandomGRN()}}, "inferer.members"),
        ({"weights": {"three": 1}}, r"inferer.weights.three: no such member; the members are one, two"),
        ({"weights": {"one": 0}}, "inferer.weights.one=0"),
        ({"weights": {"one": "much"}}, "inferer.weights.one=much"),
        ({"weights": [1, 2]}, "inferer.weights"),
        ({"constant": -1}, "inferer.constant=-1"),
        ({"constant": float("inf")}, "inferer.constant=inf"),
        ({"constant": True}, "inferer.constant=True"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(members, arguments, told):
    with pytest.raises(UserError, match=told):
        Consensus(**{"members": members, **arguments})
