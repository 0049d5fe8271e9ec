"""The torchmetrics classes accumulate what the functional forms score at once."""

import numpy as np
import pytest
import torch

from llm4grn.metrics import functional, stateful
from llm4grn.metrics.registry import METRICS

CLASSES = [
    stateful.CosineDistance,
    stateful.EuclideanDistance,
    stateful.MMD,
    stateful.RFAUROC,
    stateful.MiLISI,
    stateful.GeneMeans,
    stateful.GeneVariances,
    stateful.ZeroFractions,
    stateful.GeneCorrelations,
]
RNG = np.random.default_rng(0)
REAL, SYNTHETIC = (torch.from_numpy(RNG.gamma(0.4, 30, size=(40, 12))) for _ in range(2))


@pytest.fixture(autouse=True)
def small_forest(monkeypatch):
    monkeypatch.setitem(functional.rf_auroc.__kwdefaults__, "n_trees", 20)


def test_every_metric_of_the_registry_has_a_class():
    assert {cls.metric_name for cls in CLASSES} == set(METRICS)


@pytest.mark.parametrize("cls", CLASSES)
def test_batches_add_up_to_the_functional_form(cls):
    metric = cls(seed=7)
    for start in range(0, 40, 16):
        metric.update(REAL[start : start + 16], SYNTHETIC[start : start + 16])
    value = metric.compute()
    assert value.dtype == torch.float64
    assert value.shape == ()
    assert value.item() == METRICS[cls.metric_name](REAL, SYNTHETIC, 7)
    metric.reset()
    metric.update(REAL[:20], SYNTHETIC[:20])
    assert metric.compute().item() == METRICS[cls.metric_name](REAL[:20], SYNTHETIC[:20], 7)


@pytest.mark.parametrize("cls", CLASSES)
def test_unequal_sets_are_averaged_over_subsamples(cls):
    metric = cls(seed=7)
    metric.update(REAL, SYNTHETIC[:25])
    pairs = list(functional.equal_size(REAL.numpy(), SYNTHETIC[:25].numpy(), 7))
    expected = np.mean([METRICS[cls.metric_name](r, s, 7) for r, s in pairs])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cls", CLASSES)
def test_direction_is_the_registrys(cls):
    assert cls.higher_is_better is METRICS[cls.metric_name].higher_is_better is (cls is stateful.MiLISI)
