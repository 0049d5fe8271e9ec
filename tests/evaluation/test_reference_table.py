"""All networks against one reference in one table: means over seeds, merged and corrected p-values."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from graph_folders import column, texts, write_folder
from sklearn.metrics import average_precision_score, roc_auc_score

from llm4grn.data.simulated import LinearUniform
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.ranking import PermutationTest, Ranking
from llm4grn.evaluation.graphs.reference_table import merged_p, reference_table, simulated_source
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.evaluation.graphs.tables import graph_blocks
from llm4grn.report.blocks import Figure, Table

TFS, TARGETS = "ABCD", "mnopqrstuvwxyz"


def holm(p_values):
    """By the definition: the i-th smallest of m times m - i + 1, never less than a smaller one's, at most 1."""
    corrected, largest = {}, 0.0
    for i, p in enumerate(sorted(p_values)):
        largest = max(largest, min(1.0, p * (len(p_values) - i)))
        corrected[p] = largest
    return [corrected[p] for p in p_values]


@pytest.fixture
def case(tmp_path):
    """A reference, and the folders and importances of a good and two useless networks, two seeds each."""
    rng = np.random.default_rng(0)
    true = rng.random((4, 14)) < 0.3
    edges = [(TFS[i], TARGETS[j]) for i, j in np.argwhere(true)]
    pd.DataFrame(edges, columns=["TF", "target"]).to_csv(tmp_path / "net.tsv", sep="\t", index=False)
    folders, importances = [], {}
    for name, signal in (("good", 1.0), ("useless", 0.0), ("worse", -0.2)):
        for seed in (1, 2):
            matrix = rng.random((4, 14)) + signal * true
            rows = [(tf, t, matrix[i, j]) for i, tf in enumerate(TFS) for j, t in enumerate(TARGETS)]
            ranked = pd.DataFrame(rows, columns=["TF", "target", "importance"])
            graph = {t: "AB" for t in TARGETS}
            options = {"inferer": name, "seed": seed, "ranked": ranked}
            folders.append(write_folder(tmp_path / f"{name}{seed}", TFS + TARGETS, graph, **options))
            importances.setdefault(name, []).append(matrix)
    return tmp_path / "net.tsv", folders, importances, true


def test_means_over_seeds_with_scikit_learn(case):
    path, folders, importances, true = case
    table = reference_table(read_graph_runs(folders), path, permutations=99)
    assert [row[:4] for row in texts(table)] == [["tiny", "human", name, "2"] for name in importances]
    expected = {
        "AUROC": [np.mean([roc_auc_score(true.ravel(), m.ravel()) for m in both]) for both in importances.values()],
        "AUPRC": [
            np.mean([average_precision_score(true.ravel(), m.ravel()) for m in both]) for both in importances.values()
        ],
    }
    for name, values in expected.items():
        assert column(table, name) == pytest.approx(values)
    assert column(table, "AUPRC ratio") == pytest.approx(np.array(expected["AUPRC"]) / true.mean())
    assert column(table, "True edges") == [true.sum()] * 3
    assert column(table, "Candidates") == [56] * 3


def test_p_values_are_merged_and_corrected(case):
    path, folders, *_ = case
    table = reference_table(read_graph_runs(folders), path, permutations=99)
    p = column(table, "p, AUPRC")
    assert p[0] == pytest.approx(0.02)  # twice 1 / (99 + 1)
    assert min(p[1:]) > 0.05
    assert column(table, "p, AUPRC, Holm") == pytest.approx(holm(p))
    alone = reference_table(read_graph_runs(folders[:1]), path, permutations=99)
    assert column(alone, "p, AUPRC") == column(alone, "p, AUPRC, Holm") == [pytest.approx(0.01)]
    assert "2 rows" not in " ".join(alone.notes)


def test_merged_p_values_hold_under_the_null_however_seeds_depend():
    rng = np.random.default_rng(1)
    for shared in (0.0, 0.7, 1.0):
        common = rng.random((4000, 1))
        draws = np.where(rng.random((4000, 3)) < shared, common, rng.random((4000, 3)))
        merged = np.array([merged_p(row) for row in draws])
        for level in (0.01, 0.05, 0.2):
            assert (merged <= level).mean() <= level + 0.01
    assert merged_p([0.3]) == 0.3
    assert merged_p([0.9, 0.8]) == 1


def test_a_network_of_which_two_graphs_are_imposed_counts_once(case, tmp_path):
    path, folders, *_ = case
    ranked = pd.read_csv(folders[0] / "grn.tsv", sep="\t")
    options = {"inferer": "good", "seed": 1, "k": 1, "ranked": ranked}
    again = write_folder(tmp_path / "again", TFS + TARGETS, {t: "A" for t in TARGETS}, **options)
    one, both = (reference_table(read_graph_runs(f), path, permutations=9) for f in (folders[:1], [folders[0], again]))
    assert both.rows == one.rows


def test_without_a_list_of_tfs_all_genes_are_candidates(case, tmp_path):
    path, *_ = case
    ranked = pd.DataFrame({"TF": ["A", "m"], "target": ["B", "A"], "importance": [1.0, 2.0]})
    options = {"kb": "none", "kb_method": "llm4grn.knowledge.none.NoPriorList", "ranked": ranked}
    folder = write_folder(tmp_path / "none", TFS + TARGETS, {t: "A" for t in TARGETS}, **options)
    table = reference_table(read_graph_runs([folder]), path, permutations=9)
    assert column(table, "Candidates") == [4 * 17]


def test_truth_of_simulated_data_and_other_data_beside_it(case, tmp_path):
    _, folders, *_ = case
    source = LinearUniform(n_cells=20, n_causes=4, n_effects=5, causes_per_effect=2, seed=3)
    edges = source.true_graph()
    config = {"_target_": "llm4grn.data.simulated.LinearUniform", **asdict(source)}
    assert simulated_source({"dataset": {"source": config}}) == source
    ranked = edges.assign(importance=1.0)[["TF", "target", "importance"]]
    causes, effects = source.genes[:4], source.genes[4:]
    graph = {effect: causes[:2] for effect in effects}
    folder = write_folder(
        tmp_path / "simulated", source.genes, graph, source=config, ranked=ranked, dataset="simulated"
    )
    table = reference_table(read_graph_runs([*folders, folder]), "truth", permutations=9)
    assert column(table, "AUROC") == column(table, "AUPRC") == [1]
    assert any(note.startswith("Not scored: tiny") for note in table.notes)
    with pytest.raises(UserError, match="reference=truth: tiny is not simulated"):
        reference_table(read_graph_runs(folders), "truth")


def test_as_a_block_with_a_reference_only(case, tmp_path):
    path, folders, *_ = case
    names = [getattr(block, "name", "") for block in graph_blocks(folders, tmp_path / "figures", [str(path)])]
    assert "graph_reference" in names
    assert "graph_calibration" in names
    assert "graph_reference" not in [getattr(b, "name", "") for b in graph_blocks(folders, tmp_path / "figures")]
    with pytest.raises(UserError, match="reference=collectri: there is no"):
        graph_blocks(folders, tmp_path / "figures", ["collectri"], data=tmp_path)


def test_each_reference_has_tables_and_pictures_of_its_own(case, tmp_path):
    path, folders, _, true = case
    edges = pd.read_csv(path, sep="\t")
    edges.head(len(edges) // 2).to_csv(tmp_path / "half.tsv", sep="\t", index=False)
    references = [str(path), str(tmp_path / "half.tsv")]
    blocks = graph_blocks(folders, tmp_path / "figures", references)
    tables = [block for block in blocks if getattr(block, "name", "").startswith("graph_reference")]
    assert [table.title for table in tables] == ["Ranked edges against net.tsv", "Ranked edges against half.tsv"]
    assert column(tables[0], "True edges") == [true.sum()] * 3
    assert column(tables[1], "True edges") == [true.sum() // 2] * 3
    assert len({block.name for block in blocks if isinstance(block, Table)}) == sum(
        isinstance(block, Table) for block in blocks
    )
    assert len({block.path for block in blocks if isinstance(block, Figure)}) == sum(
        isinstance(block, Figure) for block in blocks
    )


def test_p_values_under_the_null_are_about_uniform(case):
    true, rng = case[3], np.random.default_rng(2)
    found = []
    for i in range(200):
        ranking = Ranking.of(rng.random(true.size))
        found.append(PermutationTest(ranking, np.ones(true.shape, dtype=bool), np.argwhere(true)).run(99, i)[2][1])
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.06)
