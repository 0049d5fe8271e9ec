"""Scores against a reference: equal to independent implementations, and p-values that are what they say."""

import gzip
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest
from sklearn.metrics import average_precision_score, roc_auc_score

from llm4grn.data.simulated import LinearUniform
from llm4grn.data.sources import PBMC3k
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.ranking import PermutationTest, Ranking
from llm4grn.evaluation.graphs.reference import (
    METRICS,
    file_label,
    load_reference,
    read_reference,
    reference_among,
    score_against,
)
from llm4grn.grn import GRN
from llm4grn.inference.grnboost2 import GRNBoost2

ROOT = Path(__file__).resolve().parents[2]


def grn_of(matrix, tfs, targets):
    """A network from a matrix of importances; NaN is not ranked."""
    rows = [(tf, target, matrix[i, j]) for i, tf in enumerate(tfs) for j, target in enumerate(targets)]
    rows = [row for row in rows if not np.isnan(row[2]) and row[0] != row[1]]
    return GRN.from_edges(pd.DataFrame(rows, columns=["TF", "target", "importance"]))


def edges_of(matrix, tfs, targets):
    rows = [(tfs[i], targets[j]) for i, j in np.argwhere(matrix)]
    return pd.DataFrame(rows, columns=["TF", "target"])


# -- the three statistics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
def test_auroc_and_auprc_are_those_of_scikit_learn_with_ties(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=60).astype(float)
    labels = rng.permutation(np.arange(60) < rng.integers(1, 59))
    auroc, auprc, _ = Ranking.of(scores).statistics(np.flatnonzero(labels))
    assert auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert auprc == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("scores", [[3, 2, 2, 2, 1, 1], [1, 1, 1, 1, 1, 1], [6, 5, 4, 3, 2, 1], [2, 2, 2, 1, 1, 1]])
def test_early_precision_is_the_mean_over_all_orders_of_the_tied(scores):
    for n_true in range(1, 6):
        for true in itertools.combinations(range(6), n_true):
            precisions = []
            for order in itertools.permutations(range(6)):
                first = sorted(order, key=lambda i: -scores[i])[:n_true]  # sorted is stable: ties as in order
                precisions.append(len(set(first) & set(true)) / n_true)
            early = Ranking.of(np.array(scores, dtype=float)).statistics(np.array(true))[2]
            assert early == pytest.approx(np.mean(precisions), abs=1e-12)


def test_many_sets_of_edges_at_once_are_each_scored_as_alone():
    rng = np.random.default_rng(0)
    ranking = Ranking.of(rng.integers(6, size=40).astype(float))
    sets = np.array([rng.choice(40, 7, replace=False) for _ in range(30)])
    np.testing.assert_allclose(ranking.statistics(sets), [ranking.statistics(one) for one in sets])


# -- the candidates ----------------------------------------------------------------------------------------------------


def test_candidates_ranked_and_not_with_scikit_learn_on_the_same_pairs():
    rng = np.random.default_rng(3)
    tfs, targets = ["A", "B", "C", "D"], [f"t{i}" for i in range(12)]
    importance = rng.integers(-3, 4, size=(4, 12)).astype(float)
    importance[rng.random((4, 12)) < 0.4] = np.nan
    true = rng.random((4, 12)) < 0.3
    true[3] = False  # D is in no reference: no candidate
    outside = pd.DataFrame({"TF": ["A", "A", "X"], "target": ["B", "elsewhere", "t1"]})
    reference = pd.concat([edges_of(true, tfs, targets), outside])
    scores = score_against(grn_of(importance, tfs, targets), reference, [*targets, *tfs], tfs, permutations=10)
    assert (scores.tfs, scores.targets, scores.candidates) == (3, 12, 36)
    assert scores.edges == true.sum()
    assert scores.edges_at_hand == true.sum() + 1  # A -> B joins two TFs
    assert scores.reference_edges == true.sum() + 3
    assert scores.ranked == np.isfinite(importance[:3]).sum()
    labels, ranked = true[:3].ravel(), np.nan_to_num(importance[:3], nan=-99).ravel()
    assert scores.values["AUROC"] == pytest.approx(roc_auc_score(labels, ranked))
    assert scores.values["AUPRC"] == pytest.approx(average_precision_score(labels, ranked))
    assert scores.values["AUPRC ratio"] == pytest.approx(scores.values["AUPRC"] / labels.mean())
    assert scores.at_random["early precision"] == pytest.approx(labels.mean())


def test_without_a_list_of_tfs_a_gene_and_itself_is_no_candidate():
    genes = list("ABCDEF")
    importance = np.random.default_rng(0).random((6, 6))
    reference = pd.DataFrame({"TF": ["A", "A", "B", "B", "A"], "target": ["B", "C", "B", "F", "C"]})
    scores = score_against(grn_of(importance, genes, genes), reference, genes, permutations=20)
    assert (scores.tfs, scores.targets, scores.candidates, scores.edges) == (2, 6, 10, 3)  # a self-loop, one twice
    mask = ~np.eye(6, dtype=bool)[:2]
    true = np.zeros((2, 6))
    true[0, [1, 2]] = true[1, 5] = 1
    assert scores.values["AUROC"] == pytest.approx(roc_auc_score(true[mask], importance[:2][mask]))


def test_perfect_reversed_and_empty_of_information():
    tfs, targets = [f"TF{i}" for i in range(5)], [f"t{i:02}" for i in range(40)]
    true = np.random.default_rng(0).random((5, 40)) < 0.2
    reference, genes = edges_of(true, tfs, targets), [*tfs, *targets]
    perfect = score_against(grn_of(true.astype(float), tfs, targets), reference, genes, tfs, permutations=99)
    assert [perfect.values[name] for name in ("AUROC", "AUPRC", "early precision")] == [1, 1, 1]
    assert perfect.values["early precision ratio"] == pytest.approx(1 / true.mean())
    assert set(perfect.p_values.values()) == {0.01}
    reverse = score_against(grn_of(1 - true.astype(float), tfs, targets), reference, genes, tfs, permutations=99)
    assert reverse.values["AUROC"] == 0
    assert reverse.p_values["AUROC"] == 1
    flat = score_against(grn_of(0.0 * true, tfs, targets), reference, genes, tfs, permutations=99)
    for name in METRICS:
        assert flat.values[name] == pytest.approx(flat.at_random[name])
        assert flat.p_values[name] == 1


@pytest.mark.parametrize(
    ("edges", "found"), [([("X", "Y")], "0 of 0"), ([("A", "B")], "0 of 2"), ([("A", "t1"), ("A", "t2")], "2 of 2")]
)
def test_nothing_to_score(edges, found):
    genes = ["A", "B", "t1", "t2"]
    grn = grn_of(np.ones((2, 2)), ["A", "B"], ["t1", "t2"])
    with pytest.raises(UserError, match=f"reference=mine: {found} candidate edges") as caught:
        score_against(grn, pd.DataFrame(edges, columns=["TF", "target"]), genes, ["A", "B"], name="mine")
    assert "\n" not in str(caught.value)


# -- the p-values ------------------------------------------------------------------------------------------------------


def null_case(rng, n_tfs=8, n_targets=60):
    """A network and a reference that know nothing of each other, but both prefer the same targets and copy each other's
    edges: TFs come in pairs with nearly the same importances and the same true targets."""
    popularity = rng.gamma(0.5, 1, n_targets)
    pairs = rng.normal(size=(n_tfs // 2, n_targets))
    importance = popularity + np.repeat(pairs, 2, axis=0) + 0.01 * rng.normal(size=(n_tfs, n_targets))
    true = np.repeat(rng.random((n_tfs // 2, n_targets)) < 0.4 * popularity / (1 + popularity), 2, axis=0)
    return importance, true


def p_values(importance, true, seed):
    ranking = Ranking.of(importance.ravel())
    test = PermutationTest(ranking, np.ones(true.shape, dtype=bool), np.argwhere(true))
    return test.run(99, seed)[2]


def test_p_values_are_uniform_under_the_null_with_popular_targets_and_copied_edges():
    rng = np.random.default_rng(0)
    found = np.array([p_values(*null_case(rng), seed) for seed in range(400)])
    for column in found[:, :2].T:
        assert kstest(column, "uniform").pvalue > 0.01
        assert (column <= 0.05).mean() == pytest.approx(0.05, abs=0.03)
    assert (found[:, 2] <= 0.05).mean() < 0.08  # early precision has few values: never too small, often too large


def test_p_values_are_small_where_there_is_something():
    rng = np.random.default_rng(1)
    cases = [null_case(rng) for _ in range(20)]
    assert all(p_values(importance + 4 * true, true, 0).max() <= 0.05 for importance, true in cases)


@pytest.mark.parametrize("square", [False, True], ids=["bipartite", "all genes"])
def test_random_references_keep_the_degrees(square):
    rng = np.random.default_rng(2)
    candidates = ~np.eye(9, 30, dtype=bool) if square else np.ones((9, 30), dtype=bool)
    true = np.argwhere((rng.random((9, 30)) < 0.25) & candidates)
    drawn = PermutationTest(Ranking.of(rng.random(candidates.sum())), candidates, true)._renamed(50, rng)
    degree = np.bincount(true[:, 1], minlength=30)
    assert len({tuple(row) for row in drawn}) == 50
    for targets in drawn:
        assert candidates[true[:, 0], targets].all()
        assert len(set(zip(true[:, 0], targets, strict=True))) == len(true)
        if not square:  # there, edges that fall on a gene and itself go elsewhere
            np.testing.assert_array_equal(np.bincount(targets, minlength=30), degree)


def test_same_seed_same_p_values():
    tfs, targets = ["A", "B"], [f"t{i}" for i in range(20)]
    rng = np.random.default_rng(0)
    grn, reference = grn_of(rng.random((2, 20)), tfs, targets), edges_of(rng.random((2, 20)) < 0.3, tfs, targets)
    one, same, other = (score_against(grn, reference, [*tfs, *targets], tfs, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.p_values != other.p_values
    assert one.values == other.values


# -- reading references ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("net.tsv", "TF\ttarget\tsign\nA\tNA\t1\nB\tNAN\t-1\n"),
        ("net.csv", "Gene1,Gene2,Type\nA,NA,+\nB,NAN,-\n"),
        ("net.tsv.gz", "source_genesymbol\ttarget_genesymbol\nA\tNA\nB\tNAN\n"),
        ("net.csv", "target,TF\nNA,A\nNAN,B\n"),
    ],
)
def test_tables_of_several_origins(tmp_path, file, text):
    path = tmp_path / file
    path.write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
    assert read_reference(path)[["TF", "target"]].to_numpy().tolist() == [["A", "NA"], ["B", "NAN"]]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"GATA1\nSPI1\n", "without the column TF, target among GATA1"),
        (b"TF\ttarget\n", "no edges"),
        (b"\x89HDF\r\n\x1a\n\x00\xff\xfe", "not a text file"),
        (b"TF,target,Gene1\nA,B,C\n", "two columns could be TF"),
    ],
)
def test_what_is_no_table_of_edges(tmp_path, content, named):
    path = tmp_path / "net.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"reference=.*{named}") as caught:
        load_reference(str(path))
    assert "\n" not in str(caught.value)


def test_broken_gzip(tmp_path):
    path = tmp_path / "net.tsv.gz"
    path.write_bytes(gzip.compress(b"TF\ttarget\nA\tB\n" * 1000)[:60])
    with pytest.raises(UserError, match="does not unpack"):
        read_reference(path)


def test_what_is_dropped_is_counted(tmp_path, caplog):
    (tmp_path / "net.csv").write_text("TF,target\nA,B\nA,B\nA,A\n")
    assert len(read_reference(tmp_path / "net.csv")) == 1
    assert "1 of 3 rows are used; 2 have no name, repeat another" in caplog.text


def test_truth_and_collectri(tmp_path):
    assert len(load_reference("truth", LinearUniform(n_cells=10))) == 500
    with pytest.raises(UserError, match="PBMC3k is not known"):
        load_reference("truth", PBMC3k())
    with pytest.raises(UserError, match=r"reference=collectri: there is no .*collectri_human\.tsv\.gz"):
        load_reference("collectri", PBMC3k(), tmp_path)
    (tmp_path / "collectri_human.tsv.gz").write_bytes(gzip.compress(b"TF\ttarget\tsign\nA\tB\t1\n"))
    assert load_reference("collectri", PBMC3k(), tmp_path)[["TF", "target"]].to_numpy().tolist() == [["A", "B"]]


def test_names_in_other_case_are_found_before_anything_is_inferred():
    edges = pd.DataFrame({"TF": ["gata1", "T", "NOPE"], "target": ["spi1", "GATA1", "SPI1"]})
    genes = ["GATA1", "SPI1", "TBXT"]
    found, line = reference_among(edges, genes, "human", aliases=False, name="mine")
    assert found.to_numpy().tolist() == [["GATA1", "SPI1"], ["TBXT", "GATA1"], ["NOPE", "SPI1"]]
    assert "reference=mine: 2 of 3 edges are between genes of the data set" in line
    assert "gata1 = GATA1" in line
    exact = pd.DataFrame({"TF": ["GATA1", "gata1"], "target": ["SPI1", "TBXT"]})
    assert reference_among(exact, genes, "human", aliases=False, name="mine")[0].equals(exact)
    assert reference_among(exact, genes, "human", aliases=True, name="mine")[0]["TF"].tolist() == ["GATA1", "GATA1"]
    with pytest.raises(UserError, match=r"reference=mine: 0 of 2 edges .* same organism"):
        reference_among(exact, ["A", "B"], "human", aliases=True, name="mine")


def test_two_references_keep_two_sets_of_scores():
    names = {file_label(name) for name in ("truth", "a/net.tsv", "b/net.tsv", "b/net.csv")}
    assert len(names) == 4
    assert "truth" in names


# -- the whole line ----------------------------------------------------------------------------------------------------


def test_grnboost2_finds_the_true_graph_of_linear_uniform():
    source = LinearUniform(n_cells=1000)
    cells, truth = source.load(), source.true_graph()
    grn = GRNBoost2(n_jobs=1).infer(cells, sorted(set(truth["TF"])), 0)
    scores = score_against(grn, truth, source.genes, sorted(set(truth["TF"])), permutations=200)
    assert scores.values["AUPRC ratio"] > 2.5
    assert scores.p_values["AUPRC"] == pytest.approx(1 / 201)
    assert scores.by_degrees["AUPRC ratio"] == pytest.approx(1, abs=0.1)


def infer_grn(folder, *arguments):
    command = [sys.executable, str(ROOT / "infer_grn.py"), f"paths.outputs={folder}", f"paths.store={folder}/store"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_script_finds_the_true_graph_by_itself_and_writes_the_scores(tmp_path):
    small = ["dataset=linear_uniform", "dataset.n_cells=1300", "kb=truth", "inferer=correlation"]
    small += ["dataset.preprocessing.min_cells=100"]
    done = infer_grn(tmp_path, *small)
    assert done.returncode == 0, done.stderr
    assert "Against truth: 500 edges among 2500 candidates" in done.stdout
    (folder,) = tmp_path.glob("grn_linear_uniform_*")
    table = pd.read_csv(folder / "reference_scores_truth.tsv", sep="\t").set_index("metric")
    assert list(table.index) == list(METRICS)
    written = json.loads((folder / "reference_scores_truth.json").read_text())
    assert written["values"] == pytest.approx(table["value"].to_dict())
    assert table.loc["AUPRC ratio", "value"] > 2
    truth = pd.read_csv(folder / "reference_truth.tsv", sep="\t")
    grn = GRN.read(folder / "grn.tsv").edges.merge(truth.assign(true=1), how="left", on=["TF", "target"])
    expected = roc_auc_score(grn["true"].fillna(0), grn["importance"])
    assert table.loc["AUROC", "value"] == pytest.approx(expected)

    truth.head(300).to_csv(tmp_path / "mine.tsv", sep="\t", index=False)
    both = infer_grn(tmp_path, *small, "reference=[truth,mine.tsv]")
    assert both.returncode == 0, both.stderr
    assert "Against truth: 500 edges" in both.stdout
    assert "Against mine.tsv: 300 edges" in both.stdout
    assert json.loads((folder / "reference_scores_truth.json").read_text()) == written
    (mine,) = folder.glob("reference_scores_mine_*.json")
    assert json.loads(mine.read_text())["edges"] == 300


@pytest.mark.slow
def test_a_reference_that_is_missing_is_refused_before_any_work(tmp_path):
    done = infer_grn(tmp_path, "reference=nowhere.tsv")
    assert done.returncode == 2
    assert done.stderr.startswith("error: reference=nowhere.tsv: cannot be read")
    assert not (tmp_path / "store").exists()
