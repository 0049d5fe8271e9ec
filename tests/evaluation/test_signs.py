"""Agreement of signs with correlations and references, counted by hand."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from graph_folders import texts, write_folder

from llm4grn.evaluation.graphs.reference import load_reference, read_reference
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.evaluation.graphs.sign_table import sign_table
from llm4grn.evaluation.graphs.signs import reference_signs, sign_agreement, sign_text
from llm4grn.grn import GRN

RANKED = pd.DataFrame(
    [("A", "x", 3.0, 1), ("B", "x", 2.0, -1), ("A", "y", 1.0, -1), ("B", "y", 0.5, 0)],
    columns=["TF", "target", "importance", "sign"],
)
NETWORK = GRN.from_edges(RANKED)


def cells(typed=True):
    """x follows A and B, y goes against A, whatever the type."""
    rng = np.random.default_rng(0)
    a, b = rng.poisson(5, 400), rng.poisson(5, 400)
    counts = np.stack([a, b, a + b, 30 - a], axis=1).astype(np.float32)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(400)])
    if typed:
        obs["cell_type"] = rng.choice(["one", "two"], 400)
    adata = anndata.AnnData(counts, obs=obs)
    adata.var_names = list("ABxy")
    return adata


def test_by_hand():
    reference = pd.DataFrame({"TF": list("AAB"), "target": list("xyx"), "sign": [1, 1, 0]})
    table = sign_agreement(NETWORK, cells(), reference, name="curated").set_index("with")
    assert table["edges"].to_dict() == {"correlation": 3, "correlation within cell types": 3, "curated": 2}
    assert table["agree"].tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])  # B -> x is said to repress
    assert table.loc["correlation", "by_chance"] == pytest.approx(1 / 3 * 2 / 3 + 2 / 3 * 1 / 3)
    assert ((table["low"] < table["agree"]) & (table["agree"] < table["high"])).all()


def test_without_types_or_signs_there_is_less_to_compare():
    assert list(sign_agreement(NETWORK, cells(typed=False))["with"]) == ["correlation"]
    assert sign_agreement(GRN.from_edges(RANKED.drop(columns="sign")), cells()).empty
    assert sign_agreement(NETWORK, None, RANKED[["TF", "target"]]).empty


def test_a_correlation_near_zero_has_no_sign():
    noise = cells()
    noise.X = np.random.default_rng(1).poisson(5, noise.shape).astype(np.float32)
    table = sign_agreement(NETWORK, noise)
    assert table["edges"].max() <= 1
    assert sign_text(NETWORK, table).startswith("Signs: 3 of 4 edges have one, 66.7 % repression\n  correlation  ")


def test_signs_of_a_reference_are_carried_by_the_names_others_use(tmp_path):
    for name in "sign", "mor", "weight":
        path = tmp_path / f"{name}.tsv"
        path.write_text(f"source\ttarget\t{name}\nA\tx\t1\nB\tx\t-1\nC\tx\t0\nA\ty\t1\nA\ty\t-1\n")
        assert reference_signs(read_reference(path)) == {("A", "x"): 1, ("B", "x"): -1}
    (tmp_path / "score.csv").write_text("TF,target,weight\nA,x,0.3\n")
    assert list(read_reference(tmp_path / "score.csv").columns) == ["TF", "target"]


def test_simulated_networks_have_signs():
    from llm4grn.data.nonlinear import NonLinear

    truth = load_reference("truth", NonLinear(n_cells=10))
    assert set(truth["sign"]) == {1, -1}


def test_the_table_reads_the_training_cells_from_the_store(tmp_path):
    real = cells()
    real.obs["split"] = np.repeat(["train", "test"], 200)
    (tmp_path / "store" / "data" / "key").mkdir(parents=True)
    real.write_h5ad(tmp_path / "store" / "data" / "key" / "cells.h5ad")
    regulators = {"x": "AB", "y": "AB"}
    folder = write_folder(tmp_path / "run", "ABxy", regulators, ranked=RANKED)
    plain = write_folder(tmp_path / "plain", "ABxy", regulators, inferer="random")
    (folder / "stages.json").write_text(json.dumps({"data": "key"}))
    (tmp_path / "curated.tsv").write_text("TF\ttarget\tsign\nA\tx\t1\nA\ty\t1\n")
    runs = read_graph_runs([folder, plain])
    table = sign_table(runs, [str(tmp_path / "curated.tsv")], store=tmp_path / "store")
    assert [row[2:] for row in texts(table)] == [
        ["grnboost2", "correlation", "1", "3", "66.7", "3", "66.7", "44.4"],
        ["grnboost2", "correlation within cell types", "1", "3", "66.7", "3", "66.7", "44.4"],
        ["grnboost2", "curated.tsv", "1", "3", "66.7", "2", "50.0", "50.0"],
    ]
    (tmp_path / "other.tsv").write_text("TF\ttarget\tsign\nA\ty\t-1\n")
    references = [str(tmp_path / name) for name in ("curated.tsv", "other.tsv")]
    with_both = sign_table(runs, references, store=tmp_path / "store")
    assert texts(with_both)[3][3:] == ["other.tsv", "1", "3", "66.7", "1", "100.0", "100.0"]
    assert sign_table(runs) is None  # nothing to compare with
    assert sign_table(runs[1:], [str(tmp_path / "curated.tsv")]) is None
