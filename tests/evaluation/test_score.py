import numpy as np
import pytest
from scipy import sparse

from llm4grn.errors import UserError
from llm4grn.evaluation.scores.score import score
from llm4grn.metrics import functional
from llm4grn.metrics.arrays import on_device
from llm4grn.metrics.registry import METRICS

RNG = np.random.default_rng(0)
REAL = RNG.poisson(0.7, size=(40, 12)).astype(np.float32)
SYNTHETIC = RNG.poisson(0.8, size=(40, 12)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_forest(monkeypatch):
    monkeypatch.setitem(functional.rf_auroc.__kwdefaults__, "n_trees", 20)


def test_all_metrics_in_the_registrys_order_from_dense_or_sparse():
    dense = score(REAL, SYNTHETIC, seed=1)
    assert list(dense) == list(METRICS)
    assert all(type(value) is float for value in dense.values())
    assert score(sparse.csr_matrix(REAL), sparse.csr_array(SYNTHETIC), seed=1) == dense
    assert dense["mmd"] == functional.mmd(REAL, SYNTHETIC)


def test_a_choice_of_metrics():
    assert list(score(REAL, SYNTHETIC, 1, metrics=["mmd", "cosine_distance"])) == ["mmd", "cosine_distance"]


@pytest.mark.slow
def test_a_device_changes_nothing_but_rounding(monkeypatch):
    """The CPU stands in for a GPU: tensors in, and out of them only what forest and t-SNE need."""
    import torch

    expected = score(REAL, SYNTHETIC[:30], seed=1)
    moved = "llm4grn.evaluation.scores.score.on_device"
    monkeypatch.setattr(moved, lambda cells, device: torch.from_numpy(cells).to(device))
    found = score(REAL, SYNTHETIC[:30], seed=1, device=torch.device("cpu"))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("device", ["cpu", "mps", "mps:0"])
def test_devices_without_float64_are_left_to_the_cpu(device):
    assert type(on_device(REAL, device)) is np.ndarray


def test_other_devices_get_tensors_in_double_precision():
    tensor = on_device(REAL, "meta")
    assert (tensor.device.type, str(tensor.dtype)) == ("meta", "torch.float64")


def test_unequal_sets_are_averaged_over_five_subsamples():
    value = score(REAL, SYNTHETIC[:20], 1, metrics=["euclidean_distance"])["euclidean_distance"]
    pairs = list(functional.equal_size(REAL, SYNTHETIC[:20], 1))
    assert len(pairs) == 5
    assert value == pytest.approx(np.mean([np.linalg.norm(r.mean(0) - s.mean(0)) for r, s in pairs]), rel=1e-5)
    assert value != functional.euclidean_distance(REAL, SYNTHETIC[:20])


def test_mistakes_are_named():
    with pytest.raises(UserError, match="metrics: lisi unknown; choose from cosine_distance"):
        score(REAL, SYNTHETIC, 1, metrics=["mmd", "lisi"])
    with pytest.raises(UserError, match="12 genes"):
        score(REAL, SYNTHETIC[:, :3], 1)
