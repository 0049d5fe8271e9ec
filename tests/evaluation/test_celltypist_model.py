import pickle

import numpy as np
import pytest
from made_up_runs import TYPES, cells_of, split_of, types_at_random, write_data, write_run
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from llm4grn.errors import UserError
from llm4grn.evaluation.cells.cell_types import real_types
from llm4grn.evaluation.cells.celltypist_model import CellTypistModel
from llm4grn.evaluation.cells.run_cells import RunCells


def trained(path, types=TYPES, protocol=4):
    """A model as CellTypist makes it: scaled log1p of counts per 10,000, a linear classifier with its genes."""
    labels = types_at_random(300, 0)
    labels = labels if len(types) == 3 else np.where(labels == "T", "B", labels)
    cells = cells_of(labels, 1)
    expression = np.log1p(cells.X.toarray() / 2)
    scaler = StandardScaler().fit(expression)
    scaled = np.minimum(scaler.transform(expression), 10)
    model = LogisticRegression(max_iter=200).fit(scaled, labels)
    model.features = np.array(cells.var_names, dtype=object)
    description = {"date": "today", "number_celltypes": len(types)}
    with path.open("wb") as file:
        pickle.dump({"Model": model, "Scaler_": scaler, "description": description}, file, protocol=protocol)
    return model, scaler


@pytest.mark.parametrize("types", [TYPES, TYPES[:2]])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_predictions_are_those_of_the_pickled_classifier(tmp_path, types, protocol):
    model, scaler = trained(tmp_path / "model.pkl", types, protocol)
    other = cells_of(types_at_random(100, 5), 6)
    scaled = np.minimum(scaler.transform(np.log1p(other.X.toarray() / 2)), 10)
    found = CellTypistModel.read(tmp_path / "model.pkl").classify(other)
    assert (found == model.predict(scaled)).all()
    assert len(set(found)) == len(types)


def test_genes_are_matched_by_name(tmp_path):
    trained(tmp_path / "model.pkl")
    model, cells = CellTypistModel.read(tmp_path / "model.pkl"), cells_of(types_at_random(100, 5), 6)
    shuffled = cells[:, np.random.default_rng(0).permutation(cells.n_vars)].copy()
    assert (model.classify(cells) == model.classify(shuffled)).all()
    cells.var_names = [f"other{i}" for i in range(cells.n_vars)]
    with pytest.raises(UserError, match="shares no gene"):
        model.classify(cells)


def test_the_package_itself_agrees(tmp_path):
    """With the real program, where it is installed."""
    celltypist = pytest.importorskip("celltypist")
    types = types_at_random(300, 0)
    cells = cells_of(types, 1)
    cells.X = (cells.X / 2).log1p()
    cells.obs["cell_type"] = types
    # its logistic regression asks scikit-learn for an option that newer versions no longer have; this one works in all
    celltypist.train(cells, labels="cell_type", use_SGD=True, n_jobs=1, random_state=0).write(
        str(tmp_path / "model.pkl")
    )
    other = cells_of(types_at_random(200, 5), 6)
    expected = other.copy()
    expected.X = (other.X / 2).log1p()
    expected = celltypist.annotate(expected, model=str(tmp_path / "model.pkl")).predicted_labels["predicted_labels"]
    assert (CellTypistModel.read(tmp_path / "model.pkl").classify(other) == expected.to_numpy().astype(str)).all()


def test_it_tells_the_types_of_cells_that_nobody_annotated(tmp_path):
    trained(tmp_path / "model.pkl")
    cells = write_data(tmp_path / "store", labels=False)
    folder = write_run(tmp_path / "run", split_of(cells, "test"), [split_of(cells, "test")])
    types = real_types(RunCells.open(folder, tmp_path / "store"), celltypist=tmp_path / "model.pkl")
    assert types.annotated is None
    assert (types.predicted == types_at_random(cells.n_obs, 0)[(cells.obs["split"] == "test").to_numpy()]).mean() > 0.98
    assert set(types.train.obs["cell_type"]) == set(TYPES)


class _Harm:
    def __reduce__(self):
        import os

        return os.system, ("touch harmed",)


def test_what_is_no_model_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    with pytest.raises(UserError, match=r"no such CellTypist model.*celltypist.org"):
        CellTypistModel.read(path)
    path.write_bytes(pickle.dumps({"Model": _Harm()}))
    with pytest.raises(UserError, match=r"model.pkl: asks for posix.system"):
        CellTypistModel.read(path)
    assert not (tmp_path / "harmed").exists()
    for content in (b"text", pickle.dumps({"Model": 1}), pickle.dumps([])):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a CellTypist model"):
            CellTypistModel.read(path)
