"""What may be imposed on a generator, in which order it is computed, and how alike two graphs are."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4grn.errors import UserError
from llm4grn.grn import CausalGraph, overlap

GENES = ("A", "B", "C", "T", "U")


def test_the_counts_of_the_protocol():
    genes = tuple(f"g{i:04d}" for i in range(1000))
    graph = CausalGraph(genes, {target: genes[:10] for target in genes[75:]})
    assert (len(graph.tf_names), len(graph.targets), graph.n_edges) == (75, 925, 9250)
    assert round(graph.density, 4) == 0.1333
    layered = CausalGraph(tuple("ABCDE"), {"B": ("A",), "C": ("A", "B"), "D": ("B", "C"), "E": ("A", "B", "C")})
    assert layered.density == 8 / 10  # A, B, C onto B, C, D, E, without B onto B and C onto C
    without_edges = CausalGraph(("A", "B"), {}).summary()
    assert without_edges["density"] == 0.0
    assert without_edges["regulators_per_target"] == {"min": 0, "median": 0, "max": 0}
    assert graph.summary() == {
        "TFs": 75,
        "targets": 925,
        "edges": 9250,
        "density": 9250 / (75 * 925),
        "regulators_per_target": {"min": 10, "median": 10, "max": 10},
    }
    assert graph.layers() == [list(genes[75:])]


def test_targets_and_layers_follow_gene_order():
    graph = CausalGraph(GENES, {"U": ["A"], "T": ["U", "B"], "C": ["A", "B"]})
    assert graph.targets == ("C", "T", "U")
    assert graph.layers() == [["C", "U"], ["T"]]


@pytest.mark.parametrize(
    ("genes", "regulators", "message"),
    [
        (GENES, {"T": ("X",)}, "unknown gene: X"),
        (GENES, {"X": ("A",)}, "unknown gene: X"),
        (GENES, {"T": ("T", "A")}, "self-loop: T"),
        (GENES, {"T": ("U",), "U": ("C",), "C": ("T",)}, "cycle: "),
        (GENES, {"T": ()}, "target without regulator: T"),
        (GENES, {"T": ("A", "A")}, "duplicate regulator: A -> T"),
        ((*GENES, "A"), {"T": ("A",)}, "duplicate gene: A"),
        (GENES, {}, "no target"),
    ],
)
def test_each_offence_is_named(genes, regulators, message):
    graph = CausalGraph(genes, regulators)
    with pytest.raises(UserError, match=message):
        graph.validate()
    with pytest.raises(UserError, match=message):
        graph.layers()


def test_all_offences_are_named_at_once_and_long_lists_are_cut():
    regulators = {f"t{i}": () for i in range(8)} | {"T": ("U", "T"), "U": ("T", "T", "zz")}
    with pytest.raises(UserError) as caught:
        CausalGraph((*GENES, "A", *(f"t{i}" for i in range(8))), regulators).validate()
    text = str(caught.value)
    assert "duplicate gene: A" in text
    assert "unknown gene: zz" in text
    assert "target without regulator: t0, t1, t2, t3, t4 and 3 more" in text
    assert "duplicate regulator: T -> U" in text
    assert "self-loop: T" in text
    assert "cycle: T -> U -> T" in text or "cycle: U -> T -> U" in text
    assert "\n" not in text


@st.composite
def acyclic_graphs(draw):
    """A graph whose edges all run forward in a hidden order, which is not the order of the genes."""
    n = draw(st.integers(2, 12))
    hidden = [f"g{i}" for i in range(n)]
    regulators = {}
    for i in range(1, n):
        chosen = draw(st.sets(st.sampled_from(hidden[:i])))
        if chosen or i == n - 1:
            regulators[hidden[i]] = tuple(sorted(chosen or {hidden[0]}))
    return CausalGraph(tuple(draw(st.permutations(hidden))), regulators)


@settings(max_examples=60, deadline=None)
@given(acyclic_graphs())
def test_layers_hold_every_target_once_after_its_regulators_and_no_later_than_needed(graph):
    graph.validate()
    layers = graph.layers()
    assert sorted(gene for layer in layers for gene in layer) == sorted(graph.targets)
    depth = dict.fromkeys(graph.tf_names, -1) | {gene: i for i, layer in enumerate(layers) for gene in layer}
    for target, tfs in graph.regulators.items():
        assert depth[target] == max(depth[tf] for tf in tfs) + 1


@settings(max_examples=60, deadline=None)
@given(acyclic_graphs(), st.data())
def test_an_edge_back_to_an_ancestor_is_a_cycle_and_the_one_named_is_real(graph, data):
    target = data.draw(st.sampled_from(graph.targets))
    ancestor = data.draw(st.sampled_from(graph.regulators[target]))
    broken = {**graph.regulators, ancestor: (*graph.regulators.get(ancestor, ()), target)}
    with pytest.raises(UserError, match="cycle: ") as caught:
        CausalGraph(graph.genes, broken).validate()
    named = str(caught.value).split("cycle: ")[1].split(" -> ")
    assert named[0] == named[-1]
    assert all(tf in broken[gene] for tf, gene in pairwise(named))


@settings(max_examples=60, deadline=None)
@given(acyclic_graphs())
def test_json_gives_the_same_graph(tmp_path_factory, graph):
    path = tmp_path_factory.mktemp("graphs") / "graph.json"
    graph.to_json(path)
    assert CausalGraph.from_json(path) == graph


def test_json_bytes_do_not_depend_on_the_order_of_insertion(tmp_path):
    CausalGraph(GENES, {"U": ("A",), "T": ("B",)}).to_json(tmp_path / "a.json")
    CausalGraph(GENES, {"T": ("B",), "U": ("A",)}).to_json(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        json.dumps({"genes": ["A"]}),
        json.dumps({"genes": "AB", "regulators": {}}),
        json.dumps({"genes": ["A", "B"], "regulators": {"B": "A"}}),
        json.dumps({"genes": ["A", "B"], "regulators": ["A"]}),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content):
    path = tmp_path / "graph.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"graph\.json: not a causal graph"):
        CausalGraph.from_json(path)


def test_overlap_is_the_mean_jaccard_over_shared_targets():
    a = CausalGraph(GENES, {"T": ("A", "B"), "U": ("A", "B")})
    b = CausalGraph(GENES, {"T": ("B", "C"), "U": ("B", "A")})
    assert overlap(a, b) == pytest.approx((1 / 3 + 1) / 2)
    assert overlap(a, CausalGraph(GENES, {"T": ("A", "B"), "C": ("A",)})) == 1
    with pytest.raises(UserError, match="share no target"):
        overlap(a, CausalGraph(GENES, {"C": ("A",)}))
