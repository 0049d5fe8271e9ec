import numpy as np
import pytest
from made_up_runs import cells_of, split_of, types_at_random, write_data, write_run
from sklearn.metrics import balanced_accuracy_score

from llm4grn.evaluation.cells.cell_types import cell_types_of, proportions, real_types, total_variation
from llm4grn.evaluation.cells.run_cells import RunCells


def test_synthetic_cells_of_known_type_get_it(tmp_path):
    cells = write_data(tmp_path / "store")
    known = [types_at_random(90, seed) for seed in (5, 6)]
    sets = [cells_of(types, 10 + i) for i, types in enumerate(known)]
    folder = write_run(tmp_path / "run", split_of(cells, "test"), sets)
    for store in (tmp_path / "store", None):
        labels, real = cell_types_of(folder, store)
        for found, types in zip(labels, known, strict=True):
            assert (found == types).mean() > 0.98
        annotated = split_of(cells, "test").obs["cell_type"].to_numpy()
        assert (real == annotated).mean() > 0.98


def test_what_is_learned_comes_from_training_cells_only(tmp_path):
    """With the test cells' types shuffled, the classifier is as good on synthetic cells and at chance on test cells."""
    cells = write_data(tmp_path / "first")
    labels, test = cells.obs["cell_type"].astype(str).to_numpy(), (cells.obs["split"] == "test").to_numpy()
    labels[test] = np.random.default_rng(0).permutation(labels[test])
    cells.obs["cell_type"] = labels
    (tmp_path / "store" / "data" / "data0").mkdir(parents=True)
    cells.write_h5ad(tmp_path / "store" / "data" / "data0" / "cells.h5ad")
    known = types_at_random(90, 5)
    folder = write_run(tmp_path / "run", split_of(cells, "test"), [cells_of(known, 10)])
    types = real_types(RunCells.open(folder, tmp_path / "store"))
    assert (types.classify(cells_of(known, 10)) == known).mean() > 0.98
    recall = types.recall()
    assert np.mean(list(recall.values())) < 0.6
    assert np.mean(list(recall.values())) == pytest.approx(balanced_accuracy_score(labels[test], types.predicted))


def test_without_types_or_with_one_there_is_nothing_to_tell(tmp_path):
    cells = write_data(tmp_path / "store", labels=False)
    folder = write_run(tmp_path / "none", split_of(cells, "test"), [split_of(cells, "test")])
    assert cell_types_of(folder, tmp_path / "store") is None
    cells.obs["cell_type"] = "T"
    folder = write_run(tmp_path / "one", split_of(cells, "test"), [split_of(cells, "test")])
    assert cell_types_of(folder) is None


def test_cells_without_annotation_are_neither_learned_nor_counted(tmp_path):
    cells = write_data(tmp_path / "first")
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(object).where(np.arange(cells.n_obs) % 3 > 0, None)
    (tmp_path / "store" / "data" / "data0").mkdir(parents=True)
    cells.write_h5ad(tmp_path / "store" / "data" / "data0" / "cells.h5ad")
    test = split_of(cells, "test")
    types = real_types(RunCells.open(write_run(tmp_path / "run", test, [test]), tmp_path / "store"))
    assert sum(types.annotated_counts.values()) == test.obs["cell_type"].notna().sum() < test.n_obs
    assert set(types.predicted) == {"B", "NK", "T"} == set(types.names)


def test_total_variation_is_half_the_l1_distance():
    rng = np.random.default_rng(0)
    first, second = rng.choice(list("abcd"), size=(2, 50))
    expected = 0.5 * sum(abs((first == name).mean() - (second == name).mean()) for name in "abcd")
    assert total_variation(proportions(first), proportions(second)) == pytest.approx(expected)
    assert total_variation({"a": 1.0}, {"b": 1.0}) == 1.0
