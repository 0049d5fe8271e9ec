"""The t-SNE: its forces against formulas in numpy, its result against scikit-learn's."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.manifold import TSNE
from sklearn.manifold._t_sne import _joint_probabilities_nn
from sklearn.neighbors import NearestNeighbors

from llm4grn.metrics import embedding, forces
from llm4grn.metrics.embedding import affinities, tsne
from llm4grn.metrics.mixing import lisi

METHODS = ("pairs", "grid")


def cells_of(kind: str) -> np.ndarray:
    drawn = np.random.default_rng(1).normal(size=(240, 12))
    if kind == "two sets":
        drawn[:120] += 1.0
    if kind == "clusters":
        drawn += 4.0 * (np.arange(240) % 4 == np.arange(12)[:, None] % 5).T
    return drawn


@pytest.fixture(scope="module")
def workers():
    with embedding._Threads(1) as workers:
        yield workers


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(embedding, "_STEPS", 40)
    monkeypatch.setattr(embedding, "_EARLY", 20)


@pytest.mark.parametrize("scale", [1e-4, 0.5, 8.0, 15.0])
def test_repulsion_of_all_pairs_is_the_formula_and_that_of_the_grid_is_close(scale, workers):
    points = (scale * np.random.default_rng(0).normal(size=(2, 400))).astype(np.float32)
    kernel = 1.0 / (1.0 + cdist(points.T, points.T, "sqeuclidean"))
    expected = (kernel**2)[:, :, None] * (points.T[:, None] - points.T[None])
    expected, total = expected.sum(axis=1).T, kernel.sum() - 400
    size = np.abs(expected).max()
    (push, pairs), (near, grid) = embedding._Pairs(workers)(points), embedding._Grid(workers)(points)
    np.testing.assert_allclose(push, expected, atol=1e-5 * size)
    np.testing.assert_allclose(near, expected, atol=0.04 * size)
    assert np.linalg.norm(near - expected) < 0.02 * np.linalg.norm(expected)
    assert (pairs, grid) == (pytest.approx(total, rel=1e-4), pytest.approx(total, rel=0.02))


def test_an_outlier_does_not_enlarge_the_grid_without_limit(workers, monkeypatch):
    monkeypatch.setattr(embedding, "_MOST_NODES", 100)
    points = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    points[:, 0] = 1e6
    grid = embedding._Grid(workers)
    push, _ = grid(points)
    assert np.isfinite(push).all()
    assert max(size for size, _ in grid._kernels) < 2 * embedding._MOST_NODES + 100


def test_attraction_is_the_formula():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 2)).astype(np.float32)
    near = affinities(rng.normal(size=(60, 5)), 6.0)
    pull = np.empty((2, 60), np.float32)
    for first in (0, 25, 50):
        forces.attract(points, near.indptr, near.indices, near.data, first, 25, pull)
    weights = near.toarray() / (1.0 + cdist(points, points, "sqeuclidean"))
    expected = (weights[:, :, None] * (points[:, None] - points[None])).sum(axis=1).T
    np.testing.assert_allclose(pull, expected, atol=1e-7)


def test_affinities_are_those_of_scikit_learn():
    points = np.random.default_rng(0).normal(size=(150, 10)).astype(np.float32)
    squared = NearestNeighbors(n_neighbors=61).fit(points).kneighbors_graph(mode="distance").power(2)
    expected = _joint_probabilities_nn(squared, 20.0, 0).toarray()
    np.testing.assert_allclose(affinities(points, 20.0).toarray(), expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize(("kind", "method"), [("one set", "pairs"), ("two sets", "grid"), ("clusters", "pairs")])
def test_the_result_is_as_good_as_that_of_scikit_learn_and_mixes_as_much(kind, method):
    cells = cells_of(kind)
    theirs = TSNE(init="pca", max_iter=500, angle=0.7, random_state=0).fit_transform(cells.astype(np.float32))
    ours = tsne(cells, 0, method)
    near = affinities(cells, 30.0).toarray()

    def divergence(points: np.ndarray) -> float:
        kernel = 1.0 / (1.0 + cdist(points, points, "sqeuclidean"))
        np.fill_diagonal(kernel, 0.0)
        some = near > 0
        return float((near[some] * np.log(near[some] / (kernel / kernel.sum())[some])).sum())

    assert divergence(ours) < 1.03 * divergence(theirs)
    labels = np.repeat([0, 1], 120)
    assert lisi(ours, labels).mean() == pytest.approx(lisi(theirs, labels).mean(), abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_cells_without_structure_do_not_fall_into_one_place(method):
    """Exaggerated attraction pulls such cells together, and exact forces of points in one place or in line are none."""
    points = tsne(np.random.default_rng(6).normal(size=(900, 12)), 0, method)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-3)
    assert (points.std(axis=0) > 8).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_threads_changes_nothing(method, monkeypatch, few_steps):
    cells = np.random.default_rng(0).normal(size=(100, 20))
    monkeypatch.setattr(embedding, "MOST_PAIRED", 50)
    found = []
    for number in (1, 3):
        monkeypatch.setattr("llm4grn.runtime.threads.n_threads", lambda number=number: number)
        found.append(tsne(cells, 0, method))
    np.testing.assert_array_equal(*found)


def test_many_cells_go_to_the_grid_unless_all_pairs_are_asked_for(monkeypatch, few_steps):
    cells = np.random.default_rng(0).normal(size=(80, 6))
    expected = {method: tsne(cells, 0, method) for method in METHODS}
    np.testing.assert_array_equal(tsne(cells, 0), expected["pairs"])
    monkeypatch.setattr(embedding, "MOST_PAIRED", 79)
    np.testing.assert_array_equal(tsne(cells, 0), expected["grid"])
    np.testing.assert_array_equal(tsne(cells, 0, "pairs"), expected["pairs"])
    assert (expected["pairs"] != expected["grid"]).any()


@pytest.mark.parametrize("cells", [np.ones((40, 5)), np.arange(40.0)[:, None]], ids=["copies", "one gene"])
@pytest.mark.parametrize("method", METHODS)
def test_cells_without_a_plane_are_embedded(cells, method, few_steps):
    assert np.isfinite(tsne(cells, 0, method)).all()
