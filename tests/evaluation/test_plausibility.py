import json

import numpy as np
import pytest
from made_up_runs import (
    TYPES,
    cells_of,
    split_of,
    types_at_random,
    write_data,
    write_run,
    write_stage1,
)
from scipy import sparse

from llm4grn.errors import UserError
from llm4grn.evaluation.cells.cell_types import proportions, total_variation
from llm4grn.evaluation.cells.plausibility import look_at, plausibility_blocks, type_tables
from llm4grn.evaluation.cells.run_cells import RunCells, open_runs, setting_names
from llm4grn.evaluation.scores.comparison import model_labels
from llm4grn.evaluation.scores.tables import scores_tables
from llm4grn.report.blocks import Cell, Figure, Table
from llm4grn.report.renderers import MISSING
from llm4grn.results import read_results

GOOD = [types_at_random(120, seed) for seed in (20, 21)]
BAD = types_at_random(120, 22, (0.0, 0.0, 1.0))


def half_elsewhere(seed: int):
    """Cells of which every second one is like no real cell."""
    cells = cells_of(BAD, seed)
    other = cells_of(BAD, seed, shift=60.0).X
    cells.X = sparse.vstack([row for i in range(60) for row in (cells.X[2 * i], other[2 * i + 1])]).tocsr()
    return cells


def plausibility(folders, figures, store):
    looked = look_at(folders, store)
    return [*plausibility_blocks(looked, figures), *type_tables(looked)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    store = root / "store"
    test = split_of(write_data(store), "test")
    write_stage1(store, [cells_of(types, 40 + i) for i, types in enumerate(GOOD)])
    good = write_run(root / "good", test, [cells_of(types, 30 + i) for i, types in enumerate(GOOD)])
    bad = write_run(root / "bad", test, [half_elsewhere(50)], inferer="random")
    return store, good, bad


@pytest.fixture(scope="module")
def blocks(runs, tmp_path_factory):
    store, good, bad = runs
    return plausibility([bad, good, good], tmp_path_factory.mktemp("figures"), store)


def table(blocks, name: str) -> Table:
    return next(block for block in blocks if isinstance(block, Table) and block.name == name)


def number(entry) -> float:
    return entry.value


def test_scores_tell_good_from_bad(blocks, runs):
    scores = table(blocks, "plausibility")
    rows = {row[1]: row for row in scores.rows}
    assert list(rows) == ["control", "stage 1", "human / grnboost2", "human / random"]
    assert [number(row[2]) for row in scores.rows] == [1, 2, 2, 1]
    *_, clusters, foreign, far = rows["human / random"]
    assert number(clusters) >= 1
    assert number(foreign) == pytest.approx(50, abs=5)
    assert number(far) == pytest.approx(50, abs=5)
    for name in ("control", "stage 1", "human / grnboost2"):
        assert number(rows[name][-2]) == 0
        assert number(rows[name][-1]) < 5
    best = [name for name, row in rows.items() if any(isinstance(cell, Cell) and cell.bold for cell in row)]
    assert best == ["human / grnboost2"]


def test_total_variation_of_known_types(blocks, runs):
    _, good, _ = runs
    test = RunCells.open(good).test().obs["cell_type"].to_numpy().astype(str)
    rows = {row[1]: row for row in table(blocks, "plausibility").rows}
    expected = [total_variation(proportions(types), proportions(test)) for types in GOOD]
    assert number(rows["human / grnboost2"][3]) == pytest.approx(np.mean(expected), abs=0.02)
    assert number(rows["human / random"][3]) == pytest.approx(1 - (test == "T").mean(), abs=0.02)


def test_the_classifier_is_judged_first(blocks):
    first = blocks[0]
    assert first.name == "cell_type_classifier"
    assert [row[1] for row in first.rows] == ["all types: balanced accuracy", "T", "NK", "B"]
    assert all(number(row[3]) > 0.95 for row in first.rows)


def test_proportions_in_percent(blocks):
    shown = table(blocks, "cell_type_proportions_pbmc3k")
    assert list(shown.header[1:3]) == ["real, annotated", "real, predicted"]
    assert {row[0] for row in shown.rows} == set(TYPES)
    for column in range(1, len(shown.header)):
        assert sum(number(row[column]) for row in shown.rows) == pytest.approx(100)


def test_types_are_scored_one_by_one(blocks):
    shown = table(blocks, "cell_type_scores_pbmc3k")
    assert {name.partition(" (")[0] for name in shown.header[2:]} == set(TYPES)
    rows = {(row[0].split()[0], row[1]): row for row in shown.rows}
    for metric in "MMD", "Gene":
        of = {name: rows[metric, name][2] for name in ("control", "stage 1", "human / grnboost2", "human / random")}
        assert of["human / random"].value > 1.5 * of["control"].value
        for name in "stage 1", "human / grnboost2":
            assert of[name].value == pytest.approx(of["control"].value, rel=0.2)
    assert [rows["MMD", "human / random"][column].text for column in (3, 4)] == ["–", "–"]  # it makes T cells alone


def test_every_picture_is_there(blocks):
    figures = [block for block in blocks if isinstance(block, Figure)]
    names = [figure.path.name for figure in figures]
    assert names == [
        "pbmc3k_cell_types.png",
        "pbmc3k_tsne_source.png",
        "pbmc3k_tsne_types.png",
        "pbmc3k_markers_stage_1.png",
        "pbmc3k_markers_human_grnboost2.png",
        "pbmc3k_markers_human_random.png",
    ]
    for figure in figures:
        assert figure.path.read_bytes().startswith(b"\x89PNG")
        assert len(figure.caption) > 80


def test_no_two_blocks_have_one_title(blocks):
    titles = [block.title for block in blocks]
    assert len(set(titles)) == len(titles)


@pytest.mark.slow
def test_the_same_numbers_and_pictures_again(blocks, runs, tmp_path):
    store, good, bad = runs
    again = plausibility([good, bad], tmp_path, store)
    assert [block for block in again if isinstance(block, Table)] == [b for b in blocks if isinstance(b, Table)]
    for one, other in zip(blocks, again, strict=True):
        if isinstance(one, Figure):
            assert one.path.read_bytes() == other.path.read_bytes()


@pytest.mark.slow
def test_without_a_store_the_rest_remains_and_the_notes_say_so(runs, tmp_path):
    _, good, _ = runs
    found = plausibility([good], tmp_path, None)
    scores = table(found, "plausibility")
    assert [row[1] for row in scores.rows] == ["human / grnboost2"]
    assert any("training and validation cells of pbmc3k seed 1000" in note for note in scores.notes)
    assert any("cells of stage 1 of pbmc3k seed 1000" in note for note in scores.notes)
    assert "cross-validation" in table(found, "cell_type_classifier").notes[0]


@pytest.mark.slow
def test_without_types_only_hallucination_is_counted(tmp_path):
    cells = write_data(tmp_path / "store", labels=False)
    folder = write_run(tmp_path / "run", split_of(cells, "test"), [cells_of(GOOD[0], 30)], dataset="linear")
    found = plausibility([folder], tmp_path / "figures", tmp_path / "store")
    scores = table(found, "plausibility")
    assert any("linear: no cell types" in note for note in scores.notes)
    assert [cell.text for cell in scores.rows[1][3:6]] == ["–"] * 3
    assert number(scores.rows[1][-2]) == 0
    assert [block.path.name for block in found if isinstance(block, Figure)] == ["linear_tsne_source.png"]


def test_stage1_is_that_of_the_same_data_and_controller(runs):
    store, good, _ = runs
    write_stage1(store, [cells_of(GOOD[0], 60)], controller="another")
    write_stage1(store, [cells_of(GOOD[0], 60)], data="data1", controller="of_other_data")
    files = RunCells.open(good, store).stage1_files()
    assert [path.parent.name for path in files] == ["cells_of_controller0"] * 2


def test_settings_are_named_by_what_differs(runs, tmp_path):
    _, good, _ = runs
    test = RunCells.open(good).test()
    other = write_run(tmp_path / "other", test, [test], model="paper", kb="gpt4", llm="gpt4", inferer="llm")
    assert setting_names(open_runs([good, other])) == ["gpt4 / gpt4 / paper", "human / grnboost2 / small"]


def test_folders_that_hold_no_run_are_named(tmp_path, runs):
    _, good, _ = runs
    with pytest.raises(UserError, match="no such results file"):
        plausibility([tmp_path], tmp_path, None)
    (tmp_path / "results.json").write_text((good / "results.json").read_text())
    with pytest.raises(UserError, match=r"no test\.h5ad in it"):
        plausibility([tmp_path], tmp_path, None)
    document = json.loads((good / "results.json").read_text())
    del document["run"]["stages"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="no 'stages' under 'run'"):
        plausibility([tmp_path], tmp_path, None)
    assert plausibility([], tmp_path, None) == []


def test_cells_of_no_real_type_stand_beside_the_scores_of_their_row(runs, blocks):
    store, good, bad = runs
    by_folder = {folder: read_results(folder) for folder in (good, bad)}
    models = model_labels({folder: own[0].model for folder, own in by_folder.items()})
    shares = look_at([good, bad], store).of_no_real_type(models)
    (scores,) = scores_tables([*by_folder[good], *by_folder[bad]], no_real_type=shares)
    assert scores.header[-1] == "No real type, % ↓"
    looked = {str(row[1]): number(row[-2]) for row in table(blocks, "plausibility").rows}
    shown = {
        next(name for name in looked if {text.strip() for text in name.split("/")} <= set(map(str, row))): number(
            row[-1]
        )
        for row in scores.rows
        if row[-1] != MISSING
    }
    runs_only = {name: value for name, value in looked.items() if "/" in name}
    assert {name: shown.get(name) for name in runs_only} == pytest.approx(runs_only)
    assert max(runs_only.values()) > 10 > min(runs_only.values())
