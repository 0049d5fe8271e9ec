"""What the pipeline tells its parts, and what it does not need: the rest is in the tests of keys, leakage and seeds."""

import shutil

import pytest
import tiny

from llm4grn.cli.config import build_setting
from llm4grn.evaluation.scores import score
from llm4grn.knowledge.base import TFSet
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store

ANSWER = '{"messages": [{"role": "user", "content": "Who?"}], "text": "<Answer> [%s] </Answer>"}\n'


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return tiny.write_counts(tmp_path_factory.mktemp("pipeline") / "counts.h5ad")


@pytest.mark.parametrize("exact", [True, False])
def test_scoring_is_told_whether_to_be_exact(counts, tmp_path, monkeypatch, exact):
    told = []
    monkeypatch.setattr(score, "score_all", lambda *args: told.append(args) or [])
    setting = build_setting(tiny.config(*tiny.options(counts, tmp_path), f"evaluation.exact={exact}"))
    pipeline = Pipeline(setting, Store(tmp_path / "store"), {"accelerator": "cpu"})
    pipeline.sample_scores("control")
    ((*_, metrics, device, said),) = told
    assert (metrics, device, said) == (sorted(setting.metrics), "cpu", exact)
    assert pipeline.scores("control").description["args"].get("exact", False) is exact


def test_once_the_graph_is_finished_genes_are_known_without_the_cells(counts, tmp_path):
    """What a job of a sweep with everything in the store is spared."""
    genes = list(tiny.pipeline_of(counts, tmp_path).causal_graph.genes)
    again = tiny.pipeline_of(counts, tmp_path)
    assert tiny.pipeline_of(counts, tmp_path).store.path(again.data).is_dir()
    shutil.rmtree(again.store.path(again.data))
    assert again.genes == genes
    assert "adata" not in vars(again)


def test_before_there_is_a_graph_genes_are_those_of_the_cells(counts, tmp_path):
    pipeline = tiny.pipeline_of(counts, tmp_path)
    assert pipeline.genes == list(pipeline.adata.var_names)
    assert not pipeline.store.has(pipeline.graph)


@pytest.fixture
def asking(tmp_path):
    """Options of a language model whose answers are recorded; a preview asks nothing."""
    (tmp_path / "answers.jsonl").write_text(ANSWER % "GATA1, SPI1")
    return "inferer=llm", "llm=recorded", f"llm.path={tmp_path / 'answers.jsonl'}"


def test_a_preview_says_that_the_tfs_are_not_known_yet(counts, tmp_path, asking):
    of_tfs, of_regulators = tiny.pipeline_of(counts, tmp_path, "kb=llm", *asking).previews()
    assert "TFs are not known yet" not in of_tfs
    assert "TFs are not known yet; as if they were one gene in ten" in of_regulators


def test_with_a_list_the_preview_is_about_its_tfs(counts, tmp_path, asking):
    (of_regulators,) = tiny.pipeline_of(counts, tmp_path, *asking).previews()
    assert "not known yet" not in of_regulators
    assert all(tf in of_regulators for tf in tiny.TFS)


def test_tfs_that_a_model_has_named_are_those_of_the_preview(counts, tmp_path, asking):
    pipeline = tiny.pipeline_of(counts, tmp_path, "kb=llm", *asking)
    named = TFSet(("GATA1", "SPI1"), {"GATA1": 1, "SPI1": 1}, {})
    pipeline.store.get_or_run(pipeline.tfs, lambda to: named.to_json(to / "tfs.json"))
    _, of_regulators = tiny.pipeline_of(counts, tmp_path, "kb=llm", *asking).previews()
    assert "not known yet" not in of_regulators
    assert "GATA1" in of_regulators
    assert "IRF8" not in of_regulators.partition("TARGET")[0]


def test_without_a_language_model_there_is_nothing_to_preview(counts, tmp_path):
    assert tiny.pipeline_of(counts, tmp_path, "inferer=correlation").previews() == []
