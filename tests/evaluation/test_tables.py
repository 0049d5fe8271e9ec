import re
import statistics

import pytest
from results_by_hand import make_results, one_run

from llm4grn.evaluation.summary import summarise
from llm4grn.evaluation.tables import markdown_table, terminal_table

ONE_RUN = one_run()


def cells_of(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_mean_and_sample_standard_deviation_over_samples_and_seeds():
    values = [0.61, 0.64, 0.70, 0.59]
    results = [
        *make_results(values=[(0.0004, 110.0, 0.009, v) for v in values[:2]], seed=1000),
        *make_results(values=[(0.0004, 110.0, 0.009, v) for v in values[2:]], seed=2000),
    ]
    (row,) = summarise(results)
    assert (row.n, row.seeds) == (4, (1000, 2000))
    assert row.mean["rf_auroc"] == pytest.approx(statistics.fmean(values))
    assert row.std["rf_auroc"] == pytest.approx(statistics.stdev(values))
    assert cells_of(markdown_table(results))[2][-1] == "0.635 ± 0.048"


def test_a_single_value_has_no_spread():
    line = cells_of(markdown_table(make_results(values=((0.000391, 106.66, 0.00912, 0.6311),))))[2]
    assert line[-5:] == ["1", "0.00039", "106.7", "0.0091", "0.631"]


def test_control_and_stage_1_come_first_and_data_sets_stay_together():
    order = [("run", "b"), ("stage1", "a"), ("run", "a"), ("control", "b"), ("control", "a"), ("stage1", "b")]
    results = [result for source, dataset in order for result in make_results(source, dataset=dataset)]
    assert [(row.dataset, row.source) for row in summarise(results)] == [
        ("a", "control"),
        ("a", "stage1"),
        ("a", "run"),
        ("b", "control"),
        ("b", "stage1"),
        ("b", "run"),
    ]


def test_baselines_that_runs_share_count_once():
    results = []
    for inferer in ("grnboost2", "random"):
        for source in ("control", "stage1", "run"):
            results += make_results(source, inferer=inferer)
    rows = summarise(results + results)
    assert [(row.source, row.inferer, row.n, row.ambiguous) for row in rows] == [
        ("control", "", 2, False),
        ("stage1", "", 2, False),
        ("run", "grnboost2", 2, False),
        ("run", "random", 2, False),
    ]


def test_stage_1_belongs_to_its_model_and_the_control_to_none():
    results = [r for m in ("small", "paper") for source in ("control", "stage1") for r in make_results(source, model=m)]
    assert [(row.source, row.model) for row in summarise(results)] == [
        ("control", ""),
        ("stage1", "paper"),
        ("stage1", "small"),
    ]


def test_the_best_run_of_each_data_set_is_bold_and_baselines_never():
    results = [
        *make_results("control", ((0.0001, 90.0, 0.001, 0.5),)),
        *make_results(inferer="grnboost2", values=((0.0005, 110.0, 0.009, 0.63),)),
        *make_results(inferer="random", values=((0.0004, 120.0, 0.020, 0.83),)),
        *make_results(inferer="random", dataset="other", values=((0.0002, 90.0, 0.008, 0.60),)),
    ]
    table = cells_of(markdown_table(results))
    bold = {(line[0], line[3]): [cell for cell in line if cell.startswith("**")] for line in table[2:]}
    assert bold == {
        ("pbmc3k", "–"): [],
        ("pbmc3k", "grnboost2"): ["**110.0**", "**0.0090**", "**0.630**"],
        ("pbmc3k", "random"): ["**0.00040**"],
        ("other", "random"): [],
    }


def test_runs_at_the_floor_of_auroc_share_the_mark():
    results = [
        *make_results(inferer="grnboost2", values=((0.1, 1.0, 0.1, 0.47),)),
        *make_results(inferer="random", values=((0.2, 2.0, 0.2, 0.50),)),
    ]
    assert ["rf_auroc" in row.best for row in summarise(results)] == [True, True]


def test_a_collapsed_set_is_left_out_and_named():
    good, bad = (0.0004, 110.0, 0.009, 0.63), (0.3, 1971.0, 0.9, 1.0)
    results = [
        *make_results("control", ((0.0002, 100.0, 0.005, 0.5),)),
        *make_results(values=(good, bad, good)),
        *make_results(inferer="random", values=(bad, bad)),
    ]
    _, partly, wholly = summarise(results)
    assert (partly.n, partly.collapsed, partly.failed) == (2, 1, False)
    assert partly.mean["euclidean_distance"] == pytest.approx(110.0)
    assert (wholly.n, wholly.collapsed, wholly.failed) == (2, 2, True)
    assert wholly.mean["euclidean_distance"] == pytest.approx(1971.0)
    assert not wholly.best
    for table in (markdown_table(results), terminal_table(results)):
        flat = " ".join(table.split())
        assert "1 of 3 sets collapsed" in flat
        assert "all sets collapsed" in flat
        assert "†" in flat


def test_unlike_runs_of_one_name_are_marked():
    results = [*make_results(values=((0.1, 1.0, 0.1, 0.7),)), *make_results(values=((0.1, 1.0, 0.1, 0.8),))]
    (row,) = summarise(results)
    assert row.ambiguous
    assert "‡" in markdown_table(results)
    assert "‡" not in markdown_table(results[:4])


def test_terminal_form_fits_and_loses_no_name():
    long_llm = "a-language-model-with-a-very-long-name-2024-04-09-preview"
    results = [
        *make_results("control"),
        *make_results("stage1"),
        *make_results(),
        *make_results(kb="gpt4", inferer="llm", llm=long_llm, values=((0.12345, 19711.1, 1.1111, 1.0),) * 2),
    ]
    text = terminal_table(results, {"pbmc3k": 500})
    assert max(map(len, text.splitlines())) <= 100
    assert "model small" in text.splitlines()[0]
    label = "".join(re.split(r"\s{2,}", line)[0] for line in text.splitlines())
    assert f"gpt4/llm/{long_llm}" in label.replace(" ", "")
    assert "of 500 cells each" in text
    header = next(line for line in text.splitlines() if "MMD ↓" in line)
    row = next(line for line in text.splitlines() if line.startswith("human / grnboost2"))
    assert header.index("MMD ↓") + len("MMD ↓") == row.index("0.0100 ± 0.0014") + len("0.0100 ± 0.0014")


def test_notes_name_direction_space_and_floor():
    for table in (markdown_table(ONE_RUN), terminal_table(ONE_RUN)):
        flat = " ".join(table.split())
        for words in ("RF AUROC ↓", "n = scored sets", "20,000 per cell", "Floor: control", "cannot be told apart"):
            assert words in flat


def test_a_metric_that_was_not_scored_has_no_column_and_a_gap_is_shown():
    results = [r for r in make_results() if r.metric in ("mmd", "rf_auroc")]
    results += [r for r in make_results(inferer="random") if r.metric == "mmd"]
    table = cells_of(markdown_table(results))
    assert table[0][-2:] == ["MMD ↓", "RF AUROC ↓"]
    assert "Cosine distance ↓" not in table[0]
    assert table[3][-1] == "–"
