"""No stage sees cells that it must not see: what each one is handed, and cells in which a leak shows in the result.

The data stage is put into the store by hand. Each split has a library of genes of its own: a gene that the training
cells never express is at the top of the held-out ones, and the TF that drives a target in the training cells drives
another one in the rest, which are many more.
"""

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from scipy.sparse import csr_matrix

from llm4grn.cli.config import build_setting
from llm4grn.data.preprocess import SPLITS
from llm4grn.gan import api
from llm4grn.inference.random_graph import RandomGRN
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store

TFS = sorted(tiny.TFS)
TARGETS = [f"T{i}" for i in range(len(TFS))]
GENES = sorted([*TFS, *TARGETS, "TESTONLY", "VALIDONLY"])
SIZES = {"train": 60, "validation": 170, "test": 50}


def drawn_cells() -> anndata.AnnData:
    """Target i follows TF i in training cells, and TF i + 1 in the others, of which there are far more."""
    rng = np.random.default_rng(0)
    parts = []
    for split in SPLITS:
        tfs = rng.gamma(0.7, 40, size=(SIZES[split], len(TFS)))
        followed = tfs if split == "train" else np.roll(tfs, -1, axis=1)
        cells = pd.DataFrame(np.hstack([tfs, 2 * followed]), columns=[*TFS, *TARGETS])
        cells["TESTONLY"] = 300.0 * (split == "test")
        cells["VALIDONLY"] = 300.0 * (split == "validation")
        cells.index = [f"{split}{i}" for i in range(len(cells))]
        parts.append(cells.assign(split=split))
    table = pd.concat(parts).sample(frac=1, random_state=0)
    counts = table[GENES].to_numpy()
    counts = csr_matrix((counts / counts.sum(axis=1, keepdims=True) * 20_000).astype(np.float32))
    obs = pd.DataFrame({"split": pd.Categorical(table["split"], list(SPLITS))}, index=table.index)
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=GENES))


CELLS = drawn_cells()


def of(split: str) -> np.ndarray:
    return CELLS[CELLS.obs["split"] == split].X.toarray()


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """Makes the pipeline of some options, on the cells above."""
    folder = tmp_path_factory.mktemp("leakage")
    options = tiny.options(tiny.write_counts(folder / "counts.h5ad"), folder)
    store = Store(folder / "store")

    def make(*more: str) -> Pipeline:
        pipeline = Pipeline(build_setting(tiny.config(*options, *more)), store, {"accelerator": "cpu"})
        store.get_or_run(pipeline.data, lambda to: CELLS.write_h5ad(to / "cells.h5ad"))
        return pipeline

    return make


@pytest.fixture
def told(monkeypatch):
    """What a function of a module is called with, and what it returns, call by call; it does its work."""
    calls = []

    def follow(owner, name, work=None):
        original = getattr(owner, name)

        def followed(*args, **kwargs):
            calls.append((args, kwargs))
            return (work or original)(*args, **kwargs)

        monkeypatch.setattr(owner, name, followed)
        return calls

    return follow


# -- inference --------------------------------------------------------------------------------------------------------


def test_an_inferer_is_handed_the_training_cells_and_no_other(line, told):
    pipeline = line("inferer=correlation")
    calls = told(type(pipeline.setting.inferer), "infer")
    _ = pipeline.inferred_grn
    ((_, adata, tf_names, _), _) = calls[0]
    assert len(calls) == 1
    assert tf_names == tuple(TFS)
    assert list(adata.var_names) == GENES
    np.testing.assert_array_equal(adata.X.toarray(), of("train"))


@pytest.mark.parametrize("inferer", ["correlation", "grnboost2"])
def test_the_network_is_that_of_the_training_cells(line, inferer):
    graph = line(f"inferer={inferer}").inferred_grn.top(1, [*TFS, *TARGETS], TFS)
    assert [graph.regulators[target] for target in TARGETS] == [(tf,) for tf in TFS]


def test_the_network_among_tfs_is_that_of_the_training_cells(line, told):
    pipeline = line("inferer=correlation", "graph.tf_k=1")
    calls = told(type(pipeline.setting.inferer), "infer")
    _ = pipeline.inferred_grn
    among = calls[0][0][1]
    np.testing.assert_array_equal(among.X.toarray(), of("train")[:, [GENES.index(tf) for tf in TFS]])
    assert len(calls) == 2


def test_an_inferer_that_must_not_see_expression_is_handed_names_alone(line, told):
    calls = told(RandomGRN, "infer")
    _ = line("inferer=random").inferred_grn
    adata = calls[0][0][1]
    assert adata.X is None
    assert adata.n_obs == 0
    assert list(adata.var_names) == GENES
    assert adata.var.empty


def test_a_knowledge_base_is_handed_names_and_the_context(line, told):
    pipeline = line("kb.list=scenic", "dataset.context=Blood")
    calls = told(type(pipeline.setting.kb), "transcription_factors")
    _ = pipeline.tf_set
    assert calls[0][0][1:] == (GENES, "Blood", pipeline.setting.seed)


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "validate_every"), [(False, 0), (False, 25), (True, 50)])
def test_both_stages_train_on_the_training_cells_and_are_validated_on_the_validation_cells(
    line, told, stream, validate_every
):
    options = [f"model.{stage}.validate_every={validate_every}" for stage in ("controller", "causal_gan")]
    pipeline = replace(line(*options), trainer={"accelerator": "cpu", "stream": stream})
    calls = told(api, "fit", work=lambda *args, **kwargs: None)
    pipeline.causal_gan_folder()
    assert [args[2] for args, _ in calls] == ["controller", "causal_gan"]
    for (module, *_, validation), _ in calls:
        np.testing.assert_array_equal(module.cells.rows(torch.arange(len(module.cells))).numpy(), of("train"))
        if validate_every:
            np.testing.assert_array_equal(validation.numpy(), of("validation"))
        else:
            assert validation is None


@pytest.fixture(scope="module")
def trained(line):
    """Both stages, preconditioned: a gene starts at its own distribution in the cells that are trained on."""
    options = "steps=5", "preconditioned=true"
    return line(*(f"model.{stage}.{option}" for stage in ("controller", "causal_gan") for option in options))


@pytest.mark.parametrize("source", ["stage1", "run"])
def test_generated_cells_express_no_gene_that_only_held_out_cells_express(trained, source):
    for path in trained.cell_files(source):
        generated = anndata.read_h5ad(path)
        assert list(generated.var_names) == GENES
        total = dict(zip(GENES, np.asarray(generated.X.sum(axis=0)).ravel(), strict=True))
        assert total["TESTONLY"] == total["VALIDONLY"] == 0
        assert sum(total.values()) > 0


# -- scores -----------------------------------------------------------------------------------------------------------


def test_the_control_is_drawn_from_the_training_cells(trained):
    drawn = [anndata.read_h5ad(path) for path in trained.cell_files("control")]
    for cells in drawn:
        assert cells.n_obs == SIZES["test"]
        assert len(set(cells.obs_names)) == SIZES["test"]
        assert set(cells.obs["split"]) == {"train"}
        np.testing.assert_array_equal(cells.X.toarray(), CELLS[cells.obs_names].X.toarray())
    assert set(drawn[0].obs_names) != set(drawn[1].obs_names)


@pytest.mark.parametrize("source", ["control", "stage1", "run"])
def test_scores_are_distances_from_the_test_cells(trained, source):
    pipeline = replace(trained, setting=replace(trained.setting, metrics=("euclidean_distance",)))
    files = pipeline.cell_files(source)
    scores = pipeline.sample_scores(source)
    assert len(files) == len(scores) == 2
    for path, score in zip(files, scores, strict=True):
        cells = anndata.read_h5ad(path).X.toarray().astype(float)
        assert len(cells) == SIZES["test"]
        distance = np.linalg.norm(cells.mean(axis=0) - of("test").astype(float).mean(axis=0))
        assert score["euclidean_distance"] == pytest.approx(distance, rel=1e-9)
