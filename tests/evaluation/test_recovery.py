"""Recovery of the imposed graph: scores by hand and by scikit-learn, and cells that obey their graph or do not."""

import anndata
import numpy as np
import pandas as pd
import pytest
from graph_folders import column, texts, write_folder
from matplotlib.image import imread
from scipy.sparse import csr_matrix
from sklearn.metrics import average_precision_score, precision_recall_curve

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.recovery import recovery_blocks
from llm4grn.evaluation.graphs.recovery_score import score_recovery
from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph
from llm4grn.knowledge.base import TFSet

TFS, TARGETS = "ABCDEF", "klmnopqrstuvwxyz"


def grn_of(importance, tfs, targets):
    rows = [(tf, t, importance[i, j]) for i, tf in enumerate(tfs) for j, t in enumerate(targets)]
    return GRN.from_edges(pd.DataFrame([r for r in rows if not np.isnan(r[2])], columns=["TF", "target", "importance"]))


def test_by_hand():
    graph = CausalGraph(tuple("ABCxy"), {"x": ("A", "B"), "y": ("C",)})
    edges = [("A", "x", 9), ("C", "x", 8), ("B", "x", 7), ("C", "y", 6), ("A", "y", 5)]
    found = score_recovery(GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"])), graph, "ABC")
    assert found.precision_at_k == pytest.approx((1 / 2 + 1) / 2)
    assert found.random_precision == pytest.approx((2 / 3 + 1 / 3) / 2)
    # In the order of importance: true, false, true, true, false, and one that is not ranked.
    assert found.auprc == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found.random_auprc == 0.5
    assert found.silent == 0


def test_ties_and_targets_without_a_ranking():
    graph = CausalGraph(tuple("ABCDxy"), {"x": ("A",), "y": ("A", "B")})
    edges = [("A", "x", 1), ("B", "x", 1), ("C", "x", 1)]
    found = score_recovery(GRN.from_edges(pd.DataFrame(edges, columns=["TF", "target", "importance"])), graph, "ABCD")
    assert found.precision_at_k == pytest.approx((1 / 3 + 2 / 4) / 2)  # any of three; any two of four
    assert found.silent == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_against_plain_loops_and_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    importance = rng.random((6, 16))
    true = rng.random((6, 16)) < 0.3
    true[0] |= ~true.any(axis=0)
    importance += 0.5 * true
    importance[rng.random((6, 16)) < 0.1] = np.nan
    regulators = {t: tuple(np.array(list(TFS))[true[:, j]]) for j, t in enumerate(TARGETS)}
    found = score_recovery(grn_of(importance, TFS, TARGETS), CausalGraph(tuple(TFS + TARGETS), regulators), TFS)
    filled = np.nan_to_num(importance, nan=-1)
    precisions = []
    for j in range(len(TARGETS)):
        k = true[:, j].sum()
        # Of those not ranked, which are tied, any could be next: the mean over many orders.
        draws = [set(np.lexsort((rng.random(6), -filled[:, j]))[:k]) for _ in range(2000)]
        precisions.append(np.mean([len(draw & set(np.flatnonzero(true[:, j]))) / k for draw in draws]))
    assert found.precision_at_k == pytest.approx(np.mean(precisions), abs=0.005)
    assert found.auprc == pytest.approx(average_precision_score(true.ravel(), filled.ravel()), abs=1e-12)
    assert found.random_auprc == pytest.approx(true.mean())
    precision, recall, _ = precision_recall_curve(true.ravel(), filled.ravel())
    curve = {round(r, 9): p for r, p in zip(recall, precision, strict=True)}  # of equal recall, the surest threshold
    for r, p in zip(found.recall, found.precision, strict=True):
        assert curve[round(r, 9)] == pytest.approx(p)
    assert found.recall[-1] == 1


def test_edges_onto_tfs_are_left_out():
    graph = CausalGraph(tuple("ABCx"), {"B": ("A",), "x": ("A", "B")})
    grn = GRN.from_edges(pd.DataFrame({"TF": list("AB"), "target": list("xx"), "importance": [2.0, 1.0]}))
    found = score_recovery(grn, graph, "ABC")
    assert (found.precision_at_k, found.auprc, found.random_auprc) == (1, 1, pytest.approx(2 / 3))


def test_all_tfs_regulate():
    graph = CausalGraph(tuple("ABx"), {"x": ("A", "B")})
    found = score_recovery(grn_of(np.array([[1.0], [2.0]]), "AB", "x"), graph, "AB")
    assert (found.precision_at_k, found.auprc, found.random_auprc, found.precision[-1]) == (1, 1, 1, 1)


# -- cells -------------------------------------------------------------------------------------------------------------


def write_cells(path, regulators, seed, n_cells=300):
    """Cells whose targets are the means of their regulators, with noise; one gene is never expressed."""
    rng = np.random.default_rng(seed)
    roots = rng.gamma(1.0, 2.0, (n_cells, len(TFS)))
    targets = [roots[:, [TFS.index(tf) for tf in regulators[t]]].mean(axis=1) for t in TARGETS]
    cells = rng.poisson(5 * np.column_stack([roots, *targets])).astype(np.float32)
    cells[:, -1] = 0
    adata = anndata.AnnData(csr_matrix(cells))
    adata.var_names = list(TFS + TARGETS)
    adata.write_h5ad(path)


def graph_of(seed):
    rng = np.random.default_rng(seed)
    return {t: "".join(sorted(rng.choice(list(TFS), 2, replace=False))) for t in TARGETS}


@pytest.fixture
def folders(tmp_path):
    """Two runs: their synthetic cells obey the imposed graph, the real ones another."""
    made = []
    for seed in (1, 2):
        imposed, folder = graph_of(seed), tmp_path / f"run{seed}"
        write_folder(folder, TFS + TARGETS, imposed, inferer="random", seed=seed, model="small")
        for i in range(2):
            write_cells(folder / f"synthetic_{i}.h5ad", imposed, 10 * seed + i)
        write_cells(folder / "test.h5ad", graph_of(seed + 100), 10 * seed + 5)
        made.append(folder)
    return made


@pytest.mark.parametrize("name", ["correlation", "grnboost2"])
def test_what_was_imposed_is_found_in_the_cells_that_obey_it(folders, tmp_path, name):
    table, figure = recovery_blocks(folders, tmp_path / "figures", inferers=[name], n_jobs=1)
    assert [row[:6] for row in texts(table)] == [["tiny", "human", "random", "small", name, "2"]]
    (synthetic,), (real,) = (column(table, f"Precision at k, {cells}") for cells in ("synthetic", "real"))
    assert synthetic > 0.8
    assert real < 0.55
    assert column(table, "Precision at k, random") == [pytest.approx(2 / 6)]
    assert column(table, "AUPRC ratio, synthetic")[0] > 2
    assert column(table, "% of targets silent, synthetic") == [pytest.approx(100 / 16)]
    assert min(imread(figure.path).shape[:2]) > 200


def test_shuffled_genes_leave_nothing_to_find(folders, tmp_path):
    for folder in folders:
        cells = anndata.read_h5ad(folder / "synthetic_0.h5ad")
        dense, rng = cells.X.toarray(), np.random.default_rng(0)
        cells.X = csr_matrix(rng.permuted(dense, axis=0))
        cells.write_h5ad(folder / "synthetic_0.h5ad")
    table, _ = recovery_blocks(folders, tmp_path / "figures", inferers=["correlation"])
    assert column(table, "Precision at k, synthetic")[0] < 0.5


def test_the_store_is_read_again_unless_cells_change(folders, tmp_path):
    store = tmp_path / "store"
    first = recovery_blocks(folders, tmp_path / "a", store, ["correlation"])
    stages = sorted((store / "recovery").iterdir())
    assert len(stages) == 4
    again = recovery_blocks(folders, tmp_path / "b", store, ["correlation"])
    assert again[0] == first[0]
    assert sorted((store / "recovery").iterdir()) == stages
    write_cells(folders[0] / "synthetic_0.h5ad", graph_of(7), 7)
    changed = recovery_blocks(folders, tmp_path / "c", store, ["correlation"])
    assert changed[0] != first[0]
    assert len(list((store / "recovery").iterdir())) == 5


def test_the_same_cells_are_scored_again_if_graph_or_tfs_change(folders, tmp_path):
    def recover():
        return recovery_blocks(folders[:1], tmp_path / "figures", tmp_path / "store", ["correlation"])[0]

    first = recover()
    CausalGraph(tuple(TFS + TARGETS), graph_of(50)).to_json(folders[0] / "graph.json")
    of_another_graph = recover()
    assert column(of_another_graph, "Precision at k, synthetic") < column(first, "Precision at k, synthetic")
    regulators = {target: [tf for tf in tfs if tf != "F"] or ["A"] for target, tfs in graph_of(50).items()}
    CausalGraph(tuple(TFS + TARGETS), regulators).to_json(folders[0] / "graph.json")
    before = recover()
    TFSet(tuple(TFS[:-1])).to_json(folders[0] / "tfs.json")
    assert column(recover(), "Precision at k, random") > column(before, "Precision at k, random")


def test_more_sets_of_cells_find_more(folders, tmp_path):
    for seed, folder in enumerate(folders, 1):
        for i in range(2):
            write_cells(folder / f"synthetic_{i}.h5ad", graph_of(seed), i, n_cells=15)
    one, both = (recovery_blocks(folders, tmp_path, inferers=["correlation"], samples=n)[0] for n in (1, 2))
    assert column(both, "AUPRC, synthetic")[0] > column(one, "AUPRC, synthetic")[0]
    assert column(both, "AUPRC, real") == column(one, "AUPRC, real")
    with pytest.raises(UserError, match=r"synthetic_2\.h5ad: no such file"):
        recovery_blocks(folders, tmp_path, samples=3)


def test_models_are_kept_apart_though_their_graph_is_the_same(folders, tmp_path):
    other = write_folder(tmp_path / "paper", TFS + TARGETS, graph_of(1), inferer="random", seed=1, model="paper")
    for name in ("synthetic_0.h5ad", "test.h5ad"):
        write_cells(other / name, graph_of(1), 3)
    table, _ = recovery_blocks([*folders, other], tmp_path / "figures", inferers=["correlation"])
    assert {tuple(row[3:6]) for row in texts(table)} == {("small", "correlation", "2"), ("paper", "correlation", "1")}


def test_folders_without_cells_are_left_out(tmp_path):
    assert recovery_blocks([write_folder(tmp_path / "a", "ABx", {"x": "AB"})], tmp_path) == []


def test_what_cannot_be_done(folders, tmp_path):
    with pytest.raises(UserError, match="recovery: llm; choose some of grnboost2, correlation, genie3, pidc"):
        recovery_blocks(folders, tmp_path, inferers=["llm"])
    write_folder(tmp_path / "other", "ABx", {"x": "AB"})
    for name in ("synthetic_0.h5ad", "test.h5ad"):
        write_cells(tmp_path / "other" / name, graph_of(1), 3)
    with pytest.raises(UserError, match=r"synthetic_0\.h5ad: its genes are not those of graph\.json"):
        recovery_blocks([tmp_path / "other"], tmp_path)
