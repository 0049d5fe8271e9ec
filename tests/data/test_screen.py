"""Simulated perturbation screens: descendants of the perturbed gene change, in the direction of the edges."""

import numpy as np
import pytest

from llm4grn.data.nonlinear import NonLinear
from llm4grn.data.simulated import CONTROL, LinearUniform
from llm4grn.errors import UserError

LINEAR = LinearUniform(n_cells=300, n_causes=6, n_effects=8, causes_per_effect=2, zeros=0.2)
LAYERED = NonLinear(n_cells=400, n_genes=60, n_tfs=12, n_roots=6, n_layers=2, library_size=2000, n_cell_types=2)
SOURCES = pytest.mark.parametrize("source", [LINEAR, LAYERED], ids=["linear", "non-linear"])


def means(screen) -> dict[str, np.ndarray]:
    """Mean share of each cell's counts, by perturbation."""
    shares = screen.X.toarray() / screen.X.sum(axis=1)
    labels = screen.obs["perturbation"]
    return {name: np.asarray(shares[(labels == name).to_numpy()]).mean(axis=0) for name in labels.unique()}


@SOURCES
def test_each_tf_has_cells_of_its_own_beside_control_cells(source):
    screen, tfs = source.screen(n_cells=7, n_control=11), set(source.true_graph()["TF"])
    assert screen.obs["perturbation"].value_counts().to_dict() == {CONTROL: 11, **dict.fromkeys(tfs, 7)}
    for tf in tfs:
        assert screen[screen.obs["perturbation"] == tf][:, tf].X.sum() == 0
    assert screen.obs_names.is_unique
    assert ("cell_type" in screen.obs) == (source is LAYERED)


@SOURCES
def test_the_same_every_time_and_no_cell_of_the_data_set(source):
    screen = source.screen(n_cells=5, n_control=300)
    assert (screen.X != source.screen(n_cells=5, n_control=300).X).nnz == 0
    control = screen[screen.obs["perturbation"] == CONTROL].X.toarray()
    assert not (control[:, None] == source.load().X.toarray()[None]).all(axis=2).any()


def test_control_cells_are_of_the_system_that_the_data_set_is_of():
    """Cell types and saturation are drawn while the data set is simulated: another system would have other means."""
    ours = LAYERED.screen(genes=[], n_control=2000)
    difference = np.abs(np.log1p(ours.X.toarray()).mean(0) - np.log1p(LAYERED.load().X.toarray()).mean(0))
    assert difference.mean() < 0.05


def test_targets_of_a_knocked_out_cause_fall_and_no_other_effect_does():
    screen = LinearUniform(n_cells=300, n_causes=6, n_effects=8, causes_per_effect=2, noise=0.1).screen(
        n_cells=2000, n_control=2000
    )
    cells = screen.to_df().groupby(screen.obs["perturbation"], observed=True).mean()
    edges = screen.uns["true_graph"]
    weights = edges.pivot(index="TF", columns="target", values="weight").fillna(0)
    for tf, effects in weights.iterrows():
        expected = effects * cells.loc[CONTROL, tf]  # an effect is the sum of its causes times the weights
        np.testing.assert_allclose(cells.loc[CONTROL, effects.index] - cells.loc[tf, effects.index], expected, atol=3.5)


def test_descendants_change_in_the_direction_of_their_edge_and_others_do_not():
    source = NonLinear(
        n_cells=500, n_genes=80, n_tfs=12, n_roots=12, n_layers=1, mean_regulators=1.5, n_cell_types=1,
        library_size=50_000, library_size_sd=0, dispersion=1e-3, noise=0.3, gene_sd=0.2,
    )  # fmt: skip
    screen, graph = source.screen(n_cells=600, n_control=600), source.true_graph()
    by_label = means(screen)
    changes = {tf: np.log(by_label[tf] + 1e-9) - np.log(by_label[CONTROL]) for tf in set(graph["TF"])}
    place = {gene: i for i, gene in enumerate(source.genes)}
    edges = set(graph[["TF", "target"]].itertuples(index=False, name=None))
    signed = [-np.sign(w) * changes[tf][place[target]] for tf, target, w in graph.itertuples(index=False)]
    others = [
        abs(changes[tf][place[gene]])
        for tf in changes
        for gene in source.genes
        if gene != tf and (tf, gene) not in edges and not gene.startswith("TF")
    ]
    assert np.mean(np.array(signed) > 0) > 0.95
    assert np.median(signed) > 5 * np.median(others)


def test_knock_down_leaves_a_share():
    screen = LINEAR.screen(["cause0"], n_cells=4000, n_control=4000, remaining=0.25)
    kept = screen.to_df().groupby(screen.obs["perturbation"], observed=True)["cause0"].mean()
    assert kept["cause0"] / kept[CONTROL] == pytest.approx(0.25, rel=0.1)


def test_effects_of_a_layered_graph_reach_grandchildren():
    source = NonLinear(n_cells=300, n_genes=30, n_tfs=4, n_roots=1, n_layers=3, mean_regulators=1, library_size=5000)
    cells = source.screen(["TF0"], n_cells=300, n_control=300, remaining=0.0)
    by_label, graph = means(cells), source.true_graph()
    children = set(graph.loc[graph["TF"] == "TF0", "target"])
    grandchildren = set(graph.loc[graph["TF"].isin(children), "target"]) - children
    assert grandchildren
    change = dict(zip(source.genes, by_label["TF0"] / by_label[CONTROL], strict=True))
    assert all(abs(np.log(change[gene])) > 0.05 for gene in grandchildren)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"genes": ["SPI1"]}, "SPI1 is not simulated"), ({"n_cells": 0}, "n_cells"), ({"remaining": -1}, "remaining")],
)
def test_impossible_screens(arguments, words):
    with pytest.raises(UserError, match=words):
        LINEAR.screen(**arguments)
