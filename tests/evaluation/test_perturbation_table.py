"""Runs against a screen on the page: one row per setting and baseline, and the files beside it."""

import io

import pandas as pd
import pytest
from graph_folders import column, texts, write_folder

from llm4grn.data.simulated import LinearUniform
from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.perturbation_effects import Screen
from llm4grn.evaluation.graphs.perturbation_score import perturbation_score
from llm4grn.evaluation.graphs.perturbation_table import perturbation_tables
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.evaluation.report.comparison_files import write_comparison
from llm4grn.evaluation.report.comparison_report import Options, compare_graphs

SYSTEM = LinearUniform(n_cells=40, n_causes=5, n_effects=12, causes_per_effect=2)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    path = tmp_path_factory.mktemp("screen") / "screen.h5ad"
    cells = SYSTEM.screen(["cause0", "cause1", "cause2"], n_cells=40, n_control=80)
    cells.obs["gene"] = cells.obs.pop("perturbation").astype(str).replace("control", "0")
    cells.write_h5ad(path)
    return Screen(str(path), column="gene", control="0")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The true graph, a wrong one with two seeds, and a graph of other genes."""
    folder = tmp_path_factory.mktemp("runs")
    edges = SYSTEM.true_graph()
    true = {target: tuple(of["TF"]) for target, of in edges.groupby("target")}
    targets = sorted(true)
    made = [write_folder(folder / "true", SYSTEM.genes, true, inferer="truth")]
    for seed in (1, 2):
        wrong = {target: true[targets[(i + 1 + seed) % 12]] for i, target in enumerate(targets)}
        made.append(write_folder(folder / f"wrong{seed}", SYSTEM.genes, wrong, inferer="wrong", seed=seed))
    other = write_folder(folder / "other", ["SPI1", "CD14"], {"CD14": ["SPI1"]}, dataset="blood", inferer="grnboost2")
    return [*made, other]


def test_one_row_for_each_setting_and_baseline(folders, screen, caplog):
    runs = read_graph_runs(folders)
    found = perturbation_tables(runs, screen)
    labels = [row[2:5] for row in texts(found.table)]
    predictors = ("graph", "mean effect", "no change")
    assert labels == [[name, which, n] for name, n in (("truth", "1"), ("wrong", "2")) for which in predictors]
    wrong = [run.causal_graph for run in runs if run.inferer == "wrong"]
    each = [perturbation_score({"a": graph}, screen.load(), column="gene", control="0") for graph in wrong]
    for name, heading in {"percentile": "Percentile", "precision": "Precision", "wasserstein": "Wasserstein"}.items():
        mean = sum(table[name][0] for table in each) / 2
        assert column(found.table, heading)[3] == pytest.approx(mean)
    assert column(found.table, "Percentile")[2] == pytest.approx(50)
    assert "TFs that are not perturbed, of 6: 3 (SPI1, cause3, cause4)." in found.table.notes
    assert any("Not scored: perturbation: none of the 1 edges of blood" in note for note in found.table.notes)
    assert "TFs that are not perturbed" in caplog.text


def test_files_hold_every_graph_and_every_edge(folders, screen):
    found = perturbation_tables(read_graph_runs(folders), screen)
    files = {name: pd.read_csv(io.StringIO(text), sep="\t") for name, text in found.texts().items()}
    scores, edges = files["perturbation_scores.tsv"], files["perturbation_edges.tsv"]
    assert list(scores.columns[:6]) == ["dataset", "KB", "inferer", "seed", "inference_seed", "predictor"]
    assert len(scores) == 3 * 3
    true = edges[edges["inferer"] == "truth"]
    of_perturbed = SYSTEM.true_graph()["TF"].isin(["cause0", "cause1", "cause2"]).sum()
    assert len(true) == of_perturbed == scores["edges"][0]
    assert true["percentile"].mean() == pytest.approx(scores["percentile"][0])


def test_a_section_of_the_page_with_its_files_which_go_with_it(folders, screen, tmp_path):
    folder = tmp_path / "comparison"
    comparison = compare_graphs(folders[:2], folder, Options(perturbation=screen))
    assert [section.title for section in comparison.sections] == ["Graphs", "Perturbations"]
    write_comparison(comparison, folder, "python evaluate.py")
    written = {path.name for path in (folder / "tables").iterdir()}
    assert {"perturbation.csv", "perturbation_scores.tsv", "perturbation_edges.tsv"} <= written
    page = (folder / "report.html").read_text()
    assert "Do the targets of a transcription factor change" in page
    write_comparison(compare_graphs(folders[:2], folder, Options()), folder, "python evaluate.py", html=False)
    assert not any("perturbation" in path.name for path in (folder / "tables").iterdir())


def test_a_screen_of_other_genes_scores_nothing(folders, screen):
    with pytest.raises(UserError, match="none of the 1 TFs is perturbed in 20 cells of"):
        perturbation_tables(read_graph_runs(folders[-1:]), screen)
