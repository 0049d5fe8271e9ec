"""What is written of a comparison, and where; the comparison of trained runs is in tests/test_scripts.py."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results_by_hand import make_results, one_run

from llm4grn.errors import UserError
from llm4grn.evaluation.report.comparison_files import write_comparison
from llm4grn.evaluation.report.comparison_report import Comparison, command_of
from llm4grn.evaluation.report.html_report import Section
from llm4grn.evaluation.report.run_report import write_report
from llm4grn.evaluation.report.wandb_report import numbers_and_words
from llm4grn.evaluation.scores.score_plot import with_figures
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.evaluation.scores.verdicts import Verdict, verdicts
from llm4grn.report.blocks import Cell, Figure, Table

TABLE = Table("scores", "Scores", ["KB", "MMD ↓"], [["human", Cell("0.010 ± 0.001", 0.01, bold=True)]])


def comparison_in(folder: Path) -> Comparison:
    path = folder / "figures" / "noise.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(path)
    answer = Figure("Can it?", path.with_name("answer_pbmc3k.png"), "Black it is.")
    shutil.copy(path, answer.path)
    return Comparison(
        title="pbmc3k: 2 settings compared",
        subtitle="4 runs",
        results=one_run(),
        verdict=[Verdict("pbmc3k", ("No lead is larger than chance.",), ("Two seeds are few.",), answer)],
        sections=[Section("Scores", [TABLE, Figure("Noise", path, "Black is black.")], "How close?")],
        commands=[("RUN_A", "python train.py seed=1000")],
    )


def test_everything_is_written_once_and_can_be_read(tmp_path):
    folder = tmp_path / "comparison"
    files = write_comparison(comparison_in(folder), folder, "python evaluate.py")
    assert {path.suffix for path in (folder / "tables").iterdir()} == {".txt", ".md", ".csv", ".tex"}
    with (folder / "comparison.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == len(one_run())
    markdown = files["table"].read_text()
    order = ("No lead is larger", "(figures/answer_pbmc3k.png)", "### What this rests on", "- Two seeds", "## Scores")
    assert sorted(map(markdown.index, order)) == [markdown.index(part) for part in order]
    for words in (
        "No lead is larger than chance.",
        "- Two seeds are few.",
        "How close?",
        "Black is black.",
        "0.010 ± 0.001",
    ):
        assert words in markdown
    (link,) = re.findall(r"!\[Noise\]\((.+)\)", markdown)
    assert (folder / link).is_file()
    page = files["report"].read_text()
    for words in "python train.py seed=1000", "python evaluate.py", "No lead is larger than chance.":
        assert words in page


def test_what_an_earlier_comparison_left_is_removed(tmp_path):
    for name in "tables/recovery.csv", "figures/pbmc3k/old.png", "figures/mine.txt.bak":
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = comparison_in(tmp_path)
    write_comparison(found, tmp_path, "python evaluate.py")
    write_comparison(found, tmp_path, "python evaluate.py", html=False)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    tables = {f"tables/scores{ending}" for ending in (".txt", ".md", ".csv", ".tex")}
    assert left == {
        "comparison.md",
        "comparison.csv",
        "figures/noise.png",
        "figures/answer_pbmc3k.png",
        "figures/mine.txt.bak",
        *tables,
    }


def test_without_html_there_is_no_page(tmp_path):
    files = write_comparison(comparison_in(tmp_path), tmp_path, "python evaluate.py", html=False)
    assert "report" not in files
    assert not (tmp_path / "report.html").exists()


def test_a_run_is_not_written_over(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="folder of a run"):
        write_comparison(comparison_in(tmp_path), tmp_path, "python evaluate.py")


def test_the_command_of_a_run_is_read_from_its_report(tmp_path):
    command = "python train.py kb=human 'dataset.path=a b'"
    graph = {"n_tfs": 1, "n_targets": 1, "n_edges": 1}
    write_report(tmp_path / "report.md", one_run(), command=command, **graph, pictures={}, files={})
    assert command_of(tmp_path) == command
    assert command_of(tmp_path / "nowhere") is None


def test_the_answer_is_the_first_picture():
    figure = Figure("Noise", Path("noise.png"), "")
    answer = Figure("Can it?", Path("answer.png"), "")
    verdict = [Verdict("a", ("No.",)), Verdict("b", ("No.",), (), answer)]
    assert Comparison("", "", [], verdict, [Section("", [figure, TABLE])], []).blocks == [answer, figure, TABLE]


def pictures(results: list, folder: Path) -> list[Figure | None]:
    rows = summarise(results)
    return [one.figure for one in with_figures(verdicts(rows), rows, folder)]


def test_one_picture_per_data_set_and_the_same_bytes_again(tmp_path):
    results = [*one_run(), *make_results(inferer="random"), *make_results(dataset="bone marrow")]
    for folder in "a", "b":
        found = pictures(results, tmp_path / folder)
        assert [figure.path.name for figure in found] == ["answer_bone_marrow.png", "answer_pbmc3k.png"]
    assert (tmp_path / "a/answer_pbmc3k.png").read_bytes() == (tmp_path / "b/answer_pbmc3k.png").read_bytes()
    assert (tmp_path / "a/answer_pbmc3k.png").read_bytes() != (tmp_path / "a/answer_bone_marrow.png").read_bytes()


def test_a_picture_asks_the_question_and_says_what_is_drawn(tmp_path):
    model = [one for seed in (1000, 2000) for one in make_results(inferer="llm", llm="claude", seed=seed)]
    (figure,) = pictures([*one_run(), *model, *make_results(inferer="random")], tmp_path)
    assert figure.title == "Can a language model (claude) draw the gene regulatory network of pbmc3k?"
    for words in "coloured by seed", "Dashed line: the mean of human / random", "sorted by MMD", "the control":
        assert words in figure.caption
    (figure,) = pictures(make_results(), tmp_path)
    assert figure.title == "How close to real cells does each network come? Data set pbmc3k"
    assert not any(words in figure.caption for words in ("Dashed", "seed"))
    (nothing,) = pictures([one for one in make_results() if one.metric == "cosine_distance"], tmp_path / "none")
    assert nothing is None
    assert not (tmp_path / "none").exists()


def test_a_picture_holds_every_set_every_mean_and_both_lines(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("llm4grn.report.figures.save", lambda figure, path: drawn.append(figure) or path)
    values = ((0.0004, 110.0, 0.007, 0.8), (0.0006, 112.0, 0.009, 0.9))
    worst = make_results(inferer="random", values=((0.0004, 110.0, 0.2, 0.9),))
    pictures([*one_run(), *make_results(inferer="llm", llm="claude", values=values), *worst], tmp_path)
    mmd, auroc = drawn[0].axes
    names = ["control: real cells", "stage 1: no network", "human / claude", "human / grnboost2", "human / random"]
    assert [label.get_text() for label in mmd.get_yticklabels()] == names
    dots = [sorted(dots.get_offsets()[:, 0].tolist()) for dots in mmd.collections if len(dots.get_offsets()) > 0]
    assert [0.007, 0.009] in dots
    assert [line.get_xdata()[0] for line in mmd.lines] == pytest.approx([0.0055, 0.2])
    shown = [{text.get_text() for text in axis.texts} for axis in (mmd, auroc)]
    assert {"0.0080", "0.0100", "0.2000", "0.0055", "0.0200", "real cells", "random network"} == shown[0]
    assert {"0.850", "0.640", "0.900", "0.500", "0.800"} < shown[1]


def test_columns_for_wandb_have_one_type_and_one_name_each():
    rows = [["a", Cell("1.0 ± 0.1", 1.0), "x"], ["b", "–", "y"]]
    columns, data = numbers_and_words(Table("t", "T", ["", "MMD", "MMD"], rows))
    assert columns == ["1", "MMD", "MMD (mean ± std)", "MMD 3"]
    assert data == [["a", 1.0, "1.0 ± 0.1", "x"], ["b", None, "–", "y"]]
