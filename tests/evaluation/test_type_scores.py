"""Cell types one by one, against scikit-learn and numpy written from the formulas; the table from sets made by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_up_runs import cells_of
from scipy import sparse
from sklearn.metrics.pairwise import rbf_kernel

from llm4grn.errors import UserError
from llm4grn.evaluation.cells.type_scores import N_CELLS, CellTypeScores, cell_type_scores
from llm4grn.evaluation.cells.type_scores_table import type_scores_table

REAL_TYPES = np.repeat(["B", "NK", "T"], [20, 15, 65])
SYNTHETIC_TYPES = np.repeat(["T", "B", "NK", "?"], [60, 20, 30, 5])
REAL = cells_of(REAL_TYPES, 1).X.toarray().astype(float)
SYNTHETIC = cells_of(SYNTHETIC_TYPES, 2, shift=2.0).X.toarray().astype(float)
GIVEN = REAL, SYNTHETIC, REAL_TYPES, SYNTHETIC_TYPES


def mmd_of(real: np.ndarray, synthetic: np.ndarray) -> float:
    """With a width read off the 20 real cells: the distance to the farthest, as there are fewer than 24 others."""
    distances = np.linalg.norm(real[:, None] - real[None], axis=2)
    width = np.median(distances.max(axis=1))

    def mean(x, y):
        return sum(rbf_kernel(x, y, gamma=1 / (factor * width) ** 2).mean() for factor in (0.5, 1, 2))

    return mean(real, real) + mean(synthetic, synthetic) - 2 * mean(real, synthetic)


def gene_means_of(real: np.ndarray, synthetic: np.ndarray) -> float:
    return np.mean(np.abs(np.log1p(real).mean(axis=0) - np.log1p(synthetic).mean(axis=0)))


@pytest.mark.parametrize(("metric", "by_hand"), [("mmd", mmd_of), ("gene_means", gene_means_of)])
def test_a_type_of_just_enough_cells_is_scored_with_all_of_them(metric, by_hand):
    scores = cell_type_scores(*GIVEN, metric, seed=1)
    assert list(scores) == ["B", "NK", "T"]
    assert scores["B"] == pytest.approx(by_hand(REAL[:20], SYNTHETIC[60:80]), rel=1e-9)
    assert math.isnan(scores["NK"])  # 15 real cells are too few
    lenient = cell_type_scores(sparse.csr_matrix(REAL), *GIVEN[1:], metric, seed=1, n_cells=15)
    assert math.isfinite(lenient["NK"])
    assert lenient["B"] > scores["B"]  # of fewer cells


@pytest.mark.parametrize("metric", ["mmd", "gene_means"])
def test_cells_beyond_those_wanted_do_not_make_a_type_look_better(metric):
    """... as they do where all of them are scored: the value falls with the number of cells."""
    many = np.repeat(["T"], 400)
    real, synthetic = (cells_of(many, seed).X for seed in (3, 4))
    values = {}
    for n in (30, 400):
        types = np.where(np.arange(400) < n, "T", "?")
        values[n] = cell_type_scores(real, synthetic, many, types, metric, seed=0)["T"]
    assert values[30] == pytest.approx(values[400], rel=0.15)
    whole = cell_type_scores(real, synthetic, many, many, metric, seed=0, n_cells=400)["T"]
    assert whole < 0.5 * values[400]


def test_real_draws_do_not_depend_on_the_synthetic_cells_and_the_seed_decides():
    scores = cell_type_scores(*GIVEN, "gene_means", seed=1)
    others = cell_type_scores(REAL, SYNTHETIC[60:80], REAL_TYPES, ["B"] * 20, "gene_means", seed=1)
    assert others["B"] == scores["B"]
    assert cell_type_scores(*GIVEN, "gene_means", seed=1)["T"] == scores["T"]
    assert cell_type_scores(*GIVEN, "gene_means", seed=2)["T"] != scores["T"]


def test_unfit_arguments_are_named():
    with pytest.raises(UserError, match="115 synthetic cells and 114 cell types"):
        cell_type_scores(*GIVEN[:3], SYNTHETIC_TYPES[1:], "mmd", seed=1)
    with pytest.raises(UserError, match="luck unknown"):
        cell_type_scores(*GIVEN, "luck", seed=1)


def test_the_class_accumulates_what_the_function_scores_at_once():
    names = np.array(["?", "B", "NK", "T"])
    numbers = [torch.from_numpy(np.searchsorted(names, types)) for types in (REAL_TYPES, SYNTHETIC_TYPES)]
    metric = CellTypeScores("mmd", names.tolist(), seed=3, n_cells=15)
    cells = torch.from_numpy(REAL), torch.from_numpy(SYNTHETIC)
    for parts in zip(*(part.tensor_split(3) for part in (*cells, *numbers)), strict=True):
        metric.update(*parts)
    expected = cell_type_scores(*GIVEN[:2], *(part.numpy() for part in numbers), "mmd", seed=3, n_cells=15)
    found = {name: value.item() for name, value in metric.compute().items()}
    assert found == {names[number]: value for number, value in expected.items()}
    assert (metric.higher_is_better, CellTypeScores("milisi", names).higher_is_better) == (False, True)


def look(source: str, name: str, **values: float):
    scores = {"mmd": values, "gene_means": {of: 10 * value for of, value in values.items()}}
    return SimpleNamespace(cells=SimpleNamespace(source=source, name=name), type_scores=scores)


def test_the_table_has_a_row_per_setting_and_a_column_per_type():
    predicted = np.repeat(["B", "T", "NK"], [30, 50, 4])
    split = SimpleNamespace(types=SimpleNamespace(predicted=predicted))
    nan = math.nan
    looks = [
        look("run", "human / a", T=0.3, B=0.2, NK=nan),
        look("run", "human / a", T=0.5, B=0.4, NK=nan),
        look("run", "human / b", T=0.45, B=nan, NK=nan),
        look("run", "human / b", T=0.45, B=0.1, NK=nan),
        look("control", "control", T=0.01, B=nan),
    ]
    table = type_scores_table("pbmc 3k", [split, split], looks)
    assert table.name == "cell_type_scores_pbmc_3k"
    assert table.header == ("Metric", "Cells", "T (50)", "B (30)")
    assert [row[:2] for row in table.rows[:3]] == [["MMD ↓", name] for name in ("control", "human / a", "human / b")]
    assert [[cell.text for cell in row[2:]] for row in table.rows[:3]] == [
        ["0.010", "–"],
        ["0.400 ± 0.141", "0.300 ± 0.141"],
        ["0.450 ± 0.000", "0.100 (1 of 2)"],
    ]
    assert table.rows[4][2].value == pytest.approx(4.0)
    bold = [(row[1], table.header[i]) for row in table.rows[:3] for i, cell in enumerate(row[2:], 2) if cell.bold]
    assert bold == [("human / a", "T (50)")]  # of B, one run alone has enough cells in every set
    assert f"{N_CELLS} real test cells" in table.notes[0]
    assert table.notes[-1] == "Too rare to be scored: NK (4)."
    assert type_scores_table("pbmc 3k", [split], [look("control", "control", B=nan, T=nan)]) is None
