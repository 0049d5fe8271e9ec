"""From folders of runs to all tables of their scores."""

import json

import pytest
from results_by_hand import make_results

from llm4grn.errors import UserError
from llm4grn.evaluation.scores.comparison import find_runs, load_runs, run_notes, score_tables
from llm4grn.evaluation.scores.statistics import differences, intervals
from llm4grn.evaluation.scores.summary import summarise
from llm4grn.report.blocks import Cell, Table
from llm4grn.report.renderers import RENDERERS
from llm4grn.results import write_results


def write_run(folder, results, **run):
    write_results(results, folder, {"n_cells": 500, **run})
    return folder


def results_of(inferer: str, seed: int, offset: float, **labels) -> list:
    baselines = [
        *make_results("control", ((0.0002, 100.0, 0.005, 0.49), (0.0003, 102.0, 0.006, 0.51)), seed=seed, **labels),
        *make_results("stage1", ((0.0005, 120.0, 0.019, 0.79), (0.0007, 124.0, 0.021, 0.81)), seed=seed, **labels),
    ]
    spread = 0.001 * (len(inferer) * seed % 7)  # another one in every run
    values = ((0.0004, 110.0, 0.009, 0.6 + offset + spread), (0.0006, 112.0, 0.011, 0.62 + offset - spread / 2))
    return baselines + make_results("run", values, inferer=inferer, seed=seed, **labels)


@pytest.fixture
def folders(tmp_path):
    return [
        write_run(tmp_path / f"{inferer}_{seed}", results_of(inferer, seed, offset))
        for inferer, offset in (("grnboost2", 0.0), ("correlation", 0.03), ("random", 0.2))
        for seed in (1000, 2000, 3001)
    ]


def column(table: Table, name: str) -> list:
    index = list(table.header).index(name)
    return [cell.value if isinstance(cell := row[index], Cell) else cell for row in table.rows]


def test_all_tables_and_every_form_of_them(folders):
    tables = score_tables(folders, seed=3)
    assert [table.name for table in tables] == ["scores", "intervals", "differences"]
    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows)
        for render in RENDERERS.values():
            assert render(table)
        assert max(map(len, RENDERERS[".txt"](table).splitlines())) <= 100
    assert "of 500 cells each" in tables[0].notes[0]
    assert score_tables(folders, seed=3, loaded=load_runs(folders)) == tables


def test_intervals_are_the_records(folders):
    table = score_tables(folders, seed=3)[1]
    rows = summarise(load_runs(folders)[0])
    records = {(one.row.inferer or one.row.source, one.metric): one for one in intervals(rows, seed=3)}
    assert len(table.rows) == len(records) == 5 * 4
    one = records["correlation", "rf_auroc"]
    (line,) = [row for row in table.rows if row[1] == "RF AUROC" and row[4] == "correlation"]
    values = [cell.value for cell in line[5:]]
    assert values == [one.mean, one.std, one.low, one.high, one.floor, one.useless, one.share, 3, 6]
    assert line[:5] == ["pbmc3k", "RF AUROC", "Setting 1", "human", "correlation"]
    assert 0 < one.share < 1
    assert column(table, "Metric")[:5] == ["Cosine distance"] * 5  # settings of a metric stand together
    notes = " ".join(table.notes)
    assert "10000 resamples, seed 3" in notes
    assert "fewer than 5 seeds" in notes
    assert "one seed only" not in notes


def test_differences_are_the_records_with_a_verdict(folders):
    table = score_tables(folders)[-1]
    records = differences(summarise(load_runs(folders)[0]))
    assert column(table, "Difference") == [one.difference for one in records]
    assert column(table, "p (Holm)") == [one.p_holm for one in records]
    labels = zip(*(column(table, name) for name in ("Metric", "First", "Second")), strict=True)
    verdicts = dict(zip(labels, column(table, "More than chance"), strict=True))
    assert verdicts["RF AUROC", "human / correlation", "human / random"] == "first is better"
    assert verdicts["RF AUROC", "human / grnboost2", "human / random"] == "first is better"
    assert verdicts["RF AUROC", "human / correlation", "human / grnboost2"] == "second is better"
    assert verdicts["MMD", "human / grnboost2", "human / random"] == "no"
    notes = " ".join(table.notes)
    assert "3 of them" in notes
    assert "3 shared seeds: p < 0.05 needs a difference of 4.3 standard errors" in notes


def test_one_seed_and_two_seeds_say_what_they_cannot_show(folders):
    one = score_tables([folder for folder in folders if folder.name.endswith("1000")])
    assert set(column(one[-1], "More than chance")) == {"not tested"}
    assert set(column(one[-1], "p")) == {None}
    assert "1 shared seed: nothing can be said about chance" in " ".join(one[-1].notes)
    assert "one seed only its samples" in " ".join(one[1].notes)
    two = score_tables([folder for folder in folders if not folder.name.endswith("3001")])
    assert "2 shared seeds: p < 0.05 needs a difference of 12.7 standard errors" in " ".join(two[-1].notes)
    assert "within 16% of their mean" in " ".join(two[-1].notes)


def test_a_single_run_has_no_differences_and_a_collapsed_one_a_second_table(tmp_path):
    good = write_run(tmp_path / "a", results_of("grnboost2", 1, 0))
    assert [table.name for table in score_tables([good])] == ["scores", "intervals"]
    bad = results_of("random", 1, 0)[:-8] + make_results(
        values=((0.1, 9999.0, 0.5, 1.0),) * 2, inferer="random", seed=1
    )
    tables = score_tables([good, write_run(tmp_path / "b", bad)])
    assert [table.name for table in tables] == ["scores", "scores_with_collapsed", "intervals"]
    assert any("random" in note and "all sets collapsed" in note for note in tables[0].notes)


def test_warnings_of_trainings_and_scores_under_other_choices_are_named(tmp_path):
    warned = write_run(
        tmp_path / "warned", results_of("llm", 1, 0), training_warnings={"controller": [], "causal_gan": ["0.6 dead"]}
    )
    old = write_run(tmp_path / "old", results_of("grnboost2", 1, 0))
    document = json.loads((old / "results.json").read_text())
    document["run"]["metrics"]["rf_auroc"]["trees"] = 100
    document["run"]["metrics"]["milisi"]["perplexity"] = 1  # not scored here
    (old / "results.json").write_text(json.dumps(document))
    assert run_notes([warned, old]) == [
        "Warning from the training of warned (causal_gan): 0.6 dead.",
        "old: RF AUROC was scored otherwise (trees: 100); use rescore=true.",
    ]
    assert run_notes([warned, old], rescored=True) == ["Warning from the training of warned (causal_gan): 0.6 dead."]
    notes = score_tables([warned, old])[0].notes
    assert any("0.6 dead" in note for note in notes)


def test_the_papers_numbers_where_it_has_any(tmp_path):
    run = write_run(tmp_path / "a", results_of("grnboost2", 1, 0, dataset="linear_uniform", kb="truth"))
    other = write_run(tmp_path / "b", results_of("grnboost2", 1, 0))
    scores = score_tables([run, other], paper=True)[0]
    roles = list(zip(column(scores, "Data set"), column(scores, "Inferer"), column(scores, "Role"), strict=True))
    assert roles == [
        ("linear_uniform", "control", "floor"),
        ("linear_uniform", "control", "paper"),
        ("linear_uniform", "stage 1", ""),
        ("linear_uniform", "stage 1", "paper"),
        ("linear_uniform", "grnboost2", ""),
        ("linear_uniform", "grnboost2", "paper"),
        ("pbmc3k", "control", "floor"),
        ("pbmc3k", "stage 1", ""),
        ("pbmc3k", "grnboost2", ""),
    ]
    assert "The paper has no numbers for pbmc3k." in scores.notes
    assert "paper" not in column(score_tables([run])[0], "Role")


def test_patterns_without_a_finished_run_are_named(tmp_path, folders):
    assert find_runs([f"{tmp_path}/grnboost2_*"]) == sorted(folders[:3])
    with pytest.raises(UserError, match="no finished run there"):
        find_runs([f"{tmp_path}/nothing*"])


def test_runs_trained_otherwise_are_other_settings(tmp_path):
    """By seed, or in one seed: a short training must not be averaged with a long one."""
    folders = [
        write_run(tmp_path / str(seed), results_of("grnboost2", seed, 0.1 * i)) for i, seed in enumerate((1, 2, 3))
    ]
    for folder, steps in zip(folders, (400, 400, 20), strict=True):
        (folder / "config.yaml").write_text(
            f"model:\n  name: small\n  causal_gan:\n    steps: {steps}\n    seed_of: 1\n"
        )
    rows = [row for row in summarise(load_runs(folders)[0]) if row.source == "run"]
    assert {row.model: row.seeds for row in rows} == {
        "small (causal_gan.steps=400)": (1, 2),
        "small (causal_gan.steps=20)": (3,),
    }
    same = [row for row in summarise(load_runs(folders[:2])[0]) if row.source == "run"]
    assert [row.model for row in same] == ["small"]
