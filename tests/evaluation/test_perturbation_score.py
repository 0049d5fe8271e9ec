"""Graphs against perturbations: effects as scipy finds them, metrics by hand, and the order that the truth demands."""

import anndata
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, percentileofscore, wasserstein_distance

import llm4grn as lg
from llm4grn.data.nonlinear import NonLinear
from llm4grn.data.simulated import LinearUniform
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs import perturbation_effects as effects_module
from llm4grn.evaluation.graphs.perturbation_effects import Screen, perturbation_effects
from llm4grn.evaluation.graphs.perturbation_pairs import Pairs
from llm4grn.evaluation.graphs.perturbation_score import METRICS, edge_effects, score_graph
from llm4grn.grn import CausalGraph
from llm4grn.inference.correlation import Correlation
from llm4grn.inference.random_graph import RandomGRN

SYSTEM = LinearUniform(n_cells=400, n_causes=8, n_effects=20, causes_per_effect=2, noise=0.3)


def true_graph(system) -> CausalGraph:
    edges = system.true_graph()
    regulators = {target: tuple(of["TF"]) for target, of in edges.groupby("target", sort=False)}
    return CausalGraph(tuple(system.genes), regulators)


def dealt_out(graph: CausalGraph, seed: int) -> CausalGraph:
    """The regulator lists of the targets, dealt out to other targets."""
    targets = list(graph.targets)
    order = np.random.default_rng(seed).permutation(len(targets))
    return CausalGraph(graph.genes, {targets[i]: graph.regulators[targets[j]] for i, j in enumerate(order)})


@pytest.fixture(scope="module")
def screen():
    return SYSTEM.screen(n_cells=60, n_control=150)


@pytest.fixture(scope="module")
def graph():
    return CausalGraph(true_graph(SYSTEM).genes, dict(list(dealt_out(true_graph(SYSTEM), 3).regulators.items())[:15]))


@pytest.fixture(scope="module")
def effects(screen, graph):
    return perturbation_effects(screen, graph.tf_names, graph.targets)


def expression(screen) -> pd.DataFrame:
    counts = screen.to_df()
    return np.log1p(counts.mul(1e4 / counts.sum(axis=1), axis=0))  # another order of operations would break ties


def test_effects_are_those_of_scipy_on_log1p_of_normalised_counts(screen, effects):
    cells, labels = expression(screen), screen.obs["perturbation"]
    for i, tf in enumerate(effects.tfs):
        for j, gene in enumerate(effects.genes):
            perturbed, control = cells.loc[labels == tf, gene], cells.loc[labels == "control", gene]
            assert effects.wasserstein[i, j] == pytest.approx(wasserstein_distance(perturbed, control))
            assert effects.p_value[i, j] == pytest.approx(mannwhitneyu(perturbed, control, method="asymptotic").pvalue)
            assert effects.change[i, j] == pytest.approx(perturbed.mean() - control.mean())
    assert effects.n_cells == (60,) * 8
    assert effects.n_control == 150


def test_many_cells_are_drawn_by_the_seed(screen, effects, monkeypatch):
    monkeypatch.setattr(effects_module, "MAX_CELLS", 40)
    arguments = (screen, effects.tfs, effects.genes)
    first, same, other = (perturbation_effects(*arguments, seed=seed) for seed in (0, 0, 1))
    assert first.n_control == 40
    np.testing.assert_array_equal(first.wasserstein, same.wasserstein)
    assert not np.array_equal(first.wasserstein, other.wasserstein)


def by_hand(effects, graph, chosen: list[tuple[str, str]]) -> dict[str, float]:
    """The metrics of chosen pairs, one pair at a time."""
    distance = pd.DataFrame(effects.wasserstein, effects.tfs, effects.genes)
    p_value = pd.DataFrame(effects.p_value, effects.tfs, effects.genes)
    pairs = [(tf, target) for tf in effects.tfs for target in graph.targets]
    smallest = sorted(pairs, key=lambda pair: (p_value.loc[pair], -distance.loc[pair]))[: len(chosen)]
    return {
        "percentile": np.mean([percentileofscore(distance.loc[tf], distance.loc[tf, t], "mean") for tf, t in chosen]),
        "percentile_mann_whitney": np.mean(
            [100 - percentileofscore(p_value.loc[tf], p_value.loc[tf, t], "mean") for tf, t in chosen]
        ),
        "wasserstein": np.mean([distance.loc[pair] for pair in chosen]),
        "precision": np.mean([p_value.loc[pair] < 0.05 for pair in chosen]),
        "precision_at_size": np.mean([pair in smallest for pair in chosen]),
        "false_omission_rate": np.mean([p_value.loc[pair] < 0.05 for pair in pairs if pair not in chosen]),
    }


@pytest.mark.slow
def test_metrics_and_baselines_by_hand(effects, graph):
    table = score_graph(effects, graph, n_omissions=None).set_index("predictor")
    edges = [(tf, target) for target, tfs in graph.regulators.items() for tf in tfs]
    for name, value in by_hand(effects, graph, edges).items():
        assert table.loc["graph", name] == pytest.approx(value), name
    distance = pd.DataFrame(effects.wasserstein, effects.tfs, effects.genes)
    responsive = []
    for tf in effects.tfs:
        others = distance.drop(index=tf).mean().sort_values(ascending=False)
        responsive += [(tf, target) for target in others.index[: sum(tf == other for other, _ in edges)]]
    for name, value in by_hand(effects, graph, responsive).items():
        assert table.loc["mean effect", name] == pytest.approx(value), name
    draws = [by_hand(effects, graph, drawn(edges, graph, seed)) for seed in range(150)]
    expected = pd.DataFrame(draws)
    tolerance = 4 * expected.std() / np.sqrt(len(draws))
    for name in METRICS[:-1]:
        assert table.loc["no change", name] == pytest.approx(expected[name].mean(), abs=tolerance[name]), name
    significant = (effects.p_value < 0.05).mean()  # who expects no change omits every pair
    assert table.loc["no change", "false_omission_rate"] == pytest.approx(significant)
    assert set(table["edges"]) == {30}
    assert set(table["TFs"]) == {8}


def drawn(edges, graph, seed: int) -> list[tuple[str, str]]:
    """As many targets of each TF, at random."""
    rng = np.random.default_rng(seed)
    degrees = pd.Series([tf for tf, _ in edges]).value_counts()
    return [(tf, t) for tf, n in degrees.items() for t in rng.choice(graph.targets, n, replace=False)]


def test_sampled_omissions_estimate_the_rate_of_all(effects, graph):
    all_of_them = score_graph(effects, graph, n_omissions=None)["false_omission_rate"][0]
    samples = [score_graph(effects, graph, n_omissions=30, seed=seed)["false_omission_rate"][0] for seed in range(40)]
    assert len(set(samples)) > 5
    assert np.mean(samples) == pytest.approx(all_of_them, abs=4 * np.std(samples) / np.sqrt(40))


def test_genes_further_downstream_are_no_omissions():
    system = NonLinear(n_cells=50, n_genes=24, n_tfs=8, n_roots=3, n_layers=3)
    graph = true_graph(system)
    screen = system.screen(n_cells=10, n_control=20)
    effects = perturbation_effects(screen, system.genes[:8], graph.targets, min_cells=5)
    pairs, network = Pairs.of(effects, graph), graph.to_networkx()
    for i, tf in enumerate(pairs.tfs):
        for j, target in enumerate(pairs.targets):
            assert pairs.omitted[i, j] == (tf != target and not nx.has_path(network, tf, target))
            assert pairs.candidates[i, j] == (tf != target)
            assert pairs.edges[i, j] == network.has_edge(tf, target)
    assert (pairs.candidates & ~pairs.edges & ~pairs.omitted).any()
    assert edge_effects(effects, graph)["percentile"].notna().all()


def test_intervals_are_of_resampled_tfs(screen, graph):
    table = lg.perturbation_score(graph, screen)
    for name in METRICS:
        inside = table[f"{name}_low"] <= table[name] + 1e-9, table[name] <= table[f"{name}_high"] + 1e-9
        assert all(map(all, inside)), name
    first = table.iloc[0]
    assert first["percentile_low"] < first["percentile"] < first["percentile_high"]
    labels = screen.obs["perturbation"]
    alone = screen[labels.isin(["control", labels[labels != "control"].iloc[0]]).to_numpy()]
    one_tf = lg.perturbation_score(graph, alone).set_index("predictor")
    assert one_tf.loc["graph", ["percentile_low", "precision_high"]].isna().all()
    assert one_tf.loc["mean effect", "percentile":].isna().drop("false_omission_rate").any()


def test_the_same_numbers_for_the_same_seed_in_any_order_of_the_cells(screen, graph):
    order = np.random.default_rng(0).permutation(screen.n_obs)
    table = lg.perturbation_score({"a": graph}, screen)
    pd.testing.assert_frame_equal(table, lg.perturbation_score({"a": graph}, screen[order].copy()))
    assert not table.equals(lg.perturbation_score({"a": graph}, screen, seed=1, n_omissions=20))


@pytest.mark.slow
def test_true_inferred_shuffled_and_random_graphs_score_in_this_order():
    """Issue item 6. Shuffled lists keep the hubs, which affect more genes: they are beyond a uniform graph."""
    system = NonLinear(
        n_cells=800, n_genes=110, n_tfs=16, n_roots=16, n_layers=1, mean_regulators=3,
        library_size=1000, n_cell_types=2, hub_exponent=1.2,
    )  # fmt: skip
    cells, tfs, true = system.load(), system.genes[:16], true_graph(system)
    sizes = {target: len(of) for target, of in true.regulators.items()}
    cells.X = cells.X.multiply(2e4 / cells.X.sum(axis=1)).tocsr()
    inferred = Correlation().infer(cells, tfs, 0).top(sizes, system.genes, tfs)
    effects = perturbation_effects(system.screen(n_cells=80, n_control=300), tfs, true.targets)

    def mean(graphs) -> pd.Series:
        scores = [score_graph(effects, graph, n_omissions=None).iloc[0] for graph in graphs]
        return pd.DataFrame(scores)[list(METRICS)].astype(float).mean()

    order = [
        mean([true]),
        mean([inferred]),
        mean([dealt_out(inferred, seed) for seed in range(20)]),
        mean([RandomGRN().infer(cells, tfs, seed).top(sizes, system.genes, tfs) for seed in range(20)]),
    ]
    for name in ("wasserstein", "precision", "precision_at_size"):
        values = [of[name] for of in order]
        assert values == sorted(values, reverse=True), (name, values)
    for name in ("percentile", "percentile_mann_whitney"):
        true_, inferred_, *chance = (of[name] for of in order)
        assert true_ > inferred_ + 5 > 60, (name, true_, inferred_)
        assert all(abs(value - 50) < 3 for value in chance), (name, chance)
    rates = [of["false_omission_rate"] for of in order]
    assert rates[0] < rates[1] < min(rates[2:]), rates


def test_what_is_left_out_is_said(screen):
    labels = screen.obs["perturbation"].astype(object)
    few = np.flatnonzero(labels == "cause1")[5:]
    labels.iloc[few] = np.nan
    labels[labels == "cause2"] = "cause2+cause3"
    part = screen[:, [gene for gene in screen.var_names if gene != "effect07"]].copy()
    part.obs["perturbation"] = labels
    table = lg.perturbation_score(true_graph(SYSTEM), part)
    assert table.attrs["skipped"] == [
        "TFs that are not perturbed, of 8: 1 (cause2).",
        "TFs that are perturbed in fewer than 20 cells: 1 (cause1 (5)).",
        "Genes that are not measured, of 20: 1 (effect07).",
        "Perturbations of no TF of the graphs: 1 (cause2+cause3).",
        "Cells without a named perturbation: 55.",
    ]
    assert set(table["TFs"]) == {6}
    assert (table["edges"] < table["edges_in_graph"]).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"column": "guide"}, r"perturbation\.column=guide: screen has no such obs column \(columns: perturbation\)"),
        ({"control": "NT"}, r"perturbation\.control=NT: 0 cells .* at least 20 .*other entries: control, cause0"),
        ({"min_cells": 61}, r"none of the 8 TFs is perturbed in 61 cells .*cause0, cause1"),
        ({"n_omissions": 0}, "n_omissions=0"),
    ],
)
def test_wrong_arguments(screen, arguments, words):
    with pytest.raises(UserError, match=words) as caught:
        lg.perturbation_score(true_graph(SYSTEM), screen, **arguments)
    assert "\n" not in str(caught.value)


def test_screens_that_cannot_score_a_graph(screen):
    ours = true_graph(SYSTEM)
    mouse = CausalGraph(("cause0", "Spi1", "Cd14"), {"Cd14": ("cause0",)})
    with pytest.raises(UserError, match="measures none of the 1 genes of the graphs"):
        lg.perturbation_score(mouse, screen)
    with pytest.raises(UserError, match="none of the 1 TFs is perturbed"):
        lg.perturbation_score(CausalGraph(("Spi1", "effect00"), {"effect00": ("Spi1",)}), screen)
    unlucky = CausalGraph(("cause0", "Spi1", "effect00"), {"effect00": ("Spi1",)})
    with pytest.raises(UserError, match="none of the 1 edges of b can be scored"):
        lg.perturbation_score({"a": ours, "b": unlucky}, screen)
    normalised = screen.copy()
    normalised.X = normalised.X.astype(float) * 0.3
    with pytest.raises(
        UserError, match=r"perturbation\.path: screen: value .* is not an integer.*; give raw counts in X"
    ):
        lg.perturbation_score(ours, normalised)


def test_a_file_is_checked_without_its_counts(screen, tmp_path):
    path = tmp_path / "screen.h5ad"
    screen.write_h5ad(path)
    Screen(str(path)).check()
    assert Screen(str(path)).load().n_obs == screen.n_obs
    (tmp_path / "text.h5ad").write_text("gene,cell")
    for file, options, words in (
        ("none.h5ad", {}, "perturbation.path: there is no file"),
        ("text.h5ad", {}, "is not an .h5ad file"),
        ("screen.h5ad", {"column": "guide"}, "perturbation.column=guide"),
        ("screen.h5ad", {"control": "NT"}, "perturbation.control=NT"),
    ):
        with pytest.raises(UserError, match=words):
            Screen(str(tmp_path / file), **options).check()
    for field, value in {"path": "", "column": 3, "control": None, "min_cells": 1}.items():
        with pytest.raises(UserError, match=rf"perturbation\.{field}="):
            Screen(**{"path": str(path), field: value})


def test_per_edge_table(effects, graph):
    table = edge_effects(effects, graph)
    assert set(table[["TF", "target"]].itertuples(index=False, name=None)) == {
        (tf, target) for target, tfs in graph.regulators.items() for tf in tfs
    }
    assert table["percentile"].mean() == pytest.approx(score_graph(effects, graph)["percentile"][0])
    assert table.groupby("TF")["percentile"].apply(lambda of: of.is_monotonic_decreasing).all()


def test_dense_and_sparse_counts_give_the_same_numbers(screen):
    dense = anndata.AnnData(screen.X.toarray(), obs=screen.obs, var=screen.var)
    one, other = (lg.perturbation_score(true_graph(SYSTEM), cells) for cells in (screen, dense))
    pd.testing.assert_frame_equal(one, other)
