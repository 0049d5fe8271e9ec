"""Dependence against scipy and scikit-learn pair by pair; the table from a run made by hand."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from results_by_hand import one_run
from scipy import sparse
from scipy.stats import mannwhitneyu, pearsonr
from sklearn.metrics import mutual_info_score

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.dependence import (
    TFTargetDependence,
    absolute_correlation,
    fidelity_table,
    mutual_information,
    tf_target_dependence,
)
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.results import write_results

GENES = ("A", "T1", "B", "T2", "T3", "C")
# C is a root that regulates nothing; T1 is a target that regulates T3.
GRAPH = CausalGraph(GENES, {"T1": ("A",), "T2": ("A", "B"), "T3": ("T1",)})
IMPOSED = [("A", "T1"), ("A", "T2"), ("B", "T2"), ("T1", "T3")]
OTHER = [(tf, target) for tf in ["A", "T1", "B", "C"] for target in ("T1", "T2", "T3")]
OTHER = [pair for pair in OTHER if pair not in IMPOSED and pair[0] != pair[1]]


def cells(n: int, seed: int) -> np.ndarray:
    """Counts in which the imposed edges are at work."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.gamma(1.0, 2.0, size=(3, n))
    t1 = a + 0.1
    return 100.0 * rng.poisson([a, t1, b, a + b, 2 * t1, c]).T


CELLS = cells(200, 0)


def correlation_of(pair: tuple[str, str]) -> float:
    return abs(pearsonr(*(np.log1p(CELLS[:, GENES.index(gene)]) for gene in pair)).statistic)


def information_of(pair: tuple[str, str]) -> float:
    def states(gene: str) -> np.ndarray:
        values = pd.Series(CELLS[:, GENES.index(gene)])
        cuts = values[values > 0].quantile([1 / 3, 2 / 3])
        return np.where(values > 0, 1 + (values >= cuts.iloc[0]) + (values >= cuts.iloc[1]), 0)

    return mutual_info_score(*map(states, pair))


@pytest.mark.parametrize(
    ("measure", "of_pair"), [("correlation", correlation_of), ("mutual_information", information_of)]
)
def test_dependence_matches_scipy_and_scikit_learn_pair_by_pair(measure, of_pair):
    found = tf_target_dependence(CELLS, GRAPH, measure)
    imposed, other = ([of_pair(pair) for pair in pairs] for pairs in (IMPOSED, OTHER))
    assert (found.n_imposed, found.n_other) == (len(imposed), len(other)) == (4, 7)
    assert found.imposed == pytest.approx(np.mean(imposed), abs=1e-9)
    assert found.other == pytest.approx(np.mean(other), abs=1e-9)
    assert found.difference == pytest.approx(np.mean(imposed) - np.mean(other), abs=1e-9)
    expected = mannwhitneyu(imposed, other).statistic / (len(imposed) * len(other))
    assert found.auroc == pytest.approx(expected, abs=1e-9)
    assert found.auroc > 0.7
    assert tf_target_dependence(sparse.csr_matrix(CELLS), GRAPH, measure) == found


def test_edges_that_are_not_at_work_do_not_show():
    shuffled = np.random.default_rng(1).permuted(cells(2000, 1), axis=0)
    assert tf_target_dependence(shuffled, GRAPH).imposed < 0.06


def test_a_silent_gene_depends_on_nothing():
    silent = CELLS[:, :2].copy()
    silent[:, 0] = 0.0
    for measure in absolute_correlation, mutual_information:
        np.testing.assert_array_equal(measure(silent[:, :1], silent[:, 1:]), 0.0)


def test_ties_count_half():
    constant = np.ones((10, 6))
    assert tf_target_dependence(constant, GRAPH).auroc == 0.5


def test_unfit_arguments_are_named():
    with pytest.raises(UserError, match="give cells of its genes"):
        tf_target_dependence(CELLS[:, :4], GRAPH)
    with pytest.raises(UserError, match="choose from correlation, mutual_information"):
        tf_target_dependence(CELLS, GRAPH, "luck")
    complete = CausalGraph(("A", "T"), {"T": ("A",)})
    with pytest.raises(UserError, match="1 pairs of TF and target are imposed and 0 are not"):
        tf_target_dependence(CELLS[:, :2], complete)
    with pytest.raises(UserError, match="negative"):
        tf_target_dependence(-CELLS, GRAPH)


def test_the_class_accumulates_what_the_function_scores_at_once():
    for measure in "correlation", "mutual_information":
        metric = TFTargetDependence(GRAPH, measure)
        for part in torch.from_numpy(CELLS).split(64):
            metric.update(part)
        assert metric.compute().item() == tf_target_dependence(CELLS, GRAPH, measure).auroc


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run whose generator obeyed the graph; its real cells do not."""
    folder = tmp_path / "run"
    labels = {"dataset": "tiny", "kb": "human", "inferer": "random", "model": "small", "graph": "top 1", "seed": 7}
    write_results(one_run(), folder, {"setting": labels})
    GRAPH.to_json(folder / "graph.json")
    shuffled = np.random.default_rng(1).permuted(CELLS, axis=0)
    sets = {"test": shuffled, "synthetic_0": CELLS, "synthetic_1": cells(200, 1)}
    for name, matrix in sets.items():
        adata = anndata.AnnData(sparse.csr_matrix(matrix.astype(np.float32)), var=pd.DataFrame(index=list(GENES)))
        adata.write_h5ad(folder / f"{name}.h5ad")
    return folder


def test_the_table_sets_generated_beside_real_cells(run):
    table = fidelity_table([run, run])
    assert len(table.rows) == 2
    assert all(len(row) == len(table.header) for row in table.rows)
    row = table.rows[0]
    assert row[: table.n_labels] == ["tiny", "human", "random", "small", "top 1", "7"]
    found = dict(zip(table.header[table.n_labels :], row[table.n_labels :], strict=True))
    generated = [tf_target_dependence(matrix, GRAPH) for matrix in (CELLS, cells(200, 1))]
    assert found["imposed |r|"].value == pytest.approx(np.mean([of.imposed for of in generated]), rel=1e-5)
    assert found["other |r|"].value == pytest.approx(np.mean([of.other for of in generated]), rel=1e-5)
    assert found["AUROC"].value == pytest.approx(np.mean([of.auroc for of in generated]), rel=1e-5)
    assert found["AUROC"].text.startswith(f"{found['AUROC'].value:.3f} ± ")
    assert found["imposed |r|, real cells"].value < 0.2 < found["imposed |r|"].value
    assert "MI" in fidelity_table([run], "mutual_information").header[table.n_labels]


def test_what_a_run_lacks_is_named(run):
    other = anndata.read_h5ad(run / "test.h5ad")[:, ::-1].copy()
    other.write_h5ad(run / "test.h5ad")
    with pytest.raises(UserError, match=r"test\.h5ad: its genes are not those"):
        fidelity_table([run])
    (run / "test.h5ad").unlink()
    with pytest.raises(UserError, match=r"test\.h5ad: no such file"):
        fidelity_table([run])
    for path in run.glob("synthetic_*"):
        path.unlink()
    with pytest.raises(UserError, match=r"no synthetic_\*\.h5ad"):
        fidelity_table([run])
