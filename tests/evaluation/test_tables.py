import re
import statistics

import pytest
from results_by_hand import make_results, one_run

from llm4grn.evaluation.scores.names import row_order, setting_name, varying_labels
from llm4grn.evaluation.scores.paper_numbers import paper_rows
from llm4grn.evaluation.scores.summary import setting_of, summarise
from llm4grn.evaluation.scores.tables import (
    markdown_table,
    parameter_notes,
    scores_table,
    scores_tables,
    terminal_table,
)
from llm4grn.metrics.registry import METRICS
from llm4grn.report.blocks import Cell

ONE_RUN = one_run()


def cells_of(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def texts(table) -> list[list[str]]:
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in table.rows]


def test_mean_and_sample_standard_deviation_over_samples_and_seeds():
    values = [0.61, 0.64, 0.70, 0.59]
    results = [
        *make_results(values=[(0.0004, 110.0, 0.009, v) for v in values[:2]], seed=1000),
        *make_results(values=[(0.0004, 110.0, 0.009, v) for v in values[2:]], seed=2000),
    ]
    (row,) = summarise(results)
    assert (row.n, row.seeds) == (4, (1000, 2000))
    assert row.samples["rf_auroc"] == {1000: (0.61, 0.64), 2000: (0.70, 0.59)}
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


@pytest.mark.parametrize(
    ("kb", "llm", "setting"),
    [
        ("human", "", "Setting 1"),
        ("human", "gpt4", "Setting 1"),  # the language model draws the edges only
        ("gpt4", "gpt4", "Setting 2"),
        ("gpt4", "recorded", "Setting 2"),
        ("my-model", "my-model", "Setting 2"),
        ("random", "", "Other TFs"),
        ("none", "", "Other TFs"),
        ("truth", "", "Other TFs"),
        ("my-list", "gpt4", "Other TFs"),
    ],
)
def test_the_setting_is_who_names_the_tfs(kb, llm, setting):
    assert setting_of("run", kb, llm) == setting
    assert setting_of("stage1", "", "") == "Baseline"


def paper_like() -> list:
    """Two settings and other TFs, given in no order; ``llm`` of setting 1 is the best of all in every metric."""
    at = {
        ("random", "random", ""): 0.9,
        ("gpt4", "random", "gpt4"): 0.85,
        ("gpt4", "grnboost2", "gpt4"): 0.6,
        ("gpt4", "llm", "gpt4"): 0.7,
        ("human", "random", ""): 0.8,
        ("human", "regdiffusion", ""): 0.81,
        ("human", "grnboost2", ""): 0.65,
        ("human", "llm", "gpt4"): 0.55,
        ("truth", "grnboost2", ""): 0.75,
    }
    results = make_results("stage1") + make_results("control", ((0.1, 1.0, 0.1, 0.5),))
    for (kb, inferer, llm), value in at.items():
        results += make_results(kb=kb, inferer=inferer, llm=llm, values=((value, value, value, value),))
    return results


def test_layout_is_that_of_the_paper():
    table = scores_table(summarise(paper_like()))
    assert table.header[: table.n_labels + 1] == ["Data set", "Setting", "KB", "Inferer", "Role", "n"]
    assert table.title == "Scores (LLM gpt4, model small, graph top10)"
    assert [row[1:5] for row in texts(table)] == [
        ["Baseline", "", "control", "floor"],
        ["Baseline", "", "stage 1", ""],
        ["Setting 1", "human", "gpt4", ""],
        ["Setting 1", "human", "grnboost2", ""],
        ["Setting 1", "human", "regdiffusion", ""],
        ["Setting 1", "human", "random", "useless method"],
        ["Setting 2", "gpt4", "gpt4", ""],
        ["Setting 2", "gpt4", "grnboost2", ""],
        ["Setting 2", "gpt4", "random", "useless method"],
        ["Other TFs", "random", "random", "useless method"],
        ["Other TFs", "truth", "grnboost2", ""],
    ]
    marks = {(row[2], row[3]): (cell.bold, cell.underlined) for row in table.rows for cell in row[-1:] if row[2]}
    assert {name for name, (bold, _) in marks.items() if bold} == {("human", "gpt4")}
    assert {name for name, (_, under) in marks.items() if under} == {("gpt4", "grnboost2"), ("truth", "grnboost2")}


def test_labels_that_vary_have_a_column():
    results = [
        *make_results("control"),
        *make_results(inferer="consensus", llm="gpt4", model="small"),
        *make_results(inferer="consensus", llm="llama", model="paper"),
    ]
    table = scores_table(summarise(results))
    assert table.header[:7] == ["Data set", "Setting", "KB", "Inferer", "LLM", "Model", "Role"]
    assert table.title == "Scores (graph top10)"
    assert [row[3:7] for row in texts(table)] == [
        ["control", "", "", "floor"],
        ["consensus", "gpt4", "small", ""],
        ["consensus", "llama", "paper", ""],
    ]


def test_a_language_model_is_named_once_and_only_where_two_names_do_not_tell_rows_apart():
    own = {"kb": "claude", "llm": "claude"}
    results = [
        *make_results("control"),
        *make_results(inferer="random"),
        *make_results(inferer="pidc"),
        *make_results(inferer="correlation"),
        *make_results(),
        *make_results(inferer="consensus", llm="claude"),
        *make_results(inferer="llm", llm="claude"),
        *make_results(inferer="llm", llm="gpt4"),
        *make_results(**own),
        *make_results(inferer="llm", **own),
        *make_results(inferer="random", **own),
    ]
    rows = sorted(summarise(results), key=row_order)
    assert [setting_name(row, varying_labels(rows)) for row in rows] == [
        "control",
        "human / claude",
        "human / gpt4",
        "human / consensus",
        "human / grnboost2",
        "human / correlation",
        "human / pidc",
        "human / random",
        "claude / claude",
        "claude / grnboost2",
        "claude / random",
    ]
    assert {row.setting for row in rows if row.kb == "claude"} == {"Setting 2"}
    table = scores_table(rows)
    assert "LLM" not in table.header
    assert table.title == "Scores (model small, graph top10)"
    rows = summarise([*results, *make_results(inferer="consensus", llm="gpt4")])
    names = [setting_name(row, varying_labels(rows)) for row in sorted(rows, key=row_order)]
    assert names[1:5] == ["human / claude", "human / gpt4", "human / consensus / claude", "human / consensus / gpt4"]
    assert "LLM" in scores_table(rows).header
    assert setting_name(summarise(make_results(inferer="llm"))[0], []) == "human / llm"  # a result without its name


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
        ("pbmc3k", "control"): [],
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


GOOD, BAD = (0.0004, 110.0, 0.009, 0.63), (0.3, 1971.0, 0.9, 1.0)
COLLAPSED = [
    *make_results("control", ((0.0002, 100.0, 0.005, 0.5),)),
    *make_results(values=(GOOD, BAD, GOOD), seed=1000),
    *make_results(values=(BAD,), seed=2000),
    *make_results(inferer="random", values=(BAD, BAD)),
]


def test_collapsed_sets_are_left_out_of_the_rows_or_kept_in_them():
    _, partly, wholly = summarise(COLLAPSED)
    assert (partly.n, partly.collapsed, partly.failed) == (2, 2, False)
    assert partly.collapsed_sets == ((1000, 1), (2000, 0))
    assert partly.samples["euclidean_distance"] == {1000: (110.0, 110.0)}
    assert (wholly.n, wholly.collapsed, wholly.failed) == (2, 2, True)
    assert wholly.mean["euclidean_distance"] == pytest.approx(1971.0)
    assert not wholly.best
    _, partly, _ = summarise(COLLAPSED, with_collapsed=True)
    assert (partly.n, partly.collapsed) == (4, 2)
    assert partly.mean["euclidean_distance"] == pytest.approx((2 * 110 + 2 * 1971) / 4)


def test_with_collapsed_sets_the_table_comes_without_and_with_them():
    without, with_them = scores_tables(COLLAPSED)
    assert (without.name, with_them.name) == ("scores", "scores_with_collapsed")
    shown = {row[3]: row[5:] for row in texts(without)}
    assert shown["grnboost2"][0] == "2 †"
    assert shown["grnboost2"][2] == "110.0 ± 0.0"
    assert shown["random"] == ["2 †", "–", "–", "–", "–"]
    shown = {row[3]: row[5:] for row in texts(with_them)}
    assert shown["grnboost2"][:3] == ["4 †", "0.15020 ± 0.17297", "1040.5 ± 1074.4"]
    assert shown["random"][2] == "1971.0 ± 0.0"
    notes = "\n".join(without.notes)
    assert "human / grnboost2: sets collapsed (seed 1000: 1; seed 2000: 0), left out." in notes
    assert "human / random: all sets collapsed (seed 1000: 0, 1), no numbers are left." in notes
    assert "counted here" in "\n".join(with_them.notes)
    for text in (markdown_table(COLLAPSED), terminal_table(COLLAPSED)):
        assert "Scores, collapsed runs included" in text
    assert len(scores_tables(ONE_RUN)) == 1


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
        *make_results(inferer="llm", llm="gpt4"),
        *make_results(kb="gpt4", inferer="llm", llm=long_llm, values=((0.12345, 19711.1, 1.1111, 1.0),) * 2),
    ]
    text = terminal_table(results, {"pbmc3k": 500})
    assert max(map(len, text.splitlines())) <= 100
    assert "model small" in text.splitlines()[0]
    label = "".join(re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines())
    assert f"pbmc3k·Setting2·gpt4{long_llm}" in label.replace(" ", "")
    assert "of 500 cells each" in text
    header = next(line for line in text.splitlines() if "MMD ↓" in line)
    row = next(line for line in text.splitlines() if line.startswith("  gpt4 "))
    assert header.index("MMD ↓") + len("MMD ↓") == row.index("0.0100 ± 0.0014") + len("0.0100 ± 0.0014")


def test_notes_name_direction_space_floor_and_parameters():
    for table in (markdown_table(ONE_RUN), terminal_table(ONE_RUN)):
        flat = " ".join(table.split())
        for words in ("RF AUROC ↓", "n = scored sets", "20,000 per cell", "Floor: control", "cannot be told apart"):
            assert words in flat
        for words in ("MMD: unit: squared discrepancy", "24th nearest", "trees: 1000", "test fraction: 0.2"):
            assert words in flat


def test_every_parameter_of_every_metric_is_in_the_notes():
    notes = parameter_notes(list(METRICS))
    for name, info in METRICS.items():
        (line,) = [note for note in notes if note.startswith(f"{info.label}: ")]
        for value in info.parameters.values():
            assert str(value) in line or str(value) in notes[0], name
    assert notes[0].count("20,000") == 1


def test_a_metric_that_was_not_scored_has_no_column_and_a_gap_is_shown():
    results = [r for r in make_results() if r.metric in ("mmd", "rf_auroc")]
    results += [r for r in make_results(inferer="random") if r.metric == "mmd"]
    table = cells_of(markdown_table(results))
    assert table[0][-2:] == ["MMD ↓", "RF AUROC ↓"]
    assert "Cosine distance ↓" not in table[0]
    assert table[3][-1] == "–"


def test_the_papers_numbers_stand_below_ours():
    names = {"dataset": "pbmc", "model": "paper", "graph": "top 10"}
    results = [
        *make_results("control", **names),
        *make_results(**names),
        *make_results(inferer="correlation", **names),
        *make_results(inferer="random", values=((0.1, 900.0, 0.1, 0.9),), **names),
    ]
    table = scores_table(summarise(results), paper=paper_rows(["pbmc"]))
    rows = texts(table)
    of_setting_1 = [(row[3], row[-6]) for row in rows if row[1] == "Setting 1"]
    assert "LLM" not in table.header  # GPT-4 and Llama are named as who draws
    assert of_setting_1 == [
        ("gpt4", "paper"),
        ("grnboost2", ""),
        ("grnboost2", "paper"),
        ("correlation", ""),
        ("random", "useless method"),
        ("random", "paper"),
    ]
    assert [row[2] for row in rows if row[1] == "Setting 2"] == ["gpt4"] * 3 + ["llama"] * 3
    (theirs,) = [row for row in table.rows if row[3] == "grnboost2" and row[-6] == "paper" and row[2] == "human"]
    assert theirs[-1] == Cell("0.73 ± 0.050", 0.73)
    assert not any(cell.bold for row in table.rows if row[-6] == "paper" for cell in row[-4:])
    assert any("Table 1, 2," in note for note in table.notes)
