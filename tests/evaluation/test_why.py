"""Evidence for an edge, counted by hand; words come from the stored answers, and nobody is asked."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from graph_folders import write_folder
from test_shipped import GENES as SHIPPED_GENES
from test_shipped import tf_names
from tiny import config

from llm4grn.cli.config import resolved
from llm4grn.cli.grn import main
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.evaluation.graphs.statements import statements
from llm4grn.evaluation.graphs.why import evidence
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.messages import Reply

GENES = "ABCxyz"
REGULATORS = {"x": "AB", "y": "CA", "z": "BC"}
LLM = "llm4grn.inference.llm.LLMInferer"
CONTEXT = "Blood."


def asked(tmp_path, **method):
    """The fields of a language model as inferer, as a run's configuration has them."""
    llm = {
        "_target_": "llm4grn.llm.language_model.LanguageModel",
        "name": "live",
        "model": "test-model",
        "chat": {"_target_": "llm4grn.llm.openai.chat.OpenAIChat", "base_url": "http://127.0.0.1:9/v1"},
        "prompts": {
            "_target_": "llm4grn.llm.prompts.Prompts.load",
            "name_or_path": "cot_context",
            "answer_format": "text",
        },
        "temperature": 0.7,
        "max_tokens": 100,
        "max_repairs": 1,
        "cache": str(tmp_path / "answers.sqlite"),
    }
    return {"inferer": LLM, "llm": llm, "context": CONTEXT, "k": 2, "n_samples": 2, "targets_per_question": 3, **method}


@pytest.fixture
def runs(tmp_path):
    """A network from cells, whose ranks are those of the graph, one of a language model, and a consensus."""
    votes = pd.DataFrame(
        [("A", "x", 1.3, -1), ("B", "x", 0.6, 0), ("C", "y", 1.2, 0), ("B", "z", 1.2, 0)],
        columns=["TF", "target", "importance", "sign"],
    )
    fused = pd.DataFrame(
        [("A", "x", 0.2, 1, 2), ("B", "x", 0.1, None, 1), ("C", "y", 0.1, 1, 1), ("B", "z", 0.1, 1, 1)],
        columns=["TF", "target", "importance", "rank_grnboost2", "rank_llm"],
    )
    folders = [
        write_folder(tmp_path / "cells", GENES, REGULATORS),
        write_folder(tmp_path / "llm", GENES, REGULATORS, ranked=votes, **asked(tmp_path)),
        write_folder(tmp_path / "both", GENES, REGULATORS, inferer="consensus", ranked=fused),
    ]
    return {run.folder.name: run for run in read_graph_runs(folders)}


def write_cells(tmp_path, folder):
    """A and x go together in all cells, but not within types."""
    types = np.repeat(["one", "two"], 100)
    rng = np.random.default_rng(0)
    level = np.where(types == "one", 2, 30)
    columns = {gene: rng.poisson(level if gene in "Ax" else 5, 200) for gene in GENES}
    columns["y"] = columns["C"] + rng.poisson(0.2, 200)
    counts = np.stack([columns[gene] for gene in GENES], axis=1).astype(np.float32)
    splits = np.tile(["train", "test"], 100)
    obs = pd.DataFrame({"cell_type": types, "split": splits}, index=[f"cell{i}" for i in range(200)])
    (tmp_path / "store" / "data" / "key").mkdir(parents=True)
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=list(GENES)))
    adata.write_h5ad(tmp_path / "store" / "data" / "key" / "cells.h5ad")
    (folder / "stages.json").write_text(json.dumps({"data": "key"}))


def store_answers(tmp_path, run):
    """The second answer names B alone of the TFs of x; the first has no usable form and was repaired."""
    from llm4grn.evaluation.graphs.statements import _inferer, language_model_config

    inferer = _inferer(language_model_config(run))
    first, second = inferer.questions(["x", "y", "z"], ["A", "B", "C"], run.inference_seed)
    form = '<Answer> {{"x": {x}, "y": ["C", "A"], "z": ["B", "C"]}} </Answer>'
    reason = inferer.llm.prompts.repair(first.messages, "I am not sure.", "there was no answer in the required form")
    complaint = first.complaint(first.read("I am not sure."))
    again = inferer.llm.prompts.repair(first.messages, "I am not sure.", complaint)
    assert len(again) == len(reason)
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        cache.put(inferer.llm.request(first), Reply("I am not sure."))
        said = "x: A shuts it off.\ny: C.\nz: B.\n"
        cache.put(inferer.llm.request(first, again), Reply(said + form.format(x='["A", "C"]')))
        cache.put(inferer.llm.request(second), Reply(said.replace("A shuts", "B turns") + form.format(x='["A", "B"]')))


def test_ranks_votes_signs_and_references_by_hand(runs, tmp_path):
    (tmp_path / "curated.tsv").write_text("TF\ttarget\tsign\nA\tx\t-1\nA\ty\t1\n")
    first, second = evidence(list(runs.values()), [("A", "x"), ("C", "x")], reference=tmp_path / "curated.tsv")
    assert dict(first.facts()) == {
        "human · consensus": "rank 1 of 2, importance 0.2, imposed",
        "human · consensus: grnboost2": "rank 1 of 1",
        "human · consensus: llm": "rank 2 of 2",
        "human · grnboost2": "rank 1 of 2, importance 1, imposed",
        f"human · {runs['llm'].inferer}": "rank 1 of 2, importance 1.3, named in 2 of 2 answers, represses, imposed",
        "curated.tsv": "has it, represses",
    }
    assert set(dict(second.facts()).values()) == {"not ranked", "does not have it"}
    assert (first.correlation, first.said, first.knock_out) == (None, None, None)


def test_correlations_are_those_of_training_cells_raw_and_within_types(runs, tmp_path):
    write_cells(tmp_path, runs["cells"].folder)
    (found,) = evidence(list(runs.values()), [("A", "x")], store=tmp_path / "store")
    assert found.correlation > 0.8
    assert abs(found.correlation_within) < 0.2
    assert f"correlation within cell types  {found.correlation_within:+.3f}" in " ".join(found.text().split("\n"))


def test_an_edge_that_predicts_its_target_is_missed_when_it_is_dropped(runs, tmp_path):
    write_cells(tmp_path, runs["cells"].folder)
    edges = [("C", "y"), ("A", "y"), ("B", "y")]
    follows, other, absent = evidence(list(runs.values()), edges, store=tmp_path / "store")
    assert follows.r2_gain > 0.5
    assert follows.r2_gain_within > 0.5
    assert abs(other.r2_gain) < 0.1
    assert (absent.r2_gain, absent.r2_gain_within) == (None, None)  # it is in no graph
    assert ("held-out R² lost without it", f"{follows.r2_gain:+.4f} (human · grnboost2)") in follows.facts()


def test_the_model_is_quoted_from_the_stored_answers(runs, tmp_path):
    assert statements(runs["llm"], [("A", "x")]) == {}  # nothing is stored, and nobody is asked
    store_answers(tmp_path, runs["llm"])
    assert statements(runs["llm"], [("A", "x"), ("B", "x"), ("C", "z")]) == {
        ("A", "x"): "A shuts it off.",
        ("B", "x"): "B turns it off.",  # the first answer that names B
        ("C", "z"): "B.",
    }
    assert statements(runs["cells"], [("A", "x")]) == {}
    moved = (tmp_path / "answers.sqlite").rename(tmp_path / "moved.sqlite")
    assert statements(runs["llm"], [("A", "x")], moved) == {("A", "x"): "A shuts it off."}


def test_knock_outs_are_asked_of_generators_with_the_edge(runs):
    seen = []

    def knock_outs(folder, edges):
        seen.append((folder.name, list(edges)))
        return dict.fromkeys(edges, -0.5)

    (runs["cells"].folder / "generator.pt").touch()
    first, second = evidence(list(runs.values()), [("A", "x"), ("A", "z")], knock_outs=knock_outs)
    assert seen == [("cells", [("A", "x")])]
    assert (first.knock_out, second.knock_out) == (-0.5, None)
    assert ("log2 fold change under do(A = 0)", "-0.500 (human · grnboost2)") in first.facts()


def test_a_second_run_on_the_same_graph_lends_its_generator_but_no_second_line(runs, tmp_path):
    again = write_folder(tmp_path / "trained", GENES, REGULATORS)
    (again / "generator.pt").touch()
    both = read_graph_runs([runs["cells"].folder, again], distinct=False)
    (found,) = evidence(both, [("A", "x")], knock_outs=lambda folder, edges: dict.fromkeys(edges, 0.25))
    assert (len(found.ranks), found.knock_out) == (1, 0.25)


def test_shipped_answers_tell_why(tmp_path):
    """A folder as infer_grn.py writes it, without the inference."""
    tfs = tf_names("human")
    targets = [gene for gene in SHIPPED_GENES if gene not in tfs]
    folder = write_folder(tmp_path / "run", SHIPPED_GENES, {target: ("SPI1",) for target in targets}, tfs=tfs)
    cfg = config("llm=shipped", "inferer=llm", name="infer_grn")
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved(cfg)))
    (run,) = read_graph_runs([folder])
    found = statements(run, [("SPI1", "AIF1"), ("SPI1", "CST3"), ("MYC", "ADSL")])
    assert found["SPI1", "AIF1"].startswith("monocyte/DC IBA1; PU.1 and IRF8 ETS-IRF sites, CEBPB/CEBPD")
    assert "MYC" in found["MYC", "ADSL"]
    assert len(found) == 3
    both = config("llm=shipped", "inferer=consensus", name="infer_grn")
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved(both)))
    assert statements(read_graph_runs([folder])[0], [("SPI1", "AIF1")]) == {("SPI1", "AIF1"): found["SPI1", "AIF1"]}


def test_on_the_command_line(runs, tmp_path, capsys):
    (tmp_path / "curated.tsv").write_text("TF\ttarget\nA\tx\n")
    folders = [f"run={tmp_path}/c*", f"run={tmp_path}/llm"]
    main(["why", "A", "x", *folders, f"reference={tmp_path}/curated.tsv", f"store={tmp_path}/store"])
    text = capsys.readouterr().out
    assert text.startswith("A → x\n\n  human · ")
    assert "human · grnboost2  rank 1 of 2, importance 1, imposed" in text
    assert "has it" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run is not set; add run=FOLDER"),
        (["run=nowhere"], "nowhere: no config.yaml in it"),
        (["run=a", "seed=3"], "seed=3: expected field=value; the fields are run, reference"),
        (["run=a", "store=b", "store=c"], "store: given twice"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["why", "A", "x", *words])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_a_gene_of_no_run_is_named(runs):
    with pytest.raises(UserError, match="Q: not among the 6 genes of"):
        evidence(list(runs.values()), [("Q", "x")])
