"""The Python interface: the README's example, its errors, and that it computes what the commands compute."""

import inspect
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from server import running_server
from tiny import CONF, MODEL, TFS, options, pipeline_of, write_counts

import llm4grn as lg
from llm4grn.api.options import model_named
from llm4grn.cli.config import build_setting
from llm4grn.inference.correlation import Correlation
from llm4grn.knowledge.none import NoPriorList
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store

SHORT = {"steps": 2, "batch_size": 16}
TINY = {"n_genes": 30, "n_test": 40, "n_validation": 20}


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("counts") / "counts.h5ad")


@pytest.fixture(scope="module")
def cells(counts):
    return lg.preprocess(anndata.read_h5ad(counts), **TINY)


@pytest.fixture(scope="module")
def blood():
    return lg.preprocess(lg.datasets.pbmc3k(), organism="human")


@pytest.fixture(scope="module")
def model(cells):
    graph = lg.infer_grn(cells, inferer="correlation", k=2).top(2)
    return lg.CausalGenerator.fit(cells, graph, controller=SHORT, causal_gan=SHORT)


# -- what the commands compute ----------------------------------------------------------------------------------------


def test_importing_costs_nothing():
    script = "import sys, llm4grn; print(sorted({'torch', 'scanpy', 'hydra', 'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there():
    assert [name for name in lg.__all__ if not hasattr(lg, name)] == []
    assert set(lg.__all__) <= set(dir(lg))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lg.nothing  # noqa: B018


def test_defaults_of_preprocess_are_those_of_the_yaml():
    yaml = OmegaConf.create({"dataset": OmegaConf.load(CONF / "dataset" / "h5ad.yaml")}).dataset.preprocessing
    parameters = inspect.signature(lg.preprocess).parameters
    compared = [name for name in yaml if name in parameters and name not in ("min_cells", "aliases")]
    assert len(compared) >= 7
    assert {name: parameters[name].default for name in compared} == {name: yaml[name] for name in compared}
    # What None stands for, unless the data set says otherwise.
    assert (yaml.min_cells, yaml.aliases) == (10, True)


def test_cells_are_those_of_the_pipeline(counts, cells, tmp_path):
    theirs = pipeline_of(counts, tmp_path).adata
    assert list(theirs.obs_names) == list(cells.adata.obs_names)
    assert list(theirs.var_names) == list(cells.genes)
    assert (theirs.X != cells.adata.X).nnz == 0
    assert (theirs.obs["split"] == cells.adata.obs["split"]).all()
    assert (cells.train.n_obs, cells.validation.n_obs, cells.test.n_obs) == (78, 20, 40)


@pytest.mark.parametrize("inferer", ["grnboost2", "random", "correlation"])
def test_network_and_graph_are_those_of_the_pipeline(counts, cells, tmp_path, inferer):
    pipeline = pipeline_of(counts, tmp_path, f"inferer={inferer}")
    grn = lg.infer_grn(cells, inferer=inferer, k=2)
    pd.testing.assert_frame_equal(grn.edges, pipeline.inferred_grn.edges)
    assert grn.top(2) == pipeline.causal_graph


@pytest.mark.slow
def test_generator_is_that_of_the_pipeline(counts, cells, tmp_path):
    from tiny import config

    setting = build_setting(config(*options(counts, tmp_path), "inferer=correlation"))
    pipeline = Pipeline(setting, Store(tmp_path / "store"), {"accelerator": "cpu"})
    theirs = torch.load(pipeline.causal_gan_folder() / "generator.pt", weights_only=True)
    changes = {stage: _changes(stage) for stage in ("controller", "causal_gan")}
    graph = lg.infer_grn(cells, inferer="correlation", k=2).top(2)
    ours = lg.CausalGenerator.fit(cells, graph, accelerator="cpu", **changes)
    ours.save(tmp_path / "saved")
    saved = torch.load(tmp_path / "saved" / "generator.pt", weights_only=True)
    assert saved.keys() == theirs.keys()
    assert all(torch.equal(saved[name], theirs[name]) for name in theirs)


def _changes(stage):
    """The fields that the tiny model of the tests sets, as keyword arguments."""
    mine = OmegaConf.from_dotlist([word for word in MODEL if word.startswith(f"model.{stage}.")]).model[stage]
    return OmegaConf.to_container(mine)


def test_scores_are_those_of_the_score_function(cells):
    from llm4grn.evaluation.scores.score import score

    table = lg.score(cells.test, {"train": cells.train}, metrics=["mmd", "gene_means"], seed=3)
    theirs = score(cells.test.X, cells.train.X, 3, ["mmd", "gene_means"])
    assert list(table["train"]) == [theirs["mmd"], theirs["gene_means"]]
    assert list(table.index) == ["MMD", "Gene means"]
    assert list(table["better"]) == ["lower", "lower"]


# -- the example of the README ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shipped_answers_fit_the_default_genes(blood):
    grn = lg.infer_grn(blood, tfs="human", inferer="llm", llm="shipped")
    graph = grn.top(10)
    assert (graph.n_edges, len(graph.tf_names), len(graph.targets)) == (8000, 200, 800)
    named = lg.transcription_factors(blood, "llm", llm="shipped")
    assert len(named.names) == 174
    both = lg.infer_grn(blood, inferer="consensus", llm="shipped", seed=0)
    assert {"rank_grnboost2", "rank_llm"} <= set(both.table)


def test_a_control_of_an_inferer(cells, tmp_path):
    of = lg.infer_grn(cells, inferer="correlation", k=2)
    dealt = lg.infer_grn(cells, inferer="shuffled", of="correlation", k=2)
    assert dealt.provenance["of"] == "correlation"
    assert sorted(dealt.regulators(2).values()) == sorted(of.regulators(2).values())
    assert dealt.regulators(2) != of.regulators(2)
    kept = lg.infer_grn(cells, inferer="shuffled", of="correlation", k=2, store=tmp_path)
    pd.testing.assert_frame_equal(kept.table, dealt.table)
    assert len(list((tmp_path / "grn").iterdir())) == 2  # the network that was dealt is a stage of its own


@pytest.mark.slow
def test_stored_networks_of_other_members_are_not_mistaken(cells, tmp_path):
    """A combining inferer does not compare its members, as their stages are inputs of its own."""
    members = (["correlation", "random"], ["random", "pidc"])
    one, other = (lg.infer_grn(cells, inferer="consensus", members=of, k=2, store=tmp_path) for of in members)
    assert "rank_pidc" in other.table
    assert "rank_correlation" in one.table
    popular = [lg.infer_grn(cells, inferer="popular", of=of, k=2, store=tmp_path) for of in ("correlation", "random")]
    assert [grn.provenance["of"] for grn in popular] == ["correlation", "random"]


def test_generates_intervenes_and_scores(cells, model):
    synthetic = model.generate(40)
    assert synthetic.shape == (40, 30)
    assert list(synthetic.var_names) == list(cells.genes)
    np.testing.assert_array_equal(model.generate(3).X.toarray(), synthetic[:3].X.toarray())
    assert (model.generate(40, seed=1).X != synthetic.X).nnz > 0
    before, after = model.do({TFS[0]: 0}, n_cells=50)
    assert after[:, TFS[0]].X.sum() == 0
    assert before[:, TFS[0]].X.sum() > 0
    untouched = [gene for gene in cells.genes if gene not in model.graph.descendants([TFS[0]]) | {TFS[0]}]
    assert untouched
    assert (before[:, untouched].X != after[:, untouched].X).nnz == 0
    assert model.fold_changes({TFS[0]: 0}).loc[0, "role"] == "intervened"
    table = lg.score(cells.test, {"model": synthetic, "real": cells.validation}, metrics=["mmd"])
    assert table.loc["MMD", "real"] < table.loc["MMD", "model"]


def test_saves_loads_and_writes(model, tmp_path):
    again = lg.CausalGenerator.load(model.save(tmp_path / "saved"))
    assert repr(again) == repr(model)
    assert (again.generate(20).X != model.generate(20).X).nnz == 0
    written = anndata.read_h5ad(again.write(tmp_path / "cells.h5ad", 20))
    assert (written.X != model.generate(20).X).nnz == 0


@pytest.mark.slow
def test_store_is_used_only_where_it_is_asked_for(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grn = lg.infer_grn(cells, inferer="correlation", k=2)
    lg.CausalGenerator.fit(cells, grn.top(2), controller=SHORT, causal_gan=SHORT)
    assert list(tmp_path.iterdir()) == []
    kept = lg.infer_grn(cells, inferer="correlation", k=2, store="store")
    pd.testing.assert_frame_equal(kept.edges, grn.edges)
    assert kept.top(2) == grn.top(2)
    lg.CausalGenerator.fit(cells, grn.top(2), controller=SHORT, causal_gan=SHORT, store="store")
    folders = {path.parent.name for path in (tmp_path / "store").glob("*/*/stage.json") for path in [path.parent]}
    assert folders == {"grn", "controller", "causal_gan"}
    monkeypatch.setattr(Correlation, "infer", None)  # read from the store, not inferred again
    again = lg.infer_grn(cells, inferer="correlation", k=2, store="store")
    pd.testing.assert_frame_equal(again.edges, grn.edges)


def test_stored_stages_depend_on_the_cells(cells, tmp_path):
    changed = cells.adata.copy()
    changed.X[0, 0] += 1
    other = lg.SplitCells(changed, cells.organism, cells.context, cells.library_size)
    assert other.fingerprint != cells.fingerprint
    for one in cells, other:
        lg.infer_grn(one, inferer="correlation", k=2, store=tmp_path)
    assert len(list((tmp_path / "grn").glob("*/stage.json"))) == 2


# -- what may be given ------------------------------------------------------------------------------------------------


def test_tfs_by_list_object_or_none(cells):
    assert lg.transcription_factors(cells, ["SPI1", "GATA1", "NOT_HERE"]).names == ("GATA1", "SPI1")
    grn = lg.infer_grn(cells, ["SPI1", "GATA1"], Correlation(), k=2)
    assert set(grn.table["TF"]) == {"GATA1", "SPI1"}
    read_off = lg.infer_grn(cells, NoPriorList(n_tfs=4, k=2), "correlation", k=2)
    assert len(read_off.tf_names) < len(cells.genes)
    with pytest.raises(lg.UserError, match=r"kb\.n_tfs=75: no target is left among 30 genes"):
        lg.infer_grn(cells, None, "correlation", k=2)
    read_off.top(2).validate()


def test_options_reach_the_inferer(cells):
    one = lg.infer_grn(cells, inferer="grnboost2", k=2)
    two = lg.infer_grn(cells, inferer="grnboost2", k=2, n_seeds=2)
    assert "importance_std" in two.table
    assert "importance_std" not in one.table


@pytest.mark.slow
def test_a_live_language_model_names_tfs_and_draws_edges(cells, tmp_path):
    server = {"llm": "openai_compatible", "llm_model": "test-model", "answers": tmp_path / "answers.sqlite"}
    with running_server(k=2) as running:
        server["llm_base_url"] = running.url
        drawn = lg.infer_grn(cells, inferer="llm", k=2, **server)
        asked = running.stats()["requests"]
        assert asked == 25
        both = lg.infer_grn(cells, "llm", "llm", k=2, **server)
        lists_only = lg.infer_grn(cells, "llm", Correlation(), k=2, **server)
        assert running.stats()["requests"] > asked
    assert drawn.top(2).n_edges == 50
    assert both.tf_names == lists_only.tf_names != drawn.tf_names
    again = lg.infer_grn(cells, inferer="llm", k=2, **server)  # from the file: nobody is there to be asked
    pd.testing.assert_frame_equal(again.edges, drawn.edges)


def test_fields_of_a_model_reach_it():
    model, values = model_named("small", {"steps": 7}, {"steps": 9, "critic_layers": [8]})
    assert (model.controller.steps, model.causal_gan.steps) == (7, 9)
    assert tuple(model.causal_gan.critic_layers) == (8,)
    assert values["name"] == "small"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inferer": "nope"}, "inferer=nope: no such option; choose one of consensus"),
        ({"inferer": "llm"}, "inferer=llm asks a language model; add llm=shipped"),
        ({"inferer": "llm", "llm": "gpt5"}, "llm=gpt5: no such option"),
        ({"inferer": "grnboost2", "n_sed": 3}, "n_sed: inferer=grnboost2 has no such option; it has n_jobs, engine"),
        ({"inferer": "grnboost2", "n_seeds": 0}, "inferer.n_seeds=0: expected a whole number, 1 or more"),
        ({"inferer": "file"}, "inferer.path is not set"),
        ({"inferer": Correlation(), "n_jobs": 1}, "n_jobs: an inferer that is an object has its options already"),
        ({"k": 6}, "k=6: there are only 5 TFs among the genes; choose k=5"),
        ({"tfs": ["A", "B"]}, "tfs: none of the 2 names is among the 30 genes; check the symbols"),
        ({"tfs": "nobody"}, "kb=nobody: no such option"),
        ({"inferer": "llm", "llm": "shipped", "k": 2}, "pbmc3k"),
    ],
)
def test_mistakes_are_one_line(cells, arguments, message):
    with pytest.raises(lg.UserError) as raised:
        lg.infer_grn(cells, **{"k": 2, **arguments})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_refuses_what_does_not_belong_together(cells, model):
    other = lg.CausalGraph(("A", "B"), {"B": ("A",)})
    with pytest.raises(lg.UserError, match="its genes are not those of the cells"):
        lg.CausalGenerator.fit(cells, other)
    with pytest.raises(lg.UserError, match="controller: there is no field step; its fields are steps"):
        lg.CausalGenerator.fit(cells, model.graph, controller={"step": 3})
    with pytest.raises(lg.UserError, match="value: 1 genes are in one of the two sets only, for instance"):
        lg.score(cells.test, cells.train[:, 1:])
    with pytest.raises(lg.UserError, match="this network came without its genes and TFs"):
        lg.GRN.from_edges(pd.DataFrame({"TF": ["A"], "target": ["B"], "importance": [1.0]})).top(1)
    with pytest.raises(lg.UserError, match="adata: value"):
        lg.preprocess(cells.adata)
    with pytest.raises(lg.UserError, match=r"dataset.layer: adata has no layer counts \(it has none"):
        lg.preprocess(lg.datasets.pbmc68k_reduced(), layer="counts")


def test_genes_are_aligned_by_name(cells):
    shuffled = cells.train[:, ::-1]
    one, other = (lg.score(cells.test, {"a": part}, metrics=["gene_means"]) for part in (cells.train, shuffled))
    pd.testing.assert_frame_equal(one, other)


# -- in a notebook ----------------------------------------------------------------------------------------------------


def test_objects_show_themselves(cells, model):
    grn = lg.infer_grn(cells, inferer="correlation", k=2)
    assert repr(cells) == "SplitCells: 30 genes of human; cells: train 78, validation 20, test 40"
    assert repr(grn).startswith("GRN (correlation pearson): ")
    assert "<table" in grn._repr_html_()
    assert repr(model) == "CausalGenerator: 30 genes, 5 TFs, 25 targets, 50 edges, model=small"
    figure = lg.plot_cells(cells.test, {"train": cells.train}, max_cells=30)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_compares_networks(cells):
    one = lg.infer_grn(cells, inferer="correlation", k=2)
    two = lg.infer_grn(cells, inferer="random", k=2)
    table = one.compare(two, k=2)
    assert list(table.index) == ["TFs", "targets", "edges", "regulators per target"]
    assert table.loc["edges", "this"] == 50
    assert table.loc["edges", "shared"] == len(
        {(tf, gene) for gene, tfs in one.regulators(2).items() for tf in tfs}
        & {(tf, gene) for gene, tfs in two.regulators(2).items() for tf in tfs}
    )
    assert one.compare(one, k=2).loc["regulators per target", "jaccard"] == 1
    assert one.to_networkx().number_of_edges() == len(one.table)
    assert set(one.top(2).to_networkx().nodes) == set(cells.genes)
