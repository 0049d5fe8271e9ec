"""Every inferer of ``conf/inferer`` on tiny data, with a list of TFs and without; a new YAML is found by itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import CONF, TFS, pipeline_of, write_counts

from llm4grn.errors import UserError
from llm4grn.grn import GRN, CausalGraph

#: truth needs simulated data: see tests/data/test_simulated.py
INFERERS = sorted(path.stem for path in (CONF / "inferer").glob("*.yaml") if path.stem != "truth")
#: What makes an inferer quick, or what it cannot do without.
QUICK = {
    "consensus": ["inferer.members=[random,correlation]"],
    "genie3": ["inferer.n_trees=5", "inferer.n_jobs=1"],
    "grnboost2": ["inferer.n_jobs=1"],
    "popular": ["inferer.of=random"],
    "regdiffusion": ["inferer.n_steps=5", "inferer.device=cpu"],
    "shuffled": ["inferer.of=random"],
}
NO_LIST = {
    "naive": ["kb=none", "kb.n_tfs=6"],
    "iterative": ["kb=none", "kb.selection=iterative", "kb.n_tfs=null"],
    "iterative, at most 6": ["kb=none", "kb.selection=iterative", "kb.n_tfs=6"],
}


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def choose(inferer: str, folder: Path) -> list[str]:
    if inferer == "llm":
        pytest.skip("asks a language model: see test_llm_scripts.py")
    if inferer == "regdiffusion":
        pytest.importorskip("regdiffusion")
    if inferer == "file":
        rows = [f"{tf},TARGET{i},{1 + (i + j) % 7}" for i in range(25) for j, tf in enumerate(TFS)]
        (folder / "net.csv").write_text("\n".join(["TF,target,importance", *rows]) + "\n")
        return ["inferer=file", f"inferer.path={folder / 'net.csv'}"]
    return [f"inferer={inferer}", *QUICK.get(inferer, [])]


@pytest.mark.parametrize("inferer", INFERERS)
def test_a_list_of_tfs(counts, folder, inferer):
    pipeline = pipeline_of(counts, folder, *choose(inferer, folder))
    graph, edges = pipeline.causal_graph, pipeline.inferred_grn.edges
    assert set(graph.tf_names) == set(TFS) == set(edges["TF"])
    assert len(graph.targets) == 25
    assert graph.n_edges == 50
    assert np.isfinite(edges["importance"]).all()


@pytest.mark.parametrize("inferer", [inferer for inferer in INFERERS if inferer != "file"])
def test_tfs_that_regulate_tfs(counts, folder, inferer):
    bipartite = pipeline_of(counts, folder, *choose(inferer, folder))
    layered = pipeline_of(counts, folder, *choose(inferer, folder), "graph.tf_k=2")
    graph = layered.causal_graph
    assert 0 < len(graph.tf_names) < len(TFS)
    assert all(graph.regulators[t] == tfs for t, tfs in bipartite.causal_graph.regulators.items())
    assert len(graph.layers()) >= 2
    assert layered.tfs.key == bipartite.tfs.key
    assert layered.grn.key != bipartite.grn.key


def test_tf_k_1_gives_tfs_a_regulator_each(counts, folder):
    graph = pipeline_of(counts, folder, "inferer=correlation", "graph.tf_k=1").causal_graph
    own = {gene: tfs for gene, tfs in graph.regulators.items() if gene in TFS}
    assert len(own) >= 2
    assert {len(tfs) for tfs in own.values()} == {1}
    assert set(graph.tf_names) == set(TFS) - own.keys()


def test_a_language_model_is_not_asked_about_tfs_of_tfs(counts, folder):
    answers = Path(__file__).parent / "llm" / "one_answer.jsonl"
    asked = pipeline_of(counts, folder, "inferer=llm", "llm=recorded", f"llm.path={answers}", "graph.tf_k=2")
    with pytest.raises(UserError, match=r"graph\.tf_k=0"):
        _ = asked.inferred_grn


@pytest.mark.parametrize("kb", NO_LIST.values(), ids=NO_LIST)
@pytest.mark.parametrize("inferer", INFERERS)
def test_no_list_of_tfs(counts, folder, inferer, kb):
    pipeline = pipeline_of(counts, folder, *choose(inferer, folder), *kb)
    if inferer == "popular" and "kb.selection=iterative" in kb:  # its first TF makes targets of all other genes
        with pytest.raises(UserError, match=r"graph\.k=2: there are only 1 TFs"):
            _ = pipeline.causal_graph
        return
    graph, chosen = pipeline.causal_graph, pipeline.tf_set
    assert set(graph.tf_names) == set(chosen.names)
    if inferer == "file":  # ranks the targets of five TFs and nothing else
        assert set(graph.tf_names) == set(TFS)
        return
    ranked = set(pipeline.inferred_grn.edges["TF"])
    assert ranked - set(TFS)
    assert ranked & set(TFS)
    n_chosen = chosen.provenance["chosen"]
    assert n_chosen == 6 if "kb.n_tfs=6" in kb else 2 <= n_chosen < 30
    assert all(0 < len(tfs) <= 2 for tfs in graph.regulators.values())


def test_both_selections_read_the_same_ranking(counts, folder):
    naive, iterative = (
        pipeline_of(counts, folder, "inferer=correlation", *NO_LIST[name]) for name in ("naive", "iterative")
    )
    assert naive.grn.key == iterative.grn.key
    assert naive.tfs.key != iterative.tfs.key
    assert naive.graph.key != iterative.graph.key
    with_list = pipeline_of(counts, folder, "inferer=correlation")
    assert with_list.grn.key != naive.grn.key


def test_a_language_model_needs_a_list(counts, folder):
    answers = Path(__file__).parent / "llm" / "one_answer.jsonl"
    asked = pipeline_of(counts, folder, "inferer=llm", "llm=recorded", f"llm.path={answers}", *NO_LIST["naive"])
    for question in lambda: asked.inferred_grn, asked.previews:
        with pytest.raises(UserError, match=r"kb=none and inferer=llm.*use kb=llm"):
            question()


def test_without_a_list_random_ranks_every_other_gene(counts, folder):
    edges = pipeline_of(counts, folder, "inferer=random", *NO_LIST["naive"]).inferred_grn.edges
    assert len(edges) == 30 * 29


def test_files_of_a_folder_tell_who_was_chosen(counts, folder):
    pipeline = pipeline_of(counts, folder, "inferer=pidc", *NO_LIST["naive"])
    _ = pipeline.causal_graph
    chosen = json.loads((pipeline.store.path(pipeline.tfs) / "tfs.json").read_text())
    assert chosen["provenance"]["selection"] == "naive"
    grn = GRN.read(pipeline.store.path(pipeline.grn) / "grn.tsv")
    assert chosen["names"] == sorted(list(dict.fromkeys(grn.edges["TF"]))[:6])
    CausalGraph.from_json(pipeline.store.path(pipeline.graph) / "graph.json").validate()
