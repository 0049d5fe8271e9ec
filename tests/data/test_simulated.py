"""Simulated data: the cells follow the graph that is said to have made them, and the pipeline takes them."""

import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny import config

from llm4grn.cli.config import build_setting
from llm4grn.data.nonlinear import NonLinear
from llm4grn.data.simulated import LinearUniform, true_graph
from llm4grn.data.sources import PBMC3k
from llm4grn.errors import UserError
from llm4grn.inference.truth import TrueGRN
from llm4grn.pipeline import Pipeline, describe
from llm4grn.store import Store

SMALL = {"n_cells": 300}
SOURCES = [LinearUniform(**SMALL), NonLinear(**SMALL)]


def dense(source):
    adata = source.load()
    return pd.DataFrame(adata.X.toarray(), columns=adata.var_names)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=["linear", "non-linear"])
def test_integer_counts_with_their_graph_and_the_same_every_time(source):
    adata, again = source.load(), type(source)(**SMALL).load()
    assert adata.n_obs == 300
    assert np.issubdtype(adata.X.dtype, np.integer)
    assert adata.X.min() == 0
    assert (adata.X != again.X).nnz == 0
    pd.testing.assert_frame_equal(adata.uns["true_graph"], source.true_graph())
    assert set(source.true_graph()["TF"]) | set(source.true_graph()["target"]) <= set(adata.var_names)
    other = type(source)(**SMALL, seed=1)
    assert not other.true_graph().equals(source.true_graph())
    assert (adata.X != other.load().X).nnz > 0


@pytest.mark.parametrize("source", SOURCES, ids=["linear", "non-linear"])
def test_every_argument_is_part_of_the_key(source):
    assert describe(source) == describe(type(source)(**SMALL))
    assert describe(source) != describe(type(source)(**SMALL, noise=0.1))
    assert describe(source)["simulation"]


@pytest.mark.parametrize("source", SOURCES, ids=["linear", "non-linear"])
def test_written_beside_each_other(source, tmp_path):
    counts, edges = source.write(tmp_path)
    assert counts.parent == edges.parent
    read = pd.read_csv(edges, sep="\t")
    pd.testing.assert_frame_equal(read, source.true_graph(), check_exact=False)
    pd.testing.assert_frame_equal(anndata.read_h5ad(counts).uns["true_graph"].reset_index(drop=True), read)


def test_linear_has_the_numbers_of_section_2():
    graph = LinearUniform().true_graph()
    causes = graph.groupby("target")["TF"].agg(set)
    assert len(causes) == 50
    assert set(causes.map(len)) == {10}
    assert len(set(graph["TF"])) == 50
    assert not set(graph["TF"]) & set(graph["target"])
    assert graph["weight"].between(0, 1).all()


def test_linear_effects_are_their_causes_times_the_weights():
    source = LinearUniform(n_cells=400, noise=0, scale=1e5)
    cells = dense(source)
    for effect, edges in source.true_graph().groupby("target"):
        fitted, *_ = np.linalg.lstsq(cells[edges["TF"]].to_numpy(float), cells[effect].to_numpy(float), rcond=None)
        np.testing.assert_allclose(fitted, edges["weight"], atol=1e-4)


def test_linear_noise_and_zeros_are_what_was_asked():
    source = LinearUniform(n_cells=4000, noise=0.5, zeros=0.3, scale=1e4)
    cells = dense(source)
    assert (cells.filter(like="cause") == 0).to_numpy().mean() == pytest.approx(0.3, abs=0.01)
    ratios = []
    for effect, edges in source.true_graph().groupby("target"):
        clean = cells[edges["TF"]] @ edges["weight"].to_numpy()
        kept = clean > 2 * clean.std()  # noise below it never reaches zero
        ratios.append((cells[effect] - clean)[kept].std() / clean.std())
    assert np.mean(ratios) == pytest.approx(0.5, rel=0.1)


def test_linear_cells_are_as_far_apart_as_those_of_the_paper():
    """Control of protocol section 7: two sets of 500 normalised cells, 108 in Euclidean distance of their means."""
    dataset = build_setting(config("dataset=linear_uniform", name="infer_grn")).dataset
    cells = dataset.preprocessing.run(dataset.source.load(), 1000)
    assert cells.shape == (5000, 100)
    parts = np.array_split(cells.X.toarray(), 10)
    distances = [np.linalg.norm(a.mean(0) - b.mean(0)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    assert np.mean(distances) == pytest.approx(108, rel=0.15)


def test_layers_point_downward_and_every_tf_regulates():
    source = NonLinear(n_cells=10, n_layers=4)
    depth = {gene: i for i, layer in enumerate(source.layers()) for gene in layer}
    graph = source.true_graph()
    assert (graph["TF"].map(depth) < graph["target"].map(depth)).all()
    assert set(graph["TF"]) == set(source.genes[:60])
    assert set(graph["target"]) == set(source.genes[20:])
    assert not graph.duplicated(["TF", "target"]).any()
    assert graph.groupby("target").size().mean() == pytest.approx(4, rel=0.1)
    assert (graph["weight"] < 0).mean() == pytest.approx(0.3, abs=0.05)
    assert len(source.genes) == 500


def test_few_tfs_are_hubs_and_none_without_the_exponent():
    def share_of_five(exponent):
        sizes = NonLinear(hub_exponent=exponent).true_graph().groupby("TF").size()
        return sizes.nlargest(5).sum() / sizes.sum()

    assert share_of_five(0.8) > 2 * share_of_five(0)


def test_one_layer_is_bipartite():
    graph = NonLinear(n_roots=60, n_layers=1).true_graph()
    assert not set(graph["TF"]) & set(graph["target"])


def test_activators_raise_and_repressors_lower_their_targets():
    """Measured without technical noise to speak of, in one cell type, so that nothing else moves two genes together."""
    clean = {"library_size": 1e6, "library_size_sd": 0, "dispersion": 1e-6, "noise": 0.3, "n_cell_types": 1}
    few = {"n_genes": 200, "n_tfs": 20, "n_roots": 20, "n_layers": 1, "mean_regulators": 2}
    source = NonLinear(n_cells=800, gene_sd=0, **few, **clean)
    cells, graph = dense(source), source.true_graph()
    pairs = zip(graph["TF"], graph["target"], strict=True)
    found = np.array([spearmanr(cells[tf], cells[target])[0] for tf, target in pairs])
    up, down = found[graph["weight"] > 0], found[graph["weight"] < 0]
    assert np.median(up) > 0.2
    assert np.median(down) < -0.2
    assert (up > 0).mean() > 0.9
    assert (down < 0).mean() > 0.9


@pytest.mark.slow
def test_measured_like_10x():
    source = NonLinear(n_cells=2000)
    cells = source.load()
    totals = np.asarray(cells.X.sum(axis=1)).ravel()
    assert np.median(totals) == pytest.approx(300, rel=0.05)
    assert np.log(totals).std() == pytest.approx(0.4, rel=0.1)
    zeros = 1 - cells.X.nnz / np.prod(cells.shape)
    shallow = NonLinear(n_cells=2000, library_size=100).load()
    assert 0.6 < zeros < 1 - shallow.X.nnz / np.prod(shallow.shape)
    counts = cells.X.toarray()
    assert (counts.var(axis=0) > counts.mean(axis=0)).mean() > 0.9  # more than Poisson
    assert cells.obs["cell_type"].nunique() == 6


@pytest.mark.slow
def test_cell_types_differ_by_more_than_their_halves():
    cells = NonLinear(n_cells=2000).load()
    log = np.log1p(cells.X.toarray())
    first, second = (log[cells.obs["cell_type"] == name] for name in cells.obs["cell_type"].value_counts().index[:2])
    within = np.linalg.norm(first[::2].mean(0) - first[1::2].mean(0))
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > 3 * within


@pytest.mark.parametrize(
    ("source", "options", "named"),
    [
        (LinearUniform, {"n_causes": 5}, "causes_per_effect=10"),
        (LinearUniform, {"n_cells": 0}, "n_cells=0"),
        (LinearUniform, {"noise": -1}, "noise=-1"),
        (LinearUniform, {"zeros": 1}, "zeros=1"),
        (LinearUniform, {"noise": float("nan")}, "noise=nan"),
        (LinearUniform, {"n_cells": 2.5}, r"n_cells=2\.5"),
        (NonLinear, {"n_tfs": 500}, "no target"),
        (NonLinear, {"n_layers": 1}, "n_roots=20 of 60"),
        (NonLinear, {"n_roots": 60}, "n_roots=60 of 60"),
        (NonLinear, {"repressors": 1.5}, "repressors"),
        (NonLinear, {"library_size": "many"}, "library_size"),
    ],
)
def test_impossible_arguments(source, options, named):
    with pytest.raises(UserError, match=rf"dataset\.source\..*{named}|{named}") as caught:
        source(**options)
    assert "\n" not in str(caught.value)


def test_only_simulated_data_have_a_true_graph():
    assert len(true_graph(SOURCES[0])) == 500
    with pytest.raises(UserError, match=r"PBMC3k.*dataset=linear_uniform"):
        true_graph(PBMC3k())


@pytest.mark.parametrize("dataset", ["linear_uniform", "simulated"])
def test_kb_truth_names_the_regulators(dataset):
    kb = build_setting(config(f"dataset={dataset}", "kb=truth", name="infer_grn")).kb
    graph = kb.source.true_graph()
    genes = sorted({*graph["TF"], *graph["target"]})
    assert kb.transcription_factors(genes, "", 0).names == tuple(sorted(set(graph["TF"])))
    assert kb.transcription_factors(genes[:-1], "", 0).provenance["method"] == "truth"
    with pytest.raises(UserError, match="0 of the 2 genes"):
        kb.transcription_factors(["a", "b"], "", 0)


def test_kb_truth_of_real_data_is_refused():
    kb = build_setting(config("kb=truth", name="infer_grn")).kb
    with pytest.raises(UserError, match="not known"):
        kb.transcription_factors(["a", "b"], "", 0)


def test_simulated_data_choose_the_list_that_knows_their_tfs():
    assert build_setting(config("dataset=simulated", name="infer_grn")).kb_name == "truth"
    assert build_setting(config("kb=random", "dataset=simulated", name="infer_grn")).kb_name == "random"


@pytest.mark.slow
def test_the_true_network_can_be_imposed_layer_by_layer(tmp_path):
    setting = build_setting(config("dataset=simulated", "inferer=truth", "graph.tf_k=9", name="infer_grn"))
    pipeline = Pipeline(setting, Store(tmp_path))
    true = pipeline.setting.dataset.source.true_graph()
    graph = pipeline.causal_graph
    imposed = {(tf, target) for target, tfs in graph.regulators.items() for tf in tfs}
    assert imposed == set(true[["TF", "target"]].itertuples(index=False, name=None))
    assert len(graph.layers()) == 3
    assert len(graph.tf_names) == setting.dataset.source.n_roots
    with pytest.raises(UserError, match="not known"):
        TrueGRN(PBMC3k()).infer(anndata.AnnData(var=pd.DataFrame(index=["a", "b"])), ["a"], 0)


def test_options_of_the_command_reach_the_simulation():
    overrides = ["dataset.n_cells=50", "dataset.noise=0.1", "dataset.simulation_seed=3"]
    for dataset in "linear_uniform", "simulated":
        source = build_setting(config(f"dataset={dataset}", *overrides, name="infer_grn")).dataset.source
        assert (source.n_cells, source.noise, source.seed) == (50, 0.1, 3)
    setting = build_setting(config("dataset=simulated", "dataset.median_counts=99", name="infer_grn"))
    assert setting.dataset.source.library_size == 99


def test_defaults_of_the_configs_are_those_of_the_classes():
    for dataset, source in (("linear_uniform", LinearUniform()), ("simulated", NonLinear())):
        assert build_setting(config(f"dataset={dataset}", name="infer_grn")).dataset.source == source


def test_simulated_data_keep_all_their_genes(caplog):
    dataset = build_setting(config("dataset=simulated", name="infer_grn")).dataset
    assert dataset.preprocessing.run(dataset.source.load(), 1000).shape == (3000, 500)
    assert not caplog.records
