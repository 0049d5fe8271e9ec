"""Fast tests of two samples against those of scipy."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, wasserstein_distance

from llm4grn.evaluation.graphs.two_samples import Sample, mann_whitney, wasserstein


def samples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples, of many ties, of few, and of none."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 60, 2)
    kinds = [lambda k: rng.poisson(0.5, k) / 3, lambda k: rng.integers(0, 9, k) + 0.1, rng.normal]
    kinds[2] = lambda k: rng.normal(size=k)
    return kinds[seed % 3](n).astype(float), kinds[(seed + seed % 2) % 3](m).astype(float)


@pytest.mark.parametrize("seed", range(30))
def test_as_scipy(seed):
    a, b = samples(seed)
    own, other = Sample.of(a), Sample.of(b)
    assert wasserstein(own, other) == pytest.approx(wasserstein_distance(a, b))
    assert wasserstein(own, other) == pytest.approx(wasserstein(other, own))
    if len({*a, *b}) > 1:
        assert mann_whitney(own, other) == pytest.approx(mannwhitneyu(a, b, method="asymptotic").pvalue)
        assert mann_whitney(own, other) == pytest.approx(mann_whitney(other, own))


def test_equal_values_show_no_difference():
    constant = Sample.of(np.zeros(5))
    assert wasserstein(constant, constant) == 0
    assert mann_whitney(constant, Sample.of(np.zeros(3))) == 1
    assert constant.size == 5


def test_far_apart_samples_of_many_cells():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(1, 500).astype(float), rng.poisson(4, 500).astype(float)
    p = mann_whitney(Sample.of(a), Sample.of(b))
    assert 0 < p < 1e-100
    assert p == pytest.approx(mannwhitneyu(a, b, method="asymptotic").pvalue)
