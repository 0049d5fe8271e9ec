import numpy as np
import pytest
from made_up_runs import cells_of, types_at_random
from scipy import sparse, stats

from llm4grn.evaluation.cells.hallucination import far_cells, foreign_clusters, hallucination


def real(seed: int, n_cells: int = 200):
    return cells_of(types_at_random(n_cells, seed), seed + 100).X


def test_real_against_real_has_no_foreign_cluster_and_few_far_cells():
    found = [hallucination(real(seed), real(seed + 50), seed) for seed in range(5)]
    assert [each.n_clusters for each in found] == [0] * 5
    assert not np.concatenate([each.in_foreign_cluster for each in found]).any()
    assert np.concatenate([each.far for each in found]).mean() < 0.04


def test_a_planted_cluster_is_counted_and_nothing_else():
    planted = cells_of(types_at_random(40, 7), 8, shift=60.0).X
    found = hallucination(real(0), sparse.vstack([real(50, 160), planted]).tocsr(), seed=0)
    assert found.n_clusters >= 1
    for marks in (found.in_foreign_cluster, found.far):
        assert marks[160:].mean() > 0.95
        assert marks[:160].mean() < 0.05


def test_another_number_of_synthetic_cells_changes_nothing():
    assert hallucination(real(0), real(50, 400), 0).n_clusters == 0
    assert hallucination(real(0, 400), real(50, 100), 0).n_clusters == 0


def test_it_depends_on_the_seed_alone():
    planted = sparse.vstack([real(50, 100), cells_of(types_at_random(40, 7), 8, shift=25.0).X]).tocsr()
    first, again = (hallucination(real(0), planted, 3) for _ in range(2))
    assert (first.in_foreign_cluster == again.in_foreign_cluster).all()
    assert (first.far == again.far).all()


@pytest.mark.parametrize(("n_real", "foreign"), [(0, True), (3, True), (4, False), (10, False), (20, False)])
def test_the_rule_of_a_foreign_cluster(n_real, foreign):
    """40 cells in a cluster among 400, half of them real: a fifth of the expected 20 is 4."""
    clusters = np.repeat([0, 1], [40, 360])
    is_real = np.concatenate([np.arange(40) < n_real, np.arange(360) < 200 - n_real])
    assert list(foreign_clusters(clusters, is_real)) == ([0] if foreign else [])


def test_a_small_cluster_without_real_cells_can_be_chance():
    for size in range(2, 16):
        clusters = np.repeat([0, 1], [size, 400 - size])
        is_real = np.concatenate([np.zeros(size, bool), np.arange(400 - size) < 200])
        chance = stats.binomtest(0, size, 0.5, alternative="less").pvalue
        assert (0 in foreign_clusters(clusters, is_real)) == (chance < 0.01 / 2)


def test_far_cells_by_brute_force():
    rng = np.random.default_rng(0)
    cells, others = rng.normal(size=(80, 3)), 2 * rng.normal(size=(50, 3))
    among = np.linalg.norm(cells[:, None] - cells, axis=-1)
    np.fill_diagonal(among, np.inf)
    limit = np.quantile(among.min(axis=1), 0.99)
    expected = np.linalg.norm(others[:, None] - cells, axis=-1).min(axis=1) > limit
    assert 0 < expected.sum() < 50
    assert (far_cells(cells, others) == expected).all()
