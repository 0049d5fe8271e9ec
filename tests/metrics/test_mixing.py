"""LISI against its formula with a root finder, cell by cell; miLISI on sets whose mixing is known."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from llm4grn.errors import UserError
from llm4grn.metrics.embedding import tsne
from llm4grn.metrics.functional import lisi, milisi


def lisi_of_one(i: int, points: np.ndarray, labels: np.ndarray, perplexity: float) -> float:
    """Korsunsky et al. 2019, for one cell: 3 x perplexity neighbours, itself counted among them and left out."""
    distances = cdist(points[[i]], points)[0]
    distances[i] = np.inf
    nearest = np.argsort(distances)[: int(3 * perplexity) - 1]

    def weights(beta):
        kernel = np.exp(-beta * (distances[nearest] - distances[nearest].min()))
        return kernel / kernel.sum()

    beta = brentq(lambda beta: entropy(weights(beta)) - np.log(perplexity), 0, 1e6, xtol=1e-14, rtol=1e-14)
    shares = [weights(beta)[labels[nearest] == label].sum() for label in np.unique(labels)]
    return 1 / sum(share**2 for share in shares)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_lisi_matches_its_formula(scale):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(80, 2)), rng.normal(size=(60, 2)) + 1.5]) * scale
    labels = np.repeat(["real", "synthetic"], [80, 60])
    expected = [lisi_of_one(i, points, labels, 30) for i in range(140)]
    np.testing.assert_allclose(lisi(points, labels), expected, atol=1e-6)


def test_lisi_counts_more_than_two_sets():
    rng = np.random.default_rng(0)
    values = lisi(rng.normal(size=(900, 2)), rng.integers(3, size=900))
    assert 2.5 < values.mean() <= 3.0


def test_lisi_survives_copies_of_one_point():
    values = lisi(np.zeros((100, 2)), np.arange(100) % 2)
    assert np.isfinite(values).all()
    assert (values >= 1.0).all()


@pytest.mark.slow
def test_milisi_is_near_two_for_one_distribution_and_one_for_two():
    rng = np.random.default_rng(0)
    cells, more = rng.gamma(0.4, 30, size=(2, 150, 40))
    assert 1.8 < milisi(cells, more, seed=0) < 2.0
    assert milisi(cells, more + 500, seed=0) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_milisi_falls_as_the_sets_part():
    rng = np.random.default_rng(0)
    cells, more = rng.normal(size=(2, 120, 10))
    values = [milisi(cells, more + shift, seed=0) for shift in (0.0, 1.0, 3.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[1] > 0.1


@pytest.mark.slow
def test_milisi_is_the_same_for_the_same_seed_and_close_for_another():
    rng = np.random.default_rng(0)
    cells, more = rng.gamma(0.4, 30, size=(2, 100, 200))
    first, again, other = (milisi(cells, more, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first == pytest.approx(other, abs=0.05)


def test_too_few_cells_are_refused():
    with pytest.raises(UserError, match="at least 4 cells"):
        tsne(np.ones((3, 5)), seed=0)
